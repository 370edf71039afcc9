"""A data set: what its recordings are, where they are found, and what stands in for them."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from sast_jax.data import packing, recordings
from sast_jax.data.layouts.split import Split


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a data set, wherever its recordings come from.

    Attributes:
      name: in words.
      select: (split, indices) -> recordings.
      levels: of corruptions, by kind: of severities 1 to 5.
      classes: their names.
      rises: polarity bit of an event where brightness rises.
      reader: version of the reader, part of cache keys: raised when it reads recordings otherwise.
      test_files: the highest number of a file of the published test split; None without numbers.
      caveats: what every report must say about the recordings, one paragraph each.
    """

    name: str
    select: Callable[[Split, np.ndarray], recordings.Recordings]
    levels: Mapping[str, tuple[float, ...]]
    classes: tuple[str, ...]
    rises: int
    reader: int = 2
    test_files: int | None = None
    caveats: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published(Known):
    """A published data set and its simulated counterpart.

    Attributes:
      path: default folder, where ``experiments.download`` writes. Recordings are simulated if it
        holds none; for any other folder that is an error.
      flags: of ``experiments.download``, to fetch this set.
      inner: folder in which tonic keeps the set.
      wanted: split -> what a folder should hold, in words.
      find: (folder, split) -> the split, or None.
      simulate: (split, seed, limit) -> recordings.
      settings: () -> everything that shapes a simulated recording.
      caveat: (training frames or None) -> warning that reports of simulated runs carry.
    """

    path: str
    flags: str
    inner: str
    wanted: Callable[[str], str]
    find: Callable[[pathlib.Path, str], Split | None]
    simulate: Callable[..., recordings.Recordings]
    settings: Callable[[], dict]
    caveat: Callable[[packing.Frames | None], str]
