"""The exception for what a user can get wrong."""


class InputError(ValueError):
    """A file, folder or setting is not usable; the message, one line, names it and the way out."""


class DivergedError(InputError):
    """No run of a training is finite any more."""
