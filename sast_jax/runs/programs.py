"""Compiled programs on disk, so that a second run of a command compiles nothing."""

import contextlib
import math
import os
import pathlib
import warnings

import filelock
import jax

from sast_jax.data import cache
from sast_jax.errors import InputError

MEGABYTES = 1024  # of programs that are kept; those that were not used for longest go first
MOST = 1000  # programs that are kept; half of them go then, those that were not used for longest


def keep() -> None:
    """Lets JAX keep what it compiles in the user's cache folder, and find it there.

    ``$SAST_PROGRAMS`` says how many megabytes, and 0 keeps nothing. Where JAX has been told of a
    folder, such as by ``$JAX_COMPILATION_CACHE_DIR``, nothing is changed.

    Raises:
      InputError: ``$SAST_PROGRAMS`` is no number.
    """
    given = os.environ.get("SAST_PROGRAMS", str(MEGABYTES))
    if not (given.isascii() and given.isdigit()):
        raise InputError(f"SAST_PROGRAMS={given!r} must be a number of megabytes; 0 keeps nothing")
    # An attribute that JAX sets and does not declare.
    own = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if own and jax.config.jax_compilation_cache_max_size >= 0:  # type: ignore[attr-defined]
        _tidy(pathlib.Path(own), most=math.inf)
    if given == "0" or own:
        return
    folder = cache.folder() / "programs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        warnings.warn(f"{folder}: programs are compiled each time ({error.strerror})", stacklevel=2)
        return
    _tidy(folder, MOST)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", int(given) * 2**20)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _tidy(folder: pathlib.Path, most: float) -> None:
    """Removes programs whose writer was killed, and the older half if there are more than ``most``.

    In a folder of bounded size JAX writes when a program was used after the program itself. Where
    that is missing, it warns each time and adds nothing any more. Whenever it adds a program, it
    reads when each of the others was used, so that many of them cost more than they spare.
    """
    lock = filelock.FileLock(folder / ".lockfile", timeout=1)
    with contextlib.suppress(OSError, NotImplementedError), lock:  # others may be at it
        used = {path.name.removesuffix("-atime"): path for path in folder.glob("*-atime")}
        programs = {path.name.removesuffix("-cache"): path for path in folder.glob("*-cache")}
        gone = [programs[name] for name in programs.keys() - used.keys()]
        if len(used) > most:
            times = {
                name: int.from_bytes(path.read_bytes(), "little") for name, path in used.items()
            }
            oldest = sorted(times, key=times.__getitem__)[: len(used) // 2]
            gone += [of_it[name] for name in oldest for of_it in (programs, used) if name in of_it]
        for path in gone:
            path.unlink(missing_ok=True)
