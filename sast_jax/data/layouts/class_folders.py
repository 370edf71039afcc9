"""Recordings in a folder for each class, in whatever event formats.

Files lie in ``<class>/`` or deeper, in ``train/`` and ``test/`` or without. Which files are
recordings is told by their content (:mod:`sast_jax.data.formats`). Each is read once to learn what
it holds; that is kept in the cache.
"""

import hashlib
import os
import pathlib
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sast_jax.data import cache, recordings, survey
from sast_jax.data.formats import Stream, identify, read
from sast_jax.data.formats.text import decoded
from sast_jax.data.layouts import finding
from sast_jax.data.layouts.split import Split
from sast_jax.data.parallel import mapped
from sast_jax.errors import InputError

READER = 1  # part of cache keys: raise it when files are read otherwise
_SPLITS = ("train", "test")
_CHUNK = 16  # recordings that are in memory together
_TEXTS = (".txt", ".csv", ".tsv")  # papers elsewhere, recordings within a class


class Reading(NamedTuple):
    """How files are read: see :func:`sast_jax.data.formats.read`."""

    order: str = ""
    unit: str = ""


class File(NamedTuple):
    """A recording's file.

    Attributes:
      path: where it is.
      name: below the folder of all.
      split: "train", "test", or "" where folders do not say.
      label: name of its class.
    """

    path: pathlib.Path
    name: str
    split: str
    label: str

    @property
    def stem(self) -> str:
        """Class and name without ending: the same in whatever format and split."""
        return f"{self.label}/{pathlib.PurePath(self.name).stem}"


class Found(NamedTuple):
    """The recordings below a folder.

    Attributes:
      files: in order of class and name.
      facts: what each holds, as :func:`facts_of` says.
      warnings: what is there and not read, one line each.
    """

    files: tuple[File, ...]
    facts: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]


def find(folder: str | os.PathLike, reading: Reading) -> Found:
    """Looks for recordings below a folder, and at what they hold.

    Raises:
      InputError: there are none, classes or splits cannot be told, or a recording is damaged.
    """
    root = pathlib.Path(folder)
    try:
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; name one with a folder for each class")
        files, notes = _files(root)
        lines = "".join(f"{f.name} {recordings.stamp(f.path, root)}" for f in files)
        key = {"facts of": hashlib.sha256(lines.encode()).hexdigest(), "reader": READER}
        key |= reading._asdict()
        work = [(str(f.path), *reading) for f in files]
        make = lambda: list(mapped(facts_of, work, "looking at recordings"))  # noqa: E731
        facts = cache.listing(cache.folder(), key, make)
        files, facts, notes = _recordings(root, files, facts, notes)
    except OSError as error:
        raise InputError(f"cannot read {error.filename or root}: {error.strerror}") from error
    return Found(files, facts, notes)


def facts_of(work: tuple[str, str, str]) -> dict[str, Any]:
    """What a file (path, order, unit) holds, as values that JSON can hold.

    Its format, the number of events, the first and the last time, how many are ON, the size of the
    sensor and whether the file states it, a number for its content, and what is odd. The format is
    "" for a file that is no recording, and does not look like one.

    Raises:
      InputError: a recording is damaged, or its ending says that it is one, but not its content.
    """
    path, order, unit = work
    kind = ""
    try:
        kind = identify(path)
        stream = read(path, order=order, unit=unit)
    except InputError:
        # Its ending or its first bytes say that it is one; but much that is none begins as text.
        if path.lower().endswith((*finding.ENDINGS, *_TEXTS)) or kind not in ("", "text"):
            raise
        return {"format": ""}
    events = as_events(stream)
    row = survey.of_events(events)[0]
    some = len(stream.t_M) > 0
    reached = [int(column.max()) + 1 if some else 0 for column in (stream.y_M, stream.x_M)]
    height, width = stream.sensor or reached
    since_M = events.t_M - row["first"]
    content = zlib.crc32(since_M.tobytes())
    for column in (events.x_M, events.y_M, events.p_M):
        content = zlib.crc32(column.tobytes(), content)
    return {
        "format": stream.format,
        "events": len(stream.t_M),
        "first": int(row["first"]),
        "last": int(row["last"]),
        "on": int(row["on"]),
        "height": max(height, reached[0]),
        "width": max(width, reached[1]),
        "stated": stream.sensor is not None,
        "content": len(stream.t_M) << 32 | content if some else 0,
        "odd": list(stream.odd),
    }


