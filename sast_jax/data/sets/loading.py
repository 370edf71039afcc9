"""Where the recordings of a run come from: real ones in a folder, or simulated ones."""

import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sast_jax.data import cache, corruptions, packing, recordings
from sast_jax.data.sets.published import Published
from sast_jax.errors import InputError

CORRUPTIONS_VERSION = 2  # part of cache keys: raise it when corruptions change


Change = Callable[..., recordings.Events] | None  # a partial corruptions.corrupt


class Recorded(NamedTuple):
    """Recordings, and how frames are made of them.

    Attributes:
      recordings: what they are made of.
      key: cache key: everything that shaped them.
      pack: (recordings, what corrupts them or None) -> frames.
      levels: of corruptions; see :class:`Published`.
    """

    recordings: recordings.Recordings
    key: dict
    pack: Callable[[recordings.Recordings, Change], packing.Frames]
    levels: Mapping[str, tuple[float, ...]]

    def frames(self) -> packing.Frames:
        """The frames, from the cache if they have been made before."""
        return cache.frames(cache.folder(), self.key, lambda: self.pack(self.recordings, None))

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
                level = self.levels[kind][severity - 1]
                key = {"kind": kind, "level": level, "seed": seed, "version": CORRUPTIONS_VERSION}
                change = functools.partial(corruptions.corrupt, kind=kind, level=level, seed=seed)
                make = functools.partial(self.pack, data, change)
                key = self.key | {"corruption": key}
                yield kind, severity, cache.frames(cache.folder(), key, make)


class Source(NamedTuple):
    """A data set ready for a run.

    Attributes:
      name: what it is, in words, for the first line and every report.
      simulated: whether no real recording is in it.
      fingerprint: changes when a recording changes.
      frame_shape: (H, W, C) of the unpacked frames.
      class_names: of the classes, in the order of their labels.
      rises: channel of the frames where brightness rises; 1 - rises where it falls.
      train, test: None where the folder has no such split, or it was not asked for.
      recorded: by split, where the frames came from.
      warnings: what is wrong or unusual with the recordings, one line each.
      caveats: what every report must say about the recordings, one paragraph each.
    """

    name: str
    simulated: bool
    fingerprint: str
    frame_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    rises: int
    train: packing.Frames | None
    test: packing.Frames | None
    recorded: Mapping[str, Recorded]
    warnings: tuple[str, ...]
    caveats: tuple[str, ...]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


class Framing(NamedTuple):
    """How recordings become frames.

    Attributes:
      key: everything but the recordings that shapes the frames, such as ``time_bins``.
      real: additions to the cache key for real recordings.
      pack: (recordings, what corrupts them or None) -> frames.
      frame_shape: (H, W, C).
    """

    key: dict
    real: dict
    pack: Callable[[recordings.Recordings, Change], packing.Frames]
    frame_shape: tuple[int, int, int]


def load(
    published: Published,
    framing: Framing,
    source: str,
    path: str | os.PathLike,
    *,
    train_limit: int = 0,
    test_limit: int = 0,
    seed: int = 0,
    splits: Sequence[str] = ("train", "test"),
) -> Source:
    """A data set from a folder, or simulated.

    Args:
      published: which data set.
      framing: how its recordings become frames.
      source: "folder" reads ``path``; "tonic" prefers the folder that tonic keeps in it;
        "simulated" needs no file; "auto" reads ``path``. If that is the default path and holds no
        recordings, "auto" simulates them, with a warning if it holds anything else.
      path: holds the set as published, or tonic's folder with it.
      train_limit, test_limit: number of recordings to draw at random from each split; 0 takes all.
      seed: of that draw, and of the simulation.
      splits: which to read.

    Raises:
      InputError: there are no recordings at ``path``, or one is damaged.
    """
    both = {"train": train_limit, "test": test_limit}
    limits = {split: both[split] for split in splits}
    if source == "simulated":
        return _simulated(published, framing, limits, seed, ())
    folder = pathlib.Path(path).expanduser()
    inner = folder / published.inner
    places = [inner, folder] if source == "tonic" else [folder, inner]
    for place in places:
        found = {name: published.find(place, name) for name in limits}
        if any(found.values()):
            return _recorded(published, framing, place, found, limits, seed)
    wanted = " or ".join(map(published.wanted, limits))
    if source == "auto" and folder == pathlib.Path(published.path):
        return _simulated(published, framing, limits, seed, _unused(folder, wanted))
    raise InputError(
        f"{folder}: no recordings there; name a folder that holds {wanted}, or fetch "
        f"{published.name} with 'python -m experiments.download{published.flags}', which puts it "
        f"in {published.path}"
    )


