"""Intervals that contain every potential, for tighter state bounds and for certificates.

An interval is a pair (low, high) of arrays of one shape. Intervals pass through a network layer by
layer: first as input currents, then as potentials, step by step.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sast_jax.snn import neurons
from sast_jax.snn.connections import Connection


class Interval(NamedTuple):
    """All values from ``low`` to ``high``, elementwise; the two may be equal."""

    low: jax.Array
    high: jax.Array


def currents(connection: Connection, spikes_TxBxS: Interval) -> Interval:
    """The input currents that spikes within intervals can make."""
    # A current is lowest where the inputs of positive weights are low and those of negative weights
    # are high. The bias is added once, with the positive half.
    kernel, bias = connection.kernel, connection.bias
    rise = connection.replace(kernel=jnp.maximum(kernel, 0))
    fall = connection.replace(kernel=jnp.minimum(kernel, 0), bias=jnp.zeros_like(bias))
    low, high = spikes_TxBxS
    return Interval(rise.sums(low) + fall.sums(high), rise.sums(high) + fall.sums(low))


def soft_potentials(neuron: neurons.Smooth, factor: float, current_TxBxN: Interval) -> Interval:
    r"""The potentials (T, B, ...) of smooth neurons, given intervals of their currents.

    One step takes the interval [a, b] of the last potential to what two enclosures of f (see
    :mod:`sast_jax.theory.lipschitz`) have in common: the one of its factors, as the spike is
    monotone; and :math:`f(m) \pm q (b - a) / 2` around the middle m, by the mean value theorem.

    Args:
      neuron: of the layer.
      factor: q, for all potentials it can have.
      current_TxBxN: of the layer.
    """
    spike = neuron.spike(neuron.slope)

    def step(u: Interval) -> Interval:
        least, most = (spike(end - neuron.threshold) for end in u)
        middle = (u.low + u.high) / 2
        gated = spike(middle - neuron.threshold)
        # First enclosure: the extremes of the factors of f. The gate 1 - s lies from 1 - most to
        # 1 - least, and the sign of an end decides which of these makes it more extreme.
        if neuron.subtracts:
            ends = u.low - neuron.threshold * most, u.high - neuron.threshold * least
            middle = middle - neuron.threshold * gated
        else:
            ends = (
                jnp.minimum(u.low * (1 - least), u.low * (1 - most)),
                jnp.maximum(u.high * (1 - least), u.high * (1 - most)),
            )
            middle = middle * (1 - gated)
        # Second enclosure: around f of the middle. Both are valid, so their intersection is.
        reach = factor * (u.high - u.low) / 2
        return Interval(
            jnp.maximum(neuron.decay * ends[0], neuron.decay * middle - reach),
            jnp.minimum(neuron.decay * ends[1], neuron.decay * middle + reach),
        )

    def body(rest, current):
        u = Interval(rest.low + current.low, rest.high + current.high)
        return step(u), u

    zeros = jnp.zeros_like(current_TxBxN.low[0])
    return jax.lax.scan(body, Interval(zeros, zeros), current_TxBxN)[1]


def soft_network(
    neuron: neurons.Smooth,
    network: Sequence[Connection],
    factors: Sequence[float],
    current_TxBxN: Interval,
) -> list[Interval]:
    """The potentials of all layers of a smooth network, from the first layer's currents on.

    Args:
      neuron: of all layers.
      network: its connections.
      factors: q of each layer, for all potentials it can have.
      current_TxBxN: of the first layer, such as the extremes over recordings.
    """
    spike = neuron.spike(neuron.slope)
    found = [soft_potentials(neuron, factors[0], current_TxBxN)]
    for connection, factor in zip(network[1:], factors[1:], strict=True):
        spikes = Interval(*(spike(end - neuron.threshold) for end in found[-1]))
        found.append(soft_potentials(neuron, factor, currents(connection, spikes)))
    return found


def hard_spikes(neuron: neurons.Smooth, current_TxBxN: Interval) -> Interval:
    """The spikes of hard neurons, given intervals of their currents; 0 to 1 where not known.

    After a spike the potential is 0, or less by a threshold. If a spike is possible but not
    certain, the next interval holds both cases: the part of this one up to the threshold,
    unchanged, and the part above it, reset.
    """
    decay, threshold = neuron.decay, neuron.threshold

    def body(rest, current):
        low, high = rest.low + current.low, rest.high + current.high
        must, may = low > threshold, high > threshold
        # What a spike leaves is positive, or 0 alone: taking off infinity leaves 0 after max(., 0).
        taken = threshold if neuron.subtracts else jnp.inf
        least = jnp.where(
            must, jnp.maximum(low - taken, 0), jnp.where(may, jnp.minimum(low, 0), low)
        )
        after = jnp.maximum(high - taken, 0)
        most = jnp.where(must, after, jnp.where(may, jnp.maximum(after, threshold), high))
        spikes = Interval(must.astype(low.dtype), may.astype(low.dtype))
        return Interval(decay * least, decay * most), spikes

    zeros = jnp.zeros_like(current_TxBxN.low[0])
    return jax.lax.scan(body, Interval(zeros, zeros), current_TxBxN)[1]
