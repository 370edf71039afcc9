"""The neuron with an adaptive threshold against a loop and finite differences, and how it adapts.

What it shares with other neurons, training and refusals among it, stands in test_neurons.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import own_neurons
import pytest

from sast_jax.errors import InputError
from sast_jax.fields import checked
from sast_jax.snn import neurons
from sast_jax.snn.neurons import Adaptive

DECAY, THRESHOLD, FADES, RISE = 0.8, 0.7, 0.85, 0.3


def neuron(reset="zero", fades=FADES, rise=RISE):
    reset = neurons.RESETS[reset]
    return Adaptive(THRESHOLD, reset=reset, adaptation_decay=fades, adaptation=rise)


def loop(reset, spike, current_TxN):
    """The equations of the module docstring, one neuron and one step at a time."""

    def step(state, current):
        u, s, a = state
        before = THRESHOLD + RISE * a
        a = FADES * a + s
        u = own_neurons.left(reset, DECAY, u, s, before) + current
        s = spike(u - (THRESHOLD + RISE * a))
        return (u, s, a), s

    return own_neurons.loop(step, (0.0, 0.0, 0.0), current_TxN)


@pytest.mark.parametrize("reset", neurons.RESETS)
@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_it_is_a_loop_over_neurons_and_steps(reset, kind):
    current = np.random.default_rng(0).normal(0.4, 0.6, (30, 20))
    own_neurons.equal_a_loop(neuron(reset), kind, DECAY, functools.partial(loop, reset), current)


@pytest.mark.parametrize("reset", neurons.RESETS)
def test_the_gradient_is_that_of_finite_differences(reset):
    current = np.random.default_rng(1).normal(0.5, 0.5, (15, 3))

    def cell(decay, *own):
        return neuron(reset, *own).smooth(decay, 4.0)

    own_neurons.gradient_is_of_differences(cell, current, DECAY, FADES, RISE)


@pytest.mark.parametrize("reset", neurons.RESETS)
@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_without_adaptation_it_is_the_lif_neuron_bit_for_bit(reset, kind):
    plain = neurons.LIF(THRESHOLD, reset=neurons.RESETS[reset])
    own_neurons.is_lif_bit_for_bit(neuron(reset, rise=0.0), plain, kind, DECAY)


@pytest.mark.parametrize("reset", neurons.RESETS)
def test_segments_of_time_equal_the_whole(reset):
    own_neurons.segments_are_the_whole(neuron(reset).smooth(DECAY, 4.0))


@pytest.mark.parametrize("reset", neurons.RESETS)
def test_under_a_constant_current_spikes_become_rarer(reset):
    current = jnp.full((150, 1), 0.35)

    def intervals(own):
        _, out = neurons.integrate(own.hard(0.9), current)
        return np.diff(np.flatnonzero(np.asarray(out[:, 0])))

    slow = Adaptive(THRESHOLD, reset=neurons.RESETS[reset], adaptation_decay=0.995, adaptation=0.4)
    between = intervals(slow)
    assert len(between) >= 6
    assert (np.diff(between) > 0).all() and between[-1] > 5 * between[0]
    assert np.ptp(intervals(neurons.LIF(THRESHOLD, reset=neurons.RESETS[reset]))) <= 1


def test_a_threshold_rises_with_each_spike_and_falls_between():
    """b_t from the state: the threshold and a rise for each spike before, faded since."""
    current = jax.random.normal(jax.random.key(0), (40, 7))
    own = neuron().hard(DECAY)
    _, out = neurons.integrate(own, current)
    state, rises = None, []
    for t in range(40):
        state, _ = neurons.integrate(own, current[t : t + 1], state)
        rises.append(np.asarray(state.adaptation))
    out = np.asarray(out)
    expected = [
        sum(FADES ** (t - 1 - k) * out[k] for k in range(t)) + 0 * out[0] for t in range(40)
    ]
    np.testing.assert_allclose(rises, expected, atol=1e-5)
    assert out.any()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"adaptation_decay": 1.0}, "adaptation_decay=1.0 must be a number from 0 to below 1"),
        ({"adaptation_decay": -0.1}, "adaptation_decay=-0.1 must be a number from 0 to below 1"),
        ({"adaptation": -0.1}, "adaptation=-0.1 must be a number from 0 up"),
    ],
)
def test_numbers_that_cannot_be_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        checked(Adaptive(**changes))
