"""Texts of exported files, with places to fill in."""

import importlib.resources
import string


def text(name: str) -> str:
    """A text as it stands."""
    return importlib.resources.files(__name__).joinpath(name).read_text()


def filled(name: str, **values: object) -> str:
    """A text with each ``$place`` filled in."""
    return string.Template(text(name)).substitute(values)
