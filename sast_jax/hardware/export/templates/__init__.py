"""Texts of exported files, with places to fill in."""

import importlib.resources
import string
from collections.abc import Iterable, Mapping


def text(name: str) -> str:
    """A text as it stands."""
    return importlib.resources.files(__name__).joinpath(name).read_text()


def filled(name: str, **values: object) -> str:
    """A text with each ``$place`` filled in."""
    return string.Template(text(name)).substitute(values)


def rows(pairs: Iterable[tuple[str, str]]) -> str:
    """Rows of a table of two columns."""
    return "".join(f"| {what} | {value} |\n" for what, value in pairs)


def paragraphs(lines: Iterable[str]) -> str:
    """Each line as a paragraph of its own."""
    return "".join(f"\n{line}\n" for line in lines)


def origin(values: Mapping[str, object] | None) -> str:
    """Where a network comes from, as a paragraph of its own; nothing if that is not known."""
    if values is None:
        return ""
    named = (f"{key.replace('_', ' ')} {value}" for key, value in values.items())
    return f"\n\nThe trained network: {', '.join(named)}."
