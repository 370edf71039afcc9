"""The LIF cell against a plain loop, a closed form, and finite differences in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import own_neurons
import pytest

from sast_jax.snn import neurons, spikes

RESETS = {"zero": neurons.ToZero(), "subtract": neurons.BySubtraction()}
DECAY, THRESHOLD = 0.8, 0.7


def cell(reset, spike, decay=DECAY):
    return neurons.Cell(neurons.LIF(THRESHOLD, reset=RESETS[reset]), decay, spike)


def loop(reset, spike, current_TxN):
    """The equations of the module docstring, one neuron and one step at a time."""

    def step(state, current):
        u, s = state
        u = own_neurons.left(reset, DECAY, u, s, THRESHOLD) + current
        s = spike(u - THRESHOLD)
        return (u, s), s

    return own_neurons.loop(step, (0.0, 0.0), current_TxN)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_integrate_equals_a_loop_over_neurons_and_steps(reset, kind):
    current = np.random.default_rng(0).normal(0.3, 0.6, (30, 20))
    neuron = neurons.LIF(THRESHOLD, reset=RESETS[reset])
    own_neurons.equal_a_loop(neuron, kind, DECAY, functools.partial(loop, reset), current)


def test_constant_current_fires_at_the_closed_form_step():
    # Without a spike u_t = I * (1 - decay^t) / (1 - decay).
    current = 0.3
    first = int(np.ceil(np.log(1 - THRESHOLD * (1 - DECAY) / current) / np.log(DECAY)))
    _, out = neurons.integrate(cell("zero", spikes.heaviside), jnp.full((20, 1), current))
    assert int(jnp.argmax(out[:, 0])) + 1 == first
    # The gate empties the potential, so the train has that very period.
    assert np.flatnonzero(out[:, 0]).tolist() == list(range(first - 1, 20, first))


@pytest.mark.parametrize("reset", RESETS)
def test_segments_of_time_equal_the_whole(reset):
    own_neurons.segments_are_the_whole(cell(reset, spikes.sigmoid(4.0)))


@pytest.mark.parametrize("reset", RESETS)
def test_gradient_equals_finite_differences_reset_included(reset):
    current = np.random.default_rng(1).normal(0.5, 0.5, (15, 4))

    def smooth(decay):
        return cell(reset, spikes.sigmoid(4.0), decay)

    own_neurons.gradient_is_of_differences(smooth, current, DECAY)


def test_potential_stays_within_its_bound():
    # |u| <= max|I| / (1 - decay) for a reset to zero, whatever the spikes.
    current = jax.random.uniform(jax.random.key(0), (200, 50), minval=-1.0)
    u = neurons.potentials(cell("zero", spikes.sigmoid(2.0)), current)
    assert jnp.abs(u).max() <= 1 / (1 - DECAY)
