"""The neurons of a NIR graph: each layer with numbers of its own, perhaps one a neuron.

x_t = I_t + W s_{t-1} + c                            with recurrent weights W and biases c
i_t = synapse_decay i_{t-1} + synapse_gain x_t       with a synapse; else i_t = x_t
u_t = decay u_{t-1} + gain i_t + (1 - decay) v_leak  before it, a spike resets u_{t-1}
s_t = spike(u_t - threshold)                         or u_t itself, where neurons do not spike
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sast_jax.snn.neurons import Neuron


class Kind(NamedTuple):
    """What distinguishes the neurons of layers, beside their numbers.

    Attributes:
      spikes: whether they spike; else their potential is what they send.
      reset: "zero", "subtract", "subtract-late" or "none".
      delayed: a spike is sent in the step after the one whose potential made it.
    """

    spikes: bool = True
    reset: str = "zero"
    delayed: bool = False


class Numbers(NamedTuple):
    """The numbers of a layer of neurons: one for all, or arrays that fit the layer's shape.

    Attributes:
      decay, threshold: of the potential.
      leak_to, reset_to: the potentials that neurons leak and are reset to.
      gain: factor on what reaches the potential.
      synapse: decay and gain of the synaptic current; None without one.
      recurrent: weights (neurons, neurons) from the row's to the column's neuron, and biases
        (neurons,); None without them.
    """

    decay: jax.typing.ArrayLike
    threshold: jax.typing.ArrayLike
    leak_to: jax.typing.ArrayLike = 0.0
    reset_to: jax.typing.ArrayLike = 0.0
    gain: jax.typing.ArrayLike = 1.0
    synapse: tuple[jax.typing.ArrayLike, jax.typing.ArrayLike] | None = None
    recurrent: tuple[jax.Array, jax.Array] | None = None


class State(NamedTuple):
    """Synaptic current, membrane potential and last spike of a layer, of the layer's shape."""

    current: jax.Array
    potential: jax.Array
    spike: jax.Array


@dataclasses.dataclass(frozen=True, eq=False)  # its numbers may be traced
class GraphNeuron(Neuron):
    """The neurons of one layer, as the module docstring has them.

    Attributes:
      threshold, spike: as of every neuron.
      kind, numbers: of the layer; the threshold is that of the numbers, perhaps scaled.
    """

    kind: Kind = Kind()
    numbers: Numbers = Numbers(0.0, 1.0)

    def rest(self, like: jax.Array) -> State:
        zeros = jnp.zeros_like(like)
        return State(zeros, zeros, zeros)

    def step(self, state, current, decay, spike):
        kind, own = self.kind, self.numbers
        if own.recurrent is not None:
            kernel, bias = own.recurrent
            current = current + state.spike @ kernel + bias
        if own.synapse is not None:
            synapse_decay, gain = own.synapse
            current = synapse_decay * state.current + gain * current
        before = state.spike
        if kind.delayed:
            before = spike(state.potential - self.threshold)
        left = decay * self._after(state.potential, before)
        if kind.reset == "subtract-late":
            left = left - self.threshold * before
        potential = left + own.gain * current + (1 - decay) * own.leak_to
        if not kind.spikes:
            return State(current, potential, jnp.zeros_like(potential)), potential
        spikes = before if kind.delayed else spike(potential - self.threshold)
        return State(current, potential, spikes), spikes

    def _after(self, potential, spikes):
        if self.kind.reset == "zero":
            return potential * (1 - spikes) + self.numbers.reset_to * spikes
        return potential - self.threshold * spikes if self.kind.reset == "subtract" else potential
