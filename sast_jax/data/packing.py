"""Binary frames of recordings, packed to bits.

Time is cut into T bins: equal ones over a fixed duration, with later events in the last bin, or
bins of equally many events. A frame holds 1 where a pixel fired with that polarity in that bin.
Frames are stored eight pixels a byte, in the order (H, W, C), batch first, and are unpacked on the
device.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data import recordings

BATCH_PIXELS = 2**23  # of frames that are unpacked together

_Array = TypeVar("_Array", np.ndarray, jax.Array)


class Frames(NamedTuple):
    """A set of recordings, ready to train on.

    Attributes:
      packed_NxTxP: uint8, P = ceil(H * W * C / 8) bytes a frame.
      labels_N: class of each recording, int32.
      numbers_N: number of the file, the image or the recording it came from, int64.
      events_NxC: number of events by polarity.
      profile_TxC: mean number of events of a recording by time bin and polarity.
      unsorted: number of recordings with times that ran backwards in the file.
      recordings_N: the recording that a row belongs to. Rows of one recording are its windows, and
        they give one answer.
      frame_shape: (H, W, C) of the unpacked frames.
      subjects_N: the person seen in each; None for recordings without people.
      survey_N: what each recording held (:mod:`sast_jax.data.survey`); None if that was not seen.
    """

    packed_NxTxP: np.ndarray
    labels_N: np.ndarray
    numbers_N: np.ndarray
    events_NxC: np.ndarray
    profile_TxC: np.ndarray
    unsorted: np.ndarray | np.integer
    recordings_N: np.ndarray
    frame_shape: tuple[int, int, int]
    subjects_N: np.ndarray | None = None
    survey_N: np.ndarray | None = None

    def __repr__(self) -> str:
        """What they are in a line; their arrays would fill the screen."""
        if not len(self.labels_N):
            return "Frames: no recordings"
        rows, count = len(self.labels_N), len(self.truth_M)
        what = f"{count} recordings" if rows == count else f"{rows} windows of {count} recordings"
        shape = " x ".join(map(str, self.frame_shape))
        ends = f"classes {self.labels_N.min()} to {self.labels_N.max()}"
        return f"Frames: {what} of {self.packed_NxTxP.shape[1]} time bins, {shape}, {ends}"

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Frames":
        """The frames of what :meth:`arrays` made of them."""
        columns: dict[str, Any] = {**arrays, "frame_shape": tuple(arrays["frame_shape"].tolist())}
        return cls(**columns)

    def arrays(self) -> dict[str, np.ndarray]:
        """What they hold, by name, as arrays; without what is None."""
        there = {name: value for name, value in self._asdict().items() if value is not None}
        return {name: np.asarray(value) for name, value in there.items()}

    @property
    def truth_M(self) -> np.ndarray:
        """Class of each of the M recordings; the rows of one are its windows."""
        first_M, _ = self._windows()
        return self.labels_N[first_M] if len(first_M) < len(self.labels_N) else self.labels_N

    def vote(self, x_RxNxD: _Array) -> _Array | np.ndarray:
        """Means over the windows of each recording: (R, N, ...) to (R, M, ...), as ``truth_M``.

        Sums are divided once, so that scores with equal sums tie.
        """
        first_M, recording_N = self._windows()
        if len(first_M) == len(recording_N):
            return x_RxNxD
        windows_M = np.bincount(recording_N)
        return self.total(x_RxNxD) / windows_M.reshape(-1, *[1] * (x_RxNxD.ndim - 2))

    def total(self, x_RxNxD: _Array) -> _Array | np.ndarray:
        """Sums over the windows of each recording, in float64: (R, N, ...) to (R, M, ...)."""
        first_M, recording_N = self._windows()
        if len(first_M) == len(recording_N):
            return x_RxNxD
        # reduceat sums from each start up to the next one, so the windows of a recording are
        # brought together first. A recording starts where its number differs from the one before.
        order_N = np.argsort(recording_N, kind="stable")
        start_M = np.flatnonzero(np.diff(recording_N[order_N], prepend=-1))
        return np.add.reduceat(x_RxNxD[:, order_N], start_M, axis=1, dtype=np.float64)

    def _windows(self) -> tuple[np.ndarray, np.ndarray]:
        """The first window of each recording, and the recording of each window, counted from 0."""
        return np.unique(self.recordings_N, return_index=True, return_inverse=True)[1:]

    def take(self, indices) -> "Frames":
        """The rows at these indices; what was seen of all recordings remains that of all."""
        return self._replace(
            packed_NxTxP=self.packed_NxTxP[indices],
            labels_N=self.labels_N[indices],
            numbers_N=self.numbers_N[indices],
            events_NxC=self.events_NxC[indices],
            recordings_N=self.recordings_N[indices],
            subjects_N=None if self.subjects_N is None else self.subjects_N[indices],
        )

    def spread(self, most: int) -> "Frames":
        """At most this number of recordings, evenly spread: real ones come in order of class."""
        first_M, recording_N = self._windows()
        count = len(first_M)
        chosen = np.linspace(0, count - 1, min(most, count)).astype(int)
        if count == len(recording_N):
            return self.take(chosen)
        return self.take(np.isin(recording_N, chosen))


def time_bin(t_M: np.ndarray, time_bins: int, duration: int) -> np.ndarray:
    """Bin of a time in microseconds: T equal bins over ``duration``, later times in the last."""
    # In 64 bits, as microseconds times the number of bins may need more than 32; later times are
    # cut off before, as they may need more than 64.
    within_M = np.minimum(t_M, duration).astype(np.int64)
    return np.minimum(within_M * time_bins // duration, time_bins - 1)


def by_time(events: recordings.Events, time_bins: int, duration: int) -> np.ndarray:
    """Bins (M,) of equal time over ``duration``."""
    return time_bin(events.t_M, time_bins, duration)


def by_count(events: recordings.Events, time_bins: int, duration: int) -> np.ndarray:
    """Bins (M,) that each hold the same number of a recording's events, up to one."""
    # Events lie recording by recording, so an event's rank within its own is its index less the
    # number of events in the recordings before.
    counts_N = np.bincount(events.recording_M, minlength=len(events.unsorted_N))
    start_N = np.cumsum(counts_N) - counts_N
    rank_M = np.arange(len(events.recording_M)) - start_N[events.recording_M]
    return rank_M * time_bins // counts_N[events.recording_M]


