"""A network as a list of connections: what training, hardware, theory and export all run.

A connection leads into one layer of neurons. Its input current is linear in the spikes of a step,
so it is computed for all steps in one matrix product.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data.sparse import Sparse
from sast_jax.snn import neurons
from sast_jax.snn.neurons import Cell, Neuron
from sast_jax.snn.readouts import Response


@dataclasses.dataclass(frozen=True)
class Connection:
    """What leads into one layer of neurons: current = receptive(input) @ matrix + bias.

    A new kind of connection overrides :meth:`receptive` and :meth:`outputs`, and :meth:`met` too if
    operations are counted. It must be registered as a pytree
    (:func:`jax.tree_util.register_dataclass`).

    Attributes:
      kernel: weights, with the outputs on the last axis. NumPy arrays serve while a network is
        read or written.
      bias: (outputs,).
    """

    kernel: jax.Array | np.ndarray
    bias: jax.Array | np.ndarray

    def receptive(self, spikes_BxS: jax.Array) -> jax.Array:
        """The inputs that each output sees in single steps (B, ...): (B, places ..., inputs)."""
        raise NotImplementedError(f"{type(self).__name__} defines no receptive")

    def outputs(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the layer that it leads to, for an input of this shape."""
        raise NotImplementedError(f"{type(self).__name__} defines no outputs")

    def met(self, shape: tuple[int, ...]) -> int:
        """Number of synaptic operations of one step if every input fires."""
        raise NotImplementedError(f"{type(self).__name__} defines no met")

    @property
    def matrix_IxO(self) -> jax.Array | np.ndarray:
        """The weights as a matrix."""
        return self.kernel.reshape(-1, self.kernel.shape[-1])

    def replace(self, **changes: Any) -> "Connection":
        """The same with another kernel or bias."""
        return dataclasses.replace(self, **changes)

    def sums(self, spikes_TxBxS: jax.Array, dtype: jax.typing.DTypeLike | None = None) -> jax.Array:
        """The input current of the layer for all steps (T, B, ...), its bias included.

        Args:
          spikes_TxBxS: time first; the weights are converted to their dtype. Where the weights are
            bfloat16, the spikes are converted instead, and the sums are float32.
          dtype: of the sums; None for that of the spikes.
        """
        T, B = spikes_TxBxS.shape[:2]
        met = self.receptive(spikes_TxBxS.reshape(T * B, *spikes_TxBxS.shape[2:]))
        current = self._product(met, dtype)
        return current.reshape(T, B, *current.shape[1:])

    def _product(self, met, dtype):
        weights = self.matrix_IxO
        if weights.dtype == jnp.bfloat16:  # whoever rounds the weights wants products of that type
            met, dtype = met.astype(weights.dtype), jnp.float32
        current = jnp.matmul(met, weights.astype(met.dtype), preferred_element_type=dtype)
        return current + along_outputs(self.bias.astype(current.dtype), current)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Full(Connection):
    """Every input meets every output; the kernel is (inputs, outputs)."""

    def receptive(self, spikes_BxS):
        return spikes_BxS.reshape(spikes_BxS.shape[0], -1)

    def sums(self, spikes_TxBxS, dtype=None):
        if isinstance(spikes_TxBxS, Sparse):
            current = spikes_TxBxS.matmul(self.matrix_IxO.astype(jnp.float32))
            return current + along_outputs(self.bias, current)
        # Time and batch stay two axes. With both merged, as in Connection.sums, the product would
        # add up in another order under vmap, and its last bits would change.
        return self._product(spikes_TxBxS.reshape(*spikes_TxBxS.shape[:2], -1), dtype)

    def outputs(self, shape):
        return self.kernel.shape[-1:]

    def met(self, shape):
        return math.prod(self.kernel.shape)


class Along(NamedTuple):
    """How a kernel moves along one side of a map.

    Attributes:
      size: of the kernel, pixels.
      stride: pixels from one output to the next.
      before, after: zeros that are put around the side.
    """

    size: int
    stride: int
    before: int = 0
    after: int = 0

    def outputs(self, side: int) -> int:
        """Number of outputs for a side of this many pixels; below 1 where the kernel is larger."""
        return (side + self.before + self.after - self.size) // self.stride + 1

    def met(self, side: int) -> int:
        """Number of taps, over all outputs, that lie on the map."""
        starts = [n * self.stride - self.before for n in range(self.outputs(side))]
        return sum(0 <= start + k < side for start in starts for k in range(self.size))


