"""Networks of random weights on random frames, an MLP and a convolutional one."""

import jax
import jax.numpy as jnp

from sast_jax.snn import connections, networks, neurons
from sast_jax.snn.model import Model

HARD = neurons.LIF().hard(0.9)
SHAPE = (7, 6, 2)
NETWORKS = {
    "MLP": networks.MLP((9, 4), gain=2.0),
    "ConvNet": networks.ConvNet((3, 5), (6, 4), kernel=3, gain=3.0),
}


def trained(name, seed=0):
    """A model of random weights and biases, these, and frames (T, B, H, W, C)."""
    keys = jax.random.split(jax.random.key(seed), 3)
    frames = jax.random.bernoulli(keys[0], 0.3, (5, 4, *SHAPE)).astype(jnp.float32)
    model = Model(NETWORKS[name]).on(SHAPE)
    params = model.init(keys[1])
    biased = {k: {**v, "bias": 0.1 + v["bias"]} for k, v in params.items()}
    return model, biased, frames


def network(name, seed=0):
    """The same network as its connections, and the frames."""
    model, params, frames = trained(name, seed)
    return model.connections(params), frames


def respond(listed, frames, cell=HARD):
    """What a list of connections does, all layers with the same cell."""
    return connections.respond(listed, connections.alike(cell, listed), frames)
