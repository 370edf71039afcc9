"""Rows of 40 or 56 bits without a header, as N-MNIST and SLAYER's datasets have them.

40 bits are x (8), y (8), polarity (1) and microseconds (23); y = 240 is no event, but adds 2**13
microseconds to all later times. 56 bits are x (12), y (12), polarity (8) and microseconds (24).
Both are big-endian, and files of both are called ``.bin``, ``.bs2`` or ``.bs3``.
"""

import numpy as np

from sast_jax.data.formats.stream import Stream, columns, refused

_OVERFLOW_Y = 240
_OVERFLOW_MICROSECONDS = 2**13
_PLAUSIBLE = 0.99  # share of steps in time that go on by little, for rows without a header
_LARGEST_STEP = 10**6  # microseconds


def decode_40(
    data: bytes, lengths_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Decodes rows of 40 bits of N recordings, one after another.

    Args:
      data: the rows.
      lengths_N: bytes of each recording.

    Returns:
      Index of its recording, time, x, y and polarity of each event.
    """
    row_Mx5 = np.frombuffer(data, np.uint8).reshape(-1, 5)
    recording = np.repeat(np.arange(len(lengths_N), dtype=np.int32), lengths_N // 5)
    x, y, high = row_Mx5[:, 0], row_Mx5[:, 1], row_Mx5[:, 2]
    p = high >> 7
    t = (high & 127).astype(np.int32) << 16
    t |= row_Mx5[:, 3].astype(np.int32) << 8
    t |= row_Mx5[:, 4]
    overflow = y == _OVERFLOW_Y
    if overflow.any():
        # An event is late by the markers before it in its own recording: all markers before it,
        # less those of earlier recordings. In 64 bits, as a damaged file may hold any number.
        markers = np.cumsum(overflow, dtype=np.int64)
        ends = np.cumsum(lengths_N // 5)
        before = np.concatenate([[0], markers])[np.concatenate([[0], ends[:-1]])]
        t = t + (markers - before[recording]) * _OVERFLOW_MICROSECONDS
        kept = ~overflow
        recording, t, x, y, p = (column[kept] for column in (recording, t, x, y, p))
    return recording, t, x, y, p


def read_40(data: bytes, name: str) -> Stream:
    """Decodes rows of 40 bits of one recording."""
    _whole(data, 5, name)
    _, t_M, x_M, y_M, p_M = decode_40(data, np.array([len(data)]))
    return Stream(*columns(x_M, y_M, t_M, p_M), "40 bits")


def read_56(data: bytes, name: str) -> Stream:
    """Decodes rows of 56 bits."""
    _whole(data, 7, name)
    row_Mx7 = np.frombuffer(data, np.uint8).reshape(-1, 7).astype(np.int64)
    x_M = row_Mx7[:, 0] << 4 | row_Mx7[:, 1] >> 4
    y_M = (row_Mx7[:, 1] & 15) << 8 | row_Mx7[:, 2]
    t_M = row_Mx7[:, 4] << 16 | row_Mx7[:, 5] << 8 | row_Mx7[:, 6]
    if (more_M := row_Mx7[:, 3] > 1).any():
        raise refused(name, f"a channel of {row_Mx7[more_M.argmax(), 3]}; 0 and 1 are expected")
    return Stream(*columns(x_M, y_M, t_M, row_Mx7[:, 3]), "56 bits")


def guess(data: bytes) -> str | None:
    """ "40" or "56", whichever rows make sense; None if neither or both do."""
    found = []
    for bits, read in (("40", read_40), ("56", read_56)):
        if data and len(data) % (int(bits) // 8) == 0:
            try:
                t_M = read(data, "").t_M
            except ValueError:
                continue
            step_M = np.diff(t_M)
            if not len(step_M) or ((step_M >= 0) & (step_M < _LARGEST_STEP)).mean() >= _PLAUSIBLE:
                found.append(bits)
    return found[0] if len(found) == 1 else None


def _whole(data, size, name) -> None:
    if len(data) % size:
        raise refused(name, f"{len(data)} bytes is no multiple of {size}; it was cut off")