def _sizes(sides, shape) -> tuple[int, int]:
    """Rows and columns of what a kernel or window makes of a map."""
    rows, columns = (side.outputs(n) for side, n in zip(sides, shape[:2], strict=True))
    return rows, columns


def _views(x_BxS, sides) -> list:
    """For each tap of a kernel, row by row, the pixel that each output meets with it.

    Side by side, the views are the inputs of a matrix product.
    """
    rows, columns = sides
    borders = [(side.before, side.after) for side in sides]
    padded = jnp.pad(x_BxS, ((0, 0), *borders, (0, 0)))
    ends = [
        side.stride * (side.outputs(n) - 1) + 1
        for side, n in zip(sides, x_BxS.shape[1:3], strict=True)
    ]
    return [
        padded[:, i : i + ends[0] : rows.stride, j : j + ends[1] : columns.stride]
        for i in range(rows.size)
        for j in range(columns.size)
    ]


class Moved(Connection):
    """A kernel that is moved over a map; a kind says how with ``sides``, rows and columns."""

    sides: Any

    def receptive(self, spikes_BxS):
        return jnp.concatenate(_views(spikes_BxS, self.sides), axis=-1)

    def outputs(self, shape):
        return *_sizes(self.sides, shape), self.kernel.shape[-1]

    def met(self, shape):
        rows, columns = (side.met(n) for side, n in zip(self.sides, shape[:2], strict=True))
        return rows * columns * math.prod(self.kernel.shape[2:])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Halving(Moved):
    """A convolution of stride 2, padded so that a side of n pixels becomes ceil(n / 2).

    The kernel is (k, k, channels, outputs) with an odd k. Equals ``flax.linen.Conv`` of that stride
    and padding. It is written as one matrix product over shifted views, because XLA's CPU backend
    has no fast path for the derivative of a strided convolution (about 40 times slower at the sizes
    used here).
    """

    @property
    def sides(self) -> tuple[Along, Along]:
        """How the kernel moves."""
        k = self.kernel.shape[0]
        return (Along(k, 2, k // 2, k // 2),) * 2


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Convolution(Moved):
    """A convolution of any stride and border; the kernel is (rows, columns, channels, outputs).

    Attributes:
      kernel, bias: as of every connection.
      sides: how it moves along rows and columns.
    """

    sides: tuple[Along, Along] = dataclasses.field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pooled(Connection):
    """A connection behind sums over windows of a map, channel by channel.

    Attributes:
      kernel, bias: those of ``after``, so that they can be rounded and varied as any others.
      after: the connection that takes what is pooled, without its kernel and bias.
      sides: how the window moves along rows and columns.
    """

    after: Connection
    sides: tuple[Along, Along] = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, after: Connection, sides: tuple[Along, Along]) -> "Pooled":
        """The connection behind a pooling."""
        empty = after.replace(kernel=None, bias=None)
        return cls(after.kernel, after.bias, empty, sides)

    def receptive(self, spikes_BxS):
        if jnp.issubdtype(spikes_BxS.dtype, jnp.integer):
            spikes_BxS = spikes_BxS.astype(jnp.int32)  # spikes have 8 bits, too few for a sum
        zero = jnp.zeros((), spikes_BxS.dtype)
        window = (1, *(side.size for side in self.sides), 1)
        strides = (1, *(side.stride for side in self.sides), 1)
        borders = ((0, 0), *((side.before, side.after) for side in self.sides), (0, 0))
        sums = jax.lax.reduce_window(spikes_BxS, zero, jax.lax.add, window, strides, borders)
        return self._after.receptive(sums)

    def outputs(self, shape):
        return self._after.outputs(self._pooled(shape))

    def met(self, shape):
        met = self.receptive(jnp.ones((1, *shape), jnp.int32)).sum()
        return int(met) * self.kernel.shape[-1]

    @property
    def _after(self):
        return self.after.replace(kernel=self.kernel, bias=self.bias)

    def _pooled(self, shape):
        return *_sizes(self.sides, shape), shape[2]


def along_outputs(x_O: jax.Array | np.ndarray, like: jax.Array) -> jax.Array:
    """One value an output, shaped to broadcast along the last axis of another array."""
    return jnp.reshape(x_O, (1,) * (like.ndim - 1) + x_O.shape)


def shapes(network: Sequence[Connection], frame_shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shapes of all layers, for frames of this shape."""
    found = [frame_shape]
    for connection in network:
        found.append(connection.outputs(found[-1]))
    return found[1:]


class Transmit(Protocol):
    """What reaches the next layer: (layer, its spikes) -> the spikes that arrive there."""

    def __call__(self, layer: int, spikes_TxBxN: jax.Array, /) -> jax.Array: ...


def intact(layer: int, spikes_TxBxN: jax.Array) -> jax.Array:
    """All spikes of a layer reach the next one."""
    return spikes_TxBxN


def alike(cell: Cell | neurons.Stochastic, layers: Sequence[Any]) -> list:
    """The same cell for each layer of a network; if it draws, each layer has its own draws."""
    return [cell.of_part(layer) for layer in range(len(layers))]


def hard(layers: Iterable[tuple[Neuron, jax.typing.ArrayLike]]) -> list[Cell]:
    """The cell with a hard spike for each layer, of which neuron and decay are given."""
    return [neuron.hard(decay) for neuron, decay in layers]


def respond(
    network: Sequence[Connection],
    cells: Sequence[Cell],
    frames_TxBxHxWxC: jax.Array,
    transmit: Transmit = intact,
    states: Sequence[Any] | None = None,
) -> Response:
    """Runs a network; each layer has a cell of its own.

    Args:
      network: its connections.
      cells: one a layer.
      frames_TxBxHxWxC: time first.
      transmit: (layer, its spikes) -> the spikes that the next layer receives.
      states: of the layers where an earlier segment of time ended; None starts at rest.
    """
    current = network[0].sums(frames_TxBxHxWxC)
    return respond_to(current, network[1:], cells, transmit, states)


def respond_to(
    current_TxBxN: jax.Array,
    after: Sequence[Connection],
    cells: Sequence[Cell],
    transmit: Transmit = intact,
    states: Sequence[Any] | None = None,
) -> Response:
    """The same, from the input current of some layer on.

    Args:
      current_TxBxN: of the first layer that is computed.
      after: the connections that lead on from it.
      cells, transmit, states: as in :func:`respond`, of that layer (number 0) and those behind it.
    """
    sent: list[jax.Array] = []
    currents, ends = [], []
    states = states or (None,) * len(cells)
    rows = zip((None, *after), cells, states, strict=True)
    for layer, (before, cell, state) in enumerate(rows):
        if before is not None:
            current_TxBxN = before.sums(sent[-1])
        currents.append(current_TxBxN)
        end, spikes_TxBxN = neurons.integrate(cell, current_TxBxN, state)
        sent.append(transmit(layer, spikes_TxBxN))
        ends.append(end)
    return Response(tuple(sent), tuple(currents), tuple(ends))


def in_segments(
    respond: Callable[..., Response],
    cell: Cell | neurons.Stochastic,
    frames_TxBxHxWxC: jax.Array,
    steps: int,
) -> Response:
    """A network's response, computed one segment of time after the other, for long recordings.

    For the derivative only the states between segments are kept, and each segment is computed
    again. The memory needed then grows with the length of a segment instead of T, at the cost of
    one more forward pass (Chen et al., Training Deep Nets with Sublinear Memory Cost,
    arXiv 1604.06174).

    Args:
      respond: (cell, frames, states) -> response.
      cell: of all layers; where it draws, each segment draws its own.
      frames_TxBxHxWxC: all frames.
      steps: of a segment; divides T.

    Raises:
      ValueError: T is no multiple of ``steps``.
    """
    T = len(frames_TxBxHxWxC)
    if T % steps:
        raise ValueError(f"{T} steps of time cannot be cut into segments of {steps}")
    parts_GxSxBxHxWxC = frames_TxBxHxWxC.reshape(-1, steps, *frames_TxBxHxWxC.shape[1:])

    @jax.checkpoint
    def segment(states, inputs):
        frames, number = inputs
        response = respond(cell.of_part(number), frames, states)
        return response.states, response._replace(states=())

    # The scan begins with the states at rest. Their shapes and dtypes are those at a segment's end,
    # which are found without computing it.
    ends = jax.eval_shape(lambda frames: respond(cell, frames, None), parts_GxSxBxHxWxC[0]).states
    like = [jnp.zeros(end.potential.shape, end.potential.dtype) for end in ends]
    rest = tuple(cell.rest(potential) for potential in like)
    numbers_G = jnp.arange(len(parts_GxSxBxHxWxC))
    ends, parts = jax.lax.scan(segment, rest, (parts_GxSxBxHxWxC, numbers_G))
    whole = jax.tree.map(lambda leaf: leaf.reshape(T, *leaf.shape[2:]), parts)
    return whole._replace(states=ends)
