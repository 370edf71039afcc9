"""Spike functions against their formulas, and families of them as values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sast_jax.errors import InputError
from sast_jax.snn import spikes

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


def test_families_are_values_that_name_their_steepest_derivative():
    own = spikes.Family("sigmoid", spikes.sigmoid.function, spikes.sigmoid.bounds)
    assert own == spikes.sigmoid != spikes.arctan
    assert hash(own) == hash(spikes.sigmoid)
    assert list(spikes.FAMILIES.values()) == [spikes.sigmoid, spikes.arctan]
    for family in spikes.FAMILIES.values():
        assert jax.grad(family(4.0))(0.0) == pytest.approx(4 * family.shape.first)


def test_a_family_without_bounds_is_refused_by_name():
    own = spikes.Family("square", lambda slope, x: x**2)
    np.testing.assert_array_equal(own(1.0)(X), X**2)
    with pytest.raises(InputError, match="the spike 'square' has no bounds on its derivatives"):
        own.shape  # noqa: B018
