"""Augmentation of training recordings, on the device: whole recordings are moved or deformed.

A recording is changed in the same way at all steps of time and in both polarities, and its frames
stay binary.
"""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Shift:
    """:func:`shift` by at most ``pixels``, as a value."""

    pixels: int

    def __call__(self, key: jax.Array, frames_BxTxHxWxC: jax.Array) -> jax.Array:
        return shift(key, frames_BxTxHxWxC, self.pixels)


@dataclasses.dataclass(frozen=True)
class Affine:
    """:func:`affine` within these bounds, as a value."""

    pixels: float = 0.0
    degrees: float = 0.0
    zoom: float = 0.0

    def __call__(self, key: jax.Array, frames_BxTxHxWxC: jax.Array) -> jax.Array:
        return affine(key, frames_BxTxHxWxC, self.pixels, self.degrees, self.zoom)


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
    B, _, H, W, _ = frames_BxTxHxWxC.shape
    draws_Bx6 = jax.random.uniform(key, (B, 6), minval=-1.0, maxval=1.0)
    move_Bx2 = pixels * draws_Bx6[:, :2]
    size_Bx2 = 1 + zoom * draws_Bx6[:, 2:4]
    turn_B, shear_B = jnp.deg2rad(degrees) * draws_Bx6[:, 4:].T
    cos, sin, slant = jnp.cos(turn_B), jnp.sin(turn_B), jnp.tan(shear_B)
    # Rows of the map from a pixel to where its value comes from, both as (y, x) from the middle.
    matrix_Bx2x2 = jnp.stack(
        [
            jnp.stack([cos, -sin], axis=-1),
            jnp.stack([sin + slant * cos, cos - slant * sin], axis=-1),
        ],
        axis=1,
    )
    middle = jnp.array([H - 1, W - 1]) / 2
    pixel_HxWx2 = jnp.stack(jnp.meshgrid(jnp.arange(H), jnp.arange(W), indexing="ij"), axis=-1)

    def one(frames_TxHxWxC, matrix, size, move):
        offset_HxWx2 = (pixel_HxWx2 - middle[None, None] - move[None, None]) @ matrix.T
        source_HxWx2 = offset_HxWx2 / size[None, None] + middle[None, None]
        y, x = jnp.moveaxis(jnp.round(source_HxWx2).astype(jnp.int32), -1, 0)
        inside = (y >= 0) & (y < H) & (x >= 0) & (x < W)
        # One slice for all steps and polarities of a pixel, which is what a gather does fast.
        stacked_PxTxC = jnp.moveaxis(frames_TxHxWxC, 0, 2).reshape(
            H * W, *frames_TxHxWxC.shape[::3]
        )
        taken = stacked_PxTxC.at[jnp.where(inside, y * W + x, H * W).ravel()].get(
            mode="fill", fill_value=0
        )
        return jnp.moveaxis(taken.reshape(H, W, *taken.shape[1:]), 2, 0)

    return jax.vmap(one)(frames_BxTxHxWxC, matrix_Bx2x2, size_Bx2, move_Bx2)
