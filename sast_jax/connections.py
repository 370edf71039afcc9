"""A trained network as a list of connections: what hardware, counts and exports start from."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sast_jax import lif, networks


class Connection(NamedTuple):
    """What leads into one layer of neurons: current = input @ kernel + bias.

    Attributes:
      kernel: (inputs, outputs) if fully connected, (k, k, channels, outputs) of a
        :class:`sast_jax.networks.HalvingConv`.
      bias: (outputs,).
    """

    kernel: jax.Array
    bias: jax.Array


def connections(params: Mapping[str, Any]) -> list[Connection]:
    """Those of a network of :mod:`sast_jax.networks`, from input to output."""

    def place(name):
        kind, number = name.split("_")
        return ("HalvingConv", "Dense").index(kind), int(number)

    return [Connection(**params[name]) for name in sorted(params, key=place)]


def receptive(kernel: jax.Array, spikes_BxS: jax.Array) -> jax.Array:
    """The input of a connection, so that its product with the kernel as a matrix is the current.

    Args:
      kernel: of a connection; only its shape counts.
      spikes_BxS: (B, ...), one step or several; frames (B, H, W, C) for a convolution.

    Returns:
      (B, inputs) for a full connection, (B, H/2, W/2, inputs) for a convolution, in the same dtype.
    """
    if kernel.ndim == 2:
        return spikes_BxS.reshape(spikes_BxS.shape[0], -1)
    return networks.halving_patches(spikes_BxS, kernel.shape[0])


def sums(
    connection: Connection, spikes_TxBxS: jax.Array, dtype: jax.typing.DTypeLike | None = None
) -> jax.Array:
    """The input current of a layer for all steps (T, B, ...), its bias included.

    Args:
      connection: its weights are taken in the type of the spikes.
      spikes_TxBxS: time first.
      dtype: of the sums; None for that of the spikes.
    """
    T, B = spikes_TxBxS.shape[:2]
    flat = receptive(connection.kernel, spikes_TxBxS.reshape(T * B, *spikes_TxBxS.shape[2:]))
    weights = connection.kernel.reshape(-1, connection.kernel.shape[-1]).astype(flat.dtype)
    current = jnp.matmul(flat, weights, preferred_element_type=dtype)
    current = current + along_outputs(connection.bias.astype(current.dtype), current)
    return current.reshape(T, B, *current.shape[1:])


def along_outputs(x_O: jax.Array, like: jax.Array) -> jax.Array:
    """Values of the outputs, shaped to meet the last axis of another array."""
    return x_O.reshape((1,) * (like.ndim - 1) + x_O.shape)


def shapes(network: Sequence[Connection], frames_TxBxHxWxC: jax.Array) -> list[tuple[int, ...]]:
    """Shapes (T, B, ...) of the spikes of all layers."""
    found = [frames_TxBxHxWxC]
    for connection in network:
        found.append(jax.eval_shape(sums, connection, found[-1]))
    return [spikes.shape for spikes in found[1:]]


def intact(layer: int, spikes_TxBxN: jax.Array) -> jax.Array:
    """All spikes of a layer reach the next one."""
    return spikes_TxBxN


def respond(
    network: Sequence[Connection],
    cells: Sequence[lif.Cell],
    frames_TxBxHxWxC: jax.Array,
    transmit: Callable[[int, jax.Array], jax.Array] = intact,
) -> networks.Response:
    """What the network does if each layer has a cell of its own, and spikes are lost on the way.

    Args:
      network: its connections.
      cells: one a layer.
      frames_TxBxHxWxC: time first.
      transmit: (layer, spikes of it) -> what leaves the layer.
    """
    return respond_to(sums(network[0], frames_TxBxHxWxC), network[1:], cells, transmit)


def respond_to(
    current_TxBxN: jax.Array,
    after: Sequence[Connection],
    cells: Sequence[lif.Cell],
    transmit: Callable[[int, jax.Array], jax.Array] = intact,
) -> networks.Response:
    """The same from the current of a layer on.

    Args:
      current_TxBxN: of the first layer that is computed.
      after: the connections that lead on from it.
      cells: of that layer and those behind it.
      transmit: as in :func:`respond`, with that layer as number 0.
    """
    sent, ends = [], []
    for layer, (before, cell) in enumerate(zip((None, *after), cells, strict=True)):
        if before is not None:
            current_TxBxN = sums(before, sent[-1])
        end, spikes_TxBxN = lif.integrate(cell, current_TxBxN)
        sent.append(transmit(layer, spikes_TxBxN))
        ends.append(end)
    return networks.Response(tuple(sent), current_TxBxN, tuple(ends))
