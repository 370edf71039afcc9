"""The leaky integrate-and-fire (LIF) neuron: one step, and its scan over time.

    u_t = decay * u_{t-1} * (1 - s_{t-1}) + I_t          reset to zero, gated by the last spike
    u_t = decay * (u_{t-1} - threshold * s_{t-1}) + I_t  reset by subtraction
    s_t = spike(u_t - threshold)

with u_0 = 0 and s_0 = 0. The input current I_t does not depend on the neuron's own state, so a
layer computes it for all steps in one matrix product, and only these elementwise lines are scanned.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sast_jax.spikes import Spike, hard_forward


class State(NamedTuple):
    """Membrane potential and last spike of a layer, both of the layer's shape."""

    potential: jax.Array
    spike: jax.Array


Cell = Callable[[State, Any], tuple[State, jax.Array]]


def reset_to_zero(decay: jax.typing.ArrayLike, threshold: float, spike: Spike) -> Cell:
    """The step whose potential is gated to zero by the last spike.

    Args:
      decay: share of the potential that is left after one step, 0..1.
      threshold: potential above which a hard neuron spikes.
      spike: function of the distance to threshold, from :mod:`sast_jax.spikes`.

    Returns:
      ``cell(state, current) -> (state, spikes)``, the signature of :func:`jax.lax.scan`.
    """

    def cell(state, current):
        potential = decay * state.potential * (1 - state.spike) + current
        spikes = spike(potential - threshold)
        return State(potential, spikes), spikes

    return cell


def reset_by_subtraction(decay: jax.typing.ArrayLike, threshold: float, spike: Spike) -> Cell:
    """The step whose potential loses one threshold for each spike; see :func:`reset_to_zero`."""

    def cell(state, current):
        potential = decay * (state.potential - threshold * state.spike) + current
        spikes = spike(potential - threshold)
        return State(potential, spikes), spikes

    return cell


def stochastic(noise: float = 0.0, hard: float = 0.0) -> Callable[..., Cell]:
    """Neurons whose potentials are noisy, or whose smooth spikes are hard now and then.

    Mixing hard spikes in, with the derivative of the smooth one, brings a smooth network closer to
    the hard one (Wang et al., Adaptive Smoothing Gradient Learning for Spiking Neural Networks,
    ICML 2023, who also learn the slope).

    Args:
      noise: standard deviation of what is added to the potential at each step.
      hard: probability that a neuron's spike at a step is hard.

    Returns:
      ``(make, spike) -> cell``, where ``make(spike)`` gives the step without chance, such as a
      partial :func:`reset_to_zero`. The cell takes ``(current, key)`` at each step.
    """

    def build(make: Callable[[Spike], Cell], spike: Spike) -> Cell:
        def cell(state, inputs):
            current, key = inputs
            noise_key, hard_key = jax.random.split(key)
            if noise:
                current = current + noise * jax.random.normal(noise_key, current.shape)
            if not hard:
                return make(spike)(state, current)
            chosen = jax.random.bernoulli(hard_key, hard, current.shape)
            return make(lambda x: jnp.where(chosen, hard_forward(spike)(x), spike(x)))(
                state, current
            )

        return cell

    return build


def integrate(
    cell: Cell, current_TxBxN: jax.Array, state: State | None = None, key: jax.Array | None = None
) -> tuple[State, jax.Array]:
    """Runs a layer over time.

    Args:
      cell: a step, such as :func:`reset_to_zero` returns.
      current_TxBxN: input current, time first; the other axes are the layer's own shape.
      state: where an earlier segment of time ended; None starts at rest.
      key: of a :func:`stochastic` cell, which then draws from it; None for all others.

    Returns:
      The state after the last step, and the spikes of all steps in the shape of the current.
    """
    if state is None:
        rest = jnp.zeros_like(current_TxBxN[0])
        state = State(rest, rest)
    if key is None:
        return jax.lax.scan(cell, state, current_TxBxN)
    return jax.lax.scan(cell, state, (current_TxBxN, jax.random.split(key, len(current_TxBxN))))


def potentials(cell: Cell, current_TxBxN: jax.Array) -> jax.Array:
    """The membrane potentials of all steps, from rest; :func:`integrate` gives the spikes."""

    def body(state, current):
        state, _ = cell(state, current)
        return state, state.potential

    rest = jnp.zeros_like(current_TxBxN[0])
    return jax.lax.scan(body, State(rest, rest), current_TxBxN)[1]
