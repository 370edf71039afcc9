"""Integer networks as files for hardware designers: arrays, memory images and golden vectors."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from sast_jax.data import packing
from sast_jax.files import packed
from sast_jax.hardware.export import templates
from sast_jax.hardware.export.integer_network import Geometry, IntegerNetwork, Measured

PARTS = ("weights", "biases", "thresholds", "points")  # of a layer, that a chip holds


def files(
    network: IntegerNetwork,
    frames: packing.Frames,
    measured: Measured | None = None,
    origin: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, bytes]:
    """The files of a folder by name; its README says what is in them.

    Args:
      network: to write.
      frames: recordings to make golden vectors of.
      measured: what the network does on recordings, for the README.
      origin: where it comes from, as values that JSON can hold.
      notes: what a reader of the measurements must know.
    """
    held, vectors = arrays(network), golden(network, frames)
    described = about(network) | {"origin": origin}
    described |= {"measured": measured and measured._asdict()}
    images = {name: values for name, values in held.items() if not name.endswith("scales")}
    for name, values in vectors.items():
        if name == "frames" or name.startswith("layer"):
            images[f"golden/{name}"] = values[0]
    return {
        "README.md": _readme(network, len(frames.truth_M), measured, origin, notes).encode(),
        "network.json": json.dumps(described, indent=2).encode(),
        "network.npz": packed(held),
        "golden.npz": packed(vectors),
        **{f"{name}.mem": memory(values, _bits(network, name)) for name, values in images.items()},
    }


def arrays(network: IntegerNetwork) -> dict[str, np.ndarray]:
    """The numbers of each layer, named ``layer1_weights`` and so on."""
    found = {}
    for number, layer in enumerate(network.layers, start=1):
        columns = layer.connection.kernel, layer.connection.bias, layer.threshold, layer.point
        for name, values in zip(PARTS, columns, strict=True):
            found[f"layer{number}_{name}"] = np.asarray(values)
        found[f"layer{number}_scales"] = np.asarray(layer.scale)
    return found


def about(network: IntegerNetwork) -> dict:
    """What is no array, as values that JSON can hold."""
    neurons = network.neurons
    return {
        "frame_shape": list(network.frame_shape),
        "time_bins": network.time_bins,
        "classes": network.classes,
        "answer": "most spikes" if network.counts_spikes else "largest current",
        "weight_bits": network.weight_bits,
        "membrane_bits": neurons.bits,
        "leak": [term._asdict() for term in neurons.leak],
        "leak_rounds": "to nearest, half up" if neurons.nearest else "down",
        "reset": "subtract" if neurons.reset.subtracts else "zero",
        "layers": [
            {
                "kind": "convolution" if own.sides else "full",
                "input_shape": list(own.entering),
                "output_shape": list(own.leaving),
                **_moves(own.sides or ()),
            }
            for own in network.geometry
        ],
    }


def _moves(sides) -> dict:
    """How a kernel moves: rows, then columns."""
    return {
        "kernel": [side.size for side in sides],
        "stride": [side.stride for side in sides],
        "border": [side.before for side in sides],
    }


def golden(network: IntegerNetwork, frames: packing.Frames) -> dict[str, np.ndarray]:
    """Recordings and all that the network holds on them: frames in, spikes and potentials out."""
    traced = network.traced(frames)
    found = {
        "frames": np.asarray(packing.unpack(jnp.asarray(frames.packed_NxTxP), network.frame_shape)),
        "recordings": np.unique(frames.recordings_N, return_inverse=True)[1],
        "labels": frames.truth_M,
        "scores": network.scores(traced[-1]),
        "answers": network.answers(traced[-1], frames),
    }
    for number, layer in enumerate(traced, start=1):
        found |= {f"layer{number}_{name}": values for name, values in layer._asdict().items()}
    return found


def memory(values: np.ndarray, bits: int) -> bytes:
    """A memory image for ``$readmemh``: a word a line, in two's complement and hexadecimal.

    Args:
      values: whole numbers, of any shape; the last axis runs fastest.
      bits: of a word.
    """
    digits = math.ceil(bits / 4)
    words = np.asarray(values, np.int64).ravel() & ((1 << bits) - 1)
    return "".join(f"{word:0{digits}x}\n" for word in words.tolist()).encode()


def _bits(network: IntegerNetwork, name: str) -> int:
    word = network.neurons.bits
    widths = {"weights": network.weight_bits, "thresholds": word, "potentials": word}
    widths |= {"biases": 32, "sums": 32, "points": 8, "golden/frames": 1, "spikes": 1}
    return widths[name.rpartition("_")[2]]


def _readme(network, count, measured, origin, notes) -> str:
    height, width, channels = network.frame_shape
    neurons = network.neurons
    widest = max((term.shift for term in neurons.leak), default=0)
    layers = [_of_layer(number, own) for number, own in enumerate(network.geometry, start=1)]
    return templates.filled(
        "integers.md",
        origin=templates.origin(origin),
        measured=f"\n| | |\n|---|---|\n{templates.rows(measured.rows())}" if measured else "",
        notes=templates.paragraphs(notes),
        height=height,
        width=width,
        channels=channels,
        steps=network.time_bins,
        classes=network.classes,
        count=count,
        weight_bits=network.weight_bits,
        level=2 ** (network.weight_bits - 1) - 1,
        word=neurons.bits,
        low=neurons.low,
        high=neurons.high,
        product=f"{neurons.bits + widest}",
        layers="\n\n".join(layers),
        reset="v = v - thresholds[o]" if neurons.reset.subtracts else "v = 0",
        leak=_leak(neurons),
        half="2^(shift - 1) (0 for a shift by 0)" if neurons.nearest else "0",
        answer="the output neuron with most spikes over all steps"
        if network.counts_spikes
        else "the output with the largest product of its scale and the total of its sums",
    )


def _leak(neurons) -> str:
    """What is left of v, as a formula."""
    terms = []
    for factor, shift in neurons.leak:
        half = neurons.half(shift)
        part = f"v * {abs(factor)}" if abs(factor) != 1 else "v"
        part = f"{part} + {half}" if half else part
        part = f"(({part}) >> {shift})" if shift else part
        terms.append(f"{'-' if factor < 0 else '+'} {part}")
    return " ".join(terms).removeprefix("+ ") or "0"


def _of_layer(number: int, own: Geometry) -> str:
    shape = " x ".join(map(str, own.weights.shape))
    if not own.sides:
        flat = "" if len(own.entering) == 1 else ", numbered as in a frame"
        return (
            f"**Layer {number}**: full. {math.prod(own.entering)} inputs{flat}, {own.outputs} "
            f"neurons. `layer{number}_weights` is {shape}: (input, output)."
        )
    (H, W, C), (rows, columns, outputs) = own.entering, own.leaving
    taken = ", ".join(
        f"{f'{side.stride} ' if side.stride > 1 else ''}{output} + {tap}"
        f"{f' - {side.before}' if side.before else ''}"
        for side, output, tap in zip(own.sides, "rc", "ij", strict=True)
    )
    return (
        f"**Layer {number}**: convolution. Input {H} x {W} x {C}, output {rows} x "
        f"{columns} x {outputs} (row, column, channel), each a neuron. `layer{number}_weights` is "
        f"{shape}: (i, j, input channel, output channel). Output (r, c) takes input "
        f"({taken}) with weight (i, j); pixels outside the input are 0. Biases, "
        "thresholds and points are one an output channel."
    )
