"""Packed frames on disk, in files named by a digest of everything that shaped them."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from sast_jax import files
from sast_jax.data.packing import Frames
from sast_jax.errors import InputError

_SCRATCH, _LEFT = ".making-", 24 * 3600  # seconds after which a writer is taken for dead


def frames(folder: str | os.PathLike, key: dict, make: Callable[[], Frames]) -> Frames:
    """Frames from the cache, or made and then kept there.

    A file is named by the digest of ``key`` and written in one step. Reading checks its checksums
    and its key, and a damaged file is made again. If the folder cannot be written, the frames are
    made every time.

    Args:
      folder: where cache files are.
      key: everything that shapes the frames, as values that JSON can hold.
      make: makes the frames.
    """
    found = find(folder, key)
    return keep(folder, key, make()) if found is None else found


def find(folder: str | os.PathLike, key: dict) -> Frames | None:
    """Frames that are kept under a key; None if there are none, or damaged ones."""
    try:
        found = files.unpacked(_path(folder, key))
        # The file's name is a digest; the whole key within settles that it is the right file.
        if str(found.pop("key")) == _text(key):
            return Frames.of(found)
    except Exception:  # whatever reading raises where there is none yet, or a damaged one
        pass
    return None


def keep(folder: str | os.PathLike, key: dict, made: Frames) -> Frames:
    """Keeps frames under a key, if the folder can be written, and returns them."""
    arrays: Any = made.arrays() | {"key": np.array(_text(key))}
    _keep(_path(folder, key), lambda whole: np.savez(whole, **arrays))
    return made


def listing(folder: str | os.PathLike, key: dict, make: Callable[[], list]) -> list:
    """A list that JSON can hold, from the cache or made and kept there, as :func:`frames` are."""
    path = pathlib.Path(folder, f"{digest(key)}.json")
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        stored = files.parsed(path.read_text())
        if stored["key"] == key and stored["digest"] == digest(stored["list"]):
            return stored["list"]
    made = make()
    stored = {"key": key, "list": made, "digest": digest(made)}
    _keep(path, lambda whole: whole.write_text(json.dumps(stored)))
    return made


def folder() -> pathlib.Path:
    """``$SAST_CACHE``, or the user's cache folder.

    Raises:
      InputError: neither is known.
    """
    if stated := os.environ.get("SAST_CACHE"):
        return pathlib.Path(stated)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return pathlib.Path(base, "sast_jax")
    try:
        return pathlib.Path.home() / ".cache" / "sast_jax"
    except RuntimeError as error:
        raise InputError(
            "no home folder to keep a cache in; name a folder with the variable SAST_CACHE"
        ) from error


def digest(key: dict | list) -> str:
    """A short name for values that JSON can hold."""
    return hashlib.sha256(_text(key).encode()).hexdigest()[:24]


def _path(folder, key):
    return pathlib.Path(folder, f"{digest(key)}.npz")


def _keep(path, write):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear(path.parent)
        # Written on the same disk and then renamed, which is one step: no reader sees half of it,
        # and of two writers the later one wins.
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=path.parent) as scratch:
            whole = pathlib.Path(scratch, path.name)
            write(whole)
            os.replace(whole, path)
    except OSError as error:
        warnings.warn(
            f"{path.parent}: no cache kept ({error.strerror}); recordings are read each time",
            stacklevel=3,
        )


def _clear(folder):
    """Removes what processes that were killed a day ago or earlier have left."""
    for scratch in folder.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError):  # its own process may be at it
            if time.time() - scratch.stat().st_mtime > _LEFT:
                shutil.rmtree(scratch)


def _text(key):
    return json.dumps(key, sort_keys=True)  # equal keys give equal text, in whatever order
