"""Recordings of every data set: their events, and what they extend over."""

import hashlib
import pathlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sast_jax.errors import InputError

SENSOR_HEIGHT, SENSOR_WIDTH, POLARITIES = 34, 34, 2
DURATION = 310_000  # microseconds that the bins of a recording cover


class Extent(NamedTuple):
    """What recordings extend over: pixels from top to bottom, from left to right, microseconds."""

    height: int
    width: int
    duration: int


class Extents(NamedTuple):
    """As :class:`Extent`, of N recordings that each have a duration (N,) of their own."""

    height: int
    width: int
    duration: np.ndarray


NMNIST = Extent(SENSOR_HEIGHT, SENSOR_WIDTH, DURATION)


class Outside(NamedTuple):
    """Events that lay outside the sensor and were left out.

    Attributes:
      count_N: their number in each recording.
      x_N, y_N: the largest pixels of each recording.
    """

    count_N: np.ndarray
    x_N: np.ndarray
    y_N: np.ndarray


class Events(NamedTuple):
    """Events of N recordings, one recording after another, each sorted by time.

    Attributes:
      recording_M: index of the recording that an event belongs to.
      t_M: microseconds since the recording began.
      x_M, y_M: pixels from the left and from the top.
      p_M: polarity bit of the file; its meaning depends on the data set.
      unsorted_N: whether the times of each recording ran backwards in the file.
      outside: what was left out; None for nothing.
    """

    recording_M: np.ndarray
    t_M: np.ndarray
    x_M: np.ndarray
    y_M: np.ndarray
    p_M: np.ndarray
    unsorted_N: np.ndarray
    outside: Outside | None = None

    def those(self, kept_M: np.ndarray) -> "Events":
        """The events at these indices, or those of a mask."""
        columns = {name: getattr(self, name)[kept_M] for name in COLUMNS}
        return self._replace(**columns)


COLUMNS = ("recording_M", "t_M", "x_M", "y_M", "p_M")  # of Events, with an entry for each event


class Recordings(NamedTuple):
    """Recordings; their events are read when they are asked for, as often as needed.

    Attributes:
      labels_N, numbers_N: class of each, and number of its file, -1 for none.
      seeds_N: seed of each for random draws, which does not depend on the other recordings.
      events: gives the events of all, some recordings at a time, in order.
      extent: of each.
      subjects_N: the person seen in each; None for recordings without people.
      windows: number of rows, next to one another, that are windows of one recording.
    """

    labels_N: np.ndarray
    numbers_N: np.ndarray
    seeds_N: np.ndarray
    events: Callable[[], Iterable[Events]]
    extent: Extent = NMNIST
    subjects_N: np.ndarray | None = None
    windows: int = 1


def seeded(data: Recordings) -> Iterator[tuple[Events, np.ndarray]]:
    """The events, some recordings at a time, and the seeds of these."""
    start = 0
    for events in data.events():
        size = len(events.unsorted_N)
        yield events, data.seeds_N[start : start + size]
        start += size


def take(data: Recordings, indices: np.ndarray) -> Recordings:
    """Some of the recordings.

    Args:
      data: all of them.
      indices: which, (N,), ascending.
    """
    chosen = np.isin(np.arange(len(data.labels_N)), indices)

    def events():
        start = 0
        for part in data.events():
            own_N = chosen[start : start + len(part.unsorted_N)]
            start += len(own_N)
            if not own_N.any():
                continue
            number_M = (np.cumsum(own_N) - 1)[part.recording_M]
            kept = part._replace(recording_M=number_M).those(own_N[part.recording_M])
            outside = part.outside and Outside(*(column[own_N] for column in part.outside))
            yield kept._replace(unsorted_N=part.unsorted_N[own_N], outside=outside)

    return with_each(data, lambda x_N: x_N[chosen])._replace(events=events)


def with_each(data: Recordings, change: Callable[[np.ndarray], np.ndarray]) -> Recordings:
    """The recordings with a change of each column: labels, numbers, seeds and persons."""
    return data._replace(
        labels_N=change(data.labels_N),
        numbers_N=change(data.numbers_N),
        seeds_N=change(data.seeds_N),
        subjects_N=None if data.subjects_N is None else change(data.subjects_N),
    )


def seed(name: str) -> int:
    """The seed of a recording, made from its name alone."""
    return zlib.crc32(name.encode(errors="surrogateescape"))


def fingerprint(text: str) -> str:
    """A digest of some lines; names of files need not be text."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def in_order(events: Events) -> Events:
    """The events sorted by recording and time; equal times keep their order."""
    return events.those(np.lexsort((events.t_M, events.recording_M)))


def joined(each: Sequence[Sequence[np.ndarray]]) -> Events:
    """The events of some recordings, each sorted by time.

    Args:
      each: t, x, y and p of each recording; its times need not be in order.
    """
    recording_M = np.repeat(np.arange(len(each), dtype=np.int32), [len(own[0]) for own in each])
    t_M, x_M, y_M, p_M = (np.concatenate(column) for column in zip(*each, strict=True))
    unsorted_N = np.array([bool((np.diff(own[0]) < 0).any()) for own in each])
    events = Events(recording_M, t_M, x_M, y_M, p_M, unsorted_N)
    return in_order(events) if unsorted_N.any() else events


def within(events: Events, extent: Extent, names: Sequence[str], what: str) -> Events:
    """The events on the sensor; others are left out and counted.

    Args:
      events: of N recordings.
      extent: of the sensor.
      names: of the recordings, for messages.
      what: what a file that fits may be, such as "N-MNIST".

    Raises:
      InputError: half of a recording's events or more lie outside.
    """
    outside_M = (events.x_M >= extent.width) | (events.y_M >= extent.height)
    if not outside_M.any():
        return events
    N = len(events.unsorted_N)
    count_N = np.bincount(events.recording_M[outside_M], minlength=N)
    all_N = np.bincount(events.recording_M, minlength=N)
    wrong_N = (count_N > 0) & (2 * count_N >= all_N)
    if wrong_N.any():
        bad = int(wrong_N.argmax())
        first = int(np.argmax(outside_M & (events.recording_M == bad)))
        more = f" and {count_N[bad] - 1} others" if count_N[bad] > 1 else ""
        raise InputError(
            f"{names[bad]}: an event at x={events.x_M[first]}, y={events.y_M[first]} lies outside "
            f"the {extent.width}x{extent.height} sensor{more}; the file is damaged or not {what}"
        )
    largest = []
    for column in (events.x_M, events.y_M):
        reached_N = np.zeros(N, np.int32)
        np.maximum.at(reached_N, events.recording_M, column)
        largest.append(reached_N)
    return events.those(~outside_M)._replace(outside=Outside(count_N, *largest))


def stamp(path: pathlib.Path, root: pathlib.Path) -> str:
    """A line that changes when a file does, for fingerprints: name below root, size, and time."""
    stat = path.stat()
    return f"{path.relative_to(root)} {stat.st_size} {stat.st_mtime_ns}\n"
