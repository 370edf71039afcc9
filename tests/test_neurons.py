"""Neurons as values, the tests' own among them: trained, swapped and counted, or refused by name.

"Half" is the LIF neuron with a reset of the tests' own, "refractory" a neuron of their own.
"""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import own_neurons
import pytest
import small
from own_neurons import Half, Refractory

from sast_jax.errors import InputError
from sast_jax.evaluation import swap
from sast_jax.hardware import bench as bench_lib, formats, models, nir_graph
from sast_jax.hardware.formats import Chip
from sast_jax.snn import connections, neurons, spikes, variation
from sast_jax.snn.connections import Full
from sast_jax.snn.model import Model
from sast_jax.snn.neurons import Adaptive, Synaptic
from sast_jax.snn.variation import Variation
from sast_jax.theory import certificates, inequalities
from sast_jax.training.controls import StochasticNeurons
from sast_jax.training.trained import Trained

OWN = {"half": neurons.LIF(reset=Half()), "refractory": Refractory()}
LIBRARY = {
    "synaptic": Synaptic(),
    "synaptic, subtracting": Synaptic(reset=neurons.BySubtraction()),
    "adaptive": Adaptive(),
    "adaptive, subtracting": Adaptive(reset=neurons.BySubtraction()),
}
ALL = OWN | LIBRARY
NAMED = {  # in messages
    "half": "the neuron LIF has no {} with( the reset)? Half",
    "refractory": "the neuron Refractory has no {}",
    "synaptic": "the neuron Synaptic has no {}",
    "synaptic, subtracting": "the neuron Synaptic has no {}",
    "adaptive": "the neuron Adaptive has no {}",
    "adaptive, subtracting": "the neuron Adaptive has no {}",
}


