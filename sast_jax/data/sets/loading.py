"""Where the recordings of a run come from: real ones in a folder, or simulated ones."""

import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sast_jax import files, processes
from sast_jax.data import cache, corruptions, packing, recordings, survey
from sast_jax.data.layouts import finding, split as splits_lib
from sast_jax.data.layouts.split import Split
from sast_jax.data.sets.published import Known, Published
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
      split: the same recordings, to compare them with others; None for simulated ones.
      select: indices of some of them -> these recordings; None for simulated ones.
    """

    recordings: recordings.Recordings
    key: dict
    pack: Callable[[recordings.Recordings, Change], packing.Frames]
    levels: Mapping[str, tuple[float, ...]]
    split: Split | None = None
    select: Callable[[np.ndarray], recordings.Recordings] | None = None

    def frames(self) -> packing.Frames:
        """The frames, from the cache if they have been made before.

        Of several processes, which must all call this, each decodes a share of the recordings, and
        gives its frames to the others.
        """
        key = {name: str(value) for name, value in self.key.items()}
        processes.agree(key, "the recordings that they find", "give all of them the same ones")
        folder, count = cache.folder(), len(self.recordings.labels_N)
        if self.select is None or processes.alone() or count < processes.count():
            return cache.frames(folder, self.key, lambda: self._made(self.recordings))
        found, select = cache.find(folder, self.key), self.select
        if processes.any_says(found is None) or found is None:
            own = processes.own_share(count)
            parts = processes.all_gather(lambda: self._made(select(own)).arrays())
            found = packing.joined([packing.Frames.of(part) for part in parts])
            cache.keep(folder, self.key, found)
        return found

    def _made(self, data):
        watch = survey.Watch()
        watched = data._replace(events=lambda: watch.through(data.events()))
        return self.pack(watched, None)._replace(survey_N=watch.table())

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

    def __repr__(self) -> str:
        """What it is in a line; its arrays would fill the screen."""
        return f"Source: {self.name}"

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def frames(self, split: str) -> packing.Frames:
        """``train`` or ``test``, by its name.

        Raises:
          InputError: there is no such split.
        """
        found = {"train": self.train, "test": self.test}[split]
        if found is None:
            raise InputError(
                f"{self.name}: no {split} split, which a training run needs; add the recordings "
                "or change how they are split"
            )
        return found


class Framing(NamedTuple):
    """How recordings become frames.

    Attributes:
      key: everything but the recordings that shapes the frames, such as ``time_bins``.
      real: additions to the cache key for real recordings.
      pack: (recordings, what corrupts them or None) -> frames.
      frame_shape: (H, W, C).
      expected: what the recordings should be like.
    """

    key: dict
    real: dict
    pack: Callable[[recordings.Recordings, Change], packing.Frames]
    frame_shape: tuple[int, int, int]
    expected: survey.Expected


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
    allow_overlap: bool = False,
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
      allow_overlap: warn of recordings that are in both splits, rather than refuse them.

    Raises:
      InputError: there are no recordings at ``path``, one is damaged, or both splits share some.
    """
    both = {"train": train_limit, "test": test_limit}
    limits = {split: both[split] for split in splits}
    if source == "simulated":
        return _simulated(published, framing, limits, seed, ())
    folder = files.place(path)
    if found := located(published, folder, tuple(limits), source == "tonic"):
        place, parts = found
        words = f"recordings from {place}"
        return of_splits(published, framing, parts, words, limits, seed, allow_overlap)
    wanted = " or ".join(map(published.wanted, limits))
    like = None if _has_a_split(published, folder) else finding.like_recordings(folder)
    if source == "auto" and folder == pathlib.Path(published.path) and like is None:
        return _simulated(published, framing, limits, seed, _unused(folder, wanted))
    there = "no recordings there"
    if like is not None:
        unpack = ", which may have to be unpacked" if like.endswith(finding.ARCHIVES) else ""
        there = f"no recordings found; there is {like}{unpack}"
    raise InputError(
        f"{folder}: {there}; name a folder that holds {wanted}, or fetch {published.name} with "
        f"'python -m experiments.download{published.flags}', which puts it in {published.path}"
    )


