"""Integer networks as C99: one source and a header, static memory, spikes as lists.

The numbers of a network stand at the head of ``network.c``; below is ``templates/engine.c``, which
is the same for all.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sast_jax.data import packing
from sast_jax.hardware.export import templates
from sast_jax.hardware.export.integer_network import Geometry, IntegerNetwork, Measured

_GROUP = 8  # weights that are packed together
FLASH, MEMORY = 512 * 1024, 128 * 1024  # bytes of a microcontroller that many have


class Sizes(NamedTuple):
    """Bytes of a network in C, without its code.

    Attributes:
      constants: weights, biases, thresholds and points.
      memory: potentials, sums, lists of spikes, and scores.
      padding, stored: bytes of weights that fill rows up, and of all weights.
    """

    constants: int
    memory: int
    padding: int
    stored: int


def files(network: IntegerNetwork, frames: packing.Frames) -> dict[str, bytes]:
    """``network.c``, ``network.h``, an example and what it needs, by name.

    Args:
      network: to write.
      frames: recordings for the example.
    """
    answers_M = network.answers(network.traced(frames)[-1], frames)
    answers = "".join(f"{answer}\n" for answer in answers_M)
    windows = len(frames.labels_N) // len(answers_M)
    return {
        "network.h": _header(network).encode(),
        "network.c": _source(network).encode(),
        "example.c": templates.filled("example.c", windows=windows).encode(),
        "recordings.bin": np.ascontiguousarray(frames.packed_NxTxP).tobytes(),
        "answers.txt": answers.encode(),
    }


def page(
    network: IntegerNetwork,
    count: int,
    measured: Measured,
    compiled: dict | None,
    origin: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """The README: what is there, what it holds, what it costs.

    Args:
      network: that was written.
      count: of the recordings that lie there.
      measured: what the network does on recordings.
      compiled: from :func:`sast_jax.hardware.export.c_build.measured`; None without a compiler.
      origin: where the network comes from.
      notes: what a reader of the measurements must know.
    """
    sizes = sizes_of(network)
    rows, code = [("code, time of a recording", "not measured: no C compiler here")], 0
    if compiled:
        code, compiler = compiled["code"] or 0, compiled["compiler"]
        rows = [
            (f"code, `{compiler}` for this machine", f"{code:,} bytes" if code else "not known"),
            ("time of a recording on this machine", f"{compiled['microseconds']:.1f} us"),
        ]
    fits = sizes.constants + code <= FLASH and sizes.memory <= MEMORY
    return templates.filled(
        "c.md",
        summary=summary(network),
        origin=templates.origin(origin),
        floats="" if network.counts_spikes else " but for `double` where scores are compared",
        count=count,
        weight_bits=network.weight_bits,
        padding=f"{sizes.padding:,}",
        stored=f"{sizes.stored:,} bytes",
        constants=f"{sizes.constants:,}",
        memory=f"{sizes.memory:,}",
        measured=templates.rows([*rows, *measured.rows()]),
        notes=templates.paragraphs(notes),
        fits="holds it" if fits else "does not hold it",
    )


def summary(network: IntegerNetwork) -> str:
    """What a network is, in a line."""
    height, width, channels = network.frame_shape
    layers = ", ".join(" x ".join(map(str, own.leaving)) for own in network.geometry)
    return (
        f"{network.time_bins} frames of {height} x {width} x {channels} bits, layers of {layers} "
        f"neurons, weights of {network.weight_bits} bits, membrane words of {network.neurons.bits}"
    )


def sizes_of(network: IntegerNetwork) -> Sizes:
    """Bytes that the network takes."""
    word, address = _word(network), _address(network)
    neurons = [math.prod(own.leaving) for own in network.geometry]
    outputs = sum(own.outputs for own in network.geometry)
    groups = [
        own.weights.size // own.outputs * -(-own.outputs // _GROUP) for own in network.geometry
    ]
    stored = sum(groups) * network.weight_bits
    used = sum(own.weights.size for own in network.geometry) * network.weight_bits / 8
    scales = 0 if network.counts_spikes else 8 * network.classes
    score = 4 if network.counts_spikes else 8
    lists = 2 * max(neurons) + math.prod(network.frame_shape)
    return Sizes(
        constants=stored + outputs * (4 + word + 1) + scales,
        memory=sum(neurons) * word
        + 4 * (max(neurons) + _GROUP)
        + address * lists
        + score * network.classes,
        padding=round(stored - used),
        stored=stored,
    )


def packed(weights: np.ndarray, bits: int) -> np.ndarray:
    """Rows of weights, one an input, as bytes: eight weights in ``bits`` bytes, low bits first."""
    rows = weights.reshape(-1, weights.shape[-1])
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % _GROUP)))
    parts = padded.reshape(len(rows), -1, _GROUP).astype(np.int64) & ((1 << bits) - 1)
    words = (parts.astype("<u8") << (bits * np.arange(_GROUP, dtype=np.uint64))).sum(
        axis=-1, dtype="<u8"
    )
    return words[..., None].view(np.uint8)[..., :bits].reshape(len(rows), -1)


def _word(network) -> int:
    """Bytes of a membrane word."""
    return next(size for size in (1, 2, 4) if 8 * size >= network.neurons.bits)


def _address(network) -> int:
    """Bytes that number every input and every neuron."""
    shapes = [network.frame_shape, *(own.leaving for own in network.geometry)]
    return 2 if max(map(math.prod, shapes)) <= 2**16 else 4


def _header(network) -> str:
    height, width, channels = network.frame_shape
    return templates.filled(
        "network.h",
        summary=summary(network),
        steps=network.time_bins,
        height=height,
        width=width,
        channels=channels,
        inputs=math.prod(network.frame_shape),
        frame_bytes=-(-math.prod(network.frame_shape) // 8),
        classes=network.classes,
        layers=len(network.layers),
        address=f"uint{8 * _address(network)}_t",
    )


def _source(network: IntegerNetwork) -> str:
    neurons, bits = network.neurons, network.weight_bits
    widest = max((term.shift for term in neurons.leak), default=0)
    narrow = neurons.bits + widest <= 31 and neurons.bits <= 30
    score = "uint32_t" if network.counts_spikes else "int64_t"
    scored = "scores[k]" if network.counts_spikes else "((double)scores[k] * scales[k])"
    most = max(math.prod(own.leaving) for own in network.geometry)
    head = [
        f"/* {summary(network)} */",
        "",
        '#include "network.h"',
        "",
        f"#define LAYERS {len(network.layers)}",
        f"#define MOST_NEURONS {most}",
        f"#define WEIGHT_BITS {bits}",
        f"#define WEIGHT_SIGN {2 ** (bits - 1)}",
        f"#define LOW ({neurons.low + 1} - 1)",
        f"#define HIGH {neurons.high}",
        f"#define COUNTS_SPIKES {int(network.counts_spikes)}",
        f"#define SCORE {score}",
        f"#define SCORED(k) {scored}",
        f"#define RESET(v, threshold) {'((v) - (threshold))' if neurons.reset.subtracts else '0'}",
        f"#define LEAK(v) ({_leak(neurons)})",
        "",
        f"typedef int{8 * _word(network)}_t potential_t;",
        f"typedef int{32 if narrow else 64}_t wide_t;",
        f"typedef uint{32 if bits <= 4 else 64}_t packed_t;",
        "",
    ]
    rows = []
    for number, (layer, own) in enumerate(
        zip(network.layers, network.geometry, strict=True), start=1
    ):
        head += [
            _array("uint8_t", f"weights{number}", packed(own.weights, bits)),
            _array("int32_t", f"biases{number}", layer.connection.bias),
            _array("potential_t", f"thresholds{number}", layer.threshold),
            _array("int8_t", f"points{number}", layer.point),
            f"static potential_t potentials{number}[{math.prod(own.leaving)}];",
            "",
        ]
        rows.append(_row(number, own))
    if not network.counts_spikes:
        head.append(_array("double", "scales", network.layers[-1].scale))
    table = ", \\\n    ".join(rows)
    return "\n".join(
        [*head, f"#define LAYER_TABLE \\\n    {table}", "", templates.text("engine.c")]
    )


def _row(number: int, own: Geometry) -> str:
    rows, columns, channels = (0,) * 5, (0,) * 5, 0
    if own.sides:
        channels = own.entering[-1]
        rows, columns = (
            (entering, leaving, side.size, side.stride, side.before)
            for entering, leaving, side in zip(own.entering, own.leaving, own.sides, strict=False)
        )
    names = (f"{name}{number}" for name in ("weights", "biases", "thresholds", "points"))
    return _braced(
        (
            own.outputs,
            math.prod(own.leaving),
            _braced(rows),
            _braced(columns),
            channels,
            *names,
            f"potentials{number}",
        )
    )


def _braced(values) -> str:
    return f"{{{', '.join(map(str, values))}}}"


def _leak(neurons) -> str:
    """What is left of v, as an expression of C."""
    terms = []
    for factor, shift in neurons.leak:
        sign = "-" if factor < 0 else "+"
        terms.append(f"{sign} wide_down((v) * {abs(factor)} + {neurons.half(shift)}, {shift})")
    return " ".join(terms).removeprefix("+ ") or "0 * wide_down(v, 0)"


def _array(kind: str, name: str, values) -> str:
    words = [repr(float(x)) if kind == "double" else str(int(x)) for x in np.ravel(values)]
    lines = [", ".join(words[at : at + 24]) for at in range(0, len(words), 24)]
    return f"static const {kind} {name}[] = {{\n" + ",\n".join(lines) + "};"
