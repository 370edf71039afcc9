"""NIR files against the network itself, run by snnTorch, SpikingJelly and Norse."""

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
from sast_jax.hardware.graphs.network import Graph
from sast_jax.snn import neurons
from sast_jax.snn.connections import Connection, Full, Halving
from sast_jax.snn.neurons import adaptive, synaptic

pytestmark = pytest.mark.optimised

NEAR = 1e-6  # of the threshold, where single precision may decide otherwise


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


KINDS = ["MLP", pytest.param("ConvNet", marks=pytest.mark.slow)]


@pytest.mark.parametrize("kind", KINDS)
def test_consumers_make_the_same_spikes(tmp_path, kind, digits):
    run = small_runs.train(kind, digits)
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


def read(path, shape=(4, 4, 1)):
    graph = Graph.read(path)
    return graph.on(shape, graph.dialect())


def same_weights(found, hard):
    for a, b in zip(found.listed, hard.connections, strict=True):
        np.testing.assert_allclose(a.kernel, b.kernel, rtol=3e-7)
        np.testing.assert_allclose(a.bias, b.bias, rtol=3e-7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parameterisation", ["A", "B"])
def test_what_is_written_is_read_again(tmp_path, kind, parameterisation, digits):
    run = small_runs.train(kind, digits)
    path = tmp_path / "a.nir"
    scales = [np.full(len(c.bias), 0.25) for c in run.network]
    hard = torch_networks.write(
        path, run, parameterisation, scales=scales, metadata={"time_bins": 6, "readout": "spikes"}
    )
    found, about = read(path, (34, 34, 2)), Graph.read(path).about
    same_weights(found, hard)
    neuron, decay, thresholds = found.uniform()
    assert set(thresholds) == {1.0}
    np.testing.assert_allclose(decay, hard.decay, rtol=1e-6)
    assert neuron == hard.neuron
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
    found = read(tmp_path / "a.nir")
    np.testing.assert_array_equal(found.listed[0].bias, np.zeros(3))
    np.testing.assert_allclose(found.listed[0].kernel, tiny().connections[0].kernel, rtol=3e-7)


@pytest.mark.parametrize("parameterisation", ["A", "B"])
def test_synaptic_neurons_are_read_again(tmp_path, parameterisation):
    hard = tiny(neuron=synaptic.Synaptic(1.5, synapse_decay=0.75))
    nir.write(tmp_path / "a.nir", nir_graph.to_graph(hard, parameterisation=parameterisation))
    found, numbers = read(tmp_path / "a.nir"), read(tmp_path / "a.nir").numbers[0]
    same_weights(found, hard)
    values = numbers.decay, numbers.synapse[0], numbers.threshold
    np.testing.assert_allclose(values, (hard.decay, 0.75, 1.5), rtol=1e-6)


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


def half(path):
    nir.write(path, nir_graph.to_graph(tiny()))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rewired(graph):
    graph.edges = [*graph.edges, ("neurons_2", "connection_2")]


def growing(graph):
    graph.nodes["neurons_1"].tau = graph.nodes["neurons_1"].tau / 20


def endless(graph):
    for name in ("neurons_1", "neurons_2"):
        graph.nodes[name].v_threshold = np.full(3, np.inf)


def spoiled(graph):
    graph.nodes["connection_2"].weight[0, 0] = np.nan


def without_step(graph):
    del graph.metadata["dt"]


def too_few(graph):
    graph.nodes["connection_2"].weight = graph.nodes["connection_2"].weight[:, :2]


@pytest.mark.parametrize(
    "write, message",
    [
        (spoil(growing), "node 'neurons_1' has time constants below the step of 0.0001 s"),
        (spoil(endless), "node 'neurons_1' holds numbers that are not finite"),
        (spoil(spoiled), "node 'connection_2' has weights that are not finite"),
        (spoil(too_few), "mismatch: neurons_1.output: [[3]] -> connection_2.input: [[2]]"),
        (spoil(without_step), "does not say how long a step is; say who wrote it with --source="),
        (text, "not a NIR file that can be read"),
        (nothing, "no such file"),
        (half, "not a NIR file that can be read"),
        (spoil(rewired), "node 'connection_2' is joined to several others (neurons_2)"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_files_that_cannot_be_run_are_named(tmp_path, write, message):
    path = tmp_path / "a.nir"
    write(path)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read(path)
    assert str(path) in str(caught.value)
