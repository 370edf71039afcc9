"""Files that a user asked for: checked before the work, replaced in one step after it."""

import os
import pathlib

from sast_jax.errors import InputError


def check_writable(path: pathlib.Path) -> None:
    """Raises InputError unless a file of one's own can be written there."""
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: cannot be written; name a file in a folder that exists")
    if path.is_symlink() or (path.exists() and not (path.is_file() or path.is_dir())):
        raise InputError(f"{path}: is no ordinary file; name another")
    if (path.parent / "checkpoints").is_dir():
        raise InputError(f"{path}: lies in the workdir of a run; name a file elsewhere")


def write(path: pathlib.Path, text: str) -> None:
    """Replaces a file in one step, so that nobody sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
