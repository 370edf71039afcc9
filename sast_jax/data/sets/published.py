"""The published data sets: where their recordings are found, and what stands in for them."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sast_jax.data import corruptions, packing, recordings
from sast_jax.data.formats import ibm_gestures, tonic_gestures
from sast_jax.data.simulated import digits, likeness, people, performances


class Published(NamedTuple):
    """A published data set and its simulated counterpart.

    Attributes:
      name: in words.
      path: default folder, where ``experiments.download`` writes; the only one in whose place
        recordings are simulated.
      flags: of ``experiments.download``.
      inner: folder in which tonic keeps the set.
      wanted: split -> what a folder should hold, in words.
      find: (folder, split) -> the split, or None; with fields ``names``, ``fingerprint``
        and ``warnings``.
      select: (split, indices) -> recordings.
      simulate: (split, seed, limit) -> recordings.
      settings: all that shapes a simulated recording.
      levels: by kind of corruption, of severities 1 to 5.
      caveat: training split of a simulated set, or None -> what reports say of it.
      classes: their names.
      rises: polarity bit of an event where brightness rises.
      reader: part of cache keys: raised when recordings come out otherwise.
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
    reader: int = 1
    test_files: int | None = None


def _nmnist_caveat(train):
    line = "The recordings are simulated, so the accuracies are not N-MNIST's."
    if train is None:
        return line
    return f"{line} {likeness.compare(likeness.describe(train), likeness.real())}"


def _gesture_caveat(train):
    return (
        "The recordings are simulated, so the accuracies are not DVS Gesture's; and no real "
        "recording was at hand to compare the simulated ones with."
    )


def _find_gestures(folder, split):
    found = tonic_gestures.find_split(folder, split)
    return ibm_gestures.find_split(folder, split) if found is None else found


NMNIST = Published(
    name="N-MNIST",
    path="data/nmnist",
    flags="",
    inner="NMNIST",
    wanted=lambda split: f"{split}.zip or {split.capitalize()}/",
    find=recordings.find_split,
    select=recordings.select,
    simulate=digits.simulate,
    settings=digits.settings,
    levels=corruptions.NMNIST_LEVELS,
    caveat=_nmnist_caveat,
    classes=tuple(map(str, range(10))),
    rises=digits.RISES,
    test_files=10_000,
)
DVS_GESTURE = Published(
    name="DVS Gesture",
    path="data/dvs_gesture",
    flags=" --dataset=dvs_gesture",
    inner="DVSGesture",
    wanted=lambda split: (
        "ibmGesture{0}.tar.gz, ibmGesture{0}/ or trials_to_{1}.txt with recordings".format(
            split.capitalize(), split
        )
    ),
    find=_find_gestures,
    select=tonic_gestures.select,
    simulate=performances.simulate,
    settings=performances.settings,
    levels=corruptions.DVS_GESTURE_LEVELS,
    caveat=_gesture_caveat,
    classes=people.CLASSES,
    rises=performances.RISES,
)
