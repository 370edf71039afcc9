"""What a hard network costs on a chip: operations, sparsity, footprint, in NeuroBench's terms.

A synaptic operation is a spike that meets a weight which is not zero. Where all inputs of a
connection are -1, 0 or 1 it is an accumulate (AC), else a multiply-accumulate (MAC). Biases are not
counted. Frames of zeros and ones keep the first layer among the accumulates.

Reference: Yik et al., The NeuroBench framework for benchmarking neuromorphic computing algorithms
and systems, Nature Communications 16:1545, 2025, arXiv 2304.04640.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.snn import connections
from sast_jax.snn.connections import Connection

# Picojoules of one operation in 45 nm, without memory and transport, which cost more on most chips:
# additions of 32 bits, and products of 32 (float) or 8 bits (integer). Horowitz, Computing's energy
# problem (and what we can do about it), ISSCC 2014, figure 1.1.9.
ENERGY_PJ = {
    "float32": {"ac": 0.9, "mac": 3.7 + 0.9},
    "integer": {"ac": 0.1, "mac": 0.2 + 0.1},
}


class Counts(NamedTuple):
    """Counts for B recordings and L layers.

    Attributes:
      acs_BxL, macs_BxL: effective synaptic operations.
      spikes_BxL: spikes that leave the layer.
      neurons_BxL: neurons of the layer, the same number for all recordings.
    """

    acs_BxL: jax.Array
    macs_BxL: jax.Array
    spikes_BxL: jax.Array
    neurons_BxL: jax.Array


def count(
    network: Sequence[Connection], frames_TxBxHxWxC: jax.Array, spikes: Sequence[jax.Array]
) -> Counts:
    """Counts a network's operations on recordings, exactly up to 2^31 a recording and layer.

    Args:
      network: its connections.
      frames_TxBxHxWxC: its input.
      spikes: the hard spikes of each layer (T, B, ...).
    """
    inputs = [frames_TxBxHxWxC, *spikes[:-1]]
    rows = [_layer(*row) for row in zip(network, inputs, spikes, strict=True)]
    return Counts(*(jnp.stack(column, axis=-1) for column in zip(*rows, strict=True)))


def report(
    network: Sequence[Connection],
    counts: Counts,
    frame_shape: tuple[int, int, int],
    time_bins: int,
) -> dict:
    """A network's counts over recordings, as plain numbers; operations are means per recording.

    Args:
      network: its connections.
      counts: with leaves (N, L).
      frame_shape: (H, W, C).
      time_bins: frames of a recording, of all of its windows.

    Returns:
      ``effective_acs``, ``effective_macs``, ``dense`` (if every input met every weight at each
      step), ``membrane_updates`` (neurons times steps; NeuroBench's metric of that name counts,
      from the second step on, potentials that a reset changes) and ``spikes``, each in all and as
      a list ``_by_layer``; ``effective_acs_quartiles`` over recordings; ``activation_sparsity``
      (share of the outputs that are 0) and ``connection_sparsity`` (share of the weights that are
      0), in all and ``_by_layer``; ``footprint_bytes`` (weights and biases in float32); and
      ``energy_float32_pj``, ``energy_integer_pj`` (effective operations times :data:`ENERGY_PJ`).
    """
    acs_NxL, macs_NxL, spikes_NxL, neurons_NxL = (np.asarray(c, np.float64) for c in counts)
    updates_L = time_bins * neurons_NxL[0]
    counted = {
        "effective_acs": acs_NxL,
        "effective_macs": macs_NxL,
        "dense": np.array([[time_bins * d for d in dense(network, frame_shape)]], np.float64),
        "membrane_updates": updates_L[None],
        "spikes": spikes_NxL,
    }
    by_layer = {name: counts_NxL.mean(axis=0) for name, counts_NxL in counted.items()}
    found = {}
    for name, counts_NxL in counted.items():  # whole numbers are added up before they are divided
        total = float(counts_NxL.sum() / len(counts_NxL))
        found |= {name: total, f"{name}_by_layer": by_layer[name].tolist()}
    found["effective_acs_quartiles"] = np.percentile(acs_NxL.sum(axis=1), (25, 50, 75)).tolist()
    weights_L = np.array([connection.kernel.size for connection in network])
    kept_L = np.array([np.count_nonzero(connection.kernel) for connection in network])
    for name, used_L, all_L in (
        ("activation", by_layer["spikes"], updates_L),
        ("connection", kept_L, weights_L),
    ):
        found[f"{name}_sparsity"] = float(1 - used_L.sum() / all_L.sum())
        found[f"{name}_sparsity_by_layer"] = (1 - used_L / all_L).tolist()
    biases = sum(connection.bias.size for connection in network)
    found["footprint_bytes"] = 4 * (int(weights_L.sum()) + biases)
    for kind, cost in ENERGY_PJ.items():
        acs, macs = found["effective_acs"], found["effective_macs"]
        found[f"energy_{kind}_pj"] = cost["ac"] * acs + cost["mac"] * macs
    return found


def dense(network: Sequence[Connection], frame_shape: tuple[int, int, int]) -> list[int]:
    """Operations of each layer in one step if every input met every weight."""
    entering = [frame_shape, *connections.shapes(network, frame_shape)]
    return [connection.met(shape) for connection, shape in zip(network, entering, strict=False)]


def _layer(connection, inputs_TxBxS, spikes_TxBxN):
    kernel = connection.kernel
    fan_out_I = (kernel != 0).reshape(-1, kernel.shape[-1]).sum(axis=1, dtype=jnp.int32)
    # Each spike meets the weights that leave its input. So it is enough to count how often an input
    # fires over all steps, and no step needs a product of its own.
    over_time_BxS = (inputs_TxBxS != 0).sum(axis=0, dtype=jnp.int32)
    met = connection.receptive(over_time_BxS)  # a border holds zeros, so it adds nothing
    met_BxI = met.sum(axis=tuple(range(1, met.ndim - 1)))
    effective_B = (met_BxI * fan_out_I[None]).sum(axis=1)
    binary = ((inputs_TxBxS == 0) | (abs(inputs_TxBxS) == 1)).all()
    return (
        jnp.where(binary, effective_B, 0),
        jnp.where(binary, 0, effective_B),
        (spikes_TxBxN != 0).sum(axis=(0, *range(2, spikes_TxBxN.ndim)), dtype=jnp.int32),
        jnp.full(effective_B.shape, math.prod(spikes_TxBxN.shape[2:])),
    )
