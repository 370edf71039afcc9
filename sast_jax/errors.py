"""Exceptions for mistakes that a user can correct, and the check for optional packages."""

import importlib
from types import ModuleType


class InputError(ValueError):
    """A file, folder or setting cannot be used; the one-line message names it and the way out."""


class UnsupportedError(InputError):
    """A model has no such form, in whatever numbers: no integer network, no node in NIR."""


class DivergedError(InputError):
    """All runs of a training have diverged: none has finite numbers any more."""


def needed(package: str, extra: str) -> ModuleType:
    """Imports a package that only an extra of the installation brings.

    Raises:
      InputError: it is not installed, with the line that installs it.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise InputError(
            f"this needs the package {package}: pip install 'sast_jax[{extra}]'"
        ) from error