def _recorded(published, framing, folder, splits, limits, seed) -> Source:
    recorded, fingerprints, names, notes = {}, [], {}, []
    for name, split in splits.items():
        if split is None:
            continue
        indices = _draw(len(split.names), limits[name], seed)
        # The fingerprint stands for the files, and no path does, so a folder can be moved. The seed
        # counts only where it draws something.
        key = {
            "reader": published.reader,
            "recordings": split.fingerprint,
            "limit": [limits[name], seed] if limits[name] else 0,
        }
        data = published.select(split, indices)
        key |= framing.key | framing.real
        recorded[name] = Recorded(data, key, framing.pack, published.levels)
        fingerprints.append(split.fingerprint)
        names[name] = [split.names[i] for i in indices]
        notes += split.warnings
    frames = {name: where.frames() for name, where in recorded.items()}
    notes += [note for name, each in frames.items() for note in _notes(name, each, names[name])]
    notes += _shared(frames)
    words = f"{published.name}, recordings from {folder} ({_counts(frames)})"
    return _source(
        published, framing, words, False, "+".join(fingerprints), recorded, frames, notes
    )


def _notes(name, frames, names) -> list[str]:
    empty = np.flatnonzero(frames.events_NxC.sum(axis=1) == 0)
    each = len(frames.labels_N) // len(names)  # windows of a recording
    notes = []
    if len(empty):
        first = names[empty[0] // each]
        what = "recordings" if each == 1 else "windows"
        notes.append(f"{name}: {len(empty)} empty {what} are kept, first {first}")
    if frames.unsorted:
        notes.append(f"{name}: {int(frames.unsorted)} recordings ran backwards in time; sorted")
    return notes


def _shared(frames) -> list[str]:
    """A warning if a person is in both splits."""
    people = [set(f.subjects_N.tolist()) for f in frames.values() if f.subjects_N is not None]
    both = set.intersection(*people) if len(people) == 2 else ()
    if not both:
        return []
    return [f"persons in both splits, which should be apart: {len(both)}, first user {min(both)}"]


def _unused(folder, wanted) -> list[str]:
    """A warning if recordings are simulated although the folder holds something else."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [
        f"recordings are simulated: {folder} holds {', '.join(names[:3])}{more}, but not {wanted}"
    ]


def _simulated(published, framing, limits, seed, notes) -> Source:
    recorded = {}
    for name, limit in limits.items():
        key = {"simulation": published.settings(), "split": name, "seed": seed, "limit": limit}
        data = published.simulate(name, seed=seed, limit=limit)
        recorded[name] = Recorded(data, key | framing.key, framing.pack, published.levels)
    frames = {name: where.frames() for name, where in recorded.items()}
    words = f"simulated {published.name}, no real recordings ({_counts(frames)})"
    print_ = f"simulated {seed} {cache.digest(published.settings())}"
    return _source(published, framing, words, True, print_, recorded, frames, notes)


def _source(published, framing, name, simulated, fingerprint, recorded, frames, notes) -> Source:
    own = [published.caveat(frames.get("train"))] if simulated else _own(published, frames)
    return Source(
        name,
        simulated,
        fingerprint,
        framing.frame_shape,
        published.classes,
        published.rises,
        frames.get("train"),
        frames.get("test"),
        recorded,
        tuple(notes),
        (*_people(frames), *own),
    )


def _own(published, frames) -> list[str]:
    """How a test split of real recordings differs from the published one."""
    test = frames.get("test")
    if test is None:
        return []
    lines, absent = [], sorted({*range(len(published.classes))} - {*test.labels_N.tolist()})
    if absent:
        named = ", ".join(published.classes[label] for label in absent)
        lines.append(f"No test recording is of these classes: {named}.")
    foreign = int((test.numbers_N > published.test_files).sum()) if published.test_files else 0
    if foreign:
        lines.append(
            f"The test split is not {published.name}'s own: {foreign} of its recordings have "
            f"numbers above {published.test_files}, which only the training split has there."
        )
    return lines


def _people(frames) -> list[str]:
    """A caveat on intervals, as the test recordings are of few people."""
    test = frames.get("test")
    if test is None or test.subjects_N is None:
        return []
    count = len(np.unique(test.subjects_N))
    return [
        f"The test recordings are of {count} people. Intervals over recordings take each as if it "
        "were of another one, so they are too narrow for people who have not been seen."
    ]


def _counts(frames) -> str:
    return ", ".join(f"{len(f.truth_M)} {name}" for name, f in frames.items())


def _draw(size: int, limit: int, seed: int) -> np.ndarray:
    """All indices, or ``limit`` of them drawn without replacement, in order."""
    if not limit or limit >= size:
        return np.arange(size)
    return np.sort(np.random.default_rng(seed).choice(size, limit, replace=False))
