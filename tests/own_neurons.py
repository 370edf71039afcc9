"""Neurons of the tests' own, and loops that say what some do, a neuron and a step at a time."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sast_jax.snn import neurons


@dataclasses.dataclass(frozen=True)
class Half(neurons.Reset):
    """A third reset: a spike leaves half of the potential."""

    def after(self, u, s, threshold):
        return u * (1 - 0.5 * s)


class State(NamedTuple):
    """Of a refractory neuron: potential and last spike."""

    potential: jax.Array
    spike: jax.Array


@dataclasses.dataclass(frozen=True)
class Refractory(neurons.Neuron):
    """A neuron that starts anew after a spike, and takes no current for one step.

    Attributes:
      gain: of its current.
    """

    gain: float = 1.5

    def rest(self, like):
        zeros = jnp.zeros_like(like)
        return State(zeros, zeros)

    def step(self, state, current, decay, spike):
        potential = (1 - state.spike) * (decay * state.potential + self.gain * current)
        fired = spike(potential - self.threshold)
        return State(potential, fired), fired


def left(reset, decay, u, s, threshold):
    """What a spike leaves of a potential, a step later."""
    return {
        "zero": decay * u * (1 - s),
        "subtract": decay * (u - threshold * s),
        "half": decay * u * (1 - 0.5 * s),
    }[reset]


def hard(x):
    return float(x > 0)


def smooth(slope):
    return lambda x: 1 / (1 + np.exp(-slope * x))


def loop(step, rest, current_TxN):
    """Spikes of (state, current) -> (state, spike), each neuron on its own from rest."""
    out = np.zeros_like(current_TxN)
    for n in range(current_TxN.shape[1]):
        state = rest
        for t, current in enumerate(current_TxN[:, n]):
            state, out[t, n] = step(state, current)
    return out


def differences(function, x, step=1e-6):
    """The gradient of a function of one array by central differences."""
    found = np.zeros(np.shape(x))
    for index in np.ndindex(found.shape):
        bump = np.zeros(found.shape)
        bump[index] = step
        found[index] = (float(function(x + bump)) - float(function(x - bump))) / (2 * step)
    return found


def equal_a_loop(neuron, kind, decay, loop, current_TxN):
    """Hard or smooth spikes of a neuron equal those of ``loop``: (spike, current) -> spikes."""
    plain = {"hard": hard, "soft": smooth(3.0)}[kind]
    cell = {"hard": neuron.hard(decay), "soft": neuron.smooth(decay, 3.0)}[kind]
    with jax.enable_x64(True):
        _, found = neurons.integrate(cell, jnp.asarray(current_TxN))
        found = np.asarray(found)
    np.testing.assert_allclose(found, loop(plain, current_TxN), rtol=1e-12)
    assert 0.1 < found.mean() < 0.9


def gradient_is_of_differences(make, current_TxN, *at):
    """The gradient of spikes, by the current and by numbers that ``make`` takes for a cell."""
    with jax.enable_x64(True):
        weights_TxN = jnp.asarray(np.random.default_rng(2).normal(size=current_TxN.shape))

        @jax.jit
        def loss(current, *numbers):
            return (weights_TxN * neurons.integrate(make(*numbers), current)[1]).sum()

        at = [jnp.asarray(current_TxN), *at]
        gradient = jax.grad(loss, argnums=tuple(range(len(at))))(*at)
        for number, found in enumerate(gradient):

            def along(x, number=number):
                return loss(*at[:number], x, *at[number + 1 :])

            numeric = differences(along, np.asarray(at[number]))
            near_zero = 1e-8 if numeric.ndim else 1e-12
            assert np.asarray(found) == pytest.approx(numeric, 1e-6, near_zero)


def is_lif_bit_for_bit(own, plain, kind, decay):
    """A neuron makes the spikes and potentials of a LIF neuron."""
    current = 0.3 + jax.random.normal(jax.random.key(0), (200, 100))
    cells = [n.hard(decay) if kind == "hard" else n.smooth(decay, 4.0) for n in (own, plain)]
    ends, found = zip(*(neurons.integrate(cell, current) for cell in cells), strict=True)
    np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(*(end.potential for end in ends))
    np.testing.assert_array_equal(*(neurons.potentials(cell, current) for cell in cells))


def segments_are_the_whole(cell):
    """Two segments of time, one after the other, end as all steps at once, bit for bit."""
    current = jax.random.normal(jax.random.key(0), (12, 5))
    end, whole = neurons.integrate(cell, current)
    state, first = neurons.integrate(cell, current[:5])
    state, second = neurons.integrate(cell, current[5:], state)
    np.testing.assert_array_equal(jnp.concatenate([first, second]), whole)
    jax.tree.map(np.testing.assert_array_equal, state, end)
