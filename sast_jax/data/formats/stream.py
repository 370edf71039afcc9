"""The events of one recording, as a reader of a file format gives them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from sast_jax.errors import InputError


class Stream(NamedTuple):
    """The events of one recording, in the order of its file.

    Attributes:
      x_M, y_M: pixels from the left and from the top, uint16.
      t_M: microseconds of the recorder's clock, int64. A counter that wrapped around goes on.
      p_M: polarity, 1 for ON and 0 for OFF, uint8.
      format: name of the file format.
      sensor: (height, width) that the file states; None if it states none.
      beside: number of things in the file that are no events, by kind, such as "triggers".
      odd: what was left out or had to be guessed, one line each.
    """

    x_M: np.ndarray
    y_M: np.ndarray
    t_M: np.ndarray
    p_M: np.ndarray
    format: str
    sensor: tuple[int, int] | None = None
    beside: Mapping[str, int] = {}
    odd: tuple[str, ...] = ()


LARGEST_RATIO = (
    200  # of what a file unpacks to and its size; what is packed tighter is no recording
)


class NotEventsError(InputError):
    """A file is of a known kind, but holds something other than events."""


class NoEventsError(InputError):
    """A file is of a known format, or empty, and holds no event."""


def reached(stream: Stream) -> tuple[int, int]:
    """(height, width) of the smallest sensor that has all pixels of the events."""
    if not len(stream.t_M):
        return 0, 0
    return int(stream.y_M.max()) + 1, int(stream.x_M.max()) + 1


def active_pixels(x_M: np.ndarray, y_M: np.ndarray) -> int:
    """The number of pixels that fired."""
    return len(np.unique(y_M.astype(np.int64) << 16 | x_M))


def whole_rows(data: bytes, dtype: np.dtype, at: int = 0) -> tuple[np.ndarray, tuple[str, ...]]:
    """The rows from a byte on, and a line for ``odd`` if the last one is cut off."""
    whole, left = divmod(len(data) - at, dtype.itemsize)
    odd = (f"{left} bytes at the end are no whole row and are left out",) if left else ()
    return np.frombuffer(data, dtype, whole, at), odd


def unwrapped(count_M: np.ndarray, bits: int) -> np.ndarray:
    """A counter of some bits that wraps around, as 64-bit numbers that go on.

    A step back by more than half of its range is a wrap; a step forward by more than half undoes
    one, as when events of two readout rows cross the wrap out of order.
    """
    count_M = count_M.astype(np.int64)
    step_M = np.diff(count_M)
    half = 1 << (bits - 1)
    if not len(step_M) or np.abs(step_M).max() <= half:
        return count_M
    wraps_M = np.cumsum((step_M < -half).astype(np.int64) - (step_M > half))
    count_M[1:] += wraps_M << bits
    return count_M


def refused(name: str, why: str) -> InputError:
    """An error that names the file."""
    return InputError(f"{name}: {' '.join(why.split())}")


def counts(**numbers: int) -> dict[str, int]:
    """Those that are not 0, as :attr:`Stream.beside` has them."""
    return {kind.replace("_", " "): int(count) for kind, count in numbers.items() if count}


def columns(x_M, y_M, t_M, p_M) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The four columns in the types of :class:`Stream`."""
    return (
        x_M.astype(np.uint16, copy=False),
        y_M.astype(np.uint16, copy=False),
        t_M.astype(np.int64, copy=False),
        p_M.astype(np.uint8, copy=False),
    )
