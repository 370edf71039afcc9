"""Where the recordings of a run come from: real ones in a folder, or simulated ones."""

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sast_jax.data import cache, corruptions, packing, recordings, simulation
from sast_jax.errors import InputError

FRAME_SHAPE = (recordings.SENSOR_HEIGHT, recordings.SENSOR_WIDTH, recordings.POLARITIES)
CLASSES = 10
DEFAULT_PATH = "data/nmnist"  # where experiments.download writes
# Parts of cache keys: raise one when frames would come out otherwise.
READER_VERSION, CORRUPTIONS_VERSION = 1, 1


class Recorded(NamedTuple):
    """Where frames came from: their recordings, and all else that shaped them."""

    recordings: recordings.Recordings
    key: dict

    def frames(self) -> packing.Frames:
        """The frames, from the cache if they have been made before."""
        return cache.frames(cache_folder(), self.key, self._pack)

    def corrupted(
        self, kinds: Sequence[str], severities: Sequence[int], seed: int
    ) -> Iterator[tuple[str, int, packing.Frames]]:
        """The same recordings under corruptions, one after another: kind, severity, frames.

        Each comes from the cache if it has been made before; else the events are decoded once for
        all. See :mod:`sast_jax.data.corruptions`.
        """
        data = corruptions.in_memory(self.recordings)
        for kind in kinds:
            for severity in severities:
                level = corruptions.KINDS[kind].levels[severity - 1]
                key = {"kind": kind, "level": level, "seed": seed, "version": CORRUPTIONS_VERSION}
                worse = corruptions.corrupted(data, kind, level, seed)
                yield kind, severity, Recorded(worse, self.key | {"corruption": key}).frames()

    def _pack(self):
        return packing.pack(
            self.recordings, time_bins=self.key["time_bins"], duration=recordings.DURATION
        )


class Source(NamedTuple):
    """A data set ready for a run.

    Attributes:
      name: what it is, in words, for the first line and every report.
      simulated: whether no real recording is in it.
      fingerprint: changes when a recording changes.
      frame_shape: (H, W, C) of the unpacked frames.
      classes: number of classes.
      train, test: None where the folder has no such split, or it was not asked for.
      recorded: by split, where the frames came from.
      warnings: what a person should know of the recordings, one line each.
    """

    name: str
    simulated: bool
    fingerprint: str
    frame_shape: tuple[int, int, int]
    classes: int
    train: packing.Frames | None
    test: packing.Frames | None
    recorded: Mapping[str, Recorded]
    warnings: tuple[str, ...]


def cache_folder() -> pathlib.Path:
    """``$SAST_CACHE``, or the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path("~/.cache").expanduser()
    return pathlib.Path(os.environ.get("SAST_CACHE") or pathlib.Path(base, "sast_jax"))


def nmnist(
    source: str,
    path: str | os.PathLike,
    *,
    time_bins: int,
    train_limit: int = 0,
    test_limit: int = 0,
    seed: int = 0,
    splits: Sequence[str] = ("train", "test"),
) -> Source:
    """N-MNIST from a folder, or simulated.

    Args:
      source: "folder" reads ``path``; "tonic" prefers the ``NMNIST/`` that tonic keeps in it;
        "simulated" needs no file; "auto" reads ``path``, and simulates if that is
        ``DEFAULT_PATH`` and holds no recordings.
      path: holds ``train.zip`` and ``test.zip`` or ``Train/`` and ``Test/``, or tonic's ``NMNIST/``
        with these.
      time_bins: frames per recording.
      train_limit, test_limit: number of recordings to draw at random from each split; 0 takes all.
      seed: of that draw, and of the simulation.
      splits: which to read.

    Raises:
      InputError: there are no recordings at ``path``, or one is damaged.
    """
    both = {"train": train_limit, "test": test_limit}
    limits = {split: both[split] for split in splits}
    if source == "simulated":
        return _simulated(time_bins, limits, seed)
    folder = pathlib.Path(path).expanduser()
    inner = folder / "NMNIST"  # tonic's name for its folder
    places = [inner, folder] if source == "tonic" else [folder, inner]
    for place in places:
        found = {name: recordings.find_split(place, name) for name in limits}
        if any(found.values()):
            return _recorded(place, found, time_bins, limits, seed)
    if source == "auto" and folder == pathlib.Path(DEFAULT_PATH):
        return _simulated(time_bins, limits, seed)
    wanted = " or ".join(f"{split}.zip or {split.capitalize()}/" for split in limits)
    raise InputError(
        f"{folder}: no recordings there; name a folder that holds {wanted}, or fetch N-MNIST with "
        f"'python -m experiments.download', which puts it in {DEFAULT_PATH}"
    )


def _recorded(folder, splits, time_bins, limits, seed) -> Source:
    frames, recorded, fingerprints, notes = {}, {}, [], []
    for name, split in splits.items():
        if split is None:
            continue
        indices = _draw(len(split.names), limits[name], seed)
        key = {
            "reader": READER_VERSION,
            "recordings": split.fingerprint,
            "limit": [limits[name], seed] if limits[name] else 0,
            "time_bins": time_bins,
            "duration": recordings.DURATION,
        }
        recorded[name] = Recorded(recordings.select(split, indices), key)
        frames[name] = recorded[name].frames()
        fingerprints.append(split.fingerprint)
        notes += _notes(name, frames[name], [split.names[i] for i in indices])
    counts = _counts(frames)
    return Source(
        f"N-MNIST, recordings from {folder} ({counts})",
        False,
        "+".join(fingerprints),
        FRAME_SHAPE,
        CLASSES,
        frames.get("train"),
        frames.get("test"),
        recorded,
        tuple(notes),
    )


def _notes(name, frames, names) -> list[str]:
    empty = np.flatnonzero(frames.events_NxC.sum(axis=1) == 0)
    notes = []
    if len(empty):
        notes.append(f"{name}: {len(empty)} empty recordings are kept, first {names[empty[0]]}")
    if frames.unsorted:
        notes.append(f"{name}: {int(frames.unsorted)} recordings ran backwards in time; sorted")
    return notes


def _simulated(time_bins, limits, seed) -> Source:
    recorded = {
        name: Recorded(
            simulation.simulate(name, seed=seed, limit=limit),
            {
                "simulation": simulation.settings(),
                "split": name,
                "seed": seed,
                "limit": limit,
                "time_bins": time_bins,
            },
        )
        for name, limit in limits.items()
    }
    frames = {name: where.frames() for name, where in recorded.items()}
    return Source(
        f"simulated N-MNIST, no real recordings ({_counts(frames)})",
        True,
        f"simulated {seed} {cache.digest(simulation.settings())}",
        FRAME_SHAPE,
        CLASSES,
        frames.get("train"),
        frames.get("test"),
        recorded,
        (),
    )


def _counts(frames) -> str:
    return ", ".join(f"{len(f.labels_N)} {name}" for name, f in frames.items())


def _draw(size: int, limit: int, seed: int) -> np.ndarray:
    """All indices, or ``limit`` of them drawn without replacement, in order."""
    if not limit or limit >= size:
        return np.arange(size)
    return np.sort(np.random.default_rng(seed).choice(size, limit, replace=False))
