"""The synaptic neuron against a loop, finite differences, snnTorch, SpikingJelly and Norse.

What it shares with other neurons, training and refusals among it, stands in test_neurons.
"""

import dataclasses
import functools

import jax.numpy as jnp
import nir
import numpy as np
import own_neurons
import pytest

from sast_jax.errors import InputError
from sast_jax.fields import checked
from sast_jax.hardware import nir_graph
from sast_jax.hardware.graphs.network import Graph
from sast_jax.hardware.nir_graph import HardNetwork
from sast_jax.snn import connections, neurons
from sast_jax.snn.connections import Full
from sast_jax.snn.neurons import Synaptic

DECAY, SYNAPSE, THRESHOLD = 0.9, 0.8, 1.0
T = 40
NEAR = 1e-5  # of the threshold, where single precision may decide otherwise


def neuron(reset="zero", synapse=SYNAPSE):
    return Synaptic(THRESHOLD, reset=neurons.RESETS[reset], synapse_decay=synapse)


def loop(reset, spike, current_TxN):
    """The equations of the module docstring, one neuron and one step at a time."""

    def step(state, current):
        i, u, s = state
        i = SYNAPSE * i + current
        u = own_neurons.left(reset, DECAY, u, s, THRESHOLD) + i
        s = spike(u - THRESHOLD)
        return (i, u, s), s

    return own_neurons.loop(step, (0.0, 0.0, 0.0), current_TxN)


@pytest.mark.parametrize("reset", neurons.RESETS)
@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_it_is_a_loop_over_neurons_and_steps(reset, kind):
    current = np.random.default_rng(0).normal(0.1, 0.5, (30, 20))
    own_neurons.equal_a_loop(neuron(reset), kind, DECAY, functools.partial(loop, reset), current)


@pytest.mark.parametrize("reset", neurons.RESETS)
def test_the_gradient_is_that_of_finite_differences(reset):
    current = np.random.default_rng(1).normal(0.2, 0.5, (15, 3))

    def cell(decay, *own):
        return neuron(reset, *own).smooth(decay, 4.0)

    own_neurons.gradient_is_of_differences(cell, current, DECAY, SYNAPSE)


@pytest.mark.parametrize("reset", neurons.RESETS)
@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_without_memory_of_its_synapses_it_is_the_lif_neuron_bit_for_bit(reset, kind):
    plain = neurons.LIF(THRESHOLD, reset=neurons.RESETS[reset])
    own_neurons.is_lif_bit_for_bit(neuron(reset, 0.0), plain, kind, DECAY)


@pytest.mark.parametrize("reset", neurons.RESETS)
def test_segments_of_time_equal_the_whole(reset):
    own_neurons.segments_are_the_whole(neuron(reset).smooth(DECAY, 4.0))