def _has_a_split(published, folder) -> bool:
    """Whether a folder holds a split, though none of those that are asked for."""
    try:
        return located(published, folder, ("train", "test")) is not None
    except InputError:  # there is one, and something is wrong with it
        return True


def located(
    published: Published, folder: pathlib.Path, splits: Sequence[str], tonic: bool = False
) -> tuple[pathlib.Path, dict[str, Split | None]] | None:
    """The folder that holds recordings of a set, and its splits; None if there are none.

    Args:
      published: which set.
      folder: this folder, or one in it.
      splits: to look for.
      tonic: look into the folder that tonic keeps first.

    Raises:
      InputError: recordings lie in several folders.
    """
    inner = finding.places(folder)[1:]
    tonics = [place for place in inner if place.name.lower() == published.inner.lower()]
    others = [place for place in inner if place not in tonics]
    found: dict[pathlib.Path, dict[str, Split | None]] = {}
    # One folder after another; what lies beside a folder with recordings is nobody's business.
    for places in ([*tonics], [folder], others) if tonic else ([folder], tonics, others):
        if not found:
            each = {p: {name: published.find(p, name) for name in splits} for p in places}
            found = {place: both for place, both in each.items() if any(both.values())}
    if not found:
        return None
    first = next(iter(found))
    if len(found) > 1:
        some = " and ".join(str(place) for place in list(found)[:2])
        raise InputError(f"{folder}: recordings lie in {some}; name one of these folders")
    return first, found[first]


def of_splits(
    known: Known,
    framing: Framing,
    splits: Mapping[str, Split | None],
    words: str,
    limits: Mapping[str, int],
    seed: int,
    allow_overlap: bool,
) -> Source:
    """A data set of real recordings.

    Args:
      known: what is known of it.
      framing: how its recordings become frames.
      splits: its recordings; None for a split that is not there.
      words: where they are from.
      limits, seed, allow_overlap: see :func:`load`.

    Raises:
      InputError: a recording is damaged, or both splits share some.
    """
    recorded, fingerprints, names, notes = {}, [], {}, copies(splits, allow_overlap)
    for name, split in splits.items():
        if split is None:
            continue
        indices = _draw(len(split.names), limits[name], seed)
        # The fingerprint stands for the files, and no path does, so a folder can be moved. The seed
        # counts only where it draws something.
        key = {
            "reader": known.reader,
            "recordings": split.fingerprint,
            "limit": [limits[name], seed] if limits[name] else 0,
        }
        data = known.select(split, indices)
        # Kept with the frames, so that frames of other labels or persons are others.
        columns = [c for c in (data.labels_N, data.subjects_N) if c is not None]
        key["labels"] = cache.digest({"labels": [column.tolist() for column in columns]})
        key |= framing.key | framing.real
        own = splits_lib.part(split, indices)
        select = functools.partial(_those, known, split, indices)
        recorded[name] = Recorded(data, key, framing.pack, known.levels, own, select)
        fingerprints.append(split.fingerprint)
        names[name] = own.names
        notes += (*split.unread, *split.warnings)
    frames = {name: where.frames() for name, where in recorded.items()}
    for name, each in frames.items():
        notes += _notes(name, each, names[name], framing.expected)
    notes += _people_shared(frames) + _classes_apart(known, frames)
    named = f"{known.name}, {words} ({_counts(frames)})"
    return _source(known, framing, named, False, "+".join(fingerprints), recorded, frames, notes)


def _those(known, split, indices, some) -> recordings.Recordings:
    """Some of the recordings that were drawn."""
    return known.select(split, indices[some])