def as_events(stream: Stream) -> recordings.Events:
    """The events of one recording, sorted by time, then by row, column and polarity.

    Formats order events of one time in different ways, and a recording is the same in each.
    """
    backwards = bool((np.diff(stream.t_M) < 0).any())
    columns = stream.t_M, stream.x_M, stream.y_M, stream.p_M
    events = recordings.Events(np.zeros(len(stream.t_M), np.int32), *columns, np.array([backwards]))
    place_M = stream.y_M.astype(np.int64) << 17 | stream.x_M.astype(np.int64) << 1 | stream.p_M
    # One number a sort is faster than four; 30 bits of it are left for the time.
    since_M = stream.t_M - (stream.t_M.min() if len(stream.t_M) else 0)
    if since_M.max(initial=0) < 2**30:
        key_M = since_M << 33 | place_M
        if (np.diff(key_M) >= 0).all():
            return events
        return events.those(np.argsort(key_M, kind="stable"))
    return events.those(np.lexsort((place_M, since_M)))


def split_of(
    found: Found,
    chosen: Sequence[int],
    classes: Sequence[str],
    reading: Reading,
    subjects: Sequence[int] | None,
    notes: Sequence[str],
) -> Split:
    """Some of the recordings as a split."""
    files = [found.files[i] for i in chosen]
    contents = np.array([found.facts[i]["content"] for i in chosen], np.int64)
    lines = "".join(
        f"{file.stem} {content}\n" for file, content in zip(files, contents, strict=True)
    )

    def streams(indices) -> Iterator[Stream]:
        for i in indices:
            yield read(files[i].path, order=reading.order, unit=reading.unit)

    return Split(
        tuple(str(file.path) for file in files),
        np.array([classes.index(file.label) for file in files]),
        hashlib.sha256(f"{reading} {lines}".encode()).hexdigest(),
        streams,
        lambda: contents,
        same=_same,
        subjects_N=None if subjects is None else np.array([subjects[i] for i in chosen]),
        warnings=tuple(notes),
    )


def _same(one: Stream, other: Stream) -> bool:
    both = as_events(one), as_events(other)
    first, second = ([e.t_M - e.t_M[:1], e.x_M, e.y_M, e.p_M] for e in both)
    return all(map(np.array_equal, first, second))


def select(
    split: Split, indices: np.ndarray, seeds: Sequence[int], extent: recordings.Extent, rebase: bool
) -> recordings.Recordings:
    """Some recordings of a split, read a few at a time.

    Args:
      split: from :func:`split_of`.
      indices: which, (N,).
      seeds: of the recordings of the split, for random draws.
      extent: of each.
      rebase: count times from the first event of each recording; else events before 0 are left out.
    """

    def events():
        for start in range(0, len(indices), _CHUNK):
            part = indices[start : start + _CHUNK]
            names = [split.names[i] for i in part]
            yield _together([as_events(s) for s in split.read(part)], names, extent, rebase)

    return recordings.Recordings(
        split.labels_N[indices].astype(np.int32),
        np.full(len(indices), -1),
        np.array([seeds[i] for i in indices]),
        events,
        extent,
        None if split.subjects_N is None else split.subjects_N[indices],
    )


