"""Neurons of the tests' own, and loops that say what some do, a neuron and a step at a time."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.snn import lif, neurons


@dataclasses.dataclass(frozen=True)
class Half(lif.Reset):
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
