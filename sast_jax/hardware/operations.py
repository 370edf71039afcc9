"""What a hard network costs on a chip: operations, sparsity, footprint, in NeuroBench's terms.

A synaptic operation is a spike that meets a weight which is not zero, also where it returns to its
own layer. Where all inputs of a connection are -1, 0 or 1 it is an accumulate (AC), else a
multiply-accumulate (MAC). Biases are not counted. Frames of zeros and ones keep the first layer
among the accumulates.

Reference: Yik et al., The NeuroBench framework for benchmarking neuromorphic computing algorithms
and systems, Nature Communications 16:1545, 2025, arXiv 2304.04640.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.snn import connections
from sast_jax.snn.connections import Connection, Full
from sast_jax.snn.neurons import Neuron

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
      spikes_BxL: spikes that leave the layer; 0 where its neurons do not spike.
      neurons_BxL: neurons of the layer, the same number for all recordings.
    """

    acs_BxL: jax.Array | np.ndarray
    macs_BxL: jax.Array | np.ndarray
    spikes_BxL: jax.Array | np.ndarray
    neurons_BxL: jax.Array | np.ndarray


def count(
    network: Sequence[Connection],
    frames_TxBxHxWxC: jax.Array,
    spikes: Sequence[jax.Array],
    neurons: Sequence[Neuron] = (),
) -> Counts:
    """Counts a network's operations on recordings, exactly up to 2^31 a recording and layer.

    Args:
      network: its connections.
      frames_TxBxHxWxC: its input.
      spikes: the hard spikes of each layer (T, B, ...), or what else it sends.
      neurons: of each layer; without them all spike and none have recurrent connections.
    """
    inputs = [frames_TxBxHxWxC, *spikes[:-1]]
    neurons = neurons or [Neuron()] * len(network)
    rows = [_layer(*row) for row in zip(network, neurons, inputs, spikes, strict=True)]
    return Counts(*(jnp.stack(column, axis=-1) for column in zip(*rows, strict=True)))


def report(
    network: Sequence[Connection],
    counts: Counts,
    frame_shape: tuple[int, int, int],
    time_bins: int,
    neurons: Sequence[Neuron] = (),
) -> dict:
    """A network's counts over recordings, as plain numbers; operations are means per recording.

    Args:
      network: its connections.
      counts: with leaves (N, L).
      frame_shape: (H, W, C).
      time_bins: frames of a recording, of all of its windows.
      neurons: as for :func:`count`.

    Returns:
      ``effective_acs``, ``effective_macs``, ``dense`` (if every input met every weight at each
      step), ``membrane_updates`` (neurons times steps; NeuroBench's metric of that name counts,
      from the second step on, potentials that a reset changes) and ``spikes``, each in all and as
      a list ``_by_layer``; ``effective_acs_quartiles`` over recordings; ``activation_sparsity``
      (share of the outputs that are 0, of neurons that spike; None if a layer has none) and
      ``connection_sparsity`` (share of the weights that are 0), in all and ``_by_layer``;
      ``footprint_bytes`` (weights and biases in float32); and
      ``energy_float32_pj``, ``energy_integer_pj`` (effective operations times :data:`ENERGY_PJ`).
    """
    acs_NxL, macs_NxL, spikes_NxL, neurons_NxL = (np.asarray(c, np.float64) for c in counts)
    neurons = neurons or [Neuron()] * len(network)
    outputs_L = time_bins * neurons_NxL[0]
    counted = {
        "effective_acs": acs_NxL,
        "effective_macs": macs_NxL,
        "dense": np.array(
            [[time_bins * d for d in dense(network, frame_shape, neurons)]], np.float64
        ),
        "membrane_updates": (outputs_L * [one.integrates for one in neurons])[None],
        "spikes": spikes_NxL,
    }
    by_layer = {name: counts_NxL.mean(axis=0) for name, counts_NxL in counted.items()}
    found: dict[str, Any] = {}
    for name, counts_NxL in counted.items():  # whole numbers are added up before they are divided
        total = float(counts_NxL.sum() / len(counts_NxL))
        found |= {name: total, f"{name}_by_layer": by_layer[name].tolist()}
    found["effective_acs_quartiles"] = np.percentile(acs_NxL.sum(axis=1), (25, 50, 75)).tolist()
    weights = _weights(network, neurons)
    weights_L = np.array([sum(kernel.size for kernel in kernels) for kernels in weights])
    kept_L = np.array([sum(map(np.count_nonzero, kernels)) for kernels in weights])
    for name, used_L, all_L in (
        ("activation", by_layer["spikes"], outputs_L * [one.fires for one in neurons]),
        ("connection", kept_L, weights_L),
    ):
        pairs = [(used_L.sum(), all_L.sum()), *zip(used_L, all_L, strict=True)]
        whole, *layers = [float(1 - used / every) if every else None for used, every in pairs]
        found |= {f"{name}_sparsity": whole, f"{name}_sparsity_by_layer": layers}
    found["footprint_bytes"] = 4 * sum(parameters(network, neurons))
    for kind, cost in ENERGY_PJ.items():
        acs, macs = found["effective_acs"], found["effective_macs"]
        found[f"energy_{kind}_pj"] = cost["ac"] * acs + cost["mac"] * macs
    return found