def test_one_spike_in_makes_the_difference_of_two_exponentials():
    """Without a spike out, u_t is (decay^t - synapse^t) / (decay - synapse), a step later."""
    current = jnp.zeros((30, 1)).at[0].set(1.0)
    silent = dataclasses.replace(neuron(), threshold=np.inf).hard(DECAY)
    t = np.arange(1, 31)
    expected = (DECAY**t - SYNAPSE**t) / (DECAY - SYNAPSE)
    np.testing.assert_allclose(neurons.potentials(silent, current)[:, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_reset_to_zero_is_snntorchs(seed):
    torch, snntorch = pytest.importorskip("torch"), pytest.importorskip("snntorch")
    current = np.random.default_rng(seed).normal(0.1, 0.5, (T, 8, 60)).astype(np.float32)
    theirs = snntorch.Synaptic(
        alpha=SYNAPSE, beta=DECAY, threshold=THRESHOLD,
        reset_mechanism="zero", reset_delay=False, init_hidden=True,
    )  # fmt: skip
    with torch.no_grad():
        expected = np.stack([theirs(x).numpy() for x in torch.from_numpy(current)])
    _, found = neurons.integrate(neuron().hard(DECAY), jnp.asarray(current))
    assert 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("seed", range(5))
def test_the_reset_by_subtraction_is_snntorchs_without_one_and_it_by_hand(seed):
    """snnTorch's own subtracts after the leak, so that its neuron resets nothing here."""
    torch, snntorch = pytest.importorskip("torch"), pytest.importorskip("snntorch")
    current = np.random.default_rng(seed).normal(0.1, 0.5, (T, 8, 60)).astype(np.float32)
    theirs = snntorch.Synaptic(
        alpha=SYNAPSE, beta=DECAY, threshold=THRESHOLD, reset_mechanism="none"
    )
    synapse = potential = None
    expected = []
    with torch.no_grad():
        for x in torch.from_numpy(current):
            spike, synapse, potential = theirs(x, synapse, potential)
            potential = potential - THRESHOLD * spike
            expected.append(spike.numpy())
    _, found = neurons.integrate(neuron("subtract").hard(DECAY), jnp.asarray(current))
    assert 0.05 < np.mean(expected) < 0.95
    np.testing.assert_array_equal(found, np.stack(expected))


FRAME = (5, 4, 2)


def network(own, seed=0, decay=DECAY):
    """Two layers, of which both spike."""
    rng = np.random.default_rng(seed)
    listed = [
        Full(
            jnp.asarray(rng.normal(0, 0.4, (a, b)), jnp.float32),
            jnp.asarray(rng.normal(0, 0.05, b), jnp.float32),
        )
        for a, b in ((40, 15), (15, 10))
    ]
    return HardNetwork(listed, own, decay, FRAME)


def frames(batch, seed=0):
    return (np.random.default_rng(seed).random((T, batch, *FRAME)) < 0.15).astype(np.float32)


def by_hand(hard, frames_TxBxHxWxC):
    """Spikes of the output layer in double precision, and what comes near a threshold."""
    sent = frames_TxBxHxWxC.reshape(*frames_TxBxHxWxC.shape[:2], -1).astype(float)
    near = np.zeros(sent.shape[1], bool)
    for connection in hard.connections:
        current = sent @ np.asarray(connection.kernel, float) + np.asarray(connection.bias, float)
        i = u = s = np.zeros(current.shape[1:])
        sent = np.zeros_like(current)
        for t, x in enumerate(current):
            i = SYNAPSE * i + x
            u = DECAY * u * (1 - s) + i
            s = sent[t] = (u > THRESHOLD).astype(float)
            near |= (np.abs(u - THRESHOLD) < NEAR).any(axis=-1)
    return sent, near


@pytest.mark.parametrize(
    "consumer, parameterisation",
    [("Norse", "A"), ("snnTorch", "A"), ("SpikingJelly", "A"), ("Norse", "B")],
)
def test_its_node_in_nir_runs_to_the_same_spikes(tmp_path, consumer, parameterisation):
    """In 200 recordings, but those with a potential within 1e-5 of the threshold."""
    torch_networks = pytest.importorskip("torch_networks")
    hard, given = network(neuron()), frames(200)
    cells = [neuron().hard(DECAY)] * 2
    response = connections.respond(hard.connections, cells, jnp.asarray(given))
    ours = np.asarray(response.spikes[-1])
    exact, near = by_hand(hard, given)
    assert near.mean() <= 0.05
    np.testing.assert_array_equal(ours[:, ~near], exact[:, ~near])
    assert 0.05 < exact.mean() < 0.95
    path = tmp_path / "a.nir"
    nir.write(path, nir_graph.to_graph(hard, parameterisation=parameterisation))
    nodes = nir.read(path).nodes.values()
    assert sum(isinstance(node, nir.CubaLIF) for node in nodes) == 2
    vectors = given.transpose(0, 1, 4, 2, 3).reshape(T, 200, -1)  # channels first
    module = torch_networks.load(consumer, path)
    found = torch_networks.respond(module, torch_networks.torch.from_numpy(vectors))
    assert found.shape == exact.shape
    np.testing.assert_array_equal(found[:, ~near], exact[:, ~near])


def read(path):
    graph = Graph.read(path)
    return graph.on(FRAME, graph.dialect())


@pytest.mark.parametrize("parameterisation", ["A", "B"])
@pytest.mark.parametrize(
    "decay, synapse, threshold",
    [(0.9, 0.8, 1.0), (0.5, 0.5, 1.0), (0.95, 0.99, 2.5), (0.7, 0, 0.3)],
)
def test_what_is_written_is_read_again(tmp_path, parameterisation, decay, synapse, threshold):
    hard = network(Synaptic(threshold, synapse_decay=synapse), decay=decay)
    path = tmp_path / "a.nir"
    nir.write(path, nir_graph.to_graph(hard, parameterisation=parameterisation))
    found = read(path)
    for own in found.numbers:
        values = own.threshold, own.decay, own.synapse[0]
        np.testing.assert_allclose(values, (threshold, decay, synapse), rtol=1e-6, atol=1e-7)
    for a, b in zip(found.listed, hard.connections, strict=True):
        np.testing.assert_allclose(a.kernel, b.kernel, rtol=3e-7)
        np.testing.assert_allclose(a.bias, b.bias, rtol=3e-7)


def test_its_node_has_the_time_constants_of_both_decays():
    node, divisor = neuron().nir(DECAY, 1e-4, (3,), "A")
    assert divisor == 1
    leaks = np.array([1 - SYNAPSE, 1 - DECAY])
    np.testing.assert_allclose([node.tau_syn[0], node.tau_mem[0]], 1e-4 / leaks, rtol=1e-12)
    np.testing.assert_allclose([node.w_in[0], node.r[0]], 1 / leaks, rtol=1e-12)
    assert node.v_threshold.tolist() == [THRESHOLD] * 3
    node, divisor = neuron().nir(DECAY, 1e-4, (3,), "B")
    assert (node.w_in == 1).all() and (node.r == 1).all()
    assert divisor == pytest.approx(leaks.prod())


@pytest.mark.parametrize(
    "reset, decay, message",
    [
        ("subtract", 0.9, "the neuron Synaptic has no node in NIR with the reset BySubtraction"),
        ("zero", 1.0, "a decay of 1 has no time constant in NIR"),
    ],
)
def test_what_nir_cannot_say_is_refused(reset, decay, message):
    with pytest.raises(InputError, match=message):
        nir_graph.to_graph(network(neuron(reset))._replace(decay=decay))


@pytest.mark.parametrize("value", [-0.1, 1.0, "0.5", None])
def test_a_decay_that_cannot_be_is_named(value):
    with pytest.raises(InputError, match=r"synapse_decay=.* must be a number from 0 to below 1"):
        checked(Synaptic(synapse_decay=value))
