"""NIR graphs that other programs wrote: the same spikes as in these, and refusals by name."""

import itertools

import graph_writers
import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest
import torch

from sast_jax.data import packing, sets
from sast_jax.errors import InputError, UnsupportedError
from sast_jax.hardware import formats, integers, models, operations
from sast_jax.hardware.graphs.dialects import DIALECTS
from sast_jax.hardware.graphs.network import READOUTS, Graph
from sast_jax.snn import neurons, readouts, variation
from sast_jax.snn.variation import Variation

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


def sent_by(made, shape, frames, **options):
    """What the output layer of a graph sends."""
    network = Graph.of(made).on(shape, DIALECTS["snntorch"], **options)
    return np.asarray(responses(network, frames)[0][-1])


ONES = np.ones((1, 1, *MAP), np.float32)


def test_numbers_of_neurons_stand_in_the_order_of_the_graph():
    own = np.array([0.5, 1.5, 0.5, 1.5, 9, 9, 9, 9])
    node = lif(size=8)
    node.v_threshold = own
    last = nir.Linear(np.eye(8))
    found = sent_by(graph(node, last, outputs=8), MAP, ONES)
    np.testing.assert_array_equal(found[0, 0], own < 1)  # every neuron gets 1
    scale = nir.Scale(np.arange(8.0))
    found = sent_by(graph(scale, last, outputs=8), MAP, ONES)
    np.testing.assert_array_equal(found[0, 0], np.arange(8))
    spikes, flatten = nir.Threshold(np.full(MAP, 0.5)), nir.Flatten({"input": None}, 0, -1)
    found = sent_by(graph(spikes, flatten, scale, last, size=MAP, outputs=8), MAP, ONES)
    np.testing.assert_array_equal(found[0, 0], np.arange(8))


def test_a_pooling_behind_a_scale_of_a_map_has_its_shape():
    convolution = nir.Conv2d((6, 6), np.ones((3, 2, 2, 2)), 2, 0, 1, 1, np.zeros(3))
    pool = nir.AvgPool2d(np.array([3, 3]), np.array([3, 3]), np.array([0, 0]))
    made = graph(
        convolution, nir.Threshold(np.full((3, 3, 3), 0.5)), nir.Scale(np.array([1.0, 2, 3])), pool,
        nir.Threshold(np.full((3, 1, 1), 1.5)), nir.Flatten({"input": None}, 0, -1),
        nir.Linear(np.eye(3)), size=(2, 6, 6),
    )  # fmt: skip
    frames = np.ones((1, 1, 6, 6, 2), np.float32)
    np.testing.assert_array_equal(sent_by(made, (6, 6, 2), frames)[0, 0], [0, 1, 1])


def test_a_kernel_as_large_as_the_map_may_have_a_border():
    weight = np.arange(18.0).reshape(1, 2, 3, 3)
    convolution = nir.Conv2d((3, 3), weight, 3, 1, 1, 1, np.zeros(1))
    made = graph(
        convolution, nir.Threshold(np.full((1, 1, 1), 57.5)), nir.Flatten({"input": None}, 0, -1),
        nir.Linear(np.eye(1)), size=(2, 3, 3), outputs=1,
    )  # fmt: skip
    x = torch.ones(1, 2, 3, 3).double()
    expected = torch.nn.functional.conv2d(x, torch.from_numpy(weight), stride=3, padding=1)
    assert expected.shape == (1, 1, 1, 1) and expected.item() < 100
    found = sent_by(made, (3, 3, 2), np.ones((1, 1, 3, 3, 2), np.float32))
    assert found.ravel() == [expected.item() > 57.5]


def test_a_large_pooling_has_the_same_sums_in_integers():
    pool = nir.SumPool2d(np.array([12, 12]), np.array([12, 12]), np.array([0, 0]))
    weights = nir.Linear(np.array([[0.01, 0], [0, 0.02]]))
    flatten = nir.Flatten({"input": None}, 0, -1)
    made = graph(pool, flatten, weights, lif(2), size=(2, 12, 12), outputs=2)
    network = Graph.of(made).on((12, 12, 2), DIALECTS["snntorch"])
    frames = np.ones((3, 1, 12, 12, 2), np.float32)
    kernels = formats.kernels(network.listed, formats.Chip())
    cells, layers = formats.to_integers(network, network.listed, formats.Chip(), kernels)
    response, _ = integers.response_of(layers, cells, jnp.asarray(frames))
    expected = np.asarray(responses(network, frames)[0][0])
    assert expected.any()
    np.testing.assert_array_equal(response.spikes[0], expected)
    met = network.listed[0].met((12, 12, 2))
    assert met == 2 * 144 * 2  # each of 288 inputs meets two weights


@pytest.mark.parametrize("node", [nir.Threshold(np.ones(3)), nir.LI(*np.ones((3, 3)))])
def test_a_loop_around_nodes_without_spikes_to_lead_back_is_refused(node):
    made = graph(WEIGHTS, node, nir.Linear(np.eye(3)), edges=LOOP)
    with pytest.raises(UnsupportedError, match="node 'n2' leads back to 'n1'"):
        Graph.of(made).on(MAP, DIALECTS["snntorch"])


@pytest.mark.parametrize("name", ["mean", "last", "largest"])
def test_early_answers_end_with_the_answer(name):
    values = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4, 3)), jnp.float32)
    response = readouts.Response((values,), (values,), ())
    readout = READOUTS[name]()
    np.testing.assert_allclose(readout.after_each_step(response)[-1], readout(response), rtol=1e-6)


