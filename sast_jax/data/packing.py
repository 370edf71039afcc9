"""Binary frames of recordings, packed to bits.

Time is cut into T equal bins over a fixed duration, later events falling in the last bin; a frame
holds 1 where a pixel fired with that polarity in that bin. Frames are stored eight pixels a byte,
in the order (H, W, C), batch first, and are unpacked on the device.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data import recordings


class Frames(NamedTuple):
    """A set of recordings, ready to train on.

    Attributes:
      packed_NxTxP: uint8, P = ceil(H * W * C / 8) bytes a frame.
      labels_N: class of each recording, int32.
      numbers_N: number of the file or of the image it came from, int64.
      events_NxC: number of events by polarity.
      profile_TxC: mean number of events of a recording by time bin and polarity.
      unsorted: number of recordings whose times ran backwards in the file.
    """

    packed_NxTxP: np.ndarray
    labels_N: np.ndarray
    numbers_N: np.ndarray
    events_NxC: np.ndarray
    profile_TxC: np.ndarray
    unsorted: np.ndarray

    def take(self, indices) -> "Frames":
        """The recordings at these indices; ``profile_TxC`` and ``unsorted`` stay the whole's."""
        return self._replace(
            packed_NxTxP=self.packed_NxTxP[indices],
            labels_N=self.labels_N[indices],
            numbers_N=self.numbers_N[indices],
            events_NxC=self.events_NxC[indices],
        )

    def spread(self, most: int) -> "Frames":
        """At most so many of the recordings, evenly spread, as real ones are in order of class."""
        count = len(self.labels_N)
        return self.take(np.linspace(0, count - 1, min(most, count)).astype(int))


def time_bin(t_M: np.ndarray, time_bins: int, duration: int) -> np.ndarray:
    """Bin of a time in microseconds: T equal bins over ``duration``, later times in the last."""
    return np.minimum(t_M.astype(np.int64) * time_bins // duration, time_bins - 1)


def pack(data: recordings.Recordings, *, time_bins: int, duration: int) -> Frames:
    """Reads, checks, bins and packs recordings.

    Args:
      data: the recordings.
      time_bins: number of frames T.
      duration: microseconds that the bins cover together.

    Raises:
      InputError: a recording is damaged.
    """
    H, W, C = recordings.SENSOR_HEIGHT, recordings.SENSOR_WIDTH, recordings.POLARITIES
    N, T = len(data.labels_N), time_bins
    packed = np.empty((N, T, -(-H * W * C // 8)), np.uint8)
    events_NxC, profile_TxC, unsorted = np.zeros((N, C), np.int64), np.zeros((T, C)), 0
    start, dense = 0, np.empty(0, np.uint8)
    for events in data.events():
        size = len(events.unsorted_N)
        if len(dense) < size * T * H * W * C:
            dense = np.empty(size * T * H * W * C, np.uint8)
        bins = time_bin(events.t_M, T, duration)
        pixel = (events.y_M.astype(np.int32) * W + events.x_M) * C + events.p_M
        frame = events.recording_M * T + bins
        dense[:] = 0
        dense[frame * (H * W * C) + pixel] = 1
        frames = dense[: size * T * H * W * C].reshape(size, T, -1)
        packed[start : start + size] = np.packbits(frames, axis=-1)
        by_polarity = np.bincount(frame * C + events.p_M, minlength=size * T * C)
        by_polarity = by_polarity.reshape(size, T, C)
        events_NxC[start : start + size] = by_polarity.sum(axis=1)
        profile_TxC += by_polarity.sum(axis=0)
        unsorted += int(events.unsorted_N.sum())
        start += size
    return Frames(
        packed,
        data.labels_N,
        data.numbers_N,
        events_NxC,
        profile_TxC / max(N, 1),
        np.int64(unsorted),
    )


def unpack(packed_xP: jax.Array, shape: tuple[int, int, int]) -> jax.Array:
    """Bits to frames: (..., P) bytes to (..., H, W, C) uint8 of 0 and 1, inside jit."""
    H, W, C = shape
    flat = jnp.unpackbits(packed_xP, axis=-1, count=H * W * C)
    return flat.reshape(*packed_xP.shape[:-1], H, W, C)


def time_first(
    packed_BxTxP: jax.Array, shape: tuple[int, int, int], dtype: jax.typing.DTypeLike = jnp.float32
) -> jax.Array:
    """The frames (T, B, H, W, C) of packed recordings, as networks take them, inside jit."""
    return unpack(jnp.moveaxis(packed_BxTxP, 1, 0), shape).astype(dtype)
