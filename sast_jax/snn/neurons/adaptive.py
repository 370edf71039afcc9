"""The LIF neuron with an adaptive threshold (ALIF): each spike makes the next one harder.

    a_t = adaptation_decay * a_{t-1} + s_{t-1}
    u_t = as of the LIF neuron, with the threshold b_{t-1} where it subtracts one
    b_t = threshold + adaptation * a_t
    s_t = spike(u_t - b_t)

with a_0 = 0, u_0 = 0 and s_0 = 0, so that b_0 is the threshold.

Reference: Bellec et al., Long short-term memory and learning-to-learn in networks of spiking
neurons, NeurIPS 2018, arXiv 1803.09574, whose adaptation is a mean, (1 - decay) times as large.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sast_jax.fields import number
from sast_jax.snn.neurons.resets import Resetting


class State(NamedTuple):
    """Membrane potential, last spike and its adaptation of a layer, of the layer's shape."""

    potential: jax.Array
    spike: jax.Array
    adaptation: jax.Array


@dataclasses.dataclass(frozen=True)
class Adaptive(Resetting):
    """The neuron of the module docstring.

    Attributes:
      threshold, spike, reset: as of the LIF neuron; the threshold is the one at rest.
      adaptation_decay: share of the adaptation that is left after one step.
      adaptation: by how much one spike raises the threshold.
    """

    adaptation_decay: float = number(
        0.9, 0, 1, "share of a threshold's rise left after one step", below=True
    )
    adaptation: float = number(0.2, 0, math.inf, "rise of the threshold with each spike")

    def rest(self, like: jax.Array) -> State:
        zeros = jnp.zeros_like(like)
        return State(zeros, zeros, zeros)

    def step(self, state, current, decay, spike):
        # A spike subtracts the threshold that it passed: that of the step before, b_{t-1}.
        before = self.threshold + self.adaptation * state.adaptation
        left = self.reset.left(decay, state.potential, state.spike, before)
        adaptation = self.adaptation_decay * state.adaptation + state.spike
        potential = left + current
        spikes = spike(potential - (self.threshold + self.adaptation * adaptation))
        return State(potential, spikes, adaptation), spikes
