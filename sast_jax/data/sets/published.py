"""A published data set: where its recordings are found, and what stands in for them."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sast_jax.data import packing, recordings


class Published(NamedTuple):
    """A published data set and its simulated counterpart.

    Attributes:
      name: in words.
      path: default folder, where ``experiments.download`` writes. Recordings are simulated if it
        holds none; for any other folder that is an error.
      flags: of ``experiments.download``, to fetch this set.
      inner: folder in which tonic keeps the set.
      wanted: split -> what a folder should hold, in words.
      find: (folder, split) -> the split, with fields ``names``, ``fingerprint`` and ``warnings``;
        or None.
      select: (split, indices) -> recordings.
      simulate: (split, seed, limit) -> recordings.
      settings: () -> everything that shapes a simulated recording.
      levels: by kind of corruption, of severities 1 to 5.
      caveat: (training frames or None) -> warning that reports of simulated runs carry.
      classes: their names.
      rises: polarity bit of an event where brightness rises.
      reader: version of the reader, part of cache keys: raised when it reads recordings otherwise.
      test_files: the highest number of a file of the published test split; None without numbers.
    """

    name: str
    path: str
    flags: str
    inner: str
    wanted: Callable[[str], str]
    find: Callable[[pathlib.Path, str], Any]
    select: Callable[[Any, np.ndarray], recordings.Recordings]
    simulate: Callable[..., recordings.Recordings]
    settings: Callable[[], dict]
    levels: dict[str, tuple[float, ...]]
    caveat: Callable[[packing.Frames | None], str]
    classes: tuple[str, ...]
    rises: int
    reader: int = 2
    test_files: int | None = None