@functools.cache
def fitted(name):
    """Metrics of the first and the last epoch, and the trained network."""
    made, hyper_R = small.recipe(neuron=ALL[name]), small.hyper()
    state_R, first = small.fit(made, hyper_R, epochs=1)
    state_R, last = small.fit(made, hyper_R, epochs=11, state=state_R)
    return first, last, Trained.of(made, state_R, hyper_R)


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("name", OWN)
def test_neurons_of_ones_own_are_their_loops(name, kind):
    current = np.random.default_rng(0).normal(0.3, 0.6, (30, 20))
    plain = {"hard": own_neurons.hard, "soft": own_neurons.smooth(3.0)}[kind]

    def step(state, current):
        u, s = state
        if name == "half":
            u = own_neurons.left("half", 0.8, u, s, 0.7) + current
        else:
            u = (1 - s) * (0.8 * u + 1.5 * current)
        s = plain(u - 0.7)
        return (u, s), s

    neuron = dataclasses.replace(OWN[name], threshold=0.7)
    cell = {"hard": neuron.hard(0.8), "soft": neuron.smooth(0.8, 3.0)}[kind]
    with jax.enable_x64(True):
        _, found = neurons.integrate(cell, jnp.asarray(current))
    np.testing.assert_allclose(found, own_neurons.loop(step, (0.0, 0.0), current), rtol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_it_trains_smooth(name):
    first, last, trained = fitted(name)
    assert last.loss[0] < 0.5 * first.loss[0]
    assert last.accuracy[0] > 0.9
    assert last.finite.all()
    assert trained.model.neuron is ALL[name]


@pytest.mark.parametrize("name", ALL)
def test_it_is_swapped_and_nothing_else_changes(name):
    trained = fitted(name)[2]
    one, data = trained[0], small.frames()
    frames = one.model.unpack(data.packed_NxTxP)
    runs = {"soft": one.soft_cell(), "hard": one.hard_cell()}
    (measured,) = swap.soft_and_hard(trained, data)
    for prefix, cell in runs.items():
        assert cell.neuron is ALL[name] and cell.decay is one.hyper.decay
        response = one.respond(cell, frames)
        first = np.asarray(response.spikes[0])
        between = ((first > 0) & (first < 1)).mean()
        assert between == 0 if prefix == "hard" else between > 0.5
        scores = 10 * np.asarray(response.spikes[-1]).mean(axis=0)
        accuracy = (scores.argmax(axis=-1) == data.labels_N).mean()
        assert measured[f"{prefix}_accuracy"] == pytest.approx(accuracy)
        rates = [layer.mean() for layer in response.spikes]
        np.testing.assert_allclose(measured[f"{prefix}_rates"], rates, rtol=1e-5)
    assert measured["soft_accuracy"] > 0.9
    assert measured["hard_accuracy"] > 0.6  # of three classes


@pytest.mark.parametrize("name", ALL)
def test_its_operations_are_counted(name):
    trained = fitted(name)[2]
    data = small.frames()
    (found,) = models.count(trained, data)
    one = trained[0]
    frames = one.model.unpack(data.packed_NxTxP)
    sent = [frames, one.respond(one.hard_cell(), frames).spikes[0]]
    fired = np.array([float((x != 0).sum()) for x in sent]) / small.N
    by_hand = fired * [16, small.K]
    np.testing.assert_allclose(found["effective_acs_by_layer"], by_hand, rtol=1e-6)
    assert found["effective_macs"] == 0 and found["membrane_updates"] == small.T * (16 + small.K)


@pytest.mark.parametrize("name", ALL)
def test_its_integer_network_is_refused_by_name(name):
    (bench,) = bench_lib.benches(fitted(name)[2], Chip(), None)
    keys, data = jax.random.split(jax.random.key(0), 2), small.frames()
    rows = [bench.width(8, data)]
    if name in OWN:  # which meets faults as the library's do
        rows.append(bench.variation("dead", 0.1, keys, data))
    for row in rows:
        assert re.search(NAMED[name].format("integer form"), row["error"])
        assert row["unsupported"] is True and row["integer_accuracy"] is None
        assert "clipped" not in row and "synops" not in row
        assert 0.3 < row["hard_accuracy"] <= 1 and 0.3 < row["soft_accuracy"] <= 1
    one = fitted(name)[2][0]
    network, chip = one.connections(), Chip()
    with pytest.raises(InputError, match=NAMED[name].format("integer form")):
        formats.to_integers(one, network, chip, formats.kernels(network, chip))


@pytest.mark.parametrize("name", [name for name in ALL if name != "synaptic"])
def test_its_node_in_nir_is_refused_by_name(name):
    one = fitted(name)[2][0]
    network = nir_graph.HardNetwork(one.connections(), one.model.neuron, 0.9, small.SHAPE)
    named = NAMED[name].format("node in NIR")
    if name == "synaptic, subtracting":
        named += " with the reset BySubtraction"
    with pytest.raises(InputError, match=named):
        nir_graph.to_graph(network)


@pytest.mark.parametrize("name", ALL)
def test_bounds_on_it_are_refused_by_name(name):
    trained = fitted(name)[2]
    match = NAMED[name].format("bounds in the theory")
    with pytest.raises(InputError, match=match):
        inequalities.describe(trained[0], small.T)
    with pytest.raises(InputError, match=match):
        certificates.of_swap(trained, small.frames().packed_NxTxP)


@pytest.mark.parametrize("name", ALL)
def test_devices_of_it_differ(name):
    """In thresholds and leaks of their own; without any variation they are the network itself."""
    kernel = 0.3 * jax.random.normal(jax.random.key(0), (20, 64))
    network, neuron = [Full(kernel, jnp.zeros(64))], ALL[name]
    frames = jax.random.bernoulli(jax.random.key(1), 0.5, (12, 8, 20)).astype(jnp.float32)

    @jax.jit
    def device(seed, levels):
        draw = variation.draw(
            jax.random.key(seed), levels, network, [(neuron, 0.9)] * len(network), frames
        )
        return draw(lambda neuron, decay: neuron.hard(decay)).spikes[0]

    exact = connections.respond(network, [neuron.hard(0.9)], frames).spikes[0]
    np.testing.assert_array_equal(device(0, Variation()), exact)
    for kind in ("thresholds", "leaks"):
        first, again, second = (device(seed, Variation(**{kind: 0.5})) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert (first != exact).any() and (first != second).any()


@pytest.mark.parametrize("name", ALL)
def test_it_takes_noise_and_mixed_spikes(name):
    neuron, key = ALL[name], jax.random.key(0)
    smooth, hard = neuron.smooth(0.9, 4.0), neuron.hard(0.9)
    current = 0.5 + jax.random.normal(jax.random.key(1), (12, 40))
    _, always = neurons.integrate(StochasticNeurons(hard=1.0).cell(key, smooth), current)
    np.testing.assert_array_equal(always, neurons.integrate(hard, current)[1])
    _, never = neurons.integrate(StochasticNeurons(hard=1e-9).cell(key, smooth), current)
    np.testing.assert_array_equal(never, neurons.integrate(smooth, current)[1])
    noise = jnp.stack(
        [
            0.3 * jax.random.normal(jax.random.split(own)[0], (40,))
            for own in jax.random.split(key, 12)
        ]
    )
    _, noisy = neurons.integrate(StochasticNeurons(noise=0.3).cell(key, smooth), current)
    _, expected = neurons.integrate(smooth, current + noise)
    np.testing.assert_allclose(noisy, expected, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_neurons_are_equal_by_value(name):
    fields = {f.name: getattr(ALL[name], f.name) for f in dataclasses.fields(ALL[name])}
    again = type(ALL[name])(**fields)
    assert again is not ALL[name]
    assert again == ALL[name] and hash(again) == hash(ALL[name])
    assert dataclasses.replace(again, threshold=2.0) != again
    assert dataclasses.replace(again, spike=spikes.arctan) != again
    others = [neuron for other, neuron in ALL.items() if other != name]
    assert again not in others


def test_resets_and_kinds_tell_neurons_apart():
    zero, subtracting = neurons.LIF(), neurons.LIF(reset=neurons.BySubtraction())
    assert neurons.LIF(1.0, spikes.sigmoid, neurons.ToZero()) == zero != subtracting
    assert neurons.LIF(reset=Half()) == neurons.LIF(reset=Half()) != zero
    assert Synaptic(synapse_decay=0.0) != zero != Adaptive(adaptation=0.0)
    assert Synaptic(synapse_decay=0.5) != Synaptic(synapse_decay=0.6)
    assert Adaptive(adaptation=0.5) != Adaptive() != Adaptive(adaptation_decay=0.5)
    assert (
        len({zero, subtracting, neurons.LIF(), neurons.LIF(reset=Half()), Synaptic(), Adaptive()})
        == 5
    )


def first_spikes(neuron, current, steps=60, decay=0.9):
    """The steps, from 1, at which a hard neuron spikes under a constant current."""
    _, out = neurons.integrate(neuron.hard(decay), jnp.full((steps, 1), current))
    return (np.flatnonzero(np.asarray(out[:, 0])) + 1).tolist()


def charged(current, decay, steps):
    """u_1, u_2 ... under a constant current."""
    return current * (1 - decay**steps) / (1 - decay)


def charged_by_synapses(current, decay, synapse, steps):
    """The same of the synaptic neuron, whose current is a sum of synapse^k."""
    echo = synapse * (decay**steps - synapse**steps) / (decay - synapse)
    return current / (1 - synapse) * ((1 - decay**steps) / (1 - decay) - echo)


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.7])
def test_a_scaled_neuron_spikes_when_the_closed_form_says(factor):
    """All with a reset to zero, so that the LIF neuron's train has the period of its first spike.

    The adaptive neuron's threshold at rest is scaled, and not what a spike adds to it.
    """
    steps, current = np.arange(1, 61), 0.3
    plain = neurons.LIF(0.9)
    first = int(np.argmax(charged(current, 0.9, steps) > factor * 0.9)) + 1
    assert 1 < first < 20
    assert first_spikes(plain.scaled(factor), current) == list(range(first, 61, first))
    synaptic = Synaptic(2.9, synapse_decay=0.6)
    u = charged_by_synapses(current, 0.9, 0.6, steps)
    assert first_spikes(synaptic.scaled(factor), current)[0] == np.argmax(u > factor * 2.9) + 1
    adaptive = Adaptive(0.9, adaptation_decay=0.8, adaptation=0.5)
    raised = factor * 0.9 + 0.5 * 0.8 ** (steps - 1)
    second = first + int(np.argmax(charged(current, 0.9, steps) > raised)) + 1
    assert first_spikes(adaptive.scaled(factor), current)[:2] == [first, second]


@pytest.mark.parametrize("name", ALL)
def test_scaling_changes_the_threshold_and_nothing_else(name):
    neuron = ALL[name]
    scaled = neuron.scaled(0.5)
    assert type(scaled) is type(neuron) and scaled.threshold == 0.5
    assert scaled == dataclasses.replace(neuron, threshold=0.5) != neuron
    assert scaled.scaled(2.0) == neuron
    # One factor a neuron, and one that is traced: each neuron is as if scaled alone.
    factors = np.array([0.5, 1.0, 1.5], np.float32)
    current = jax.random.uniform(jax.random.key(0), (20, 3))

    @jax.jit
    def together(factor):
        return neurons.integrate(neuron.scaled(factor[None]).hard(0.9), current[:, None])[1]

    found = together(jnp.asarray(factors))[:, 0]
    for n, factor in enumerate(factors):
        cell = neuron.scaled(float(factor)).hard(0.9)
        _, alone = neurons.integrate(cell, current[:, n : n + 1])
        np.testing.assert_array_equal(found[:, n], alone[:, 0])
    assert len({tuple(np.asarray(x)) for x in found.T}) == 3


CALLABLES = {
    "partial": functools.partial(neurons.LIF().step, decay=0.9, spike=spikes.heaviside),
    "partial neuron": functools.partial(neurons.LIF, reset=neurons.BySubtraction()),
    "function": neurons.LIF.step,
    "class": neurons.LIF,
}


@pytest.mark.parametrize("kind", CALLABLES)
def test_a_callable_is_no_neuron(kind):
    """It is not taken for a LIF neuron that resets to zero: no model has it, and no graph."""
    with pytest.raises(TypeError, match="must be an instance of Neuron"):
        small.recipe(neuron=CALLABLES[kind])
    with pytest.raises(TypeError, match="must be an instance of Neuron"):
        Model(small.recipe().model.network, CALLABLES[kind])
    one = small.untrained(small.recipe(), small.hyper())[0]
    network = nir_graph.HardNetwork(one.connections(), CALLABLES[kind], 0.9, small.SHAPE)
    with pytest.raises((TypeError, AttributeError)):
        nir_graph.to_graph(network)


@pytest.mark.parametrize(
    "reset",
    [
        functools.partial(neurons.ToZero().after),
        neurons.ToZero().after,
        neurons.ToZero,
        "zero",
        None,
    ],
    ids=["partial", "method", "class", "name", "none"],
)
def test_a_callable_is_no_reset(reset):
    for kind in (neurons.LIF, Synaptic, Adaptive):
        with pytest.raises(TypeError, match=r"reset=.* must be an instance of Reset"):
            kind(reset=reset)


def test_a_third_reset_does_not_say_whether_it_subtracts():
    assert [reset.subtracts for reset in neurons.RESETS.values()] == [False, True]
    with pytest.raises(InputError, match="the reset Half is neither ToZero nor BySubtraction"):
        Half().subtracts  # noqa: B018


def test_what_a_neuron_does_not_override_is_missing_by_name():
    @dataclasses.dataclass(frozen=True)
    class Nothing(neurons.Neuron):
        pass

    with pytest.raises(NotImplementedError):
        neurons.integrate(Nothing().hard(0.9), jnp.ones((3, 2)))
