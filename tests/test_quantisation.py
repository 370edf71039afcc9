"""Levels and scales against NumPy and an exhaustive search."""

import jax.numpy as jnp
import numpy as np
import pytest

from sast_jax.errors import InputError
from sast_jax.snn import quantisation

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(0, [[0.1, 1.0, 3.0]], (40, 3)).astype(np.float32)


@pytest.mark.parametrize("bits, top", [(8, 127), (4, 7), (3, 3), (2, 1)])
@pytest.mark.parametrize("per_channel", [True, False])
def test_the_largest_weight_has_the_largest_level(bits, top, per_channel):
    scale = quantisation.largest(jnp.asarray(KERNEL), bits, per_channel)
    found = quantisation.quantise(jnp.asarray(KERNEL), scale, bits)
    assert found.integers.dtype == jnp.int8
    magnitude = np.abs(np.asarray(found.integers, int))
    reached = magnitude.max(axis=0) if per_channel else magnitude.max()
    assert (reached == top).all()
    off = np.abs(np.asarray(quantisation.dequantise(found)) - KERNEL)
    assert (off <= 0.5 * np.asarray(scale) + 1e-6).all()


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("bits", [4, 2])
def test_the_least_error_is_that_of_a_search_over_currents(bits, per_channel):
    inputs = (RNG.random((200, 40)) < RNG.random(40)).astype(np.float32)
    gram = inputs.T @ inputs / len(inputs)
    found = np.asarray(
        quantisation.least_error(jnp.asarray(KERNEL), bits, per_channel, jnp.asarray(gram))
    )
    top = 2 ** (bits - 1) - 1
    magnitude = np.abs(KERNEL).max(axis=0 if per_channel else None) / top * np.ones(3)
    errors = []
    for factor in quantisation.FACTORS:
        scale = factor * magnitude
        rounded = scale * np.clip(np.round(KERNEL / scale), -top, top)
        errors.append(((inputs @ (rounded - KERNEL)) ** 2).mean(axis=0))
    errors = np.array(errors)
    if not per_channel:
        errors = np.repeat(errors.sum(axis=1, keepdims=True), 3, axis=1)
    best = quantisation.FACTORS[errors.argmin(axis=0)] * magnitude
    np.testing.assert_allclose(found, best, rtol=1e-5)
    assert (best < magnitude * 0.99).any()


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("bits", [5, 6, 8])
def test_rounded_weights_come_out_as_they_are_and_others_do_not(bits, per_channel):
    top = 2 ** (bits - 1) - 1
    rng = np.random.default_rng(bits)
    whole = rng.integers(-top // 2, top // 2, (40, 5))  # in no channel the whole range
    steps = rng.uniform(0.01, 0.1, 5) if per_channel else np.full(5, 0.03)
    kernel = jnp.asarray(whole * steps, jnp.float32)
    scale = quantisation.least_error(kernel, bits, per_channel)
    np.testing.assert_allclose(scale, steps, rtol=1e-5)
    made = quantisation.quantise(kernel, scale, bits)
    np.testing.assert_array_equal(made.integers, whole)
    near = kernel + 0.3 * steps.min() * rng.uniform(-1, 1, kernel.shape)
    other = quantisation.least_error(jnp.asarray(near, jnp.float32), bits, per_channel)
    factors = np.asarray(other / quantisation.largest(near, bits, per_channel))
    assert np.abs(factors[:, None] / quantisation.FACTORS - 1).min(axis=1).max() < 1e-5


def test_a_channel_of_zeros_stays_zero():
    kernel = jnp.asarray(KERNEL).at[:, 1].set(0)
    for scale in (
        quantisation.largest(kernel, 4, True),
        quantisation.least_error(kernel, 4, True),
    ):
        found = quantisation.quantise(kernel, scale, 4)
        assert (found.integers[:, 1] == 0).all()
        assert np.isfinite(scale).all()


@pytest.mark.parametrize("bits", [1, 0, 9])
def test_widths_that_do_not_exist_are_refused(bits):
    with pytest.raises(InputError, match=f"weights of {bits} bits: choose from 2"):
        quantisation.largest(jnp.asarray(KERNEL), bits, True)
