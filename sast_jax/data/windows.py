"""Windows of long recordings, on fewer pixels; frames of gestures are made of them."""

from collections.abc import Callable, Iterator

import numpy as np

from sast_jax.data import recordings
from sast_jax.data.recordings import Events, Extent, Recordings

WHOLE = 6_000_000  # microseconds that a whole recording is stretched or shrunk to


def cut(
    data: Recordings,
    *,
    window: int,
    count: int,
    shrink: int,
    change: Callable[..., Events] | None = None,
) -> Recordings:
    """Windows of each recording, evenly spread from its first event to its last.

    A recording that is shorter than a window gives the same window several times. The windows of a
    recording are next to one another, and keep its label, number, seed and subject.

    Args:
      data: the recordings.
      window: length in microseconds; 0 for the whole recording, stretched or shrunk to ``WHOLE``.
      count: windows of a recording; 1 for the whole recording.
      shrink: pixels of a row and of a column that become one; see :func:`merged`.
      change: corrupts the recordings before they are cut, at the sensor's resolution; see
        :func:`sast_jax.data.corruptions.corrupted`. It does not move the windows.
    """

    def events() -> Iterator[Events]:
        for chunk, seeds in recordings.seeded(data):
            start_N, length_N = _span(chunk)
            chunk = chunk._replace(t_M=chunk.t_M - start_N[chunk.recording_M])
            if change is not None:
                extent = recordings.Extents(data.extent.height, data.extent.width, length_N)
                chunk = change(chunk, seeds_N=seeds, extent=extent)
            if window == 0:
                yield _stretched(chunk, length_N)
            else:
                yield _cut(chunk, length_N, window, count)

    windows = recordings.with_each(data, lambda x_N: np.repeat(x_N, count))._replace(
        events=events, extent=data.extent._replace(duration=window or WHOLE), windows=count
    )
    return merged(windows, shrink)


def merged(data: Recordings, shrink: int) -> Recordings:
    """The same recordings, of which a block of pixels is one pixel; all events are kept.

    Args:
      data: the recordings.
      shrink: pixels of a side of a block. A last block may be smaller.
    """
    if shrink == 1:
        return data
    height, width, duration = data.extent

    def events() -> Iterator[Events]:
        for chunk in data.events():
            yield chunk._replace(x_M=chunk.x_M // shrink, y_M=chunk.y_M // shrink)

    extent = Extent(-(-height // shrink), -(-width // shrink), duration)
    return data._replace(events=events, extent=extent)


def _span(events) -> tuple[np.ndarray, np.ndarray]:
    """Time of the first event of each recording, 0 where there is none, and how long it lasts."""
    # recording_M ascends, so two searches find where the events of each recording begin and end.
    everyone = np.arange(len(events.unsorted_N))
    first_N = np.searchsorted(events.recording_M, everyone)
    after_N = np.searchsorted(events.recording_M, everyone, side="right")
    some_N = after_N > first_N
    start_N, end_N = np.zeros((2, len(everyone)), np.int64)
    start_N[some_N] = events.t_M[first_N[some_N]]
    end_N[some_N] = events.t_M[after_N[some_N] - 1]
    return start_N, end_N - start_N + 1


def _stretched(events, length_N):
    # Times are 64-bit since their start was subtracted; 32 bits would overflow here.
    t_M = events.t_M * WHOLE // length_N[events.recording_M]
    return events._replace(t_M=np.minimum(t_M, WHOLE - 1).astype(np.int32))


def _cut(events, length_N, window, count):
    spare_N = np.maximum(length_N - window, 0)
    parts = []
    for w in range(count):
        begin_N = spare_N * w // max(count - 1, 1)
        since_M = events.t_M - begin_N[events.recording_M]
        inside_M = (since_M >= 0) & (since_M < window)
        row_M = events.recording_M[inside_M] * count + w
        others = (column[inside_M] for column in (events.x_M, events.y_M, events.p_M))
        parts.append((row_M, since_M[inside_M].astype(np.int32), *others))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order_M = np.argsort(columns[0], kind="stable")
    unsorted_N = np.zeros(count * len(length_N), bool)
    unsorted_N[::count] = events.unsorted_N
    row_M, t_M, x_M, y_M, p_M = (column[order_M] for column in columns)
    return Events(row_M, t_M, x_M, y_M, p_M, unsorted_N)
