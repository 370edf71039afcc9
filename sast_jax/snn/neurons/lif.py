"""The leaky integrate-and-fire (LIF) neuron.

    u_t = decay * u_{t-1} * (1 - s_{t-1}) + I_t          reset to zero, gated by the last spike
    u_t = decay * (u_{t-1} - threshold * s_{t-1}) + I_t  reset by subtraction
    s_t = spike(u_t - threshold)

with u_0 = 0 and s_0 = 0.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.errors import needed
from sast_jax.snn import spikes
from sast_jax.snn.neurons import nir_nodes
from sast_jax.snn.neurons.base import Cell
from sast_jax.snn.neurons.resets import RESETS, Reset, Resetting


class State(NamedTuple):
    """Membrane potential and last spike of a layer, both of the layer's shape."""

    potential: jax.Array
    spike: jax.Array


@dataclasses.dataclass(frozen=True)
class LIF(Resetting):
    """The leaky integrate-and-fire neuron of the module docstring.

    Attributes:
      threshold, spike, reset: as of every neuron that resets.
    """

    def rest(self, like: jax.Array) -> State:
        zeros = jnp.zeros_like(like)
        return State(zeros, zeros)

    def step(self, state, current, decay, spike):
        potential = self.reset.left(decay, state.potential, state.spike, self.threshold) + current
        spikes_ = spike(potential - self.threshold)
        return State(potential, spikes_), spikes_

    def integer(self, chip: Any, decay: float) -> Any:
        if self.reset not in RESETS.values():
            raise self._refusal(f"no integer form with the reset {type(self.reset).__name__}")
        return chip.lif(decay, self.reset)

    def nir(self, decay, dt, shape, parameterisation):
        """The node LIF: tau dv/dt = (v_leak - v) + r I, a spike above v_threshold, then v_reset.

        In steps of dt, with tau = dt / (1 - decay) and v_leak = v_reset = 0, that is
        v = decay v + (1 - decay) r I. A: r = tau / dt, weights as they are. B: r = 1, weights and
        biases divided by 1 - decay.
        """
        self.require_zero_reset()
        nir = needed("nir", "export")
        # NIR's neuron gains 1 - decay from its input in a step, and the one here gains all of it.
        leak = nir_nodes.leak_of(decay)
        gain, divisor = {"A": (1 / leak, 1.0), "B": (1.0, leak)}[parameterisation]
        node = nir.LIF(
            tau=np.full(shape, dt / leak),
            r=np.full(shape, gain),
            v_leak=np.zeros(shape),
            v_reset=np.zeros(shape),
            v_threshold=np.full(shape, float(self.threshold)),
        )
        return node, divisor

    def theory(self, decay, slope) -> "Smooth":
        if self.reset not in RESETS.values():
            raise self._refusal(f"no bounds in the theory with {type(self.reset).__name__}")
        return Smooth(self.reset, self.spike, slope, decay, float(self.threshold))


class Smooth(NamedTuple):
    """A smooth LIF neuron, or all neurons of a network, in the form that the theory bounds.

    Attributes:
      reset: to zero or by subtraction.
      spike: the family of the smooth spike.
      slope, decay, threshold: of the neuron.
    """

    reset: Reset
    spike: spikes.Family
    slope: float
    decay: float
    threshold: float

    def cell(self) -> Cell:
        """The cell of this neuron."""
        return LIF(self.threshold, self.spike, self.reset).smooth(self.decay, self.slope)

    @property
    def subtracts(self) -> bool:
        """Whether a spike subtracts a threshold, or resets to zero."""
        return self.reset.subtracts

    @property
    def steepest(self) -> float:
        """The largest derivative of its spike."""
        return self.spike.shape.first * self.slope
