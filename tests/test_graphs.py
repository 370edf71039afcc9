"""NIR graphs that other programs wrote: the same spikes as in these, and refusals by name."""

import itertools

import graph_writers
import jax.numpy as jnp
import nir
import numpy as np
import pytest
import torch

from sast_jax.data import packing, sets
from sast_jax.errors import InputError, UnsupportedError
from sast_jax.hardware.graphs.dialects import DIALECTS
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


def lif(size=3, **changes):
    values = {"tau": 5e-4, "r": 5.0, "v_leak": 0.0, "v_reset": 0.0, "v_threshold": 1.0} | changes
    return nir.LIF(**{key: np.full(size, value) for key, value in values.items()})


def graph(*nodes, edges=None, size=(8,), outputs=3, metadata=None):
    """A graph of nodes one after another, between an input and an output, or with other edges."""
    named = {"in": nir.Input(np.array(size))} | {f"n{i}": node for i, node in enumerate(nodes)}
    named["out"] = nir.Output(np.array([outputs]))
    names = list(named)
    found = list(itertools.pairwise(names)) if edges is None else edges
    return nir.NIRGraph(named, found, metadata=metadata or {}, type_check=False)


WEIGHTS = nir.Affine(np.ones((3, 8)), np.zeros(3))
KERNEL = nir.Conv2d((2, 2), np.ones((3, 2, 2, 2)), 1, 0, 1, 1, np.zeros(3))
SMALL = nir.Conv2d((2, 2), np.ones((3, 2, 1, 1)), 1, 0, 1, 1, np.zeros(3))
MAP = (2, 2, 2)
POOL = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))


