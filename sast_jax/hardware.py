"""Networks on hardware as models for :func:`sast_jax.evaluation.respond`."""

import functools
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sast_jax import connections, evaluation, integers, operations
from sast_jax import variation as variation_lib
from sast_jax.connections import Connection, intact
from sast_jax.data import packing
from sast_jax.spikes import heaviside
from sast_jax.training import Hyperparameters, Recipe


class IntegerOutcome(NamedTuple):
    """What integer networks answer.

    Attributes:
      scores_BxK: class scores.
      clipped_BxL: share of the potentials of each layer that the word's range changed.
      acs_BxL: effective synaptic operations, all of them accumulates.
    """

    scores_BxK: jax.Array
    clipped_BxL: jax.Array
    acs_BxL: jax.Array


class OnChip(NamedTuple):
    """Integer networks as a model: (key, variation, layers); None for no key and no faults."""

    recipe: Recipe
    neurons: integers.Neurons

    def __call__(self, network: tuple, packed_BxTxP: jax.Array) -> IntegerOutcome:
        key, variation, layers = network
        frames = packing.time_first(packed_BxTxP, self.recipe.frame_shape, jnp.int8)
        listed = [Connection(layer.kernel, layer.bias) for layer in layers]
        transmit = intact
        if key is not None:
            transmit = variation_lib.faults(key, variation, connections.shapes(listed, frames))
        response, clipped_BxL = integers.respond(layers, self.neurons, frames, transmit)
        counts = operations.count(listed, frames, response.spikes)
        return IntegerOutcome(self.recipe.readout(response), clipped_BxL, counts.acs_BxL)


class Device(NamedTuple):
    """Devices as a model: (key, variation, connections, hyperparameters).

    Key and variation are None for the network itself.
    """

    recipe: Recipe

    def __call__(self, drawn: tuple, packed_BxTxP: jax.Array) -> evaluation.Both:
        key, variation, network, hyper = drawn
        frames = packing.time_first(packed_BxTxP, self.recipe.frame_shape)
        neuron = hyper.decay, self.recipe.threshold
        if key is None:

            def respond(cell):
                return connections.respond(network, [cell(*neuron)] * len(network), frames)
        else:
            respond = variation_lib.draw(key, variation, network, *neuron, frames)

        def answer(spike):
            response = respond(functools.partial(self.recipe.cell, spike=spike))
            return evaluation.outcome(self.recipe.readout, response)

        return evaluation.Both(answer(self.recipe.spike(hyper.slope_end)), answer(heaviside))


class Operations(NamedTuple):
    """The hard network's operations as a model: (parameters, hyperparameters)."""

    recipe: Recipe

    def __call__(self, network: tuple, packed_BxTxP: jax.Array) -> operations.Counts:
        params, hyper = network
        listed = connections.connections(params)
        frames = packing.time_first(packed_BxTxP, self.recipe.frame_shape)
        cells = [self.recipe.hard_cell(hyper)] * len(listed)
        return operations.count(listed, frames, connections.respond(listed, cells, frames).spikes)


def count(
    recipe: Recipe, params_R: Any, hyper_R: Hyperparameters, frames: packing.Frames
) -> list[dict]:
    """Operations of each run's hard network; see :func:`sast_jax.operations.report`.

    A recording costs what all of its windows cost, as all of them answer.
    """
    packed = frames.packed_NxTxP
    windows = len(packed) // len(frames.truth_M)
    counts_R = evaluation.respond(Operations(recipe), (params_R, hyper_R), packed)
    neurons_RxMxL = frames.vote(counts_R.neurons_BxL)
    counts_R = operations.Counts(*map(frames.total, counts_R))._replace(neurons_BxL=neurons_RxMxL)
    steps = windows * packed.shape[1]
    reports = []
    for r in range(len(hyper_R.seed)):
        params, counts = jax.tree.map(operator.itemgetter(r), (params_R, counts_R))
        listed = connections.connections(params)
        reports.append(operations.report(listed, counts, recipe.frame_shape, steps))
    return reports
