"""Event Stream (``.es``) 2.0, of DVS and ATIS cameras.

A file is "Event Stream", three bytes of version, a byte that says what it holds, width and height
(16 bits, little-endian), then events. An event of a DVS is a byte with polarity (bit 0) and the
microseconds since the one before (bits 1-7), then x and y in 16 bits, y from the bottom. A byte
0xff in place of an event adds 127 microseconds to all times that follow, 0xfe adds none. The first
byte of an ATIS's event says in bit 0 whether it measures exposure; bit 1 is the polarity, bits 2-7
are the time; 0xfc to 0xff add 0 to 3 times 63 microseconds.

Format: https://github.com/neuromorphicsystems/event_stream
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sast_jax.data.formats.stream import Stream, columns, counts, refused

MAGIC = b"Event Stream"
_KINDS = {0: "generic bytes", 3: "a frame-based ATIS", 4: "colours"}
_SIZE = 5  # bytes of an event
_LEAST, _MOST = 16, 2**16  # rows that are looked at in one step


class _Kind(NamedTuple):
    """How the first byte of an event is read.

    Attributes:
      alone: bytes from this one on stand alone, and are no event.
      later: microseconds that each of these adds.
      time, polarity, exposure: of an event, from its first byte.
    """

    alone: int
    later: np.ndarray
    time: Callable[[np.ndarray], np.ndarray]
    polarity: Callable[[np.ndarray], np.ndarray]
    exposure: Callable[[np.ndarray], np.ndarray]


_DVS = _Kind(
    alone=0xFE,
    later=np.array([0, 127]),
    time=lambda head: head >> 1,
    polarity=lambda head: head & 1,
    exposure=lambda head: np.zeros(len(head), bool),
)
_ATIS = _Kind(
    alone=0xFC,
    later=np.array([0, 63, 126, 189]),
    time=lambda head: head >> 2,
    polarity=lambda head: head >> 1 & 1,
    exposure=lambda head: (head & 1).astype(bool),
)


def read(data: bytes, name: str) -> Stream:
    """Decodes an Event Stream.

    Raises:
      InputError: it is of another version, or holds no events of pixels.
    """
    if len(data) < 16 or not data.startswith(MAGIC):
        raise refused(name, "not an Event Stream, or cut off in its header")
    if data[12] != 2:
        raise refused(name, f"Event Stream {data[12]}.{data[13]}.{data[14]}; 2.0 can be read")
    if data[15] not in (1, 2):
        what = _KINDS.get(data[15], f"type {data[15]}")
        raise refused(name, f"an Event Stream of {what}, which has no events of pixels")
    if len(data) < 20:
        raise refused(name, "an Event Stream that is cut off in its header")
    width, height = (int(n) for n in np.frombuffer(data, "<u2", 2, 16))
    kind = _DVS if data[15] == 1 else _ATIS
    event_Mx5, start_M, left = _events(np.frombuffer(data, np.uint8, offset=20), kind)
    head_M = event_Mx5[:, 0]
    t_M = np.cumsum(kind.time(head_M), dtype=np.int64) + start_M
    x_M, y_M = np.ascontiguousarray(event_Mx5[:, 1:]).view("<u2").T.astype(np.int32)
    odd = [f"{left} bytes at the end are no whole event and are left out"] if left else []
    exposure_M = kind.exposure(head_M)
    outside_M = ((x_M >= width) | (y_M >= height)) & ~exposure_M
    if outside_M.any():
        odd.append(f"{outside_M.sum()} events outside {width}x{height} pixels are left out")
    kept_M = ~(outside_M | exposure_M)
    found = (c[kept_M] for c in (x_M, height - 1 - y_M, t_M, kind.polarity(head_M)))
    beside = counts(exposures=exposure_M.sum())
    return Stream(*columns(*found), "Event Stream", (height, width), beside, tuple(odd))


def _events(data: np.ndarray, kind: _Kind) -> tuple[np.ndarray, np.ndarray, int]:
    """Rows of the events, what the bytes between them add to the time of each, bytes left over."""
    parts, laters, at, later, step = [], [], 0, 0, _LEAST
    while at < len(data):
        if data[at] >= kind.alone:
            run = data[at : at + step]
            run = run[: _first(run < kind.alone)]
            later += int(kind.later[run - kind.alone].sum())
            at += len(run)
            continue
        rows = data[at : at + step * _SIZE]
        rows = rows[: len(rows) // _SIZE * _SIZE].reshape(-1, _SIZE)
        if not len(rows):
            break
        count = _first(rows[:, 0] >= kind.alone)
        parts.append(rows[:count])
        laters.append((later, count))
        at += count * _SIZE
        # Rows are looked at in steps that grow where events lie densely.
        step = min(2 * step, _MOST) if count == len(rows) else max(step // 2, _LEAST)
    if not parts:
        return np.empty((0, _SIZE), np.uint8), np.empty(0, np.int64), len(data) - at
    later_P, count_P = np.array(laters, np.int64).T
    return np.concatenate(parts), np.repeat(later_P, count_P), len(data) - at


def _first(found_M: np.ndarray) -> int:
    """Index of the first that is true, or their number."""
    index = int(found_M.argmax()) if len(found_M) else 0
    return index if len(found_M) and found_M[index] else len(found_M)
