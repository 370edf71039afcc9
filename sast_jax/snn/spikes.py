"""Spike functions: of the distance x = u - threshold of the membrane potential to the threshold.

A smooth spike is a value in 0..1 and its exact derivative is what trains; a hard spike is 0 or 1.
All have the signature ``spike(x) -> s`` and keep shape and dtype, so swapping one for another is
the whole of "swap-only" evaluation.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.errors import InputError

Spike = Callable[[jax.Array], jax.Array]


class Shape(NamedTuple):
    """Bounds on the derivatives of a smooth spike of slope 1, over all x.

    At slope k the n-th derivative is k^n times as large.

    Attributes:
      first, second, third: bounds on the absolute values of these derivatives.
      far_second, far_third: bounds on |x| times the second and third.
      relative: bound on the second derivative divided by the first.
    """

    first: float
    second: float
    third: float
    far_second: float
    far_third: float
    relative: float


@dataclasses.dataclass(frozen=True)
class Family:
    """Smooth spikes of every slope: ``family(slope)`` is one of them. Equal by value.

    Attributes:
      name: in words.
      function: (slope, x) -> s.
      bounds: on its derivatives, which the theory starts from; None where they are not known.
    """

    name: str
    function: Callable[[jax.typing.ArrayLike, jax.Array], jax.Array]
    bounds: Shape | None = None

    def __call__(self, slope: jax.typing.ArrayLike) -> Spike:
        """The smooth spike of this slope."""
        return lambda x: self.function(slope, x)

    @property
    def shape(self) -> Shape:
        """The bounds; raises InputError where there are none."""
        if self.bounds is None:
            raise InputError(f"the spike {self.name!r} has no bounds on its derivatives")
        return self.bounds


def heaviside(x: jax.Array) -> jax.Array:
    """1 where x > 0, else 0: at equality no spike, as NIR defines it."""
    return (x > 0).astype(x.dtype)


# Bounds are closed forms, or rounded up.
# The logistic function of slope * x; its steepest derivative is slope / 4.
sigmoid = Family(
    "sigmoid",
    lambda slope, x: jax.nn.sigmoid(slope * x),
    Shape(1 / 4, 3**-0.5 / 6, 1 / 8, 0.16, 0.103, 1.0),
)
# 1/2 + arctan(pi/2 * slope * x) / pi; its steepest derivative is slope / 2.
arctan = Family(
    "arctan",
    lambda slope, x: 0.5 + jnp.arctan(0.5 * jnp.pi * slope * x) / jnp.pi,
    Shape(1 / 2, 3**1.5 * np.pi / 32, np.pi**2 / 4, 1 / 4, 0.431, np.pi / 2),
)
FAMILIES = {family.name: family for family in (sigmoid, arctan)}


def hard_forward(smooth: Spike) -> Spike:
    """A hard spike forward with the derivative of ``smooth``: the usual surrogate gradient."""

    def spike(x):
        s = smooth(x)
        # s - s is exactly 0, so the value stays exactly binary.
        return jax.lax.stop_gradient(heaviside(x)) + (s - jax.lax.stop_gradient(s))

    return spike
