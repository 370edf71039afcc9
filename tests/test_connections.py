"""Networks as lists of connections against flax's own layers and the modules they come from."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_networks import HARD, NETWORKS, SHAPE, network, respond, trained

from sast_jax.snn import connections, networks, neurons, spikes
from sast_jax.snn.model import Model


def in_flax(params, frames):
    """The network of flax's own layers, by the names of its parameters: spikes, last current."""
    sent, found = frames, []
    for name in sorted(params, key=lambda name: (name.startswith("Dense"), name)):
        *side, _, width = params[name]["kernel"].shape
        if side:
            layer = nn.Conv(width, side, strides=2, padding=side[0] // 2)
        else:
            layer, sent = nn.Dense(width), sent.reshape(*sent.shape[:2], -1)
        current = layer.apply({"params": params[name]}, sent)
        _, sent = neurons.integrate(HARD, current)
        found.append(sent)
    return found, current


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_the_module(name):
    model, params, frames = trained(name)
    expected = model.respond(params, HARD, frames)
    listed = model.connections(params)
    found = connections.respond(listed, [HARD] * len(listed), frames)
    for a, b in zip(found.spikes, expected.spikes, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(found.current_TxBxK, expected.current_TxBxK, atol=1e-6)
    assert 0 < found.spikes[0].mean() < 1
    by_layers, current = in_flax(params, frames)
    for a, b in zip(found.spikes, by_layers, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(found.current_TxBxK, current, atol=1e-6)


def test_come_in_the_order_of_the_network():
    """Of more than ten layers of a kind, as names with numbers do not sort by these."""
    widths = range(14, 2, -1)
    model = Model(networks.ConvNet((3, 5), widths, kernel=3)).on((8, 8, 2))
    rng = np.random.default_rng(0)
    declared = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: rng.random(leaf.shape), declared)
    assert len(params) == 14
    for order in (dict(sorted(params.items())), dict(reversed(params.items()))):
        listed = model.connections(order)
        kinds = [connections.Halving] * 2 + [connections.Full] * 12
        assert [type(c) for c in listed] == kinds
        assert [c.kernel.shape[-2] for c in listed] == [2, 3, 2 * 2 * 5, *widths[:-1]]
        assert [c.kernel.shape[-1] for c in listed] == [3, 5, *widths]
        for number, connection in enumerate(listed[2:]):
            np.testing.assert_array_equal(connection.kernel, params[f"Dense_{number}"]["kernel"])


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_are_those_of_the_layers(name):
    listed, frames = network(name)
    found = connections.shapes(listed, SHAPE)
    assert found == [layer.shape[2:] for layer in respond(listed, frames).spikes]


def test_spikes_are_lost_on_the_way():
    listed, frames = network("MLP")
    silent = connections.respond(
        listed, [HARD] * 2, frames, lambda layer, s: s * 0 if layer == 0 else s
    )
    bias = listed[1].bias[None, None]
    np.testing.assert_array_equal(silent.current_TxBxK, jnp.broadcast_to(bias, (5, 4, 4)))


def test_each_layer_has_a_cell_of_its_own():
    listed, frames = network("MLP")
    never = neurons.LIF(np.inf).hard(0.9)
    found = connections.respond(listed, [HARD, never], frames)
    np.testing.assert_array_equal(found.spikes[0], respond(listed, frames).spikes[0])
    assert not found.spikes[1].any() and respond(listed, frames).spikes[1].any()
    plain = neurons.Cell(neurons.LIF(), 0.9, spikes.heaviside)
    np.testing.assert_array_equal(respond(listed, frames, plain).spikes[0], found.spikes[0])
