"""Recordings of every data set: their events, and what they extend over."""

import pathlib
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

SENSOR_HEIGHT, SENSOR_WIDTH, POLARITIES = 34, 34, 2
DURATION = 310_000  # microseconds that the bins of a recording cover


class Extent(NamedTuple):
    """What recordings extend over: pixels from top to bottom, from left to right, microseconds."""

    height: int
    width: int
    duration: int


NMNIST = Extent(SENSOR_HEIGHT, SENSOR_WIDTH, DURATION)


class Events(NamedTuple):
    """Events of N recordings, one recording after another, each sorted by time.

    Attributes:
      recording_M: index of the recording that an event belongs to.
      t_M: microseconds since the recording began.
      x_M, y_M: pixels from the left and from the top.
      p_M: polarity bit of the file; its meaning depends on the data set.
      unsorted_N: whether the times of each recording ran backwards in the file.
    """

    recording_M: np.ndarray
    t_M: np.ndarray
    x_M: np.ndarray
    y_M: np.ndarray
    p_M: np.ndarray
    unsorted_N: np.ndarray


class Recordings(NamedTuple):
    """Recordings; their events are read when they are asked for, as often as needed.

    Attributes:
      labels_N, numbers_N: class of each, and number of its file, -1 for none.
      seeds_N: seed of each for random draws, which does not depend on the other recordings.
      events: yields the events of all, some recordings at a time, in order.
      extent: of each.
      subjects_N: the person seen in each; None for recordings without people.
      windows: number of rows, next to one another, that are windows of one recording.
    """

    labels_N: np.ndarray
    numbers_N: np.ndarray
    seeds_N: np.ndarray
    events: Callable[[], Iterator[Events]]
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
            kept_M = own_N[part.recording_M]
            number_M = (np.cumsum(own_N) - 1)[part.recording_M]
            *columns, unsorted_N = part._replace(recording_M=number_M)
            yield Events(*(column[kept_M] for column in columns), unsorted_N[own_N])

    return with_each(data, lambda x_N: x_N[chosen])._replace(events=events)


def with_each(data: Recordings, change: Callable[[np.ndarray], np.ndarray]) -> Recordings:
    """The recordings with a change of each column: labels, numbers, seeds and persons."""
    columns = ("labels_N", "numbers_N", "seeds_N", "subjects_N")
    each = {name: getattr(data, name) for name in columns}
    return data._replace(**{name: change(x) for name, x in each.items() if x is not None})


def seed(name: str) -> int:
    """The seed of a recording, made from its name alone."""
    return zlib.crc32(name.encode())


def in_order(events: Events) -> Events:
    """The events sorted by recording and time; equal times keep their order."""
    *columns, unsorted_N = events
    order = np.lexsort((events.t_M, events.recording_M))
    return Events(*(column[order] for column in columns), unsorted_N)


def stamp(path: pathlib.Path, root: pathlib.Path) -> str:
    """A line that changes when a file does, for fingerprints: name below root, size, and time."""
    stat = path.stat()
    return f"{path.relative_to(root)} {stat.st_size} {stat.st_mtime_ns}\n"
