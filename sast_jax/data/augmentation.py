"""Augmentation of training recordings, on the device."""

import jax
import jax.numpy as jnp


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
