"""Intervals that hold every potential: tighter state bounds, and a certificate of the swap.

An interval is a pair (low, high) of arrays of one shape. Intervals pass through a network layer by
layer, as currents (weights by sign) and as potentials, step by step.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sast_jax import connections, lif, networks, theory
from sast_jax.connections import Connection


class Interval(NamedTuple):
    """All values from ``low`` to ``high``, elementwise; the two may be equal."""

    low: jax.Array
    high: jax.Array


def currents(connection: Connection, spikes_TxBxS: Interval) -> Interval:
    """The input currents that spikes within intervals can make."""
    kernel, bias = connection
    rise = Connection(jnp.maximum(kernel, 0), bias)
    fall = Connection(jnp.minimum(kernel, 0), jnp.zeros_like(bias))
    low, high = spikes_TxBxS
    return Interval(
        connections.sums(rise, low) + connections.sums(fall, high),
        connections.sums(rise, high) + connections.sums(fall, low),
    )


def soft_potentials(neuron: theory.Neuron, factor: float, current_TxBxN: Interval) -> Interval:
    r"""The potentials (T, B, ...) of smooth neurons whose currents lie in intervals.

    One step takes the interval [a, b] of the last potential to what two enclosures of f (see
    :mod:`sast_jax.theory`) have in common: the one of its factors, as the spike is monotone; and
    :math:`f(m) \pm q (b - a) / 2` around the middle m, by the mean value theorem.

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
        if neuron.subtracts:
            ends = u.low - neuron.threshold * most, u.high - neuron.threshold * least
            middle = middle - neuron.threshold * gated
        else:
            ends = (
                jnp.minimum(u.low * (1 - least), u.low * (1 - most)),
                jnp.maximum(u.high * (1 - least), u.high * (1 - most)),
            )
            middle = middle * (1 - gated)
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
    neuron: theory.Neuron,
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


def hard_spikes(neuron: theory.Neuron, current_TxBxN: Interval) -> Interval:
    """The spikes of hard neurons whose currents lie in intervals; from 0 to 1 where not known.

    After a spike the potential is 0, or less by a threshold. Where it is unknown if there was one,
    the next interval holds both cases: the part of this one below the threshold, as it is, and the
    part above it, reset.
    """
    decay, threshold = neuron.decay, neuron.threshold

    def body(rest, current):
        low, high = rest.low + current.low, rest.high + current.high
        must, may = low > threshold, high > threshold
        taken = threshold if neuron.subtracts else jnp.inf
        # What is left of a spike: from 0 upwards, or 0 alone.
        least = jnp.where(
            must, jnp.maximum(low - taken, 0), jnp.where(may, jnp.minimum(low, 0), low)
        )
        after = jnp.maximum(high - taken, 0)
        most = jnp.where(must, after, jnp.where(may, jnp.maximum(after, threshold), high))
        spikes = Interval(must.astype(low.dtype), may.astype(low.dtype))
        return Interval(decay * least, decay * most), spikes

    zeros = jnp.zeros_like(current_TxBxN.low[0])
    return jax.lax.scan(body, Interval(zeros, zeros), current_TxBxN)[1]


class Certificate(NamedTuple):
    """What is known of the hard network without running it, for each recording.

    Attributes:
      agrees_B: its answer is proven to be that of the smooth network.
      changeable_BxL: share of each layer's spikes that can differ from the smooth network's, taken
        as 1 where its potential is above the threshold.
    """

    agrees_B: jax.Array
    changeable_BxL: jax.Array


Enclose = Callable[[Connection, jax.Array, jax.Array, Interval], Interval]


def by_margins(connection, current_TxBxN, soft_TxBxS, hard_TxBxS) -> Interval:
    r"""A layer's hard currents, around the smooth network's.

    If spikes that lead into it are off by at most D, currents are off by at most :math:`|W| D`.

    Args:
      connection: into the layer.
      current_TxBxN: of the smooth network.
      soft_TxBxS: its spikes, or the frames, that lead into the layer.
      hard_TxBxS: interval of the hard network's.
    """
    magnitudes = Connection(jnp.abs(connection.kernel), jnp.zeros_like(connection.bias))
    away = jnp.maximum(soft_TxBxS - hard_TxBxS.low, hard_TxBxS.high - soft_TxBxS)
    reach = connections.sums(magnitudes, away)
    return Interval(current_TxBxN - reach, current_TxBxN + reach)


def by_signs(connection, current_TxBxN, soft_TxBxS, hard_TxBxS) -> Interval:
    """A layer's hard currents from its hard spikes alone; arguments as of :func:`by_margins`.

    With no slack this is next to running the hard network.
    """
    return currents(connection, hard_TxBxS)


def certify(
    neuron: theory.Neuron,
    network: Sequence[Connection],
    readout: networks.Readout,
    frames_TxBxHxWxC: jax.Array,
    slack: jax.typing.ArrayLike,
    enclose: Enclose,
) -> Certificate:
    """What the swap can change, for every device whose currents are off by at most the slack.

    Proof. The frames are the same for both networks. Layer by layer, the hard currents lie in what
    ``enclose`` gives, widened by the slack, so that the distance of the potential to the threshold
    tells which spikes a neuron can have (:func:`hard_spikes`). The answers agree if the least score
    that the smooth network's class can have is above the highest of all others. This is sufficient
    and not necessary.

    Args:
      neuron: of all layers, smooth.
      network: its connections.
      readout: of the scores.
      frames_TxBxHxWxC: recordings.
      slack: how far each current may be off, at each neuron and step, in any way.
      enclose: :func:`by_margins` or :func:`by_signs`.
    """
    soft, hard, changeable = frames_TxBxHxWxC, Interval(*[frames_TxBxHxWxC] * 2), []
    for connection in network:
        current = connections.sums(connection, soft)
        within = enclose(connection, current, soft, hard)
        within = Interval(within.low - slack, within.high + slack)
        hard = hard_spikes(neuron, within)
        u = lif.potentials(neuron.cell(), current)
        soft = neuron.spike(neuron.slope)(u - neuron.threshold)
        differs = jnp.where(u > neuron.threshold, hard.low < 1, hard.high > 0)
        changeable.append(differs.mean(axis=(0, *range(2, differs.ndim))))
    answer_B = readout(networks.Response((soft,), current, ())).argmax(axis=-1)
    agrees_B = _above(readout, hard, within, answer_B)
    return Certificate(agrees_B, jnp.stack(changeable, axis=-1))


def _above(readout, spikes: Interval, current: Interval, answer_B) -> jax.Array:
    """If the least score of the answer is above the highest of all other classes."""
    low_BxK, high_BxK = (
        readout(networks.Response((s,), i, ())) for s, i in zip(spikes, current, strict=True)
    )
    own_BxK = jax.nn.one_hot(answer_B, low_BxK.shape[-1], dtype=bool)
    least_B = jnp.where(own_BxK, low_BxK, jnp.inf).min(axis=-1)
    return least_B > jnp.where(own_BxK, -jnp.inf, high_BxK).max(axis=-1)
