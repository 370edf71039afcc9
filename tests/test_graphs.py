"""NIR graphs that other programs wrote: the same spikes as in these, and refusals by name."""

import graph_writers
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from sast_jax.data import packing, sets
from sast_jax.hardware.graphs.network import Graph
from sast_jax.snn import neurons

pytestmark = pytest.mark.optimised

SHAPE = (34, 34, 2)
NEAR = 1e-6  # of a threshold, where another order of sums decides


@pytest.fixture(scope="module")
def frames(real_data) -> np.ndarray:
    """200 real recordings, (T, B, H, W, C)."""
    source = sets.load_nmnist("folder", real_data / "nmnist_8class", time_bins=6, test_limit=200)
    packed = jnp.asarray(source.test.packed_NxTxP)
    return np.asarray(packing.time_first(packed, SHAPE))


def responses(network, frames):
    """What each layer sends, and the recordings at which a potential comes near its threshold."""
    x, near, sent = jnp.asarray(frames), np.zeros(frames.shape[1], bool), []
    for connection, (neuron, decay) in zip(
        network.listed, network.model.neurons(network.numbers), strict=True
    ):
        cell, current = neuron.hard(decay), connection.sums(x)
        potentials = np.asarray(neurons.potentials(cell, current))
        distance = abs(potentials - np.asarray(neuron.threshold))
        near |= (distance < NEAR).any(axis=(0, *range(2, distance.ndim)))
        x = neurons.integrate(cell, current)[1]
        sent.append(x)
    return sent, near


@pytest.mark.parametrize("name", graph_writers.WRITERS)
def test_it_sends_the_spikes_of_the_program_that_wrote_it(name, frames):
    if name in ("sinabs", "spyx"):
        pytest.importorskip(name)
    torch.manual_seed(3)
    written = graph_writers.WRITERS[name]()
    expected = written.run(torch.from_numpy(frames.transpose(0, 1, 4, 2, 3).copy()))
    graph = Graph.of(written.graph)
    network = graph.on(SHAPE, graph.dialect(written.source, reset=written.reset))
    sent, near = responses(network, frames)
    assert all(float(abs(x).mean()) > 0.005 for x in sent), [float(x.mean()) for x in sent]
    assert near.mean() < 0.1
    found, last = np.asarray(sent[-1]), network.model.kinds[-1]
    if last.spikes:
        assert set(np.unique(found)) == {0, 1}
        np.testing.assert_array_equal(found[:, ~near], expected[:, ~near])
    else:
        np.testing.assert_allclose(found[:, ~near], expected[:, ~near], atol=1e-4)
