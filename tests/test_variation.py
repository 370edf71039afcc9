"""Devices against the network itself, and the statistics they are drawn with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import small_networks

from sast_jax.snn import variation
from sast_jax.snn.connections import Full
from sast_jax.snn.neurons import LIF
from sast_jax.snn.variation import Variation


@jax.jit
def respond(key, levels, network, frames):
    return variation.draw(key, levels, network, [(LIF(1.0), 0.9)] * len(network), frames)(LIF.hard)


def device(network, frames, seed=0, **changes):
    return respond(jax.random.key(seed), Variation(**changes), network, frames)


@pytest.mark.parametrize("name", ["MLP", "ConvNet"])
def test_no_variation_is_the_network_itself(name):
    network, frames = small_networks.network(name)
    expected = small_networks.respond(network, frames)
    for a, b in zip(device(network, frames).spikes, expected.spikes, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["weights", "thresholds", "leaks", "dead", "dropped", "spurious"])
def test_each_kind_changes_spikes_and_is_drawn_anew_for_each_device(kind):
    network, frames = small_networks.network("MLP")
    plain, one = device(network, frames), device(network, frames, **{kind: 0.3})
    assert (plain.spikes[0] != one.spikes[0]).any()
    again, other = (device(network, frames, seed, **{kind: 0.3}) for seed in (0, 1))
    np.testing.assert_array_equal(one.spikes[0], again.spikes[0])
    assert (one.spikes[0] != other.spikes[0]).any()


def wide(current, neurons=4000, steps=6):
    """One layer of neurons that all have the same current, and a frame for it."""
    connection = Full(jnp.zeros((1, neurons)), jnp.full(neurons, current))
    return [connection], jnp.ones((steps, 1, 1, 1, 1))


def test_weights_and_thresholds_have_the_spread_asked_for():
    # From rest, a current of 1.3 passes a threshold of 1 unless a factor of sd 0.3 prevents it.
    network, frames = wide(1.3)
    weights = device(network, frames, weights=0.3).spikes[0][0].mean()
    thresholds = device(network, frames, thresholds=0.3).spikes[0][0].mean()
    np.testing.assert_allclose(weights, scipy.stats.norm.cdf((1 - 1 / 1.3) / 0.3), atol=0.03)
    np.testing.assert_allclose(thresholds, scipy.stats.norm.cdf(0.3 / 0.3), atol=0.03)


def test_shares_of_neurons_and_spikes():
    network, frames = wide(2.0)  # spikes at every step
    np.testing.assert_allclose(
        device(network, frames, dropped=0.2).spikes[0].mean(), 0.8, atol=0.01
    )
    dead = device(network, frames, dead=0.1).spikes[0]
    np.testing.assert_allclose(dead.mean(), 0.9, atol=0.02)
    assert set(np.unique(dead.sum(axis=0))) == {0, len(frames)}  # for good
    network, frames = wide(0.0)  # never
    np.testing.assert_allclose(
        device(network, frames, spurious=0.05).spikes[0].mean(), 0.05, atol=0.01
    )


def test_leaks_stay_within_their_range():
    # A leak below 0 would make the potential grow.
    network, frames = wide(0.3, steps=30)
    found = device(network, frames, leaks=5.0)
    assert float(jnp.abs(found.states[0].potential).max()) <= 1.3 + 1e-6


def test_draws_can_be_vectorised():
    network, frames = small_networks.network("MLP")

    def scores(key):
        layers = [(LIF(1.0), 0.9)] * len(network)
        device = variation.draw(key, Variation(weights=0.3), network, layers, frames)
        return device(LIF.hard).spikes[-1]

    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(scores))(keys)
    for i, key in enumerate(keys):
        np.testing.assert_array_equal(together[i], scores(key))
