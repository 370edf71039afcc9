"""The neurons of a NIR graph: each layer with numbers of its own, perhaps one a neuron.

x_t = I_t + W s_{t-1} + c                            with recurrent weights W and biases c
i_t = synapse_decay i_{t-1} + synapse_gain x_t       with a synapse; else i_t = x_t
u_t = decay u_{t-1} + gain i_t + (1 - decay) v_leak  before it, a spike resets u_{t-1}
s_t = spike(u_t - threshold)                         or u_t itself, where neurons do not spike
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.snn.neurons import Neuron


class Kind(NamedTuple):
    """What distinguishes the neurons of layers, beside their numbers.

    Attributes:
      spikes: whether they spike; else their potential is what they send.
      reset: "zero", "subtract", "subtract-late" or "none".
      delayed: a spike is sent in the step after the one whose potential made it.
      bare: no potential is kept: the current, or whether it is above the threshold, is sent.
    """

    spikes: bool = True
    reset: str = "zero"
    delayed: bool = False
    bare: bool = False


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

    decay: jax.Array | np.ndarray | float
    threshold: jax.Array | np.ndarray | float
    leak_to: jax.Array | np.ndarray | float = 0.0
    reset_to: jax.Array | np.ndarray | float = 0.0
    gain: jax.Array | np.ndarray | float = 1.0
    synapse: tuple[jax.Array | np.ndarray | float, jax.Array | np.ndarray | float] | None = None
    recurrent: tuple[jax.Array | np.ndarray, jax.Array | np.ndarray] | None = None


class State(NamedTuple):
    """State of a layer.

    Attributes:
      current: synaptic, of the layer's shape.
      potential: of the membrane, as well.
      spike: whether neurons spiked in the last step.
      arrived: what of these spikes returns to the layer.
      step: the number of the next step.
    """

    current: jax.Array
    potential: jax.Array
    spike: jax.Array
    arrived: jax.Array
    step: jax.Array


@dataclasses.dataclass(frozen=True, eq=False)  # its numbers may be traced
class GraphNeuron(Neuron):
    """The neurons of one layer, as the module docstring has them.

    Attributes:
      threshold, spike: as of every neuron.
      kind, numbers: of the layer; the threshold is that of the numbers, perhaps scaled.
      lose: (step, spikes) -> the spikes that return to the layer; None for all of them.
    """

    kind: Kind = Kind()
    numbers: Numbers = Numbers(0.0, 1.0)
    lose: Callable[[jax.Array, jax.Array], jax.Array] | None = None

    @property
    def fires(self) -> bool:
        return self.kind.spikes

    @property
    def integrates(self) -> bool:
        return not self.kind.bare

    @property
    def recurrent(self) -> tuple[jax.Array | np.ndarray, jax.Array | np.ndarray] | None:
        return self.numbers.recurrent

    def returned(self, lose: Callable[[jax.Array, jax.Array], jax.Array]) -> "GraphNeuron":
        return dataclasses.replace(self, lose=lose)

    def rest(self, like: jax.Array) -> State:
        zeros = jnp.zeros_like(like)
        return State(zeros, zeros, zeros, zeros, jnp.zeros((), jnp.int32))

    def step(self, state, current, decay, spike):
        kind, own = self.kind, self.numbers
        if own.recurrent is not None:
            kernel, bias = own.recurrent
            current = current + state.arrived @ kernel + bias
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
            return state._replace(current=current, potential=potential), potential
        spikes = before if kind.delayed else spike(potential - self.threshold)
        returns = own.recurrent is not None
        arrived = self.lose(state.step, spikes) if returns and self.lose else spikes
        return State(current, potential, spikes, arrived, state.step + 1), spikes

    def _after(self, potential, spikes):
        if self.kind.reset == "zero":
            return potential * (1 - spikes) + self.numbers.reset_to * spikes
        return potential - self.threshold * spikes if self.kind.reset == "subtract" else potential
