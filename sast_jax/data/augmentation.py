"""Augmentation of training recordings, on the device: whole recordings are moved or deformed.

A recording is changed in the same way at all steps of time and in both polarities, and its frames
stay binary. An augmentation that only moves pixels says so with ``moves_pixels``, and is given the
words of recordings (:mod:`sast_jax.data.words`) in the place of their frames.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Shift:
    """:func:`shift` by at most ``pixels``, as a value."""

    moves_pixels: ClassVar[bool] = True

    pixels: int

    def __call__(self, key: jax.Array, frames_BxTxHxWxC: jax.Array) -> jax.Array:
        return shift(key, frames_BxTxHxWxC, self.pixels)


@dataclasses.dataclass(frozen=True)
class Affine:
    """:func:`affine` within these bounds, as a value."""

    moves_pixels: ClassVar[bool] = True

    pixels: float = 0.0
    degrees: float = 0.0
    zoom: float = 0.0

    def __call__(self, key: jax.Array, frames_BxTxHxWxC: jax.Array) -> jax.Array:
        return affine(key, frames_BxTxHxWxC, self.pixels, self.degrees, self.zoom)


@dataclasses.dataclass(frozen=True)
class Events:
    """:func:`events` with these shares, as a value."""

    lost: float = 0.0
    added: float = 0.0

    def __call__(self, key: jax.Array, frames_TxBxHxWxC: jax.Array) -> jax.Array:
        return events(key, frames_TxBxHxWxC, self.lost, self.added)


@dataclasses.dataclass(frozen=True)
class Then:
    """An augmentation, and then a change of events.

    Attributes:
      first: (key, frames (B, T, H, W, C)) -> frames; None for none.
      change: (key, frames (T, B, H, W, C), uint8) -> frames.
    """

    first: Callable[[jax.Array, jax.Array], jax.Array] | None
    change: Callable[[jax.Array, jax.Array], jax.Array]

    @property
    def moves_pixels(self) -> bool:
        """Whether the first of the two can be given words."""
        return getattr(self.first, "moves_pixels", False)

    def changed(self, key: jax.Array, frames_TxBxHxWxC: jax.Array) -> jax.Array:
        """Frames after the first augmentation, changed with a key of their own."""
        # The first one's key is the same with the change and without.
        return self.change(jax.random.fold_in(key, 1), frames_TxBxHxWxC)

    def __call__(self, key: jax.Array, frames_BxTxHxWxC: jax.Array) -> jax.Array:
        moved = self.first(key, frames_BxTxHxWxC) if self.first else frames_BxTxHxWxC
        return jnp.moveaxis(self.changed(key, jnp.moveaxis(moved, 1, 0)), 1, 0)


def events(key: jax.Array, frames_TxBxHxWxC: jax.Array, lost: float, added: float) -> jax.Array:
    """Leaves out and adds ones at random, for each recording as many as a draw of its own says.

    Args:
      key: of the draws.
      frames_TxBxHxWxC: binary frames, uint8.
      lost: share of a recording's ones that are left out; each recording's is uniform up to it.
      added: ones that are set anywhere, as a share of the recording's own; likewise uniform. One
        that would be set where there was one changes nothing.
    """
    share_key, pixel_key = jax.random.split(key)
    lost_B, added_B = jax.random.uniform(share_key, (2, frames_TxBxHxWxC.shape[1]))
    frames_TxBxP = frames_TxBxHxWxC.reshape(*frames_TxBxHxWxC.shape[:2], -1)
    own_B = frames_TxBxP.mean(axis=(0, 2))
    # One word decides for a pixel: what had a one can lose it, and what had none gain one.
    drawn = _words(pixel_key, frames_TxBxP.shape)
    loses, gains = (_below(share_B) for share_B in (lost * lost_B, added * added_B * own_B))
    hit = drawn < jnp.where(frames_TxBxP == 1, loses, gains)
    return jnp.where(hit, 1 - frames_TxBxP, frames_TxBxP).reshape(frames_TxBxHxWxC.shape)


def _below(share_B) -> jax.Array:
    """Of words of 32 bits, this share is below the number of a recording, to 1 in 2^24."""
    most = jnp.float32(2**32 - 2**8)  # the largest that float32 holds
    return (jnp.minimum(share_B, 1) * most).astype(jnp.uint32)[None, :, None]


def _words(key, shape) -> jax.Array:
    """Random words of 32 bits: a counter that is mixed with two random words.

    They are good enough to draw pixels with, in less time than ``jax.random.bits``. The mixing is
    C. Wellons' ``lowbias32``, a bijection that spreads each bit over all.
    """
    first, second = jax.random.bits(key, (2,), jnp.uint32)
    word = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape) ^ first
    word = (word ^ (word >> 16)) * jnp.uint32(0x7FEB352D)
    word = (word ^ (word >> 15)) * jnp.uint32(0x846CA68B)
    return (word ^ (word >> 16)) + second


def shift(key: jax.Array, frames_BxTxHxWxC: jax.Array, pixels: int) -> jax.Array:
    """Moves each recording by its own -pixels..pixels in y and x; what leaves the frame is lost."""
    B, T, H, W, C = frames_BxTxHxWxC.shape
    border = ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    padded = jnp.pad(frames_BxTxHxWxC, border)
    offset_Bx2 = jax.random.randint(key, (B, 2), 0, 2 * pixels + 1)
    return jax.vmap(
        lambda frames, offset: jax.lax.dynamic_slice(
            frames, (0, offset[0], offset[1], 0), (T, H, W, C)
        )
    )(padded, offset_Bx2)


def affine(
    key: jax.Array, frames_BxTxHxWxC: jax.Array, pixels: float, degrees: float, zoom: float
) -> jax.Array:
    """Moves, turns, stretches and shears each recording about the middle of the frame.

    Each pixel takes the value of the nearest source pixel; outside the frame there is none.

    Args:
      key: of the draws, which are uniform; each recording has its own.
      frames_BxTxHxWxC: frames of any dtype.
      pixels: largest shift in y and x.
      degrees: largest turn, and largest shear.
      zoom: largest relative change of size, in y and x on their own.
    """
    B, T, H, W, C = frames_BxTxHxWxC.shape
    draws_Bx6 = jax.random.uniform(key, (B, 6), minval=-1.0, maxval=1.0)
    move_Bx2 = pixels * draws_Bx6[:, :2]
    size_Bx2 = 1 + zoom * draws_Bx6[:, 2:4]
    turn_B, shear_B = jnp.deg2rad(degrees) * draws_Bx6[:, 4:].T
    cos, sin, slant = jnp.cos(turn_B), jnp.sin(turn_B), jnp.tan(shear_B)
    # The map from a pixel to where its value comes from, both as (y, x) from the middle. It is
    # written out, as a product of 2 x 2 matrices takes six times as long. Its numbers are stacked,
    # as the compiler would otherwise make them anew for each pixel.
    map_4xB = [cos, -sin, sin + slant * cos, cos - slant * sin]
    numbers_8xB = jnp.stack([*map_4xB, *size_Bx2.T, *move_Bx2.T])
    yy, yx, xy, xx, size_y, size_x, move_y, move_x = numbers_8xB[..., None, None]
    rows_H, columns_W = (jnp.arange(size, dtype=move_y.dtype) for size in (H, W))
    y_BxHx1 = rows_H[None, :, None] - (H - 1) / 2 - move_y
    x_Bx1xW = columns_W[None, None, :] - (W - 1) / 2 - move_x
    y_BxHxW = jnp.round((yy * y_BxHx1 + yx * x_Bx1xW) / size_y + (H - 1) / 2).astype(jnp.int32)
    x_BxHxW = jnp.round((xy * y_BxHx1 + xx * x_Bx1xW) / size_x + (W - 1) / 2).astype(jnp.int32)
    inside = (y_BxHxW >= 0) & (y_BxHxW < H) & (x_BxHxW >= 0) & (x_BxHxW < W)
    source_BxHxW = jnp.where(inside, y_BxHxW * W + x_BxHxW, H * W)

    def one(frames_TxHxWxC, source_HxW):
        # One slice for all steps and polarities of a pixel, which is what a gather does fast. A
        # pixel outside the frame holds zeros: to fill them in later is slower.
        stacked_PxS = jnp.moveaxis(frames_TxHxWxC, 0, 2).reshape(H * W, T * C)
        with_outside = jnp.pad(stacked_PxS, ((0, 1), (0, 0)))
        taken_PxS = with_outside.at[source_HxW.ravel()].get(mode="promise_in_bounds")
        return jnp.moveaxis(taken_PxS.reshape(H, W, T, C), 2, 0)

    return jax.vmap(one)(frames_BxTxHxWxC, source_BxHxW)
