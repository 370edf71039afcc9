"""Networks as lists of connections against the Flax modules they come from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sast_jax import connections, lif, networks, spikes

SHAPE = (7, 6, 2)
NETWORKS = {
    "MLP": networks.MLP((9, 4), gain=2.0),
    "ConvNet": networks.ConvNet((3, 5), (6, 4), kernel=3, gain=3.0),
}


def trained(name, seed=0):
    """A network of random weights and biases, and frames (T, B, H, W, C)."""
    keys = jax.random.split(jax.random.key(seed), 3)
    frames = jax.random.bernoulli(keys[0], 0.3, (5, 4, *SHAPE)).astype(jnp.float32)
    params = NETWORKS[name].init(keys[1], frames, HARD)["params"]
    biased = {k: {**v, "bias": 0.1 + v["bias"]} for k, v in params.items()}
    return NETWORKS[name], biased, frames


HARD = lif.reset_to_zero(0.9, 1.0, spikes.heaviside)


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_the_module(name):
    network, params, frames = trained(name)
    expected = network.apply({"params": params}, frames, HARD)
    listed = connections.connections(params)
    found = connections.respond(listed, [HARD] * len(listed), frames)
    for a, b in zip(found.spikes, expected.spikes, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(found.current_TxBxK, expected.current_TxBxK, atol=1e-6)
    assert 0 < found.spikes[0].mean() < 1


def test_come_in_the_order_of_the_network():
    params = {f"Dense_{i}": {"kernel": jnp.zeros((i, 1)), "bias": jnp.zeros(1)} for i in range(12)}
    params |= {"HalvingConv_0": {"kernel": jnp.zeros((3, 3, 2, 1)), "bias": jnp.zeros(1)}}
    listed = connections.connections(dict(sorted(params.items())))
    assert listed[0].kernel.ndim == 4
    assert [c.kernel.shape[0] for c in listed[1:]] == list(range(12))


def test_spikes_are_lost_on_the_way():
    _, params, frames = trained("MLP")
    listed = connections.connections(params)
    silent = connections.respond(
        listed, [HARD] * 2, frames, lambda layer, s: s * 0 if layer == 0 else s
    )
    bias = listed[1].bias[None, None]
    np.testing.assert_array_equal(silent.current_TxBxK, jnp.broadcast_to(bias, (5, 4, 4)))
