"""Weights as training sees them: rounded to few bits, or with noise; for a ``Recipe``."""

from collections.abc import Callable
from typing import Any

import jax

from sast_jax import quantisation, variation


def rounded(bits: int, per_channel: bool) -> Callable[[Any], Any]:
    """Quantisation-aware training: kernels are rounded, and gradients pass straight through.

    The scale is that of :func:`sast_jax.quantisation.for_normal`, anew each time. Biases stay, as
    an integer network keeps them in 32 bits.

    Reference: Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons, arXiv
    1308.3432: the gradient of rounding, and here of clipping too, is taken to be 1.

    Returns:
      parameters -> parameters.
    """

    def round_kernel(path, leaf):
        if path[-1].key != "kernel":
            return leaf
        scale_O = quantisation.for_normal(leaf, bits, per_channel)
        near = quantisation.dequantise(quantisation.quantise(leaf, scale_O, bits))
        # Adding leaf - leaf last keeps the levels exact, which leaf + (near - leaf) would not.
        return jax.lax.stop_gradient(near) + (leaf - jax.lax.stop_gradient(leaf))

    return lambda params: jax.tree.map_with_path(round_kernel, params)


def noisy(spread: float) -> Callable[[jax.Array, Any], Any]:
    """Each weight and bias times a factor, normal around 1 with this standard deviation.

    As a device with mismatch has it (:class:`sast_jax.variation.Variation`), but anew each step.

    Returns:
      (key, parameters) -> parameters.
    """
    return lambda key, params: variation.mismatched(key, params, spread)
