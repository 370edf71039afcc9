"""Binary frames as words: the bits of a pixel over time and polarity lie in one or a few integers.

A warp of a recording moves pixels, the same at all steps of time, so it moves words in place of
frames, and frames are made of what it leaves.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from sast_jax.data import packing
from sast_jax.errors import InputError

_AT_ONCE = 64  # recordings that are turned into words together


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Words:
    """Recordings as words.

    Attributes:
      words: unsigned integers (..., H, W, K). Of a word's bits, from the lowest on, ``channels``
        belong to each step of time; a step's bits are never split.
      time_bins: T.
      channels: C.
    """

    words: jax.Array
    time_bins: int = dataclasses.field(metadata={"static": True})
    channels: int = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, packed_NxTxP: jax.Array, shape: tuple[int, int, int]) -> "Words":
        """Packed recordings as words.

        Args:
          packed_NxTxP: see :class:`sast_jax.data.packing.Frames`.
          shape: (H, W, C) of a frame.
        """
        return cls(_words(packed_NxTxP, shape), packed_NxTxP.shape[1], shape[-1])

    @staticmethod
    def nbytes(packed_shape: tuple[int, int, int], shape: tuple[int, int, int]) -> int:
        """Bytes of packed recordings (N, T, P) as words."""
        (N, T, _), (H, W, C) = packed_shape, shape
        dtype = _dtype(T, C)
        return N * H * W * -(-T // _steps(dtype, C)) * jnp.dtype(dtype).itemsize

    def __getitem__(self, indices: jax.Array) -> "Words":
        """The recordings at these indices."""
        return dataclasses.replace(self, words=self.words[indices])

    def moved(self, move: Callable[[jax.Array], jax.Array]) -> "Words":
        """The recordings after a function of frames (B, T, H, W, C) that moves pixels.

        What it does to a pixel is the same at all steps and channels; so it is given words in the
        place of frames of a single step.
        """
        return dataclasses.replace(self, words=move(self.words[:, None])[:, 0])

    def time_first(self) -> jax.Array:
        """The frames (T, B, H, W, C), uint8 of 0 and 1."""
        steps = _steps(self.words.dtype, self.channels)
        parts = []
        for k in range(self.words.shape[-1]):
            bits = min(steps, self.time_bins - k * steps) * self.channels
            places = jnp.arange(bits, dtype=self.words.dtype).reshape(-1, 1, 1, 1, self.channels)
            parts.append((self.words[None, ..., k, None] >> places) & 1)
        return jnp.concatenate(parts).astype(jnp.uint8)


def _steps(dtype, channels: int) -> int:
    """Steps of time that a word holds."""
    return jnp.iinfo(dtype).bits // channels


def _dtype(T: int, C: int):
    """The narrowest type that holds all steps of time; of several words, the widest."""
    if C > 32:
        raise InputError(f"frames of {C} channels: a word holds at most 32")
    return next((d for d in (jnp.uint8, jnp.uint16) if _steps(d, C) >= T), jnp.uint32)


@jax.jit(static_argnums=1)
def _words(packed_NxTxP, shape):
    T, C = packed_NxTxP.shape[1], shape[-1]
    dtype = _dtype(T, C)
    steps = _steps(dtype, C)

    def one(packed_TxP):
        frames_TxHxWxC = packing.unpack(packed_TxP, shape).astype(dtype)
        found = []
        for start in range(0, T, steps):
            part = frames_TxHxWxC[start : start + steps]
            places = jnp.arange(len(part) * C, dtype=dtype).reshape(-1, 1, 1, C)
            found.append((part << places).sum(axis=(0, 3), dtype=dtype))
        return jnp.stack(found, axis=-1)

    return jax.lax.map(one, packed_NxTxP, batch_size=min(_AT_ONCE, len(packed_NxTxP)))
