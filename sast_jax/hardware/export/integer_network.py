"""A trained network in integers, with all that a chip has to know of it."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data import packing
from sast_jax.errors import UnsupportedError
from sast_jax.evaluation import intervals, swap
from sast_jax.hardware import formats, integers
from sast_jax.hardware.formats import Chip
from sast_jax.hardware.graphs.network import GraphModel, GraphNetwork
from sast_jax.hardware.models import OnChip
from sast_jax.snn import connections
from sast_jax.snn.connections import Along, Connection, Convolution, Full, Halving
from sast_jax.snn.model import Model
from sast_jax.snn.quantisation import Quantised
from sast_jax.snn.readouts import MeanCurrent, MeanSpikes
from sast_jax.training.trained import Trained

_BATCH = 32  # recordings traced at a time: potentials of all steps are kept


class Geometry(NamedTuple):
    """How the spikes of one layer reach the next.

    Attributes:
      entering, leaving: shapes of both, (H, W, C) of a frame or a map, (neurons,) else.
      sides: how a kernel moves along rows and columns; None for a full connection.
      weights: (inputs, outputs) or (rows, columns, channels, outputs), int8.
    """

    entering: tuple[int, ...]
    leaving: tuple[int, ...]
    sides: tuple[Along, Along] | None
    weights: np.ndarray

    @property
    def outputs(self) -> int:
        """Neurons of a full connection, channels of a convolution."""
        return self.weights.shape[-1]


class Measured(NamedTuple):
    """What an integer network does on recordings.

    Attributes:
      name: of the recordings.
      recordings: how many there are.
      right: how many of them it answers with their class.
      clipped: share of the potentials of each layer that saturate.
      operations: weights that are not 0 and meet a spike, for a recording on average.
    """

    name: str
    recordings: int
    right: int
    clipped: list[float]
    operations: float

    def rows(self) -> list[tuple[str, str]]:
        """What was measured, and the value, for a table."""
        low, high = intervals.wilson(self.right, self.recordings)
        share = self.right / self.recordings
        clipped = ", ".join(f"{100 * x:.3g} %" for x in self.clipped)
        of = f" of {self.name}" if self.name else ""
        right = f"{100 * share:.2f} % [{100 * low:.2f}, {100 * high:.2f}]"
        return [
            (f"right answers on {self.recordings} test recordings{of}", right),
            ("potentials that saturate, by layer", clipped),
            (
                "weights that are not 0 and meet a spike, for a recording on average",
                f"{self.operations:,.0f}",
            ),
        ]


@dataclasses.dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """One network in integers; :mod:`sast_jax.hardware.integers` has its equations.

    Attributes:
      layers, neurons: of the integer network.
      weight_bits: of a weight, 2 to 8.
      time_bins: frames of a recording, or of a window of one.
      model: of the network, which says what frames it takes and how its answer is read.
    """

    layers: Sequence[integers.Layer]
    neurons: integers.IntegerNeurons
    weight_bits: int
    time_bins: int
    model: Model | GraphModel

    @classmethod
    def of(
        cls,
        tried: Trained | GraphNetwork,
        network: Sequence[Connection],
        chip: Chip,
        kernels: Sequence[Quantised],
        time_bins: int,
    ) -> "IntegerNetwork":
        """One network in the formats of a chip.

        Args:
          tried: one run, or a network out of a NIR file.
          network: its connections.
          chip: number formats.
          kernels: its weights in them, from :func:`sast_jax.hardware.formats.kernels`.
          time_bins: frames of a recording.

        Raises:
          InputError: it has no integer form, the formats cannot hold it, or it has connections or a
            readout that no file describes.
        """
        known = {"readout": (MeanSpikes, MeanCurrent), "connection": (Full, Halving, Convolution)}
        for kind, part in (
            ("readout", tried.model.readout),
            *(("connection", connection) for connection in network),
        ):
            if type(part) not in known[kind]:
                raise UnsupportedError(
                    f"the {kind} {type(part).__name__} cannot be written in integers"
                )
        neurons, layers = formats.to_integers(tried, network, chip, kernels)
        return cls(layers, neurons, chip.weight_bits, time_bins, tried.model)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of a frame of zeros and ones."""
        model = self.model
        return model.known_shape if isinstance(model, Model) else model.frame_shape

    @functools.cached_property
    def geometry(self) -> list[Geometry]:
        """Of each layer."""
        listed = [layer.connection for layer in self.layers]
        shapes = [self.frame_shape, *connections.shapes(listed, self.frame_shape)]
        return [
            Geometry(
                entering,
                leaving,
                connection.sides if isinstance(connection, Halving | Convolution) else None,
                np.asarray(connection.kernel),
            )
            for connection, (entering, leaving) in zip(
                listed, itertools.pairwise(shapes), strict=True
            )
        ]

    @property
    def counts_spikes(self) -> bool:
        """Whether the class with most output spikes is the answer; else that of most current."""
        return isinstance(self.model.readout, MeanSpikes)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return math.prod(self.geometry[-1].leaving)

    def traced(self, frames: packing.Frames) -> list[integers.Traced]:
        """What each layer holds at each step of each recording, (N, T, ...) as NumPy arrays."""
        packed = frames.packed_NxTxP
        parts = [
            _trace(
                self.neurons, self.frame_shape, list(self.layers), packed[start : start + _BATCH]
            )
            for start in range(0, len(packed), _BATCH)
        ]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def scores(self, last: integers.Traced) -> np.ndarray:
        """The class scores (N, K) of what the last layer held; the answer is the largest, first."""
        if self.counts_spikes:
            return np.asarray(last.spikes).sum(axis=1, dtype=np.int64)
        scale_K = np.asarray(self.layers[-1].scale, np.float64)
        return np.asarray(last.sums).sum(axis=1, dtype=np.int64) * scale_K

    def answers(self, last: integers.Traced, frames: packing.Frames) -> np.ndarray:
        """The class of each recording (M,): the scores of its windows are added."""
        return frames.total(self.scores(last)[None])[0].argmax(axis=-1)

    def measured(self, frames: packing.Frames, name: str = "") -> Measured:
        """What the network does on recordings, and their name for tables."""
        layers_R = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], list(self.layers))
        model = OnChip(self.model, self.neurons)
        found = swap.answer(model, (None, None, layers_R), frames.packed_NxTxP)
        (answers_M,) = frames.vote(found.scores_BxK).argmax(axis=-1)
        return Measured(
            name=name,
            recordings=len(frames.truth_M),
            right=int((answers_M == frames.truth_M).sum()),
            clipped=found.clipped_BxL[0].mean(axis=0, dtype=np.float64).tolist(),
            operations=float(found.acs_BxL.sum(dtype=np.float64) / len(frames.truth_M)),
        )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _trace(neurons, frame_shape, layers, packed_BxTxP):
    frames = packing.time_first(packed_BxTxP, frame_shape, jnp.int8)
    traced = integers.trace(layers, neurons, frames)
    return jax.tree.map(lambda x_TxBxN: jnp.moveaxis(x_TxBxN, 0, 1), traced)
