"""Compiled programs on disk, so that a second run of a command compiles nothing."""

import contextlib
import os
import pathlib
import warnings

import filelock
import jax

from sast_jax.data import cache
from sast_jax.errors import InputError

MEGABYTES = 1024  # of programs that are kept; those that were not used for longest go first


def keep() -> None:
    """Lets JAX keep what it compiles in the user's cache folder, and find it there.

    ``$SAST_PROGRAMS`` says how many megabytes, and 0 keeps nothing. Where JAX has been told of a
    folder, such as by ``$JAX_COMPILATION_CACHE_DIR``, nothing is changed.

    Raises:
      InputError: ``$SAST_PROGRAMS`` is no number.
    """
    given = os.environ.get("SAST_PROGRAMS", str(MEGABYTES))
    if not given.isdigit():
        raise InputError(f"SAST_PROGRAMS={given!r} must be a number of megabytes; 0 keeps nothing")
    # An attribute that JAX sets and does not declare.
    own = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if own and jax.config.jax_compilation_cache_max_size >= 0:  # type: ignore[attr-defined]
        _clear(pathlib.Path(own))
    if given == "0" or own:
        return
    folder = cache.folder() / "programs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        warnings.warn(f"{folder}: programs are compiled each time ({error.strerror})", stacklevel=2)
        return
    _clear(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", int(given) * 2**20)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _clear(folder: pathlib.Path) -> None:
    """Removes programs whose writer was killed, which JAX warns of and never writes again.

    In a folder of bounded size it writes when a program was used after the program itself, and
    nothing any more where one of the two is missing.
    """
    lock = filelock.FileLock(folder / ".lockfile", timeout=1)
    with contextlib.suppress(OSError, NotImplementedError), lock:  # others may be at it
        used = {path.name.removesuffix("-atime") for path in folder.glob("*-atime")}
        for program in folder.glob("*-cache"):
            if program.name.removesuffix("-cache") not in used:
                program.unlink(missing_ok=True)
