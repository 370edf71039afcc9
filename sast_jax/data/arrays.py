"""Frames of recordings that are arrays in memory."""

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from sast_jax import fields
from sast_jax.data import packing, recordings
from sast_jax.errors import InputError

_CHUNK = 256  # recordings binned at once
_FIELDS = ("x", "y", "t", "p")
_LARGEST_LABEL = 2**31 - 1
_LATEST = 10**12  # microseconds, twelve days: times a number of bins it stays within 64 bits


def frames(
    events: Sequence[np.ndarray],
    labels: Sequence[int],
    *,
    sensor: tuple[int, int],
    time_bins: int,
    duration: int | None = None,
) -> packing.Frames:
    """Binary frames of recordings, ready to train or to evaluate on.

    Time is cut into equal bins over the duration, with later events in the last one. A frame holds
    1 where a pixel fired with that polarity in that bin.

    Args:
      events: one array a recording: (M, 4) with columns x, y (pixels from the left and the top), t
        (microseconds from the recording's beginning) and p (0 or 1), or structured with fields of
        these names. Times need not be in order.
      labels: class of each recording, whole numbers from 0.
      sensor: (height, width) in pixels.
      time_bins: frames of a recording.
      duration: microseconds that the bins cover together; None for the latest time of all events,
        rounded up to two digits. Give it if training and test recordings may differ in it.

    Returns:
      The frames, in the order of the recordings; their channels are the two polarities.

    Raises:
      InputError: a recording, a label or an argument is not valid; it names the first one.

    Examples:
      >>> import numpy as np
      >>> import sast_jax
      >>> left = np.array([[0, 1, 100, 1], [0, 2, 900, 0]])
      >>> right = np.array([[3, 1, 200, 1]])
      >>> made = sast_jax.frames([left, right], [0, 1], sensor=(4, 4), time_bins=2, duration=1000)
      >>> made.frame_shape, made.packed_NxTxP.shape
      ((4, 4, 2), (2, 2, 4))
    """
    sides = tuple(sensor) if isinstance(sensor, Iterable) else ()
    if len(sides) != 2 or any(fields.COUNT(side) for side in sides):
        raise InputError(f"sensor={sensor!r} must be (height, width) in pixels")
    height, width = sides
    if len(events) != len(labels) or not len(events):
        raise InputError(f"{len(events)} recordings and {len(labels)} labels; give as many of both")
    labels_N = np.asarray(labels)
    whole = labels_N.ndim == 1 and labels_N.dtype.kind in "iu"
    if not whole or not (labels_N >= 0).all() or not (labels_N <= _LARGEST_LABEL).all():
        raise InputError(
            f"labels must be whole numbers from 0 to {_LARGEST_LABEL}, one a recording"
        )
    if not fields.is_number(time_bins) or not 1 <= time_bins == int(time_bins):
        raise InputError(f"time_bins={time_bins!r} must be a whole number from 1")
    if duration is not None and not fields.is_number(duration):
        raise InputError(f"duration={duration!r} must be a number of microseconds")
    columns = [_columns(own, number, height, width) for number, own in enumerate(events)]
    latest = max((int(own[2].max()) for own in columns if len(own[2])), default=None)
    if latest is None:
        raise InputError("none of the recordings holds an event")
    if duration is None:
        step = 10 ** max(len(str(latest + 1)) - 2, 0)
        duration = math.ceil((latest + 1) / step) * step
    if not duration >= time_bins:
        raise InputError(f"duration={duration!r} must be {time_bins} microseconds or more")

    def chunks() -> Iterator[recordings.Events]:
        for start in range(0, len(columns), _CHUNK):
            part = columns[start : start + _CHUNK]
            yield recordings.joined([(t_M, x_M, y_M, p_M) for x_M, y_M, t_M, p_M in part])

    N = len(columns)
    extent = recordings.Extent(height, width, int(duration))
    data = recordings.Recordings(
        labels_N.astype(np.int32), np.full(N, -1), np.arange(N), chunks, extent
    )
    made = packing.pack(data, time_bins=int(time_bins), duration=int(duration))
    _warn_of_one_bin(columns, time_bins, duration)
    return made


def _columns(own, number, height, width) -> tuple[np.ndarray, ...]:
    """x, y, t and p of a recording as whole numbers."""
    own = np.asarray(own)
    where = f"recording {number}"
    if own.dtype.names:
        if missing := [name for name in _FIELDS if name not in own.dtype.names]:
            raise InputError(f"{where}: has no field {missing[0]!r} among {own.dtype.names}")
        columns = [own[name] for name in _FIELDS]
    elif own.ndim == 2 and own.shape[1] == len(_FIELDS):
        columns = list(own.T)
    elif own.shape == (0,):  # no events
        columns = [np.zeros(0, int)] * len(_FIELDS)
    else:
        raise InputError(f"{where}: an array of shape {own.shape}; rows of x, y, t, p are expected")
    for name, column, end in zip(_FIELDS, columns, (width, height, _LATEST, 2), strict=True):
        if column.dtype.kind not in "iufb":
            raise InputError(f"{where}: its {name} is no number")
        wrong_M = ~((column >= 0) & (column < end))
        if name != "t":  # times may have fractions of a microsecond, which are cut off below
            wrong_M |= column != np.floor(column)
        if wrong_M.any():
            value = column[np.argmax(wrong_M)]
            raise InputError(f"{where}: {name}={value} must be a whole number from 0 to {end - 1}")
    return tuple(column.astype(np.int64) for column in columns)


def _warn_of_one_bin(columns, time_bins, duration) -> None:
    if time_bins == 1:
        return
    alone = 0
    for own in columns:
        bins = packing.time_bin(own[2], time_bins, duration)
        alone += len(bins) > 1 and bins.min() == bins.max()
    if alone > len(columns) / 2:
        warnings.warn(
            f"{alone} of {len(columns)} recordings have all their events in one of {time_bins} "
            f"bins over {duration} microseconds; are their times in microseconds, from 0 on?",
            stacklevel=3,
        )
