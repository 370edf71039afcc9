"""Compiled programs on disk, so that a second run of a command compiles nothing."""

import os
import warnings

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
    if given == "0" or jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        return
    folder = cache.folder() / "programs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        warnings.warn(f"{folder}: programs are compiled each time ({error.strerror})", stacklevel=2)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", int(given) * 2**20)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