BINS = {"time": by_time, "events": by_count}


def pack(
    data: recordings.Recordings,
    *,
    time_bins: int,
    duration: int,
    bins: Callable[[recordings.Events, int, int], np.ndarray] = by_time,
    least: int = 1,
) -> Frames:
    """Reads, checks, bins and packs recordings.

    Args:
      data: the recordings.
      time_bins: number of frames T.
      duration: microseconds that the bins cover together.
      bins: (events, time_bins, duration) -> bin of each event.
      least: events that make a pixel of a frame 1.

    Raises:
      InputError: a recording is damaged.
    """
    H, W, C = *data.extent[:2], recordings.POLARITIES
    N, T = len(data.labels_N), time_bins
    packed = np.empty((N, T, -(-H * W * C // 8)), np.uint8)
    events_NxC, profile_TxC, unsorted = np.zeros((N, C), np.int64), np.zeros((T, C)), 0
    start, dense = 0, np.empty(0, np.uint8)  # one buffer, which the largest chunk decides
    for events in data.events():
        size = len(events.unsorted_N)
        if len(dense) < size * T * H * W * C:
            dense = np.empty(size * T * H * W * C, np.uint8)
        bin_M = bins(events, T, duration)
        pixel = (events.y_M.astype(np.int32) * W + events.x_M) * C + events.p_M
        frame = events.recording_M * T + bin_M
        fired = frame * (H * W * C) + pixel
        if least > 1:  # several events of one pixel and bin have the same index
            fired, counts = np.unique(fired, return_counts=True)
            fired = fired[counts >= least]
        dense[:] = 0
        dense[fired] = 1
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
        np.arange(N) // data.windows,
        (H, W, C),
        data.subjects_N,
    )


def joined(parts: Sequence[Frames]) -> Frames:
    """The frames of recordings that were packed in parts, as if they had been packed together."""

    def column(name):
        each = [getattr(part, name) for part in parts]
        return None if each[0] is None else np.concatenate(each)

    starts = np.cumsum([0, *(len(part.truth_M) for part in parts)])
    numbered = [part.recordings_N + start for part, start in zip(parts, starts, strict=False)]
    # Means are over rows, of sums that are whole numbers.
    rows = [len(part.labels_N) for part in parts]
    events = [np.rint(part.profile_TxC * own) for part, own in zip(parts, rows, strict=True)]
    columns = ("packed_NxTxP", "labels_N", "numbers_N", "events_NxC", "subjects_N", "survey_N")
    return Frames(
        **{name: column(name) for name in columns},
        profile_TxC=sum(events) / max(sum(rows), 1),
        unsorted=np.int64(sum(int(part.unsorted) for part in parts)),
        recordings_N=np.concatenate(numbered),
        frame_shape=parts[0].frame_shape,
    )


def unpack(packed_xP: jax.Array | np.ndarray, shape: tuple[int, int, int]) -> jax.Array:
    """Bits to frames: (..., P) bytes to (..., H, W, C) uint8 of 0 and 1, inside jit."""
    H, W, C = shape
    flat = jnp.unpackbits(packed_xP, axis=-1, count=H * W * C)
    return flat.reshape(*packed_xP.shape[:-1], H, W, C)


def at_once(packed_NxTxP: np.ndarray, most: int) -> int:
    """Batch size for passes without a gradient: smaller for long recordings or large frames.

    Args:
      packed_NxTxP: see :class:`Frames`.
      most: the batch size for small ones.
    """
    return min(most, max(1, BATCH_PIXELS // (8 * packed_NxTxP[0].size)))


def time_first(
    packed_BxTxP: jax.Array, shape: tuple[int, int, int], dtype: jax.typing.DTypeLike = jnp.float32
) -> jax.Array:
    """The frames (T, B, H, W, C) of packed recordings, as networks take them, inside jit."""
    return unpack(jnp.moveaxis(packed_BxTxP, 1, 0), shape).astype(dtype)
