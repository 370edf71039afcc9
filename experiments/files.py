"""Files that a user asked for: checked before the work, replaced in one step after it."""

import os
import pathlib

from sast_jax.errors import InputError


def check_writable(path: pathlib.Path) -> None:
    """Raises InputError unless a file can be written there."""
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: cannot be written; name a file in a folder that exists")


def write(path: pathlib.Path, text: str) -> None:
    """Replaces a file in one step, so that nobody sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    os.replace(temporary, path)
