"""What recordings hold, seen while they are read, and warnings about values that cannot be.

A table has a row for each recording; it is kept in the cache beside the frames, so that a warning
is given each time and not only when recordings are first read.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sast_jax.data.recordings import Events

ROW = np.dtype(
    [
        ("events", "i8"),
        ("on", "i8"),  # those of polarity 1
        ("first", "i8"),  # microseconds of the earliest and the latest event, 0 without events
        ("last", "i8"),
        ("pause", "i8"),  # longest time between two events that follow each other
        ("outside", "i8"),  # events left out, as they lay outside the sensor
        ("x", "i4"),  # largest pixel among these
        ("y", "i4"),
    ]
)

_FEW = 10  # events; fewer say nothing about a clock
_LATE = 0.2  # share of the duration after which no recording begins
_PAUSE = 0.2  # share of the duration that no pause takes
_PAST = 1.25  # durations after which no recording ends
_LONG = 100  # times a length that is only usual
_SHORT = 0.02  # share of the duration that no recording is shorter than
_FULL = 0.9  # share of a window that a recording fills
_QUICKEST, _SLOWEST = 1e4, 1e-2  # events a second of one active pixel, on average
_POLAR = 50  # events of one polarity that are no chance


class Expected(NamedTuple):
    """What recordings of a data set should be like.

    Attributes:
      height, width: pixels of the sensor.
      duration: microseconds that one lasts.
      time_bins: frames of one.
      fixed: whether the frames of every recording cover ``duration`` from time 0; else they follow
        the recording, and its length is a rough guide.
      polarities: kinds of polarity that a recording has.
      least: events that make a pixel of a frame 1.
      window: microseconds that a recording is cut to; 0 for none that recordings should fill.
    """

    height: int
    width: int
    duration: int
    time_bins: int
    fixed: bool = True
    polarities: int = 2
    least: int = 1
    window: int = 0


def of_events(events: Events) -> np.ndarray:
    """The rows (N,) of recordings, whose events lie one recording after another, in time."""
    N = len(events.unsorted_N)
    place_N = np.searchsorted(events.recording_M, np.arange(N + 1))  # where each begins
    table = np.zeros(N, ROW)
    table["events"] = np.diff(place_N)
    some = np.flatnonzero(table["events"])
    if len(some):
        start, end = place_N[some], place_N[some + 1] - 1
        table["first"][some], table["last"][some] = events.t_M[start], events.t_M[end]
        table["on"][some] = np.add.reduceat(events.p_M, start, dtype=np.uint32)
        step_M = np.zeros_like(events.t_M)
        np.subtract(events.t_M[1:], events.t_M[:-1], out=step_M[1:])
        step_M[start] = 0  # from one recording to the next
        table["pause"][some] = np.maximum.reduceat(step_M, start)
    if events.outside is not None:
        table["outside"] = events.outside.count_N
        table["x"], table["y"] = events.outside.x_N, events.outside.y_N
    return table


class Watch:
    """Collects the rows of recordings while their events pass by."""

    def __init__(self):
        self._parts = [np.zeros(0, ROW)]

    def through(self, chunks: Iterable[Events]) -> Iterator[Events]:
        """The same events."""
        for events in chunks:
            self._parts.append(of_events(events))
            yield events

    def table(self) -> np.ndarray:
        """The rows so far, in order."""
        return np.concatenate(self._parts)


def warnings(table: np.ndarray, names: Sequence[str], expected: Expected) -> list[str]:
    """A line for each kind of value that cannot be: how many recordings, the first, likely cause.

    Args:
      table: rows of all recordings.
      names: of the recordings.
      expected: what they should be like.
    """
    lines, total = [], len(table)
    explained_N = np.zeros(total, bool)  # a recording is named once for its times

    def line(which_N, what):
        if which_N.any():
            first = names[int(which_N.argmax())]
            lines.append(f"{int(which_N.sum())} of {total} recordings {what}, first {first}")

    def times(which_N, what):
        line(which_N & ~explained_N, what)
        explained_N[:] |= which_N

    first_N, last_N, events_N = table["first"], table["last"], table["events"]
    length_N = last_N - first_N
    many_N = events_N >= _FEW
    T, whole = expected.time_bins, expected.duration
    times(many_N & (length_N == 0), "have all their events at one time; is the clock missing?")
    short_N = many_N & (length_N < _SHORT * whole)
    past_N = many_N & (length_N > (_PAST if expected.fixed else _LONG) * whole)
    most = _PAST * whole if expected.fixed else _LONG * whole
    for which_N, compared, limit in (
        (short_N, "last less than", _SHORT * whole),
        (past_N, "last more than", most),
    ):
        some = length_N[which_N]
        middle = float(np.median(some)) if len(some) else 1.0
        times(
            which_N,
            f"{compared} {_time(limit)}, where {_time(whole)} are expected (the middle one of "
            f"these {_time(middle)})" + _unit(middle / whole),
        )
    times(
        many_N & (length_N < _FULL * expected.window),
        f"are shorter than the window of {_time(expected.window)}, the rest of which is empty",
    )
    if expected.fixed:
        late_N = (events_N > 0) & (first_N > _LATE * whole)
        times(
            late_N,
            f"begin later than {_time(_LATE * whole)} of the {_time(whole)} that the frames cover"
            + _origin(first_N[late_N]),
        )
        times(
            many_N & (last_N > _PAST * whole),
            f"end later than {_time(_PAST * whole)}, where the frames cover {_time(whole)}; later "
            "events fall in the last frame",
        )
        bins = [np.minimum(time_N * T // whole, T - 1) for time_N in (first_N, last_N)]
        times(
            many_N & (T > 1) & (bins[0] == bins[1]), f"have all their events in one of {T} frames"
        )
    span_N = np.full(total, whole) if expected.fixed else 2.5 * length_N
    line(
        (events_N >= _POLAR) & (table["pause"] > _PAUSE * span_N) & (length_N > 0),
        "pause for longer than they should; did the clock jump?",
    )
    if expected.polarities > 1:
        alone_N = (table["on"] == 0) | (table["on"] == events_N)
        line((events_N >= _POLAR) & alone_N, "have events of one polarity alone")
    outside_N = table["outside"] > 0
    if outside_N.any():
        x, y = (int(table[side][outside_N].max()) for side in "xy")
        line(
            outside_N,
            f"have events outside the sensor of {expected.width}x{expected.height}, "
            f"{int(table['outside'].sum())} in all, which are left out; "
            + elsewhere(x, y, expected.height, expected.width),
        )
    return lines


def elsewhere(x: int, y: int, height: int, width: int) -> str:
    """The likely reason that pixels reach up to x, y on a sensor of this size."""
    if x <= width and y <= height:
        return "are pixels counted from 1?"
    if height != width and x < height and y < width:
        return "are x and y swapped?"
    return f"are they of another sensor, of {x + 1}x{y + 1} pixels or more?"


def rate_warning(events: int, pixels: int, length: int) -> str:
    """The likely reason that active pixels fire more or less often than a sensor's; "" for none.

    Args:
      events: of a recording.
      pixels: that fired in it.
      length: of it, microseconds.
    """
    if events < _FEW or length <= 0:
        return ""
    rate = events / pixels / (length * 1e-6)
    if _SLOWEST < rate < _QUICKEST:
        return ""
    many, unit = ("few", "nanoseconds") if rate <= _SLOWEST else ("many", "milliseconds or seconds")
    return f"{rate:.3g} events a second of each active pixel are {many}; are its times in {unit}?"


def _unit(ratio: float) -> str:
    """The likely reason that recordings are so many times as long as they should be."""
    guesses = (
        (2e-7, 5e-6, "; are their times in seconds?"),
        (2e-4, 5e-3, "; are their times in milliseconds?"),
        (2e2, 5e3, "; are their times in nanoseconds?"),
    )
    return next((words for low, high, words in guesses if low < ratio < high), "")


def _origin(first) -> str:
    if len(first) and np.median(first) > 1e15:
        return "; are their times since 1970?"
    return "; are their times since the recorder was started?"


def _time(microseconds: float) -> str:
    for unit, size in (("s", 10**6), ("ms", 10**3)):
        if microseconds >= size:
            return f"{microseconds / size:.4g} {unit}"
    return f"{microseconds:.4g} us"
