"""Weights of few bits: symmetric levels, one scale a tensor or a channel.

A kernel becomes ``scale * integers`` with integers in -(2^(bits-1) - 1) .. 2^(bits-1) - 1, so that
zero is exact and 2 bits mean -1, 0 and 1.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from sast_jax.errors import InputError

FACTORS = np.geomspace(1.0, 0.03, 36)  # of the largest scale, tried by :func:`least_error`


class Quantised(NamedTuple):
    """A kernel as integers and a scale.

    Attributes:
      integers: int8, of the kernel's shape.
      scale: (outputs,), equal for all of them if there is one for the tensor.
    """

    integers: jax.Array
    scale: jax.Array


def levels(bits: int) -> int:
    """The largest integer of a symmetric format.

    Raises:
      InputError: weights of this width do not exist here.
    """
    if not 2 <= bits <= 8:
        raise InputError(f"weights of {bits} bits: choose from 2 (-1, 0, 1) to 8")
    return 2 ** (bits - 1) - 1


def largest(kernel: jax.Array | np.ndarray, bits: int, per_channel: bool) -> jax.Array:
    """The scale (outputs,) at which no weight is clipped."""
    magnitude_O = jnp.abs(kernel).reshape(-1, kernel.shape[-1]).max(axis=0)
    if not per_channel:
        magnitude_O = jnp.full_like(magnitude_O, magnitude_O.max())
    return jnp.where(magnitude_O > 0, magnitude_O, 1) / levels(bits)


def for_normal(kernel: jax.Array, bits: int, per_channel: bool) -> jax.Array:
    """The scale (outputs,) with the least mean squared rounding error for normal weights.

    It takes one pass over the weights, so training can afford it at each step.

    Reference: Max, Quantizing for minimum distortion, IRE Transactions on Information Theory
    6(1):7-12, 1960, table II, for an odd number of levels.
    """
    power_O = jnp.square(kernel).reshape(-1, kernel.shape[-1]).mean(axis=0)
    if not per_channel:
        power_O = jnp.full_like(power_O, power_O.mean())
    return jnp.where(power_O > 0, jnp.sqrt(power_O), 1) * _normal_step(levels(bits))


@functools.cache
def _normal_step(top: int) -> float:
    """The step, in standard deviations, of the best uniform quantiser with levels -top..top."""

    def distortion(step):
        # E[(x - q)^2] = E[x^2] - 2 E[x q] + E[q^2], without the first term, which no step changes.
        # From a to b the normal density p integrates x to p(a) - p(b).
        level = step * np.arange(-top, top + 1)
        edges = np.concatenate([[-np.inf], level[:-1] + step / 2, [np.inf]])
        x_times_q = -level * np.diff(scipy.stats.norm.pdf(edges))
        q_squared = level**2 * np.diff(scipy.stats.norm.cdf(edges))
        return (q_squared - 2 * x_times_q).sum()

    return float(scipy.optimize.minimize_scalar(distortion, bounds=(1e-3, 2), method="bounded").x)


def least_error(
    kernel: jax.Array, bits: int, per_channel: bool, gram_IxI: jax.Array | None = None
) -> jax.Array:
    """The scale (outputs,) with the least mean squared error of the input currents.

    Args:
      kernel: (..., outputs).
      bits: of a weight.
      per_channel: a scale for each output, else one for all.
      gram_IxI: mean product of each pair of inputs over calibration recordings. None minimises the
        error of the weights themselves, as if inputs were independent and equally active.
    """
    top = levels(bits)
    # Weights that are rounded already, by training with few bits, must come out unchanged. Their
    # largest is k steps, and k may be less than top; the factor top / k finds that step again. With
    # more than 4 bits that would be many factors to try, so such steps are looked for first.
    few = top <= 7
    factors_F = jnp.asarray([*FACTORS, *(top / k for k in range(1, top) if few)], kernel.dtype)
    most_O = largest(kernel, bits, per_channel)
    scale_O = _least_error(kernel, most_O, top, factors_F, per_channel, gram_IxI)
    if few:
        return scale_O
    step_O, exact_O = _own_step(kernel, top * most_O, top, per_channel)
    return jnp.where(exact_O, step_O, scale_O)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _own_step(kernel, magnitude_O, top, per_channel):
    """The longest step that all weights are multiples of, and whether there is one."""
    weights_IxO = kernel.reshape(-1, kernel.shape[-1])

    def off(k):
        steps_IxO = weights_IxO * (k / magnitude_O)[None]
        return jnp.abs(steps_IxO - jnp.round(steps_IxO)).max(axis=0)

    # In turn, so memory holds one kernel. A thousandth of a step is far above what float32 loses,
    # and far below what weights that are not rounded are off by.
    exact_KxO = jax.lax.map(off, jnp.arange(1.0, top + 1)) < 1e-3
    if not per_channel:
        exact_KxO = jnp.broadcast_to(exact_KxO.all(axis=1, keepdims=True), exact_KxO.shape)
    divisor_O = 1 + exact_KxO.argmax(axis=0).astype(magnitude_O.dtype)
    return magnitude_O / divisor_O, exact_KxO.any(axis=0)


@functools.partial(jax.jit, static_argnums=4)
def _least_error(kernel, most_O, top, factors_F, per_channel, gram_IxI):
    weights_IxO = kernel.reshape(-1, kernel.shape[-1])

    # A current is off by the weights' error times the inputs. Its mean square is the quadratic form
    # of that error in the gram matrix.
    def error(factor):
        scale_O = factor * most_O
        off_IxO = weights_IxO - scale_O[None] * _integers(weights_IxO, scale_O, top)
        seen_IxO = off_IxO if gram_IxI is None else gram_IxI @ off_IxO
        return (off_IxO * seen_IxO).sum(axis=0)

    errors_FxO = jax.lax.map(error, factors_F)  # in turn, so memory holds one rounded kernel
    if not per_channel:
        errors_FxO = jnp.broadcast_to(errors_FxO.sum(axis=1, keepdims=True), errors_FxO.shape)
    return factors_F[errors_FxO.argmin(axis=0)] * most_O


def quantise(kernel: jax.Array | np.ndarray, scale_O: jax.Array, bits: int) -> Quantised:
    """Rounds to the nearest level, half to even, and clips."""
    return Quantised(_integers(kernel, scale_O, levels(bits)).astype(jnp.int8), scale_O)


def dequantise(quantised: Quantised) -> jax.Array:
    """The kernel that the integers stand for."""
    return quantised.integers.astype(quantised.scale.dtype) * _along(quantised)


def _along(like: Quantised):
    return like.scale.reshape((1,) * (like.integers.ndim - 1) + like.scale.shape)


def _integers(kernel, scale_O, top):
    return jnp.clip(jnp.round(kernel / _along(Quantised(kernel, scale_O))), -top, top)


@dataclasses.dataclass(frozen=True)
class Rounding:
    """Quantisation-aware training: kernels are rounded, and gradients pass straight through.

    The scale is that of :func:`for_normal`, chosen anew at each call. Biases (the parameters with
    one axis) are not rounded, as an integer network keeps them in 32 bits.

    Reference: Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons, arXiv
    1308.3432: the gradient of rounding, and here of clipping too, is taken to be 1.

    Attributes:
      bits: of a weight, 2 to 8.
      per_channel: a scale for each output, else one a layer.
    """

    bits: int
    per_channel: bool = True

    def __post_init__(self):
        levels(self.bits)

    def __call__(self, params: Any) -> Any:
        """The parameters with rounded kernels."""
        return jax.tree.map(lambda leaf: self._kernel(leaf) if leaf.ndim > 1 else leaf, params)

    def _kernel(self, kernel):
        scale_O = for_normal(kernel, self.bits, self.per_channel)
        near = dequantise(quantise(kernel, scale_O, self.bits))
        # The value is near, and the derivative is that of the kernel. kernel + (near - kernel) has
        # the same derivative, but its rounding may miss the level.
        return jax.lax.stop_gradient(near) + (kernel - jax.lax.stop_gradient(kernel))
