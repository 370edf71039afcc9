"""Recordings gathered from a folder or from a library, what each holds, and their splits."""

import hashlib
import os
import pathlib
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sast_jax.data import recordings, survey
from sast_jax.data.formats import Stream
from sast_jax.data.formats.text import decoded
from sast_jax.data.layouts.split import Split
from sast_jax.data.parallel import mapped
from sast_jax.errors import InputError

_CHUNK = 16  # recordings that are in memory together


class Item(NamedTuple):
    """A recording.

    Attributes:
      name: below the folder of all.
      where: for messages.
      split: "train", "test", or "" where nothing says.
      label: name of its class.
    """

    name: str
    where: str
    split: str
    label: str

    @property
    def stem(self) -> str:
        """Class and name without ending: the same in whatever format and split."""
        return f"{self.label}/{pathlib.PurePath(self.name).stem}"


class Gathered(NamedTuple):
    """Recordings of a set.

    Attributes:
      items: in order.
      facts: what each holds, as :func:`facts_of` says.
      classes: their names.
      sources: of the items, what ``read`` takes.
      read: a source -> the events of that recording; it can be sent to another process.
      reading: changes when the same recordings would be read otherwise.
      warnings: what is there and not read, one line each.
      polarities: kinds of polarity that a recording has.
    """

    items: tuple[Item, ...]
    facts: tuple[dict[str, Any], ...]
    classes: tuple[str, ...]
    sources: tuple[Any, ...]
    read: Callable[[Any], Stream]
    reading: str
    warnings: tuple[str, ...] = ()
    polarities: int = 2


def facts_of(stream: Stream) -> dict[str, Any]:
    """What a recording holds, as values that JSON can hold.

    Its format, the number of events, the first and the last time, the size of the sensor and
    whether it is stated, a number for its content, and what is odd.
    """
    events = as_events(stream)
    row = survey.of_events(events)[0]
    some = len(stream.t_M) > 0
    reached = [int(column.max()) + 1 if some else 0 for column in (stream.y_M, stream.x_M)]
    height, width = stream.sensor or reached
    content = zlib.crc32((events.t_M - row["first"]).tobytes())
    for column in (events.x_M, events.y_M, events.p_M):
        content = zlib.crc32(column.tobytes(), content)
    return {
        "format": stream.format,
        "events": len(stream.t_M),
        "first": int(row["first"]),
        "last": int(row["last"]),
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
    found: Gathered,
    chosen: Sequence[int],
    classes: Sequence[str],
    subjects: Sequence[int] | None,
    notes: Sequence[str],
) -> Split:
    """Some of the recordings as a split."""
    items = [found.items[i] for i in chosen]
    contents = np.array([found.facts[i]["content"] for i in chosen], np.int64)
    both = zip(items, contents.tolist(), strict=True)
    lines = "".join(f"{item.stem} {content}\n" for item, content in both)

    def streams(indices) -> Iterator[recordings.Events]:
        sources = [found.sources[chosen[i]] for i in indices]
        work = [(found.read, sources[at : at + _CHUNK]) for at in range(0, len(sources), _CHUNK)]
        for part in mapped(_events_of, work, "packing", few=_CHUNK):
            yield from part

    return Split(
        tuple(item.where for item in items),
        np.array([classes.index(item.label) for item in items]),
        hashlib.sha256(f"{found.reading} {lines}".encode()).hexdigest(),
        streams,
        lambda: contents,
        same=_same,
        subjects_N=None if subjects is None else np.array([subjects[i] for i in chosen]),
        warnings=tuple(notes),
    )


def _events_of(work: tuple[Callable, Sequence[Any]]) -> list[recordings.Events]:
    read, sources = work
    return [as_events(read(source)) for source in sources]


def _same(one: recordings.Events, other: recordings.Events) -> bool:
    first, second = ([e.t_M - e.t_M[:1], e.x_M, e.y_M, e.p_M] for e in (one, other))
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
        each = split.read(indices)
        for start in range(0, len(indices), _CHUNK):
            names = [split.names[i] for i in indices[start : start + _CHUNK]]
            yield _together([next(each) for _ in names], names, extent, rebase)

    return recordings.Recordings(
        split.labels_N[indices].astype(np.int32),
        np.full(len(indices), -1),
        np.array([seeds[i] for i in indices]),
        events,
        extent,
        None if split.subjects_N is None else split.subjects_N[indices],
    )


def listed(path: str | os.PathLike, found: Gathered) -> list[int]:
    """Indices of the recordings that a text file names, a line each, by name below the folder.

    Raises:
      InputError: it names one that is not there, or none.
    """
    try:
        names = decoded(pathlib.Path(path).read_bytes(), str(path)).split("\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    wanted = [name.strip().replace("\\", "/") for name in names if name.strip()]
    index = {item.name: i for i, item in enumerate(found.items)}
    missing = [name for name in wanted if name not in index]
    if missing or not wanted:
        first = f", first {missing[0]}" if missing else ""
        raise InputError(
            f"{path}: {len(missing)} of its {len(wanted)} lines name no recording{first}; a line "
            f"is the name below the folder, such as {found.items[0].name}"
        )
    return sorted({index[name] for name in wanted})


def persons(pattern: str, found: Gathered) -> tuple[list[int], list[str]]:
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
    matches = [compiled.search(item.name) for item in found.items]
    if None in matches:
        name = found.items[matches.index(None)].name
        raise InputError(f"config.data.person={pattern!r} matches nothing in {name!r}")
    named = [match[1] for match in matches]
    everyone = sorted(set(named), key=natural)
    return [everyone.index(name) for name in named], everyone


def natural(name: str) -> tuple:
    """A key that sorts numbers by size and names by letters."""
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


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