def dense(
    network: Sequence[Connection],
    frame_shape: tuple[int, int, int],
    neurons: Sequence[Neuron] = (),
) -> list[int]:
    """Operations of each layer in one step if every input met every weight."""
    entering = [frame_shape, *connections.shapes(network, frame_shape)]
    counted = [connection.met(shape) for connection, shape in zip(network, entering, strict=False)]
    for layer, own in enumerate(neurons):
        counted[layer] += own.recurrent[0].size if own.recurrent else 0
    return counted


def parameters(network: Sequence[Connection], neurons: Sequence[Neuron] = ()) -> tuple[int, int]:
    """How many weights and how many biases there are, with those of recurrent connections."""
    weights = sum(kernel.size for kernels in _weights(network, neurons) for kernel in kernels)
    biases = [connection.bias for connection in network]
    biases += [own.recurrent[1] for own in neurons if own.recurrent]
    return weights, sum(bias.size for bias in biases)


def _weights(network, neurons) -> list[list[jax.Array]]:
    """The kernels that lead into each layer, from the layer before and from itself."""
    found = [[connection.kernel] for connection in network]
    for kernels, own in zip(found, neurons, strict=False):
        kernels += own.recurrent[:1] if own.recurrent else ()
    return found


def _layer(connection, neuron, inputs_TxBxS, spikes_TxBxN):
    effective_B, binary = _effective(connection, inputs_TxBxS)
    acs_B, macs_B = jnp.where(binary, effective_B, 0), jnp.where(binary, 0, effective_B)
    if neuron.recurrent:  # what the last step sends meets nothing any more
        acs_B += _effective(Full(*neuron.recurrent), spikes_TxBxN[:-1])[0]
    fired = (spikes_TxBxN != 0) & neuron.fires
    return (
        acs_B,
        macs_B,
        fired.sum(axis=(0, *range(2, fired.ndim)), dtype=jnp.int32),
        jnp.full(acs_B.shape, math.prod(fired.shape[2:])),
    )


def _effective(connection, inputs_TxBxS):
    """Weights that are not 0 and meet an input, (B,), and whether inputs are -1, 0 or 1."""
    kernel = connection.kernel
    fan_out_I = (kernel != 0).reshape(-1, kernel.shape[-1]).sum(axis=1, dtype=jnp.int32)
    # Each spike meets the weights that leave its input. So it is enough to count how often an input
    # fires over all steps, and no step needs a product of its own.
    over_time_BxS = (inputs_TxBxS != 0).sum(axis=0, dtype=jnp.int32)
    met = connection.receptive(over_time_BxS)  # a border holds zeros, so it adds nothing
    met_BxI = met.sum(axis=tuple(range(1, met.ndim - 1)))
    effective_B = (met_BxI * fan_out_I[None]).sum(axis=1)
    return effective_B, ((inputs_TxBxS == 0) | (abs(inputs_TxBxS) == 1)).all()
