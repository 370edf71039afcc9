"""A trained network in the number formats of a chip."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from sast_jax.data import packing
from sast_jax.hardware import integers
from sast_jax.snn import connections, quantisation
from sast_jax.snn.connections import Connection
from sast_jax.snn.neurons import Reset
from sast_jax.snn.quantisation import Quantised

LEAKS = {"fraction": integers.fraction, "shifts": integers.shifts}
SCALES = {  # (kernel, bits, per channel, gram) -> scales
    "error": quantisation.least_error,
    "max": lambda kernel, bits, per_channel, _: quantisation.largest(kernel, bits, per_channel),
}
BATCH = 32  # calibration recordings at a time, at most: inputs of all places and steps are kept


@dataclasses.dataclass(frozen=True)
class Chip:
    """Number formats of an integer network.

    Attributes:
      weight_bits: 2 to 8.
      per_channel: a scale for each output neuron or channel, else one a layer.
      scale: of the weights: "error" (least error of the currents on calibration recordings) or
        "max" (the largest weight).
      membrane_bits: of the word that holds a potential, 2 to 32.
      headroom: thresholds that the word must hold at least, from 1 up.
      leak: "fraction" (k / 2^n) or "shifts" (a sum of them).
      leak_bits: n.
      leak_error: largest error of the leak 1 - decay that is accepted, as a share of it.
    """

    weight_bits: int = 8
    per_channel: bool = True
    scale: str = "error"
    membrane_bits: int = 16
    headroom: float = 16.0
    leak: str = "fraction"
    leak_bits: int = 8
    leak_error: float = 0.1

    def lif(self, decay: float, reset: Reset) -> integers.IntegerNeurons:
        """LIF neurons in these formats.

        Raises:
          InputError: the leak cannot be expressed.
        """
        leak = LEAKS[self.leak](float(decay), self.leak_bits, self.leak_error)
        return integers.IntegerNeurons(self.membrane_bits, leak, nearest=True, reset=reset)


def kernels(
    network: Sequence[Connection], chip: Chip, grams: Sequence[jax.Array] | None = None
) -> list[Quantised]:
    """The weights of a network as integers.

    Args:
      network: its connections.
      chip: number formats.
      grams: from :func:`grams`, to choose scales by; None takes all inputs to be equally active.
    """
    quantised = []
    known: Sequence[jax.Array | None] = grams or [None] * len(network)
    for connection, gram_IxI in zip(network, known, strict=True):
        choose = SCALES[chip.scale]
        scale_O = choose(connection.kernel, chip.weight_bits, chip.per_channel, gram_IxI)
        quantised.append(quantisation.quantise(connection.kernel, scale_O, chip.weight_bits))
    return quantised


def rounded(network: Sequence[Connection], kernels: Sequence[Quantised]) -> list[Connection]:
    """The network with the weights that these integers stand for; its biases do not change."""
    return [
        connection.replace(kernel=quantisation.dequantise(kernel))
        for connection, kernel in zip(network, kernels, strict=True)
    ]


def to_integers(
    tried: Any, network: Sequence[Connection], chip: Chip, kernels: Sequence[Quantised]
) -> tuple[integers.IntegerNeurons, list[integers.Layer]]:
    """One network in integers.

    Args:
      tried: one run, or a :class:`sast_jax.hardware.graphs.network.GraphNetwork`.
      network: its connections.
      chip: number formats.
      kernels: its weights in them, from :func:`kernels`.

    Raises:
      InputError: its neuron has no integer form, or the formats cannot hold it.
    """
    neuron, decay, threshold = tried.uniform()
    neurons = neuron.integer(chip, decay)
    return neurons, integers.build(network, kernels, threshold, neurons, chip.headroom)


def grams(
    tried: Any,
    network: Sequence[Connection],
    chip: Chip,
    recordings: packing.Frames | None,
) -> list[jax.Array] | None:
    """The mean product (I, I) of each pair of inputs of each layer, in the hard network.

    Args:
      tried: one run, or a :class:`sast_jax.hardware.graphs.network.GraphNetwork`.
      network: its connections.
      chip: number formats.
      recordings: to calibrate with, none of them of a test split.

    Returns:
      A matrix for each layer; None without recordings, or if the scales need no calibration.
    """
    if chip.scale != "error" or recordings is None:
        return None
    packed_NxTxP = recordings.packed_NxTxP
    size = packing.at_once(packed_NxTxP, BATCH)
    batches = (packed_NxTxP[start : start + size] for start in range(0, len(packed_NxTxP), size))
    sums = (_products(tried, network, jnp.asarray(batch)) for batch in batches)
    total = functools.reduce(functools.partial(jax.tree.map, jnp.add), sums)
    return [products / len(packed_NxTxP) for products in total]


@jax.jit
def _products(tried, network, packed_BxTxP):
    frames = tried.model.unpack(packed_BxTxP)
    spikes = connections.respond(network, connections.hard(tried.layers()), frames).spikes
    sums = []
    for connection, x_TxBxS in zip(network, [frames, *spikes[:-1]], strict=True):
        per_step = x_TxBxS.reshape(-1, *x_TxBxS.shape[2:])
        met = connection.receptive(per_step)
        flat = met.reshape(-1, met.shape[-1])
        # A mean over places and steps but a sum over recordings, so that batches can be added up.
        sums.append(flat.T @ flat / (len(flat) / len(packed_BxTxP)))
    return sums