def copies(splits, allow_overlap) -> list[str]:
    """Warnings of recordings that are there twice.

    Raises:
      InputError: some are in both splits, and that is not allowed.
    """
    notes, there = [], {name: split for name, split in splits.items() if split is not None}
    for name, split in there.items():
        if pairs := splits_lib.repeated(split):
            copy, first = (split.names[i] for i in pairs[0])
            notes.append(f"{name}: {len(pairs)} recordings are copies, first {copy} of {first}")
            apart = [(i, j) for i, j in pairs if split.labels_N[i] != split.labels_N[j]]
            if apart:
                copy, first = (split.names[i] for i in apart[0])
                notes.append(
                    f"{name}: {len(apart)} of the copies are of another class, first {copy} of "
                    f"{first}"
                )
    if {"train", "test"} <= there.keys():
        test, train = there["test"], there["train"]
        if pairs := splits_lib.shared(test, train):
            i, j = pairs[0]
            both = (
                f"{len(pairs)} of {len(test.names)} test recordings are training recordings as "
                f"well, first {test.names[i]} as {train.names[j]}"
            )
            if not allow_overlap:
                raise InputError(
                    f"{both}; a test on them measures nothing: take them out of one split, or "
                    "insist with --config.data.allow_overlap=True"
                )
            notes.append(both)
    return notes


def _classes_apart(known, frames) -> list[str]:
    """Warnings of classes that one split lacks and the other has."""
    notes, own = [], {name: {*each.labels_N.tolist()} for name, each in frames.items()}
    if len(own) == 2:
        for name, other in (("train", "test"), ("test", "train")):
            if absent := sorted(own[other] - own[name]):
                named = ", ".join(known.classes[label] for label in absent)
                notes.append(
                    f"{name}: no recording is of these classes of the {other} split: {named}"
                )
    return notes


def _notes(name, frames, names, expected) -> list[str]:
    empty = np.flatnonzero(frames.events_NxC.sum(axis=1) == 0)
    each = len(frames.labels_N) // len(names)  # windows of a recording
    notes, what = [], "recordings" if each == 1 else "windows"
    if len(empty):
        first = names[empty[0] // each]
        notes.append(f"{name}: {len(empty)} empty {what} are kept, first {first}")
    if expected.least > 1:
        none = np.setdiff1d(np.flatnonzero(~frames.packed_NxTxP.any(axis=(1, 2))), empty)
        if len(none):
            notes.append(
                f"{name}: {len(none)} {what} hold events, but no pixel of a frame has "
                f"{expected.least} of them, first {names[none[0] // each]}"
            )
    if frames.unsorted:
        notes.append(f"{name}: {int(frames.unsorted)} recordings ran backwards in time; sorted")
    if frames.survey_N is not None:
        notes += [f"{name}: {line}" for line in survey.warnings(frames.survey_N, names, expected)]
    return notes


def _people_shared(frames) -> list[str]:
    """A warning if a person is in both splits."""
    people = [set(f.subjects_N.tolist()) for f in frames.values() if f.subjects_N is not None]
    both = set.intersection(*people) if len(people) == 2 else ()
    if not both:
        return []
    return [f"persons in both splits, which should be apart: {len(both)}, first user {min(both)}"]


def _unused(folder, wanted) -> list[str]:
    """A warning if recordings are simulated although the folder holds something else."""
    found = folder.iterdir() if folder.is_dir() else ()
    names = sorted(path.name for path in found if not path.name.startswith("."))
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


def _source(known, framing, name, simulated, fingerprint, recorded, frames, notes) -> Source:
    own = [known.caveat(frames.get("train"))] if simulated else _own(known, frames)
    return Source(
        name,
        simulated,
        fingerprint,
        framing.frame_shape,
        known.classes,
        known.rises,
        frames.get("train"),
        frames.get("test"),
        recorded,
        tuple(notes),
        (*_people(frames), *known.caveats, *own),
    )


def _own(known, frames) -> list[str]:
    """How a test split of real recordings differs from the published one."""
    test = frames.get("test")
    if test is None:
        return []
    lines, absent = [], sorted({*range(len(known.classes))} - {*test.labels_N.tolist()})
    if absent:
        named = ", ".join(known.classes[label] for label in absent)
        lines.append(f"No test recording is of these classes: {named}.")
    foreign = int((test.numbers_N > known.test_files).sum()) if known.test_files else 0
    if foreign:
        lines.append(
            f"The test split is not {known.name}'s own: {foreign} of its recordings have "
            f"numbers above {known.test_files}, which only the training split has there."
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