@pytest.mark.parametrize(
    "made, message",
    [
        (graph(WEIGHTS, nir.Delay(np.ones(3)), lif()), "node 'n1' is a Delay, which cannot be run"),
        (graph(WEIGHTS, lif(tau=1e-5)), "node 'n1' has time constants below the step of 0.0001 s"),
        (graph(WEIGHTS, lif(tau=0.0)), "node 'n1' has time constants that are not above 0"),
        (graph(WEIGHTS, lif(size=4)), "node 'n1' has numbers of shape (4,) for neurons of (3,)"),
        (graph(lif(size=8), WEIGHTS, lif(), size=(9,)), "takes 9 inputs; frames of these"),
        (graph(KERNEL, size=(2, 3, 3)), "takes frames of 3 x 3 x 2; these recordings"),
        (graph(KERNEL), "node 'n0' takes a map and is given a vector"),
        (graph(WEIGHTS, size=MAP), "node 'n0' takes a map of (2, 2, 2); flatten it first"),
        (graph(SMALL, nir.Flatten({"input": None}, 0), size=MAP), "node 'n1' flattens behind"),
        (graph(POOL, KERNEL, size=MAP), "node 'n1' has a kernel larger than its input"),
        (graph(lif(size=MAP), size=MAP), "ends in a map of (2, 2, 2), and not in classes"),
        (graph(size=MAP), "has no weights and no neurons"),
        (graph(WEIGHTS, size=(2, 2, 2, 2)), "takes inputs of shape [2, 2, 2, 2]"),
        (
            graph(WEIGHTS, lif(), lif(), edges=[
                ("in", "n0"), ("n0", "n1"), ("n0", "n2"), ("n1", "out")]),
            "node 'n0' is joined to several others (n1, n2)",
        ),
        (graph(WEIGHTS, lif(), edges=[("in", "n0"), ("n0", "n1")]), "node 'n1' leads nowhere"),
        (
            graph(WEIGHTS, lif(), nir.Scale(np.ones(3)), edges=[
                ("in", "n0"), ("n0", "n1"), ("n1", "n2"), ("n2", "n1"), ("n1", "out")]),
            "node 'n2' is a Scale that leads back",
        ),
        (graph(WEIGHTS, lif(), KERNEL, edges=[("in", "n0"), ("n0", "n1"), ("n1", "out")]),
         "node 'n2' is not on the way from the input to the output"),
        (nir.NIRGraph({"in": nir.Input(np.array([8]))}, [], type_check=False), "has 0 nodes Outp"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_named(made, message):
    with pytest.raises(InputError) as caught:
        found = Graph.of(made, "a.nir")
        found.on(MAP, found.dialect(dt=1e-4))
    assert str(caught.value).startswith("a.nir: ") and message in str(caught.value)


def test_a_step_that_is_not_known_is_asked_for():
    found = Graph.of(graph(WEIGHTS, lif()), "a.nir")
    with pytest.raises(InputError, match="say who wrote it with --source=snntorch"):
        found.dialect()
    assert found.dialect(dt=2e-4).dt == 2e-4 and found.dialect("sinabs").dt == 1.0
    stated = Graph.of(graph(WEIGHTS, lif(), metadata={"dt": 5e-4}))
    assert stated.dialect().dt == 5e-4


def by_hand(node, inputs_TxI, dt):
    """Euler's method, one neuron after another, as the specification of NIR has it."""
    voltage, found = 0.0, []
    for x in inputs_TxI @ np.ones(8):
        voltage += dt / node.tau[0] * (node.v_leak[0] - voltage + node.r[0] * x)
        found.append(float(voltage > node.v_threshold[0]))
        voltage = node.v_reset[0] if found[-1] else voltage
    return found


def test_neurons_leak_and_reset_to_other_potentials_than_zero():
    node = lif(v_leak=0.4, v_reset=-0.3, r=1.3, tau=3e-4)
    network = Graph.of(graph(WEIGHTS, node)).on(MAP, DIALECTS["snntorch"])
    frames = np.random.default_rng(0).random((30, 1, *MAP)) < 0.3
    sent, near = responses(network, frames.astype(np.float32))
    assert not near.any()
    expected = by_hand(node, frames.reshape(30, 8), 1e-4)
    np.testing.assert_array_equal(np.asarray(sent[0])[:, 0, 0], expected)
    assert 0 < np.mean(expected) < 1


def test_weights_poolings_and_scales_behind_each_other_are_multiplied():
    rng = np.random.default_rng(1)
    convolution = nir.Conv2d(
        (6, 6), rng.normal(size=(4, 1, 2, 2)), (1, 1), (1, 0), (2, 1), 2, np.ones(4)
    )
    pool = nir.SumPool2d(np.array([2, 1]), np.array([2, 2]), np.array([0, 0]))
    scale = nir.Scale(rng.normal(size=4))
    one, two = (nir.Linear(rng.normal(size=shape)) for shape in ((7, 36), (5, 7)))
    spikes = nir.Threshold(np.zeros((4, 3, 3)))
    made = graph(
        convolution, pool, scale, spikes, nir.Flatten({"input": None}, 0, -1), one, two,
        size=(2, 6, 6), outputs=5,
    )  # fmt: skip
    network = Graph.of(made).on((6, 6, 2), DIALECTS["snntorch"])
    assert network.names == ("n3", "output")
    frames = (rng.random((3, 4, 6, 6, 2)) < 0.4).astype(np.float32)
    sent, _ = responses(network, frames)
    x = torch.from_numpy(frames.reshape(12, 6, 6, 2).transpose(0, 3, 1, 2).copy()).double()
    weight = torch.from_numpy(np.asarray(convolution.weight))
    with torch.no_grad():
        maps = torch.nn.functional.conv2d(
            x, weight, torch.ones(4).double(), 1, (1, 0), (2, 1), groups=2
        )
        pooled = maps[:, :, 0::2, ::2][:, :, : maps.shape[2] // 2] + maps[:, :, 1::2, ::2]
        fired = (pooled * torch.from_numpy(scale.scale)[:, None, None] > 0).double()
        expected = fired.reshape(12, -1) @ torch.from_numpy(one.weight.T @ two.weight.T)
    np.testing.assert_allclose(
        np.asarray(sent[1]).reshape(12, 5), expected.numpy(), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("order", ["CHW", "HWC"])
def test_pixels_of_a_vector_are_numbered_as_stated(order):
    weights = nir.Linear(np.eye(8))
    network = Graph.of(graph(weights, outputs=8)).on(MAP, DIALECTS["snntorch"], order=order)
    frame = np.arange(8.0, dtype=np.float32).reshape(1, 1, *MAP)
    sent, _ = responses(network, frame)
    expected = frame[0, 0].transpose(2, 0, 1).ravel() if order == "CHW" else frame.ravel()
    np.testing.assert_array_equal(np.asarray(sent[0]).ravel(), expected)


def test_a_graph_of_lif_neurons_that_are_alike_has_an_integer_network():
    made = graph(WEIGHTS, lif(), nir.Linear(np.eye(3)), lif(v_threshold=2.0))
    network = Graph.of(made).on(MAP, DIALECTS["snntorch"])
    neuron, decay, thresholds = network.uniform()
    assert neuron == neurons.LIF() and thresholds == [1.0, 2.0]
    assert decay == pytest.approx(0.8)
    other = Graph.of(graph(WEIGHTS, lif(), nir.Linear(np.eye(3)), lif(tau=1e-3)))
    with pytest.raises(UnsupportedError, match="layer 'n3' has another decay or reset"):
        other.on(MAP, DIALECTS["snntorch"]).uniform()