def listed(path: str | os.PathLike, found: Found) -> list[int]:
    """Indices of the recordings that a text file names, a line each, by name below the folder.

    Raises:
      InputError: it names one that is not there, or none.
    """
    try:
        names = decoded(pathlib.Path(path).read_bytes(), str(path)).split("\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    wanted = [name.strip().replace("\\", "/") for name in names if name.strip()]
    index = {file.name: i for i, file in enumerate(found.files)}
    missing = [name for name in wanted if name not in index]
    if missing or not wanted:
        first = f", first {missing[0]}" if missing else ""
        raise InputError(
            f"{path}: {len(missing)} of its {len(wanted)} lines name no recording{first}; a line "
            f"is the name below the folder, such as {found.files[0].name}"
        )
    return sorted({index[name] for name in wanted})


def persons(pattern: str, found: Found) -> tuple[list[int], list[str]]:
    """A number for the person in the name of each recording, and the names of the persons.

    Args:
      pattern: a regular expression whose first group is the person.
      found: the recordings.

    Raises:
      InputError: it is no such expression, or does not match a name.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"config.data.person={pattern!r} must be a regular expression ({error})"
        ) from error
    if not compiled.groups:
        raise InputError(
            f"config.data.person={pattern!r} must hold a group, such as 'user([0-9]+)'"
        )
    matches = [compiled.search(file.name) for file in found.files]
    if None in matches:
        name = found.files[matches.index(None)].name
        raise InputError(f"config.data.person={pattern!r} matches nothing in {name!r}")
    named = [match[1] for match in matches]
    everyone = sorted(set(named), key=_natural)
    return [everyone.index(name) for name in named], everyone


def class_names(files: Sequence[File]) -> tuple[str, ...]:
    """The classes of some files, numbers in order of size."""
    return tuple(sorted({file.label for file in files}, key=_natural))


def _natural(name: str):
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _files(root) -> tuple[list[File], list[str]]:
    """Files that may be recordings, and others."""
    splits = {name: finding.named(root, name) for name in _SPLITS}
    splits = {name: path for name, path in splits.items() if path is not None and path.is_dir()}
    files, others = [], []
    for split, top in (splits or {"": root}).items():
        for path in finding.files(top):
            inside = path.relative_to(top).parts
            if len(inside) > 1 and not _is_paper(path):
                files.append(File(path, path.relative_to(root).as_posix(), split, inside[0]))
            else:
                others.append(path.relative_to(root).as_posix())
    if splits:
        others += [path.name for path in sorted(root.iterdir()) if path not in splits.values()]
    files.sort(key=lambda file: (file.split == "test", _natural(file.label), file.name))
    return files, others


def _recordings(root, files, facts, others):
    """Those of the files that are recordings, and warnings of what is not read."""
    others += [f.name for f, fact in zip(files, facts, strict=True) if not fact["format"]]
    both = [(f, fact) for f, fact in zip(files, facts, strict=True) if fact["format"]]
    if not both:
        there = finding.like_recordings(root)
        raise InputError(
            f"{root}: no recordings in folders; put those of a class into a folder with its name"
            + (f" (there is {there})" if there else "")
        )
    notes = finding.unread(root, others, lambda _: False)
    return *(tuple(each) for each in zip(*both, strict=True)), notes


def _is_paper(path) -> bool:
    ending = path.suffix.lower()
    named = path.name.upper().startswith(("README", "LICENSE"))
    return named or (ending in finding.PAPERS and ending not in _TEXTS)


def _together(each, names, extent, rebase) -> recordings.Events:
    """The events of several recordings as of one chunk, on the sensor and from time 0 on."""
    counts = [len(own.t_M) for own in each]
    columns = {
        name: np.concatenate([getattr(own, name) for own in each]) for name in recordings.COLUMNS
    }
    columns["recording_M"] = np.repeat(np.arange(len(each), dtype=np.int32), counts)
    unsorted_N = np.array([bool(own.unsorted_N[0]) for own in each])
    if rebase:
        first = [int(own.t_M[0]) if len(own.t_M) else 0 for own in each]
        columns["t_M"] = columns["t_M"] - np.repeat(np.array(first, np.int64), counts)
    events = recordings.Events(**columns, unsorted_N=unsorted_N)
    events = recordings.within(events, extent, names, "of this sensor")
    early_M = events.t_M < 0
    if early_M.any():
        bad = names[int(events.recording_M[early_M.argmax()])]
        raise InputError(
            f"{bad}: an event at {int(events.t_M[early_M][0])} microseconds, before time 0; count "
            "times from the first event with --config.data.rebase=True"
        )
    return events
