"""What recordings hold, learned by reading each once, and what follows for all of them."""

import math
import re
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from sast_jax.data import recordings, survey
from sast_jax.data.formats.stream import Stream, active_pixels, reached
from sast_jax.errors import InputError

LONGEST = 3_600_000  # milliseconds that frames may cover
_STRAY, _NEARLY = 2.0, 1.1  # times the usual size of a sensor, beyond which events are not of it
_FEW = 0.1  # share of the recordings that may be of another size without changing the sensor


def facts_of(stream: Stream) -> dict[str, Any]:
    """What a recording holds, as values that JSON can hold.

    Returns:
      A dict with ``format``, ``events``, ``first`` and ``last`` (microseconds), ``pixels`` (that
      fired), ``reached`` (height and width of the events), ``sensor`` (height and width that the
      file states, or None), ``content`` (a number that is the same for the same events, whatever
      the format and the origin of time; 0 without events), and ``odd``.
    """
    events = as_events(stream)
    row = survey.of_events(events)[0]
    content = zlib.crc32((events.t_M - row["first"]).tobytes())
    for column in (events.x_M, events.y_M, events.p_M):
        content = zlib.crc32(column.tobytes(), content)
    count = len(stream.t_M)
    return {
        "format": stream.format,
        "events": count,
        "first": int(row["first"]),
        "last": int(row["last"]),
        "pixels": active_pixels(events.x_M, events.y_M),
        "reached": list(reached(stream)),
        "sensor": list(stream.sensor) if stream.sensor else None,
        "content": count << 32 | content if count else 0,
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


def sensor_of(facts: Sequence[dict]) -> tuple[int, int]:
    """(height, width) that files state, or that holds the events of nearly all recordings."""
    stated = [fact["sensor"] for fact in facts if fact["sensor"]]
    reached = np.array([fact["reached"] for fact in facts if fact["events"]]).reshape(-1, 2)
    if len(stated) == len(facts):
        sizes, counts = np.unique(stated, axis=0, return_counts=True)
        # Another sensor in a few files does not change that of all.
        most = sizes[counts.argmax()] if counts.max() > (1 - _FEW) * len(facts) else sizes
        height, width = np.atleast_2d(most).max(axis=0)
        return int(height), int(width)
    if not len(reached):
        raise InputError("none of the recordings holds an event")
    usual = np.median(reached, axis=0)
    # A stray event, or another sensor in a few files, does not make the sensor larger.
    far_N = (reached > _STRAY * usual[None]).any(axis=1) | _swapped(reached, usual)
    kept = reached[~far_N] if far_N.mean() < _FEW else reached
    height, width = np.max([*stated, *kept, (1, 1)], axis=0)
    return int(height), int(width)


def _swapped(reached_Nx2, usual) -> np.ndarray:
    """Which recordings would fit the others if x and y changed places."""
    other = reached_Nx2[:, ::-1]
    fits = (other <= _NEARLY * usual[None]).all(axis=1)
    return fits & (reached_Nx2 > _NEARLY * usual[None]).any(axis=1)


def duration_of(facts: Sequence[dict], rebase: bool) -> int:
    """Milliseconds that hold nine of ten recordings whole, rounded up to two digits."""
    some = [fact for fact in facts if fact["events"]]
    if not some:
        raise InputError("none of the recordings holds an event")
    lengths = [fact["last"] - (fact["first"] if rebase else 0) for fact in some]
    whole = max(1, math.ceil((np.quantile(lengths, 0.9) + 1) / 1000))
    step = 10 ** max(len(str(whole)) - 2, 0)
    return min(math.ceil(whole / step) * step, LONGEST)


def warnings_of(facts: Sequence[dict], names: Sequence[str], sensor: tuple[int, int]) -> list[str]:
    """Warnings of what files say, and of sensors that differ from the one of the frames."""
    notes, total = [], len(facts)
    odd: dict[str, list[tuple[str, str]]] = {}  # kind -> (name, line)
    for fact, name in zip(facts, names, strict=True):
        for line in fact["odd"]:
            # Lines that differ in their numbers alone are of one kind.
            odd.setdefault(re.sub(r"\d+", "N", line), []).append((name, line))
    for own in odd.values():
        name, line = own[0]
        notes.append(f"{len(own)} of {total} recordings: {line}, first {name}")
    stated: dict[tuple[int, ...], list[str]] = {}  # sensor -> names
    slow = []
    for fact, name in zip(facts, names, strict=True):
        if fact["sensor"]:
            stated.setdefault(tuple(fact["sensor"]), []).append(name)
        length = fact["last"] - fact["first"]
        if line := survey.rate_warning(fact["events"], fact["pixels"], length):
            slow.append((name, line))
    if set(stated) - {sensor}:
        sizes = ", ".join(f"{w}x{h} ({len(own)}, first {own[0]})" for (h, w), own in stated.items())
        height, width = sensor
        notes.append(
            f"recordings state sensors of {sizes}, where the frames are of {width}x{height}; "
            "remove those of another camera, or set config.data.sensor"
        )
    if slow:
        notes.append(f"{len(slow)} of {total} recordings: {slow[0][1]} first {slow[0][0]}")
    return notes
