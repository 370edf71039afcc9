"""NIR files against the network itself, run by snnTorch, SpikingJelly and Norse."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest
import small_networks
import small_runs
import torch_networks

from sast_jax.errors import InputError
from sast_jax.hardware import nir_graph
from sast_jax.snn import neurons
from sast_jax.snn.connections import Connection, Full, Halving
from sast_jax.snn.neurons import adaptive, synaptic

pytestmark = pytest.mark.optimised

NEAR = 1e-6  # of the threshold, where single precision may decide otherwise


@pytest.fixture(params=["simulated", "real"])
def run_of(request):
    folder = None
    if request.param == "real":
        folder = request.getfixturevalue("real_data") / "nmnist_8class"
    return lambda kind: small_runs.train(kind, folder)


def near_the_threshold(run, frames) -> np.ndarray:
    """Recordings at which a membrane comes this close to it, in double precision."""
    with jax.enable_x64(True):
        neuron = run.trained.model.neuron
        cell = neuron.hard(float(run.trained.hyper.decay))
        x = jnp.asarray(frames, jnp.float64)
        close = np.zeros(x.shape[1], bool)
        for connection in run.network:
            wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), connection)
            current = wide.sums(x)

            def watched(state, now):
                state, fired = cell(state, now)
                return state, (fired, abs(state.potential - neuron.threshold))

            _, (x, distance) = jax.lax.scan(watched, cell.rest(current[0]), current)
            close |= np.asarray((distance < NEAR).any(axis=(0, *range(2, distance.ndim))))
    return close


@pytest.mark.parametrize("kind", small_runs.KINDS)
def test_consumers_make_the_same_spikes(tmp_path, kind, run_of):
    run = run_of(kind)
    frames = small_runs.frames(run)
    x = jnp.asarray(frames, jnp.float32)
    response = small_networks.respond(run.network, x, run.trained.hard_cell())
    expected = np.asarray(response.spikes[-1])
    scores = expected.sum(axis=0)
    assert (scores.argmax(axis=-1) == run.test.labels_N).mean() > 0.5  # it has learned something
    close = near_the_threshold(run, frames)
    assert close.mean() <= 0.02
    x = torch_networks.channels_first(run, frames)
    for consumer, parameterisation in (("snnTorch", "A"), ("SpikingJelly", "A"), ("Norse", "B")):
        path = tmp_path / f"{consumer}.nir"
        torch_networks.write(path, run, parameterisation)
        found = torch_networks.respond(torch_networks.load(consumer, path), x)
        assert found.shape == expected.shape == (6, 200, 10)
        np.testing.assert_array_equal(found[:, ~close], expected[:, ~close], consumer)


@pytest.mark.parametrize("kind", small_runs.KINDS)
@pytest.mark.parametrize("parameterisation", ["A", "B"])
def test_what_is_written_is_read_again(tmp_path, kind, parameterisation):
    run = small_runs.train(kind, None)
    path = tmp_path / "a.nir"
    scales = [np.full(len(c.bias), 0.25) for c in run.network]
    hard = torch_networks.write(
        path, run, parameterisation, scales=scales, metadata={"time_bins": 6, "readout": "spikes"}
    )
    found, about = nir_graph.read(path)
    for a, b in zip(found.connections, hard.connections, strict=True):
        np.testing.assert_allclose(a.kernel, b.kernel, rtol=3e-7)
        np.testing.assert_allclose(a.bias, b.bias, rtol=3e-7)
    assert (found.decay, found.neuron) == (hard.decay, hard.neuron)
    assert found.frame_shape == (34, 34, 2)
    assert (about["dt"], about["reset"], about["time_bins"]) == (1e-4, "zero", 6)
    graph = nir.read(path)
    assert not any(isinstance(node, nir.Flatten) for node in graph.nodes.values())
    leak = 1 - hard.decay if parameterisation == "B" else 1
    np.testing.assert_allclose(graph.nodes["connection_1"].metadata["scale"], 0.25 / leak)


def tiny(decay=0.9, shape=(4, 4, 1), neuron=neurons.LIF()):  # noqa: B008
    inputs = shape[0] * shape[1] * shape[2]
    listed = [Full(jnp.ones((inputs, 3)), jnp.zeros(3)), Full(jnp.eye(3), jnp.ones(3))]
    return nir_graph.HardNetwork(listed, neuron, decay, shape)


def test_a_connection_without_a_bias_is_read(tmp_path):
    graph = nir_graph.to_graph(tiny())
    graph.nodes["connection_1"] = nir.Linear(graph.nodes["connection_1"].weight)
    nir.write(tmp_path / "a.nir", graph)
    found, _ = nir_graph.read(tmp_path / "a.nir")
    np.testing.assert_array_equal(found.connections[0].bias, np.zeros(3))
    np.testing.assert_allclose(found.connections[0].kernel, tiny().connections[0].kernel, rtol=3e-7)


@pytest.mark.parametrize("parameterisation", ["A", "B"])
def test_synaptic_neurons_are_read_again(tmp_path, parameterisation):
    hard = tiny(neuron=synaptic.Synaptic(1.5, synapse_decay=0.75))
    nir.write(tmp_path / "a.nir", nir_graph.to_graph(hard, parameterisation=parameterisation))
    found, _ = nir_graph.read(tmp_path / "a.nir")
    for a, b in zip(found.connections, hard.connections, strict=True):
        np.testing.assert_allclose(a.kernel, b.kernel, rtol=3e-7)
        np.testing.assert_allclose(a.bias, b.bias, rtol=3e-7)
    np.testing.assert_allclose(found.decay, hard.decay, rtol=1e-12)
    np.testing.assert_allclose(found.neuron.synapse_decay, 0.75, rtol=1e-12)
    assert dataclasses.replace(found.neuron, synapse_decay=0.75) == hard.neuron


@pytest.mark.parametrize(
    "network, message",
    [
        (tiny(decay=1.0), "a decay of 1 has no time constant in NIR"),
        (
            tiny(shape=(4, 6, 1))._replace(
                connections=[Halving(jnp.ones((3, 3, 1, 2)), jnp.zeros(2))]
            ),
            "frames of 4 x 6 pixels: NIR takes kernels and maps to be square",
        ),
        (
            tiny()._replace(connections=[Connection(jnp.ones((16, 3)), jnp.zeros(3))]),
            "the connection Connection has no node in NIR",
        ),
        (
            tiny(neuron=neurons.LIF(reset=neurons.BySubtraction())),
            "the neuron LIF has no node in NIR with the reset BySubtraction",
        ),
        (tiny(neuron=adaptive.Adaptive()), "the neuron Adaptive has no node in NIR"),
    ],
)
def test_what_nir_cannot_say_is_refused(network, message):
    with pytest.raises(InputError, match=re.escape(message)):
        nir_graph.to_graph(network)


def spoil(change):
    def write(path):
        graph = nir_graph.to_graph(tiny())
        change(graph)
        nir.write(path, graph)

    return write


def text(path):
    path.write_text("not HDF5")


def nothing(path):
    pass


def foreign(path):
    nodes = {
        "input": nir.Input(np.array([2])),
        "linear": nir.Linear(np.eye(2)),
        "output": nir.Output(np.array([2])),
    }
    nir.write(path, nir.NIRGraph(nodes, [("input", "linear"), ("linear", "output")]))


def half(path):
    nir.write(path, nir_graph.to_graph(tiny()))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rewired(graph):
    graph.edges = [*graph.edges, ("neurons_2", "connection_2")]


def leaky_reset(graph):
    graph.nodes["neurons_1"].v_reset = graph.nodes["neurons_1"].v_reset + 0.5


def mixed(graph):
    graph.nodes["neurons_1"].tau = graph.nodes["neurons_1"].tau * np.array([1, 2, 1])


def two_thresholds(graph):
    graph.nodes["neurons_1"].v_threshold = 2 * graph.nodes["neurons_1"].v_threshold


def without_shape(graph):
    del graph.metadata["frame_shape"]


def growing(graph):
    graph.nodes["neurons_1"].tau = graph.nodes["neurons_1"].tau / 20


def endless(graph):
    for name in ("neurons_1", "neurons_2"):
        graph.nodes[name].v_threshold = np.full(3, np.inf)


def spoiled(graph):
    graph.nodes["connection_2"].weight[0, 0] = np.nan


def foreign_neurons(graph):
    node = graph.nodes["neurons_1"]
    graph.nodes["neurons_1"] = nir.IF(node.r, node.v_threshold, node.v_reset)


def subtracting(graph):
    graph.metadata["reset"] = "subtract"


@pytest.mark.parametrize(
    "write, message",
    [
        (spoil(growing), "neurons_1 have no decay from 0 to 1"),
        (spoil(endless), "neurons_1 have numbers that are not finite"),
        (spoil(spoiled), "connection_2 has weights that are not finite"),
        (spoil(subtracting), "its reset is not to zero"),
        (text, "not a NIR file that can be read"),
        (nothing, "no such file"),
        (half, "not a NIR file that can be read"),
        (foreign, "not exported by sast_jax"),
        (spoil(leaky_reset), "neurons_1 do not leak and reset to zero"),
        (spoil(foreign_neurons), "neurons_1 are no neurons that sast_jax exports"),
        (spoil(mixed), "neurons_1 differ from each other"),
        (spoil(two_thresholds), "its layers have different neurons"),
        (spoil(without_shape), "not the graph that sast_jax exports ('frame_shape')"),
        (spoil(rewired), "its nodes are not a chain"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_files_that_are_not_ours_are_named(tmp_path, write, message):
    path = tmp_path / "a.nir"
    write(path)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        nir_graph.read(path)
    assert str(path) in str(caught.value)