LOOP = [("in", "n0"), ("n0", "n1"), ("n1", "n2"), ("n2", "n1"), ("n1", "out")]


def test_devices_of_a_graph_differ_in_recurrent_weights_too():
    node, loop = lif(v_leak=1.5), nir.Linear(0.1 * np.roll(np.eye(3), 1, axis=0))
    silent = nir.Affine(np.zeros((3, 8)), np.zeros(3))  # what drives the neurons is their leak
    network = Graph.of(graph(silent, node, loop, edges=LOOP)).on(MAP, DIALECTS["snntorch"])
    (numbers,) = network.rounded(2, True)
    np.testing.assert_allclose(numbers.recurrent[0], network.numbers[0].recurrent[0], rtol=1e-6)
    packed = jnp.asarray(np.packbits(np.ones((1, 60, 8), np.uint8), axis=-1))

    def rate(spread):
        drawn = jax.random.key(3), Variation(weights=spread), network.listed, network.numbers
        return float(network.device(drawn, packed).hard.rates_BxL.sum())

    assert 0 < rate(0.0) != rate(5.0)


def test_spikes_that_return_are_counted_and_suffer_faults():
    rng, T, N = np.random.default_rng(5), 40, 3
    weights, loop = rng.normal(size=(N, 8)), rng.normal(size=(N, N)) * 2
    loop[0, 1] = 0.0
    made = graph(nir.Linear(weights), lif(), nir.Affine(loop, np.full(N, 0.1)), edges=LOOP)
    network = Graph.of(made).on(MAP, DIALECTS["snntorch"], order="HWC")
    frames = (rng.random((T, 1, *MAP)) < 0.3).astype(np.float32)
    key, levels = jax.random.key(2), Variation(dead=0.3, dropped=0.2, spurious=0.1)
    lossy = variation.faults(key, levels, [(T, 1, N)])
    kept, added = lossy(0, jnp.ones((T, 1, N))), lossy(0, jnp.zeros((T, 1, N)))
    kept, added = np.asarray(kept)[:, 0], np.asarray(added)[:, 0]
    assert kept.any() and added.any() and not kept.all()

    def by_hand(arriving):
        potential, arrived, sent = np.zeros(N), np.zeros(N), []
        for t in range(T):
            current = weights @ frames[t, 0].ravel() + loop @ arrived + 0.1
            potential = 0.8 * potential + current
            fired = potential > 1
            potential, arrived = np.where(fired, 0, potential), arriving(t, fired)
            sent.append((fired, arrived))
        return np.array(sent, float).swapaxes(0, 1)

    _, expected = by_hand(lambda t, fired: np.where(fired, kept[t], added[t]))
    device = variation.draw(key, levels, network.listed, network.layers(), jnp.asarray(frames))
    found = device(lambda neuron, decay: neuron.hard(decay)).spikes[0]
    np.testing.assert_array_equal(found[:, 0], expected)
    spikes, _ = by_hand(lambda t, fired: fired)
    packed = jnp.asarray(np.packbits(frames.reshape(1, T, 8).astype(np.uint8), axis=-1))
    counted = models.operations_of(network, packed)
    met = (frames.reshape(T, 8).sum(axis=0) * N).sum()
    met += (spikes[:-1].sum(axis=0) * (loop != 0).sum(axis=0)).sum()
    assert counted.acs_BxL.tolist() == [[met]] and float(counted.spikes_BxL.sum()) == spikes.sum()
    report = operations.report(
        network.listed, jax.tree.map(np.asarray, counted), MAP, T,
        [neuron for neuron, _ in network.layers()],
    )  # fmt: skip
    assert report["dense"] == T * (8 * N + N * N)
    assert report["footprint_bytes"] == 4 * (8 * N + N + N * N + N)
    assert report["connection_sparsity"] == pytest.approx(1 / (8 * N + N * N))


def test_what_does_not_spike_is_neither_counted_as_spikes_nor_lost():
    made = graph(WEIGHTS, lif(), nir.Linear(np.eye(3)), nir.LI(*np.ones((3, 3)) * 5e-4))
    network = Graph.of(made).on(MAP, DIALECTS["snntorch"])
    bare = Graph.of(graph(WEIGHTS, lif(), nir.Linear(np.eye(3)))).on(MAP, DIALECTS["snntorch"])
    packed = np.packbits(np.ones((1, 10, 8), np.uint8), axis=-1)
    for tried, held in ((network, 6), (bare, 3)):
        counted = models.operations_of(tried, jnp.asarray(packed))
        assert counted.spikes_BxL[0, 0] > 0 and counted.spikes_BxL[0, 1] == 0
        report = operations.report(
            tried.listed, jax.tree.map(np.asarray, counted), MAP, 10,
            [neuron for neuron, _ in tried.layers()],
        )  # fmt: skip
        assert report["membrane_updates"] == 10 * held
        first, last = report["activation_sparsity_by_layer"]
        assert last is None and first == report["activation_sparsity"] < 1
    frames = jnp.ones((10, 1, *MAP))
    device = variation.draw(
        jax.random.key(0), Variation(spurious=1.0), network.listed, network.layers(), frames
    )
    sent = device(lambda neuron, decay: neuron.hard(decay)).spikes
    assert (sent[0] == 1).all() and len(np.unique(sent[1])) == 10  # a potential that rises
