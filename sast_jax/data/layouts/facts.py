"""What a recording holds, learned by reading it once."""

import zlib
from typing import Any

import numpy as np

from sast_jax.data import recordings, survey
from sast_jax.data.formats.stream import Stream, reached


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
        "pixels": len(np.unique(events.y_M.astype(np.int64) << 16 | events.x_M)),
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
