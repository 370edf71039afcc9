"""The layers of a chain of NIR nodes: one connection and one kind of neurons each.

Maps are (rows, columns, channels) here and (channels, rows, columns) in NIR, and vectors made of
maps are numbered accordingly, so kernels and the numbers of neurons change their order. Between two
layers of neurons a chain may have poolings, then weights, then poolings; weights that follow each
other without neurons are multiplied together.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from sast_jax.errors import InputError, UnsupportedError, needed
from sast_jax.hardware.graphs.chains import Link
from sast_jax.hardware.graphs.dialects import Dialect
from sast_jax.hardware.graphs.neurons import Kind, Numbers
from sast_jax.snn.connections import Along, Connection, Convolution, Full, Halving, Pooled

nir: Any = needed("nir", "export")
LAST = "output"  # name of a layer of weights behind which no neurons come
_KNOWN = (
    "Affine, Linear, Conv2d, Scale, AvgPool2d, SumPool2d, Flatten, LIF, IF, CubaLIF, LI, CubaLI, "
    "Threshold"
)


class Layer(NamedTuple):
    """A layer of a graph.

    Attributes:
      name: of the node of its neurons; ``LAST`` where the graph ends in weights.
      connection: what leads into it.
      kind, numbers: of its neurons.
    """

    name: str
    connection: Connection
    kind: Kind
    numbers: Numbers


def layers(
    links: Sequence[Link], dialect: Dialect, frame_shape: tuple[int, int, int], order: str
) -> list[Layer]:
    """The layers of a chain.

    Args:
      links: from :func:`sast_jax.hardware.graphs.chains.chain`.
      dialect: how its neurons are meant; its dt is known.
      frame_shape: (H, W, C) of the frames that it is given.
      order: "CHW" or "HWC": how the pixels of a frame are numbered where the input is a vector.

    Raises:
      InputError: sizes do not fit.
      UnsupportedError: a node cannot be run, or not at its place; it is named.
    """
    builder = _Builder(dialect, frame_shape, order, links[0].node)
    for link in links[1:-1]:
        try:
            builder.add(link)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise InputError(f"node {link.name!r} cannot be understood ({error})") from error
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"node {link.name!r} does not fit ({error})") from error
    return builder.finished()


class _Builder:
    """Takes the nodes of a chain one after another."""

    def __init__(self, dialect, frame_shape, order, entry):
        self.dialect, self.found = dialect, []
        height, width, channels = frame_shape
        stated = [int(n) for n in np.ravel(entry.input_type["input"])] if entry.input_type else []
        if len(stated) in (2, 4) and stated[0] == 1:
            stated = stated[1:]  # some programs leave a batch of 1 in
        stated = stated or [channels, height, width]
        size, given = math.prod(frame_shape), f"{height} x {width} x {channels}"
        if len(stated) == 3 and stated != [channels, height, width]:
            c, h, w = stated
            raise InputError(f"takes frames of {h} x {w} x {c}; these recordings have {given}")
        if len(stated) == 1 and stated[0] != size:
            raise InputError(
                f"takes {stated[0]} inputs; frames of these recordings have {given} = {size}"
            )
        if len(stated) not in (1, 3):
            raise UnsupportedError(
                f"takes inputs of shape {stated}; frames or vectors are expected"
            )
        self.shape = tuple(frame_shape)  # of what reaches the next node, here
        # Where maps have become a vector: their shape, by which rows of kernels change places.
        self.flat = (tuple(frame_shape), order) if len(stated) == 1 else None
        self.pools: list[tuple[Along, Along]] = []
        self.divisor = 1  # of weights behind the poolings, whose means are taken as sums
        self.weights: Connection | None = None
        self.entering = self.shape  # a convolution

    def add(self, link: Link) -> None:
        node, name = link.node, link.name
        if link.recurrent and not isinstance(node, nir.LIF | nir.IF | nir.CubaLIF):
            raise UnsupportedError(
                f"node {link.recurrent[0]!r} leads back to {name!r}, a {type(node).__name__}; "
                "recurrent connections are those of LIF, IF and CubaLIF"
            )
        if isinstance(node, nir.Affine | nir.Linear):
            self._full(node, name)
        elif isinstance(node, nir.Conv2d):
            self._convolution(node, name)
        elif isinstance(node, nir.AvgPool2d | nir.SumPool2d):
            self._pool(node, name)
        elif isinstance(node, nir.Flatten):
            self._flatten(node, name)
        elif isinstance(node, nir.Scale):
            self._scale(node, name)
        elif isinstance(node, nir.Threshold):
            self._threshold(node, name)
        elif isinstance(node, nir.LIF | nir.IF | nir.LI | nir.CubaLIF | nir.CubaLI):
            self._neurons(link)
        elif type(node).__name__ != "Identity":
            raise UnsupportedError(
                f"node {name!r} is a {type(node).__name__}, which cannot be run; known are {_KNOWN}"
            )

    def finished(self) -> list[Layer]:
        if self.weights is not None or self.pools:
            self._close(LAST, Kind(spikes=False, reset="none", bare=True), Numbers(0.0, 1.0), 1.0)
        if not self.found:
            raise InputError("has no weights and no neurons")
        if len(self.shape) != 1:
            way = "; flatten it and add weights" if self.flat is None else "; add weights"
            raise UnsupportedError(f"ends in a map of {self.shape}, and not in classes{way}")
        return self.found

    def _full(self, node, name) -> None:
        weight, bias = _weights(node, name)
        if weight.ndim != 2:
            raise UnsupportedError(f"node {name!r} has weights of shape {weight.shape}")
        if len(self.shape) == 3 and self.flat is None:
            raise UnsupportedError(
                f"node {name!r} takes a map of {self.shape}; flatten it first, as it would meet "
                "its last axis alone"
            )
        inputs = math.prod(self.shape)
        if weight.shape[1] != inputs:
            raise InputError(f"node {name!r} takes {weight.shape[1]} inputs and is given {inputs}")
        kernel = self._reordered(weight.T)
        if self.weights is None:
            self.weights = Full(kernel, bias)
        elif isinstance(self.weights, Full):
            before = self.weights
            self.weights = Full(before.kernel @ kernel, before.bias @ kernel + bias)
        else:
            raise UnsupportedError(f"node {name!r} follows a convolution without neurons between")
        self.shape, self.flat = (len(weight),), None

    def _reordered(self, kernel_IxO) -> np.ndarray:
        """The rows of a kernel in the order of maps here."""
        if self.flat is None:
            return kernel_IxO
        (H, W, C), order = self.flat
        if order == "HWC":
            return kernel_IxO
        own = kernel_IxO.reshape(C, H, W, -1).transpose(1, 2, 0, 3)
        return own.reshape(H * W * C, -1)

    def _convolution(self, node, name) -> None:
        weight, bias = _weights(node, name)
        outputs, inside, *size = weight.shape
        if self.weights is not None:
            raise UnsupportedError(f"node {name!r} follows other weights without neurons between")
        if len(self.shape) == 1 and self.flat is None and size == [1, 1]:  # a map of one place
            self._full(nir.Affine(weight[:, :, 0, 0], bias), name)
            return
        self._require_map(name)
        channels, groups = self.shape[2], int(node.groups)
        if inside * groups != channels or outputs % groups:
            raise InputError(
                f"node {name!r} takes {inside * groups} channels and is given {channels}"
            )
        strides, dilations = _steps(node.stride, name), _pair(node.dilation)
        # Taps that are apart, and channels that do not meet, become weights of 0.
        spread = [(n - 1) * gap + 1 for n, gap in zip(size, dilations, strict=True)]
        kernel = np.zeros((*spread, channels, outputs))
        each = outputs // groups
        for group in range(groups):
            own = weight[group * each : (group + 1) * each].transpose(2, 3, 1, 0)
            rows = slice(group * inside, (group + 1) * inside)
            columns = slice(group * each, (group + 1) * each)
            kernel[:: dilations[0], :: dilations[1], rows, columns] = own
        sides = _sides(spread, strides, _borders(node, spread, name))
        self.entering = self.shape
        self._lead_on(Convolution(kernel, bias, sides), name)
        bare = not any(side.before or side.after for side in sides)
        if bare and self.shape[:2] == (1, 1) and kernel.shape[:3] == self.entering:
            self.weights, self.shape = Full(kernel.reshape(-1, outputs), bias), (outputs,)

    def _pool(self, node, name) -> None:
        self._require_map(name)
        mean = isinstance(node, nir.AvgPool2d)
        lengths, strides = _pair(node.kernel_size), _steps(node.stride, name)
        borders = [(border, border) for border in _pair(node.padding)]
        sides = _sides(lengths, strides, borders)
        if self.weights is None:
            self.pools.append(sides)
            self.divisor *= math.prod(lengths) if mean else 1
            rows, columns = (side.outputs(n) for side, n in zip(sides, self.shape[:2], strict=True))
            self.shape = rows, columns, self.shape[2]
        elif isinstance(self.weights, Convolution) and not any(map(any, borders)):
            self._lead_on(_pooled_after(self.weights, sides, mean), name)
        else:
            raise UnsupportedError(
                f"node {name!r} pools behind weights with a border; put neurons between them"
            )
        if min(self.shape) < 1:
            raise InputError(f"node {name!r} has a window larger than its input")

    def _flatten(self, node, name) -> None:
        if len(self.shape) == 1 or self.flat is not None:
            return
        axes = range(len(self.shape))
        start, end = (axis % len(self.shape) for axis in (int(node.start_dim), int(node.end_dim)))
        single = [n for n in (self.shape[2], *self.shape[:2]) if n > 1]
        # Programs differ in whether the batch is an axis of its own: start_dim is 0 or 1.
        if end != axes[-1] or (start > 1 and len(single) > 1):
            raise UnsupportedError(f"node {name!r} flattens some axes of a map, and not all")
        if self.weights is not None:
            raise UnsupportedError(f"node {name!r} flattens behind weights; put neurons between")
        self.flat = self.shape, "CHW"

    def _scale(self, node, name) -> None:
        own = self._required_weights()
        scale = self._numbers(node.scale, name)
        per_output = self._per_output(scale)
        if per_output is None:
            raise UnsupportedError(f"node {name!r} scales the places of a map differently")
        self.weights = own.replace(kernel=own.kernel * per_output, bias=own.bias * per_output)

    def _threshold(self, node, name) -> None:
        if (
            self.weights is None
            and not self.pools
            and self.flat is None
            and self.found
            and not self.found[-1].kind.spikes
        ):
            last = self.found.pop()  # neurons without a reset, whose potential is compared here
            threshold = self._numbers(node.threshold, name)
            numbers = _in_float32(last.numbers._replace(threshold=threshold), len(self.shape))
            kind = last.kind._replace(spikes=True)
            self.found.append(last._replace(name=name, kind=kind, numbers=numbers))
            return
        self._required_weights()
        threshold = self._numbers(node.threshold, name)
        self._close(name, Kind(reset="none", bare=True), Numbers(0.0, threshold), 1.0)

    def _neurons(self, link) -> None:
        name, node, dialect = link.name, link.node, self.dialect
        dt = dialect.dt
        self._required_weights()

        def value(key, default=0.0):
            given = getattr(node, key, None)
            return np.float64(default) if given is None else self._numbers(given, name)

        def kept(tau):
            if not np.all(tau > 0):
                raise InputError(f"node {name!r} has time constants that are not above 0")
            left = np.exp(-dt / tau) if dialect.exponential else 1 - dt / tau
            if np.any(left < -1e-6):  # 0 in single precision
                raise InputError(
                    f"node {name!r} has time constants below the step of {dt:g} s; state the step "
                    "that it was made for with --dt"
                )
            return np.maximum(left, 0.0)

        spikes = isinstance(node, nir.LIF | nir.IF | nir.CubaLIF)
        synaptic = isinstance(node, nir.CubaLIF | nir.CubaLI)
        reset = (synaptic and dialect.synaptic_reset) or dialect.reset
        kind = Kind(spikes, reset if spikes else "none", spikes and dialect.delayed)
        synapse = None
        if isinstance(node, nir.IF):
            decay, gain = np.float64(1.0), value("r") * dt if dialect.integrates else np.float64(1)
        else:
            decay = kept(value("tau_mem" if synaptic else "tau"))
            gain = (1 - decay) * value("r") if dialect.resists else np.ones_like(decay)
            if synaptic:
                synapse_decay = kept(value("tau_syn"))
                enters = value("w_in", 1.0)
                share = 1.0 if dialect.jumps or not dialect.resists else 1 - synapse_decay
                synapse = synapse_decay, share * enters
        numbers = Numbers(
            decay, value("v_threshold", 1.0), value("v_leak"), value("v_reset"), gain, synapse
        )
        recurrent = self._recurrent(link) if link.recurrent else None
        whole = gain if synapse is None else gain * synapse[1]
        self._close(name, kind, numbers._replace(recurrent=recurrent), whole)

    def _recurrent(self, link) -> tuple[np.ndarray, np.ndarray]:
        name, node = link.recurrent
        size = math.prod(self.shape)
        if not isinstance(node, nir.Affine | nir.Linear) or len(self.shape) != 1:
            raise UnsupportedError(
                f"node {name!r} is a {type(node).__name__} that leads back; recurrent connections "
                "are Linear or Affine, of a vector"
            )
        weight, bias = _weights(node, name)
        if weight.shape != (size, size):
            raise InputError(f"node {name!r} has weights of {weight.shape} for {size} neurons")
        return weight.T, bias

    def _close(self, name, kind, numbers, gain) -> None:
        """Ends a layer with its neurons."""
        own = self._required_weights()
        own = own.replace(kernel=own.kernel / self.divisor)
        per_output = self._per_output(np.asarray(gain))
        if per_output is not None:  # the gain becomes part of the weights
            own = own.replace(kernel=own.kernel * per_output, bias=own.bias * per_output)
            numbers = numbers._replace(gain=1.0)
            if numbers.synapse is not None:
                numbers = numbers._replace(synapse=(numbers.synapse[0], 1.0))
            if numbers.recurrent is not None:
                kernel, bias = numbers.recurrent
                numbers = numbers._replace(recurrent=(kernel * per_output, bias * per_output))
        own = own.replace(
            kernel=jnp.asarray(own.kernel, jnp.float32), bias=jnp.asarray(own.bias, jnp.float32)
        )
        halving = Halving(own.kernel, own.bias)  # of which networks of this library are made
        if isinstance(own, Convolution) and own.sides == halving.sides and own.sides[0].size % 2:
            own = halving
        for sides in reversed(self.pools):
            own = Pooled.of(own, sides)
        numbers = _in_float32(numbers, len(self.shape) if self.flat is None else 1)
        self.found.append(Layer(name, own, kind, numbers))
        self.pools, self.weights, self.divisor = [], None, 1

    def _required_weights(self) -> Connection:
        """The weights; where there are none, those that send every input to a neuron of its own.

        From here on numbers of neurons are in the order that the layer has here.
        """
        if self.weights is None:
            self.weights = self._identity()
        return self.weights

    def _identity(self) -> Connection:
        """A connection that sends every input to a neuron of its own."""
        if len(self.shape) == 3 and self.flat is None:
            channels, self.entering = self.shape[-1], self.shape
            sides = Along(1, 1), Along(1, 1)
            return Convolution(np.eye(channels)[None, None], np.zeros(channels), sides)
        size = math.prod(self.shape)
        kernel = self._reordered(np.eye(size))
        self.shape, self.flat = (size,), None
        return Full(kernel, np.zeros(size))

    def _numbers(self, given, name) -> np.ndarray | np.float64:
        """Values of a node, one for all neurons or in the shape of the layer here."""
        values = np.asarray(given, np.float64)
        if not np.isfinite(values).all():
            raise InputError(f"node {name!r} holds numbers that are not finite")
        found = self._in_order(values)
        if found is None:
            raise InputError(
                f"node {name!r} has numbers of shape {values.shape} for neurons of {self.shape}"
            )
        return np.float64(found.flat[0]) if (found == found.flat[0]).all() else found

    def _in_order(self, values) -> np.ndarray | None:
        """Values in the order of the layer here; None if they do not fit it."""
        if values.size == 1:
            return values.reshape(())
        is_map = len(self.shape) == 3 and self.flat is None
        if is_map:
            H, W, C = self.shape
            if values.shape in ((C,), (C, 1, 1)):
                return values.reshape(C)
            if values.shape == (C, H, W):
                return values.transpose(1, 2, 0)
        elif values.size == math.prod(self.shape):
            if self.flat is None:
                return values.reshape(-1)
            (H, W, C), order = self.flat
            own = values.reshape((C, H, W) if order == "CHW" else (H, W, C))
            return (own.transpose(1, 2, 0) if order == "CHW" else own).reshape(-1)
        return None

    def _per_output(self, values) -> np.ndarray | None:
        """Numbers as one for each output of the connection; None where places of a map differ."""
        if values.ndim == 3:
            one = values[0, 0]
            return one if (values == one).all() else None
        return values

    def _require_map(self, name) -> None:
        if len(self.shape) != 3 or self.flat is not None:
            raise UnsupportedError(f"node {name!r} takes a map and is given a vector")

    def _lead_on(self, weights: Convolution, name) -> None:
        self.weights, self.shape = weights, weights.outputs(self.entering)
        if min(self.shape) < 1:
            raise InputError(f"node {name!r} has a kernel larger than its input")


def _weights(node, name) -> tuple[np.ndarray, np.ndarray]:
    """The weights of a node, outputs first, and its biases."""
    weight, bias = np.asarray(node.weight, np.float64), getattr(node, "bias", None)
    bias = np.zeros(len(weight)) if bias is None else np.asarray(bias, np.float64).reshape(-1)
    if bias.shape != (len(weight),):
        raise InputError(f"node {name!r} has {len(bias)} biases for {len(weight)} outputs")
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise InputError(f"node {name!r} has weights that are not finite")
    return weight, bias


def _pair(value) -> tuple[int, int]:
    both = [int(n) for n in np.ravel(value)]
    rows, columns = both * 2 if len(both) == 1 else both
    return rows, columns


def _steps(stride, name) -> tuple[int, int]:
    """A stride, which is above 0."""
    both = _pair(stride)
    if min(both) < 1:
        raise InputError(f"node {name!r} has the stride {both}, which must be above 0")
    return both


def _sides(lengths, strides, borders) -> tuple[Along, Along]:
    """How a kernel moves, from one number, and one border, for each side."""
    rows, columns = (
        Along(length, stride, *border)
        for length, stride, border in zip(lengths, strides, borders, strict=True)
    )
    return rows, columns


def _borders(node, lengths, name) -> list[tuple[int, int]]:
    """Zeros before and after each side."""
    padding = node.padding
    padding = padding.decode() if isinstance(padding, bytes) else padding
    if isinstance(padding, str):
        if padding == "valid":
            return [(0, 0), (0, 0)]
        if _pair(node.stride) != (1, 1):
            raise UnsupportedError(f"node {name!r} has the border 'same' and a stride")
        return [((n - 1) // 2, n - 1 - (n - 1) // 2) for n in lengths]
    return [(border, border) for border in _pair(padding)]


def _pooled_after(own: Convolution, sides, mean) -> Convolution:
    """A convolution and a pooling behind it as one convolution."""
    rows, columns, channels, outputs = own.kernel.shape
    strides = [side.stride for side in own.sides]
    sizes = [
        length + (side.size - 1) * stride
        for length, side, stride in zip((rows, columns), sides, strides, strict=True)
    ]
    kernel = np.zeros((*sizes, channels, outputs))
    for i, j in np.ndindex(sides[0].size, sides[1].size):
        top, left = i * strides[0], j * strides[1]
        kernel[top : top + rows, left : left + columns] += own.kernel
    count = math.prod(side.size for side in sides)
    factor, bias = (1 / count, own.bias) if mean else (1.0, own.bias * count)
    whole = _sides(
        sizes,
        [before.stride * side.stride for before, side in zip(own.sides, sides, strict=True)],
        [(before.before, before.after) for before in own.sides],
    )
    return Convolution(kernel * factor, bias, whole)


def _in_float32(numbers: Numbers, axes: int) -> Numbers:
    """The numbers in float32; arrays get an axis for the recordings in front of the layer's."""

    def single(x):
        x = jnp.asarray(x, jnp.float32)
        return x.reshape((1,) * (1 + axes - x.ndim) + x.shape) if x.ndim else x

    pairs = ("synapse", "recurrent")
    changed = {key: single(value) for key, value in numbers._asdict().items() if key not in pairs}
    if numbers.synapse is not None:
        changed["synapse"] = tuple(map(single, numbers.synapse))
    if numbers.recurrent is not None:
        kernel, bias = numbers.recurrent
        changed["recurrent"] = jnp.asarray(kernel, jnp.float32), single(bias)
    return numbers._replace(**changed)
