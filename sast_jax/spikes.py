"""Spike functions: of the distance x = u - threshold of the membrane potential to the threshold.

A smooth spike is a value in 0..1 and its exact derivative is what trains; a hard spike is 0 or 1.
All have the signature ``spike(x) -> s`` and keep shape and dtype, so swapping one for another is
the whole of "swap-only" evaluation.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Spike = Callable[[jax.Array], jax.Array]


def heaviside(x: jax.Array) -> jax.Array:
    """1 where x > 0, else 0: at equality no spike, as NIR defines it."""
    return (x > 0).astype(x.dtype)


def sigmoid(slope: jax.typing.ArrayLike) -> Spike:
    """The logistic function of ``slope * x``; its steepest derivative is slope / 4."""
    return lambda x: jax.nn.sigmoid(slope * x)


def arctan(slope: jax.typing.ArrayLike) -> Spike:
    """1/2 + arctan(pi/2 * slope * x) / pi; its steepest derivative is slope / 2."""
    return lambda x: 0.5 + jnp.arctan(0.5 * jnp.pi * slope * x) / jnp.pi


def hard_forward(smooth: Spike) -> Spike:
    """A hard spike forward with the derivative of ``smooth``: the usual surrogate gradient."""

    def spike(x):
        s = smooth(x)
        # s - s is exactly 0, so the value stays exactly binary.
        return jax.lax.stop_gradient(heaviside(x)) + (s - jax.lax.stop_gradient(s))

    return spike
