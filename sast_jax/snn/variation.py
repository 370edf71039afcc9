"""Devices that differ: mismatch of weights, thresholds, leaks; dead neurons, unreliable spikes."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sast_jax.snn import connections
from sast_jax.snn.connections import Connection
from sast_jax.snn.neurons import Cell, Neuron
from sast_jax.snn.readouts import Response


class Variation(NamedTuple):
    """How much devices differ. With all of it zero a device is the network itself.

    Attributes:
      weights: standard deviation of a factor on each weight and bias, normal around 1.
      thresholds: the same on each neuron's threshold.
      leaks: the same on each neuron's leak, 1 - decay, which stays within 0..1.
      dead: share of the neurons, outputs included, that never send a spike.
      dropped: probability that a spike is lost behind the neuron that made it.
      spurious: probability, at each step without a spike, that one is added there; dropped and
        spurious together are at most 1.
    """

    weights: jax.Array | float = 0.0
    thresholds: jax.Array | float = 0.0
    leaks: jax.Array | float = 0.0
    dead: jax.Array | float = 0.0
    dropped: jax.Array | float = 0.0
    spurious: jax.Array | float = 0.0


def draw(
    key: jax.Array,
    variation: Variation,
    network: Sequence[Connection],
    layers: Sequence[tuple[Neuron, jax.typing.ArrayLike]],
    frames_TxBxHxWxC: jax.Array,
) -> Callable[[Callable[[Neuron, jax.Array], Cell]], Response]:
    """One device: the network with its own weights, thresholds, leaks and dead neurons.

    Args:
      key: of the device, and of the spikes that it loses and adds.
      variation: how much devices differ; may be traced.
      network: connections of the trained network.
      layers: neuron and decay of each layer.
      frames_TxBxHxWxC: what the device is given.

    Returns:
      A function from a cell, (neuron, decay) -> step, to the response of the device. Whatever the
      cell, the device and its faults are the same. A lost smooth spike is 0 and an added one 1.
    """
    # faults folds 0 into the same key, and this folds 1. An integer network, which calls faults
    # alone, so meets the very faults of the floating-point network.
    weight_key, neuron_key = jax.random.split(jax.random.fold_in(key, 1))
    device = mismatched(weight_key, list(network), variation.weights)
    shapes = spikes_of(network, frames_TxBxHxWxC)
    neurons = []
    for layer, ((_, _, *shape), (neuron, decay)) in enumerate(zip(shapes, layers, strict=True)):
        threshold_key, leak_key = jax.random.split(jax.random.fold_in(neuron_key, layer))
        factor = 1 + variation.thresholds * jax.random.normal(threshold_key, (1, *shape))
        leak = (1 - decay) * (1 + variation.leaks * jax.random.normal(leak_key, (1, *shape)))
        left = 1 - jnp.clip(leak, 0, 1)
        forgets = jnp.asarray(decay) == 0  # and does so whatever the mismatch
        neurons.append((neuron.scaled(factor), jnp.where(forgets, 0.0, left)))
    lossy = faults(key, variation, shapes)

    def transmit(layer, sent_TxBxN):
        return lossy(layer, sent_TxBxN) if layers[layer][0].fires else sent_TxBxN

    def respond(cell):
        cells = [
            cell(neuron.returned(functools.partial(lossy.at, layer)), decay)
            for layer, (neuron, decay) in enumerate(neurons)
        ]
        return connections.respond(device, cells, frames_TxBxHxWxC, transmit)

    return respond


def spikes_of(network: Sequence[Connection], frames_TxBxHxWxC: jax.Array) -> list[tuple[int, ...]]:
    """Shapes (T, B, ...) of the spikes of all layers."""
    T, B, *frame = frames_TxBxHxWxC.shape
    return [(T, B, *shape) for shape in connections.shapes(network, tuple(frame))]


def mismatched(key: jax.Array, weights: Any, spread: jax.typing.ArrayLike) -> Any:
    """Multiplies each value by a factor of its own, normal around 1 with deviation ``spread``."""
    drawn = optax.tree.random_like(key, weights)
    return jax.tree.map(lambda leaf, normal: leaf * (1 + spread * normal), weights, drawn)


class Faults(NamedTuple):
    """Faults between layers, called with (layer, spikes (T, B, ...)) for the spikes that arrive.

    Attributes:
      variation: how many.
      alive: of each layer, which of its neurons send spikes, (1, 1, ...).
      numbers: of each layer, uniform ones (T, B, ...) that decide what is lost and added.
    """

    variation: Variation
    alive: list[jax.Array]
    numbers: list[jax.Array]

    def __call__(self, layer: int, spikes_TxBxN: jax.Array) -> jax.Array:
        return self._arriving(spikes_TxBxN, self.numbers[layer], self.alive[layer])

    def at(self, layer: int, step: jax.Array, spikes_BxN: jax.Array) -> jax.Array:
        """The same for the spikes of one step."""
        return self._arriving(spikes_BxN, self.numbers[layer][step], self.alive[layer][0])

    def _arriving(self, spikes, numbers, alive):
        # One number decides for both, so no spike is lost and added at once.
        kept = jnp.where(numbers < self.variation.dropped, 0, spikes)
        sent = jnp.where(numbers >= 1 - self.variation.spurious, 1, kept)
        return jnp.where(alive, sent, 0)


def faults(key: jax.Array, variation: Variation, shapes: Sequence[tuple[int, ...]]) -> Faults:
    """Faults between layers: dead neurons, dropped and spurious spikes.

    Args:
      key, variation: as for :func:`draw`.
      shapes: (T, B, ...) of the layers' spikes.
    """
    # The key is the device's and knows nothing of the batch: recordings at the same place of two
    # batches lose and gain the same spikes.
    neuron_key, spike_key = jax.random.split(jax.random.fold_in(key, 0))
    noisy = (variation.dropped > 0) | (variation.spurious > 0)
    alive, numbers = [], []
    for layer, shape in enumerate(shapes):
        dead_key = jax.random.fold_in(neuron_key, layer)
        alive.append(~jax.random.bernoulli(dead_key, variation.dead, (1, 1, *shape[2:])))
        numbers.append(_uniform_where(noisy, jax.random.fold_in(spike_key, layer), shape))
    return Faults(variation, alive, numbers)


def _uniform_where(wanted, key, shape):
    """Numbers uniform in 0..1; zeros where they are not wanted, which saves the time to draw."""
    return jax.lax.cond(
        wanted, lambda: jax.random.uniform(key, shape), lambda: jnp.zeros(shape, jnp.float32)
    )
