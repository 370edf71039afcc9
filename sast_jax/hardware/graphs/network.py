"""A NIR graph as a hard network that can be run, measured and put in integers."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from sast_jax.data import packing
from sast_jax.errors import InputError, UnsupportedError
from sast_jax.evaluation import swap
from sast_jax.fields import is_number
from sast_jax.hardware.graphs import chains
from sast_jax.hardware.graphs.dialects import DIALECTS, Dialect
from sast_jax.hardware.graphs.layers import LAST, layers
from sast_jax.hardware.graphs.neurons import GraphNeuron, Kind, Numbers
from sast_jax.snn import connections, quantisation, variation as variation_lib
from sast_jax.snn.connections import Connection
from sast_jax.snn.neurons import LIF, RESETS as LIF_RESETS, Neuron
from sast_jax.snn.readouts import MeanCurrent, MeanSpikes, Readout

ORDERS = ("CHW", "HWC")


@dataclasses.dataclass(frozen=True)
class Last(Readout):
    """Reads what the output layer sends at the last step, times ``scale``."""

    def evidence(self, response):
        return response.spikes[-1]

    def __call__(self, response):
        return self.scale * self.evidence(response)[-1]

    def after_each_step(self, response):
        return self.scale * self.evidence(response)


@dataclasses.dataclass(frozen=True)
class Largest(Readout):
    """Reads the largest value that the output layer sends at any step, times ``scale``."""

    def evidence(self, response):
        return response.spikes[-1]

    def __call__(self, response):
        return self.scale * self.evidence(response).max(axis=0)

    def after_each_step(self, response):
        return self.scale * jax.lax.cummax(self.evidence(response), axis=0)


READOUTS: dict[str, Callable[[], Readout]] = {
    "mean": lambda: MeanSpikes(1.0),
    "last": lambda: Last(1.0),
    "largest": lambda: Largest(1.0),
}
"""How class scores are read from the spikes, or potentials, that the output layer sends."""


class GraphModel(NamedTuple):
    """What is the same for all numbers of a graph. Hashable: equal ones are compiled once.

    Attributes:
      frame_shape: (H, W, C).
      kinds: of the neurons of each layer.
      readout: how class scores are read.
    """

    frame_shape: tuple[int, int, int]
    kinds: tuple[Kind, ...]
    readout: Readout

    def unpack(self, packed_BxTxP, dtype: Any = np.float32) -> jax.Array:
        """The frames (T, B, H, W, C) of packed recordings."""
        return packing.time_first(packed_BxTxP, self.frame_shape, dtype)

    def neurons(self, numbers: Sequence[Numbers]) -> list[tuple[Neuron, Any]]:
        """The neuron and the decay of each layer."""
        both = zip(self.kinds, numbers, strict=True)
        return [
            (GraphNeuron(own.threshold, kind=kind, numbers=own), own.decay) for kind, own in both
        ]


class GraphDevice(NamedTuple):
    """Devices of a graph as a model: (key, variation, connections, numbers).

    Key and variation are None for the network itself. Recurrent weights differ as the others do.
    """

    model: GraphModel

    def __call__(self, drawn: tuple, packed_BxTxP: jax.Array) -> "OnlyHard":
        key, variation, network, numbers = drawn
        frames, model = self.model.unpack(packed_BxTxP), self.model
        if key is None:
            cells = connections.hard(model.neurons(numbers))
            response = connections.respond(network, cells, frames)
        else:
            # draw folds 0 and 1 into the key.
            recurrent = [own.recurrent for own in numbers]
            recurrent = variation_lib.mismatched(
                jax.random.fold_in(key, 2), recurrent, variation.weights
            )
            numbers = [
                own._replace(recurrent=varied)
                for own, varied in zip(numbers, recurrent, strict=True)
            ]
            layers = model.neurons(numbers)
            device = variation_lib.draw(key, variation, network, layers, frames)
            response = device(lambda neuron, decay: neuron.hard(decay))
        return OnlyHard(swap.read(model.readout, response))


class OnlyHard(NamedTuple):
    """What a network without a smooth spike answers."""

    hard: swap.Outcome


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GraphNetwork:
    """A hard network out of a NIR graph.

    It is a pytree, and answers what :class:`sast_jax.hardware.bench.Bench` asks of a network.

    Attributes:
      names: of its layers.
      listed: its connections, from input to output.
      numbers: of the neurons of each layer.
      model: what is static in it.
    """

    names: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    listed: list[Connection]
    numbers: list[Numbers]
    model: GraphModel = dataclasses.field(metadata={"static": True})

    def connections(self) -> list[Connection]:
        """From input to output."""
        return self.listed

    def layers(self) -> list[tuple[Neuron, Any]]:
        """Neuron and decay of each layer."""
        return self.model.neurons(self.numbers)

    @property
    def device(self) -> GraphDevice:
        """Its devices as a model."""
        return GraphDevice(self.model)

    def with_run_axis(self) -> "GraphNetwork":
        """The same with a leading axis of one run."""
        return jax.tree.map(lambda leaf: leaf[None], self)

    def rounded(self, bits: int | None, per_channel: bool) -> list[Numbers]:
        """The numbers of its neurons, with recurrent weights of some bits; None keeps them."""
        if bits is None:
            return self.numbers
        found = []
        for own in self.numbers:
            if own.recurrent is not None:
                kernel, bias = own.recurrent
                scale_O = quantisation.largest(kernel, bits, per_channel)
                few = quantisation.dequantise(quantisation.quantise(kernel, scale_O, bits))
                own = own._replace(recurrent=(few, bias))
            found.append(own)
        return found

    def answer(self, frames: packing.Frames) -> swap.Outcome:
        """What it answers on recordings, each leaf (N, ...)."""
        one = self.with_run_axis()
        answers = swap.answer(
            self.device, (None, None, one.listed, one.numbers), frames.packed_NxTxP
        )
        return jax.tree.map(lambda leaf: leaf[0], swap.by_recording(answers.hard, frames))

    def uniform(self) -> tuple[LIF, float, list[float | None]]:
        """The network as one of LIF neurons that are all alike: neuron, decay, thresholds.

        The threshold is None for a layer of which the current alone is read.

        Raises:
          UnsupportedError: its neurons are others, or differ; the layer is named.
        """
        found: tuple[float, str] | None = None
        thresholds: list[float | None] = []
        for name, kind, own in zip(self.names, self.model.kinds, self.numbers, strict=True):
            if name == LAST and isinstance(self.model.readout, MeanCurrent):
                thresholds.append(None)  # the current alone is read
                continue
            why = _beyond_lif(kind, own)
            if why is None and found not in (None, (float(own.decay), kind.reset)):
                why = "another decay or reset than the layers before it"
            if why is not None:
                raise UnsupportedError(
                    f"layer {name!r} has {why}, which LIF neurons in integers have not"
                )
            found = float(own.decay), kind.reset
            thresholds.append(float(own.threshold))
        if found is None:
            raise UnsupportedError("the network has no neurons that spike")
        decay, reset = found
        return LIF(1.0, reset=LIF_RESETS[reset]), decay, thresholds


def _beyond_lif(kind: Kind, own: Numbers) -> str | None:
    """What a layer has that LIF neurons in integers have not; None for nothing."""
    if not kind.spikes:
        return "neurons that do not spike"
    if kind.reset not in LIF_RESETS:
        return f"the reset {kind.reset!r}"
    if kind.delayed:
        return "spikes that are sent a step later"
    if own.synapse is not None:
        return "synaptic currents"
    if own.recurrent is not None:
        return "recurrent connections"
    for what, value in own._asdict().items():
        if value is not None and np.ndim(value):
            return f"a {what.replace('_', ' ')} of its own for each neuron"
    for what, value in (("leak", own.leak_to), ("reset", own.reset_to)):
        if float(value):
            return f"a {what} to another potential than 0"
    return None if float(own.threshold) > 0 else "a threshold that is not above 0"


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """A NIR graph, read but not yet fitted to frames.

    Attributes:
      name: of the file, for messages.
      links: its nodes, in order.
      about: metadata of the graph.
    """

    name: str
    links: list[chains.Link]
    about: dict[str, Any]

    @classmethod
    def read(cls, path: pathlib.Path) -> "Graph":
        """Reads a file.

        Raises:
          InputError: it cannot be read, or is no chain of layers.
        """
        return cls.of(chains.read(path), str(path))

    @classmethod
    def of(cls, graph: Any, name: str = "the graph") -> "Graph":
        """A graph that is in memory.

        Args:
          graph: a ``nir.NIRGraph``.
          name: what to call it in an error.

        Raises:
          InputError: it is no chain of layers.
        """
        try:
            links = chains.chain(graph)
        except InputError as error:
            raise type(error)(f"{name}: {error}") from error
        about = {key: _plain(value) for key, value in (graph.metadata or {}).items()}
        return cls(name, links, about)

    def dialect(self, name: str = "nir", dt: float = 0.0, reset: str = "") -> Dialect:
        """How its neurons are meant.

        Args:
          name: of the program that wrote it, a key of ``DIALECTS``.
          dt: seconds of a step; 0 for that of the metadata, or of the program.
          reset: one of ``RESETS``; "" for the program's.

        Raises:
          InputError: the step is not known.
        """
        found, stated = DIALECTS[name], self.about.get("dt", 0.0)
        if not is_number(stated) or stated < 0:
            raise InputError(f"{self.name}: its dt is {stated!r}; state seconds with --dt")
        known = dt or float(stated) or found.dt
        if not known:
            others = ", ".join(key for key in DIALECTS if DIALECTS[key].dt)
            raise InputError(
                f"{self.name}: does not say how long a step is; say who wrote it with --source="
                f"{others}, or state seconds with --dt"
            )
        if reset:
            found = dataclasses.replace(found, reset=reset, synaptic_reset=reset)
        return dataclasses.replace(found, dt=known)

    def on(
        self,
        frame_shape: tuple[int, int, int],
        dialect: Dialect,
        readout: Readout | None = None,
        order: str = "CHW",
    ) -> GraphNetwork:
        """The network for frames of a shape (H, W, C).

        Args:
          frame_shape: of the recordings.
          dialect: how its neurons are meant.
          readout: None for the mean of what the output layer sends.
          order: how the pixels of a frame are numbered where the input is a vector.

        Raises:
          InputError: sizes do not fit, or a node cannot be run; it is named.
        """
        try:
            found = layers(self.links, dialect, frame_shape, order)
        except InputError as error:
            raise type(error)(f"{self.name}: {error}") from error
        kinds = tuple(layer.kind for layer in found)
        readout = readout or READOUTS["mean"]()
        if isinstance(readout, MeanSpikes) and found[-1].name == LAST:
            readout = MeanCurrent(readout.scale)
        H, W, C = frame_shape
        model = GraphModel((H, W, C), kinds, readout)
        columns = zip(
            *((layer.name, layer.connection, layer.numbers) for layer in found), strict=True
        )
        names, listed, numbers = columns
        return GraphNetwork(names, list(listed), list(numbers), model)


def _plain(value):
    value = value.decode() if isinstance(value, bytes) else value
    return value.item() if isinstance(value, np.generic) else value
