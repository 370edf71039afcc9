"""The integer network against its simulation in floats and against Python's own integers."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_networks
import small_runs
from hypothesis import given, settings, strategies as st

from sast_jax.errors import InputError
from sast_jax.hardware import formats, integers
from sast_jax.snn import quantisation
from sast_jax.snn.connections import Full
from sast_jax.snn.neurons import LIF, BySubtraction, ToZero


def network(rng, sizes=(20, 16, 5), spread=0.6):
    return [
        Full(
            jnp.asarray(rng.normal(0, spread, (a, b)), jnp.float32),
            jnp.asarray(rng.normal(0, 0.2, b), jnp.float32),
        )
        for a, b in itertools.pairwise(sizes)
    ]


def built(network, neurons, weight_bits=8, headroom=8.0):
    kernels = [
        quantisation.quantise(
            c.kernel, quantisation.largest(c.kernel, weight_bits, True), weight_bits
        )
        for c in network
    ]
    return integers.build(network, kernels, 1.0, neurons, headroom)


def by_hand(layers, neurons, frames_TxI):
    """One recording, a neuron at a time, in integers without a size."""
    spikes, clipped = [[int(x) for x in frame] for frame in frames_TxI], []
    for layer in layers:
        leaves = layer.connection.kernel, layer.connection.bias, layer.threshold, layer.point
        kernel, bias, threshold, point = (np.asarray(x).tolist() for x in leaves)
        outputs, count = [[0] * len(bias) for _ in spikes], 0
        for n in range(len(bias)):
            u = s = 0
            for t, frame in enumerate(spikes):
                current = bias[n] + sum(kernel[i][n] for i, x in enumerate(frame) if x)
                u = (u - threshold[n] * s) if neurons.reset == BySubtraction() else u * (1 - s)
                leaked = 0
                for factor, shift in neurons.leak:
                    half = (1 << shift) // 2 if neurons.nearest else 0
                    part = (abs(factor) * u + half) >> shift
                    leaked += part if factor > 0 else -part
                f = point[n]
                if f >= 0:
                    fits = min(max(current, neurons.low >> f), neurons.high >> f)
                    placed, hit = fits << f, fits != current
                else:
                    rounded = (current + (1 << -f) // 2) >> -f
                    placed = min(max(rounded, neurons.low), neurons.high)
                    hit = placed != rounded
                u = min(max(leaked + placed, neurons.low), neurons.high)
                count += hit or u != leaked + placed
                s = int(u > threshold[n])
                outputs[t][n] = s
        clipped.append(count / (len(bias) * len(spikes)))
        spikes = outputs
    return np.array(spikes), clipped


LEAKS = {"fraction": integers.fraction, "shifts": integers.shifts}


@pytest.mark.parametrize("bits", [8, 11, 31, 32])
@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("nearest, reset", [(True, ToZero()), (False, BySubtraction())])
def test_equals_its_simulation_and_unbounded_integers(bits, leak, nearest, reset):
    rng = np.random.default_rng(bits)
    neurons = integers.IntegerNeurons(bits, LEAKS[leak](0.9, 8), nearest, reset)
    layers = built(network(rng), neurons, headroom=1.5)  # little, so that words saturate
    frames = rng.random((12, 30, 20)) < 0.4
    with jax.enable_x64(True):
        simulated, float_shares = integers.simulate(
            layers, neurons, jnp.asarray(frames, jnp.float64)
        )
    found, shares = jax.jit(integers.response_of, static_argnums=1)(
        layers, neurons, jnp.asarray(frames)
    )
    assert found.spikes[0].dtype == jnp.int8
    for a, b in zip(found.spikes, simulated.spikes, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(found.current_TxBxK, simulated.current_TxBxK)
    np.testing.assert_allclose(shares, float_shares, rtol=1e-6)
    assert shares.shape == (30, 2)
    assert 0 < found.spikes[-1].mean() < 1
    expected, expected_shares = by_hand(layers, neurons, frames[:, 0])
    alone, alone_shares = integers.response_of(layers, neurons, jnp.asarray(frames[:, :1]))
    np.testing.assert_array_equal(alone.spikes[-1][:, 0], expected)
    np.testing.assert_allclose(alone_shares[0], expected_shares, rtol=1e-6)
    assert bits > 16 or shares.max() > 0


def same_as_simulated(layers, neurons, frames) -> int:
    """Checks every spike, current and count; returns the number of neuron steps."""
    with jax.enable_x64(True):
        simulated, float_shares = jax.jit(integers.simulate, static_argnums=1)(
            layers, neurons, jnp.asarray(frames, jnp.float64)
        )
    found, shares = jax.jit(integers.response_of, static_argnums=1)(
        layers, neurons, jnp.asarray(frames)
    )
    for a, b in zip(found.spikes, simulated.spikes, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(found.current_TxBxK, simulated.current_TxBxK)
    np.testing.assert_allclose(shares, float_shares, rtol=1e-6)
    assert all(0 < s.mean() < 1 for s in found.spikes)
    return sum(s.size for s in found.spikes)


def test_a_million_neuron_steps_of_random_input_are_those_of_the_simulation():
    rng, steps = np.random.default_rng(0), 0
    for bits, leak in itertools.product((8, 13, 16, 24, 32), LEAKS):
        reset = ToZero() if bits % 3 else BySubtraction()
        neurons = integers.IntegerNeurons(bits, LEAKS[leak](0.9, 8), True, reset)
        layers = built(network(rng, (40, 100, 20)), neurons, weight_bits=4, headroom=4.0)
        steps += same_as_simulated(layers, neurons, rng.random((20, 50, 40)) < 0.3)
    assert steps > 10**6


@pytest.mark.parametrize("kind", ["MLP", pytest.param("ConvNet", marks=pytest.mark.slow)])
def test_real_input_gives_the_spikes_of_the_simulation(real_data, kind):
    run = small_runs.train(kind, real_data / "nmnist_8class")
    steps = 0
    for bits, weight_bits in ((8, 2), (16, 4), (32, 8)):
        chip = formats.Chip(weight_bits=weight_bits, membrane_bits=bits, headroom=2.0)
        kernels = formats.kernels(run.network, chip)
        neurons, layers = formats.to_integers(run.trained, run.network, chip, kernels)
        steps += same_as_simulated(layers, neurons, small_runs.frames(run))
    assert steps > 3 * 10**5


@pytest.mark.slow
def test_convolutions_in_integers():
    network, frames = small_networks.network("ConvNet")
    neurons = integers.IntegerNeurons(16, integers.fraction(0.9, 7), True, ToZero())
    layers = built(network, neurons)
    found, _ = integers.response_of(layers, neurons, frames)
    simulated, _ = integers.simulate(layers, neurons, frames)
    for a, b in zip(found.spikes, simulated.spikes, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.shape == b.shape
    # With eight bits it is nearly the network it stands for.
    exact = small_networks.respond(network, frames)
    assert (found.spikes[0] == exact.spikes[0]).mean() > 0.98


@pytest.mark.parametrize("decay", [0.0, 0.1, 0.5, 0.7, 0.9, 0.98, 1.0])
@pytest.mark.parametrize("bits", [4, 8, 12])
def test_leaks_are_the_decay_within_their_bits(decay, bits):
    for terms in (integers.fraction(decay, bits, 10), integers.shifts(decay, bits, 10)):
        value = sum(term.factor / 2**term.shift for term in terms)
        np.testing.assert_allclose(value, round(decay * 2**bits) / 2**bits)
    ones = [abs(term.factor) for term in integers.shifts(decay, bits, 10)]
    assert ones == [1] * len(ones) and len(ones) <= bits // 2 + 1


@settings(max_examples=50, deadline=None)
@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**15), st.integers(1, 15), st.booleans())
def test_a_scaled_potential_never_leaves_32_bits(u, factor, shift, nearest):
    factor = min(factor, 2**shift)
    half = (1 << shift) >> 1 if nearest else 0
    found = integers._scaled(jnp.int32(u), factor, shift, half)
    assert int(found) == (u * factor + half) >> shift


@settings(max_examples=50, deadline=None)
@given(st.integers(-(2**30), 2**30), st.integers(-30, 30), st.integers(2, 32))
def test_a_current_is_placed_or_counted_as_clipped(total, point, bits):
    point = min(point, bits - 1)
    neurons = integers.IntegerNeurons(bits, (), True, ToZero())
    placed, clipped = integers._placed(jnp.int32(total), jnp.int32(point), neurons)
    exact = total << point if point >= 0 else (total + ((1 << -point) >> 1)) >> -point
    if clipped:
        assert not neurons.low <= exact <= neurons.high
        assert neurons.low <= int(placed) <= neurons.high
    else:
        assert int(placed) == exact


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-(2**24), 2**24), min_size=1, max_size=12),
    st.sampled_from([8, 9, 15, 16, 31, 32]),
    st.integers(-8, 7),
    st.integers(1, 2**7 - 2),
    st.booleans(),
)
def test_saturation_is_that_of_unbounded_integers(sums, bits, point, threshold, subtract):
    """Any currents: the word never wraps, and each change by its range is counted, once a step."""
    reset = BySubtraction() if subtract else ToZero()
    neurons = integers.IntegerNeurons(bits, integers.fraction(0.9, 8), True, reset)
    step = functools.partial(
        integers._step, neurons, threshold=jnp.int32(threshold), point=jnp.int32(point)
    )
    rest = jnp.int32(0)
    (_, _), (spikes, clipped) = _scan(step, (rest, rest), jnp.asarray(sums, jnp.int32))
    u = s = 0
    for t, current in enumerate(sums):
        u = u - threshold * s if subtract else u * (1 - s)
        leaked = (230 * u + 128) >> 8
        exact = current << point if point >= 0 else (current + (1 << -point) // 2) >> -point
        unit = 1 << max(point, 0)  # what is shifted left saturates at a whole number of its unit
        placed = min(max(exact, neurons.low), neurons.high // unit * unit)
        u = min(max(leaked + placed, neurons.low), neurons.high)
        s = int(u > threshold)
        assert int(spikes[t]) == s
        assert bool(clipped[t]) == (placed != exact or u != leaked + placed)


def _scan(step, rest, sums):
    """A scan in Python, so that no example compiles a program of its own."""
    spikes, clipped = [], []
    for current in sums:
        rest, (s, c) = step(rest, current)
        spikes.append(s)
        clipped.append(c)
    return rest, (spikes, clipped)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda: integers.fraction(0.9, 3), "a leak of 3 bits expresses the decay 0.9 as 7/8"),
        (lambda: integers.fraction(0.999, 8), "expresses the decay 0.999 as 256/256, which leaks"),
        (lambda: integers.shifts(0.9, 16), "a leak of 16 bits: choose from 1 to 15"),
        (lambda: built_of(33), "a membrane of 33 bits: choose from 2 to 32"),
        (lambda: built_of(4), "a membrane of 4 bits cannot hold 8 times the threshold of layer 1"),
    ],
)
def test_what_a_chip_cannot_hold_is_named(change, message):
    with pytest.raises(InputError, match=message):
        change()


def test_a_bias_that_does_not_fit_is_refused():
    huge = [Full(jnp.full((2, 1), 1e-9), jnp.ones(1))]
    neurons = integers.IntegerNeurons(32, integers.fraction(0.9, 8), True, ToZero())
    with pytest.raises(InputError, match="a bias of layer 1 does not fit in 32 bits"):
        built(huge, neurons, headroom=1.0)


def built_of(bits):
    neurons = integers.IntegerNeurons(bits, integers.fraction(0.9, 8), True, ToZero())
    return built(network(np.random.default_rng(0)), neurons)


@pytest.mark.parametrize("leak", LEAKS)
def test_a_chip_leaks_as_its_format_says(leak):
    chip = formats.Chip(leak=leak, leak_bits=6)
    made = LIF().integer(chip, 0.9)
    assert made.leak == LEAKS[leak](0.9, 6)
    assert len(made.leak) == {"fraction": 1, "shifts": 3}[leak]
