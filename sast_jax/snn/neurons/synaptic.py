"""The synaptic (current-based) LIF neuron: spikes charge a current, and the current the potential.

    i_t = synapse_decay * i_{t-1} + I_t
    u_t = decay * u_{t-1} * (1 - s_{t-1}) + i_t          reset to zero, gated by the last spike
    u_t = decay * (u_{t-1} - threshold * s_{t-1}) + i_t  reset by subtraction
    s_t = spike(u_t - threshold)

with i_0 = 0, u_0 = 0 and s_0 = 0; a spike leaves the current as it is. With the reset to zero it is
snnTorch's ``Synaptic(reset_mechanism="zero", reset_delay=False)`` and the node CubaLIF of NIR. With
a synapse_decay of 0 it is the LIF neuron.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.errors import needed
from sast_jax.fields import number
from sast_jax.snn.neurons import nir_nodes
from sast_jax.snn.neurons.resets import Resetting


class State(NamedTuple):
    """Synaptic current, membrane potential and last spike of a layer, of the layer's shape."""

    current: jax.Array
    potential: jax.Array
    spike: jax.Array


@dataclasses.dataclass(frozen=True)
class Synaptic(Resetting):
    """The neuron of the module docstring.

    Attributes:
      threshold, spike, reset: as of the LIF neuron.
      synapse_decay: share of the synaptic current that is left after one step.
    """

    synapse_decay: float = number(
        0.8, 0, 1, "share of the synaptic current left after one step", below=True
    )

    def rest(self, like: jax.Array) -> State:
        zeros = jnp.zeros_like(like)
        return State(zeros, zeros, zeros)

    def step(self, state, current, decay, spike):
        current = self.synapse_decay * state.current + current
        left = self.reset.left(decay, state.potential, state.spike, self.threshold)
        potential = left + current
        spikes = spike(potential - self.threshold)
        return State(current, potential, spikes), spikes

    def nir(self, decay, dt, shape, parameterisation):
        """The node CubaLIF with v_leak = v_reset = 0; both time constants are dt / (1 - decay).

        A: r = tau_mem / dt and w_in = tau_syn / dt, weights as they are; snnTorch, SpikingJelly and
        Norse run it. B: both 1, and weights and biases divided by the product of both leaks.
        """
        self.require_zero_reset()
        nir = needed("nir", "export")
        leak, synapse_leak = nir_nodes.leak_of(decay), nir_nodes.leak_of(self.synapse_decay)
        whole = {"A": (1 / leak, 1 / synapse_leak, 1.0), "B": (1.0, 1.0, leak * synapse_leak)}
        gain, weight, divisor = whole[parameterisation]
        node = nir.CubaLIF(
            tau_syn=np.full(shape, dt / synapse_leak),
            tau_mem=np.full(shape, dt / leak),
            r=np.full(shape, gain),
            v_leak=np.zeros(shape),
            v_reset=np.zeros(shape),
            v_threshold=np.full(shape, float(self.threshold)),
            w_in=np.full(shape, weight),
        )
        return node, divisor
