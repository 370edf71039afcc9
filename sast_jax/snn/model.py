"""A model: a network, its neurons and its readout, without weights."""

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data import packing
from sast_jax.data.sparse import Sparse
from sast_jax.errors import InputError
from sast_jax.fields import COUNT, function, instance, require
from sast_jax.snn import connections, neurons
from sast_jax.snn.connections import Connection
from sast_jax.snn.neurons import Cell, Neuron
from sast_jax.snn.quantisation import Rounding
from sast_jax.snn.readouts import MeanSpikes, Readout, Response


@dataclasses.dataclass(frozen=True)
class Model:
    """What is trained. Frozen, hashable, equal by value: one program serves equal models.

    Attributes:
      network: a Flax module that lists its connections; see :mod:`sast_jax.snn.networks`.
      neuron: of all layers.
      readout: how class scores are read.
      rounding: replaces the weights by rounded ones, in training and after it; None: no rounding.
      segment: steps of time of a segment, to save memory in training; None for all at once. See
        :func:`sast_jax.snn.connections.in_segments`.
      frame_shape: (H, W, C), or any shape that the network takes where no recordings are unpacked;
        None until it is known, see :meth:`on`.
    """

    network: nn.Module
    neuron: Neuron = neurons.LIF()
    readout: Readout = MeanSpikes()
    rounding: Rounding | None = None
    segment: int | None = None
    frame_shape: tuple[int, ...] | None = None

    def __post_init__(self):
        instance(nn.Module, network=self.network)
        instance(Neuron, neuron=self.neuron)
        instance(Readout, readout=self.readout)
        if self.rounding is not None:
            function(rounding=self.rounding)
        if self.segment is not None:
            require(COUNT, segment=self.segment)

    def on(self, frame_shape: tuple[int, ...]) -> "Model":
        """The model for frames of this shape."""
        return dataclasses.replace(self, frame_shape=tuple(map(int, frame_shape)))

    @property
    def known_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of a model :meth:`on` frames; raises TypeError for any other."""
        if self.frame_shape is None:
            raise TypeError("the model has no frame_shape yet; take model.on((H, W, C))")
        H, W, C = self.frame_shape
        return H, W, C

    def init(self, key: jax.Array) -> Any:
        """Random parameters.

        Raises:
          TypeError: the network does not list its connections.
        """
        listed, variables = self.network.init_with_output(key, self.frame_shape)
        _require_connections(self.network, listed)
        return variables["params"]

    def connections(self, params: Any) -> list[Connection]:
        """The network with these parameters."""
        listed = self.network.apply({"params": params}, self.frame_shape)
        return listed  # type: ignore[return-value]  # a pair only where something is mutable

    def require_outputs(self, labels_N: np.ndarray) -> None:
        """Raises InputError for a label without an output."""
        listed = jax.eval_shape(lambda: self.connections(self.init(jax.random.key(0))))
        outputs, largest = listed[-1].bias.shape[0], int(labels_N.max())
        if largest >= outputs:
            raise InputError(
                f"a recording has the label {largest}, and the network has {outputs} outputs for "
                f"the labels 0 to {outputs - 1}; give it {largest + 1} or more"
            )

    def rounded(self, params: Any) -> Any:
        """The parameters as the network uses them: rounded, if the model rounds."""
        return params if self.rounding is None else self.rounding(params)

    def respond(self, params: Any, cell: Cell, frames_TxBxHxWxC: jax.Array) -> Response:
        """Runs the network on frames of any dtype, with the same cell in all layers."""
        network = self.connections(params)

        def respond(cell, frames, states):
            cells = connections.alike(cell, network)
            if not isinstance(frames, Sparse):
                # Only here, so that they take one byte a pixel until their segment is computed.
                frames = frames.astype(jnp.float32)
            return connections.respond(network, cells, frames, states=states)

        if self.segment:
            # Longer or shorter recordings than those of training take the nearest segments.
            steps = math.gcd(self.segment, len(frames_TxBxHxWxC))
            return connections.in_segments(respond, cell, frames_TxBxHxWxC, steps)
        return respond(cell, frames_TxBxHxWxC, None)

    def unpack(
        self, packed_BxTxP: jax.Array, dtype: jax.typing.DTypeLike = jnp.float32
    ) -> jax.Array:
        """The frames (T, B, H, W, C) of packed recordings."""
        return packing.time_first(packed_BxTxP, self.known_shape, dtype)


def _require_connections(network, listed) -> None:
    if (
        not isinstance(listed, list | tuple)
        or not listed
        or not all(isinstance(one, Connection) for one in listed)
    ):
        empty = isinstance(listed, list | tuple) and not listed
        found = "an empty list" if empty else type(listed).__name__
        raise TypeError(
            f"the network {type(network).__name__} returns {found}; it must return the list of its "
            "connections, from input to output (sast_jax.snn.connections)"
        )
