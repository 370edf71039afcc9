import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sast_jax import spikes

X = np.linspace(-3, 3, 101)


def test_heaviside_is_silent_at_threshold_and_keeps_dtype():
    x = jnp.array([-1.0, 0.0, 1e-6], jnp.float16)
    s = spikes.heaviside(x)
    assert s.dtype == jnp.float16
    np.testing.assert_array_equal(s, [0, 0, 1])


@pytest.mark.parametrize("slope", [0.5, 4.0])
def test_smooth_spikes_equal_their_formulas(slope):
    np.testing.assert_allclose(spikes.sigmoid(slope)(X), 1 / (1 + np.exp(-slope * X)), rtol=1e-5)
    expected = 0.5 + np.arctan(np.pi / 2 * slope * X) / np.pi
    np.testing.assert_allclose(spikes.arctan(slope)(X), expected, rtol=1e-5)


@pytest.mark.parametrize(("spike", "steepest"), [(spikes.sigmoid, 1.0), (spikes.arctan, 2.0)])
def test_documented_steepest_derivative(spike, steepest):
    derivative = jax.grad(spike(4.0))
    assert derivative(0.0) == pytest.approx(steepest)
    assert max(jax.vmap(derivative)(jnp.asarray(X, jnp.float32))) <= steepest


def test_smooth_spike_becomes_hard_as_slope_grows():
    x = X[np.abs(X) > 0.05]
    np.testing.assert_allclose(spikes.sigmoid(1e4)(x), spikes.heaviside(x), atol=1e-6)


@pytest.mark.parametrize("smooth", [spikes.sigmoid(4.0), spikes.arctan(2.0)])
def test_hard_forward_is_exactly_binary_with_the_smooth_derivative(smooth):
    x = jnp.asarray(np.random.default_rng(0).normal(size=10_000), jnp.float32)
    spike = spikes.hard_forward(smooth)
    np.testing.assert_array_equal(spike(x), spikes.heaviside(x))
    gradient = jax.grad(lambda x: spike(x).sum())(x)
    np.testing.assert_array_equal(gradient, jax.grad(lambda x: smooth(x).sum())(x))
