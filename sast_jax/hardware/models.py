"""Networks on hardware as models for :func:`sast_jax.evaluation.swap.answer`."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data import packing
from sast_jax.evaluation import swap
from sast_jax.hardware import integers, operations
from sast_jax.hardware.following import Following
from sast_jax.snn import connections, variation as variation_lib
from sast_jax.snn.connections import Transmit, intact
from sast_jax.snn.model import Model


class IntegerOutcome(NamedTuple):
    """What integer networks answer.

    Attributes:
      scores_BxK: class scores.
      clipped_BxL: share of the potentials of each layer that saturated.
      acs_BxL: effective synaptic operations; all of them are accumulates.
    """

    scores_BxK: jax.Array | np.ndarray
    clipped_BxL: jax.Array | np.ndarray
    acs_BxL: jax.Array | np.ndarray


class OnChip(NamedTuple):
    """Integer networks as a model that takes (key, variation, layers).

    The model says how frames are unpacked and scores are read. Key and variation are None for a
    network without faults.
    """

    model: Any
    neurons: integers.IntegerNeurons
    following: Following | None = None

    def __call__(self, network: tuple, packed_BxTxP: jax.Array) -> IntegerOutcome:
        key, variation, layers = network
        frames = self.model.unpack(packed_BxTxP, jnp.int8)
        listed = [layer.connection for layer in layers]
        transmit: Transmit = intact
        if key is not None:
            shapes = variation_lib.spikes_of(listed, frames)
            transmit = variation_lib.faults(key, variation, shapes)
        factor_B = None if self.following is None else self.following.factor(frames)
        response, clipped_BxL = integers.response_of(
            layers, self.neurons, frames, transmit, factor_B
        )
        counts = operations.count(listed, frames, response.spikes)
        return IntegerOutcome(self.model.readout(response), clipped_BxL, counts.acs_BxL)


class Device(NamedTuple):
    """Devices as a model: (key, variation, connections, hyperparameters).

    Key and variation are None for the network itself.
    """

    model: Model
    following: Following | None = None

    def __call__(self, drawn: tuple, packed_BxTxP: jax.Array) -> swap.Both:
        key, variation, network, hyper = drawn
        frames = self.model.unpack(packed_BxTxP)
        layers = [(self.model.neuron, hyper.decay)] * len(network)
        if self.following is not None:
            (neuron, decay), *rest = layers
            (_, B, *shape), *_ = variation_lib.spikes_of(network, frames)
            factor = self.following.factor(frames).reshape(B, *[1] * len(shape))
            layers = [(neuron.scaled(factor), decay), *rest]
        if key is None:

            def respond(cell):
                cells = [cell(neuron, decay) for neuron, decay in layers]
                return connections.respond(network, cells, frames)
        else:
            respond = variation_lib.draw(key, variation, network, layers, frames)

        def soft(neuron, decay):
            return neuron.smooth(decay, hyper.slope_end)

        def hard(neuron, decay):
            return neuron.hard(decay)

        answers = (swap.read(self.model.readout, respond(cell)) for cell in (soft, hard))
        return swap.Both(*answers)


def operations_of(tried: Any, packed_BxTxP: jax.Array) -> operations.Counts:
    """The operations of one hard network, as a model for ``swap.answer``."""
    network, frames = tried.connections(), tried.model.unpack(packed_BxTxP)
    layers = tried.layers()
    response = connections.respond(network, connections.hard(layers), frames)
    return operations.count(network, frames, response.spikes, [neuron for neuron, _ in layers])


def count(tried: Any, frames: packing.Frames) -> list[dict]:
    """Operations of each run's hard network; see :func:`sast_jax.hardware.operations.report`.

    Args:
      tried: a :class:`sast_jax.training.trained.Trained`, or a
        :class:`sast_jax.hardware.graphs.network.GraphNetwork`, with a leading run axis.
      frames: the recordings.

    All windows of a recording give its answer together, so it costs what all of them cost.
    """
    packed = frames.packed_NxTxP
    windows = len(packed) // len(frames.truth_M)
    counts_R = swap.answer(operations_of, tried, packed)
    # Operations and spikes add up over windows; the neurons are the same ones in each.
    neurons_RxMxL = frames.vote(counts_R.neurons_BxL)
    counts_R = operations.Counts(*map(frames.total, counts_R))._replace(neurons_BxL=neurons_RxMxL)
    steps = windows * packed.shape[1]
    reports = []
    for r in range(len(counts_R.acs_BxL)):
        one, counts = jax.tree.map(lambda leaf, r=r: leaf[r], (tried, counts_R))
        shape = tried.model.frame_shape
        neurons = [neuron for neuron, _ in one.layers()]
        reports.append(operations.report(one.connections(), counts, shape, steps, neurons))
    return reports
