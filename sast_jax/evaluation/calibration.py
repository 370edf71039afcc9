"""Calibration after training, on recordings held out from it: thresholds and temperatures.

The threshold of each layer is scaled for the best hard accuracy. For LIF and synaptic neurons,
dividing the weights and biases of the layer by that factor would have the same effect, so there is
no gain to choose as well.
Temperatures divide class scores; see :mod:`sast_jax.evaluation.confidence`.

Reference: Li et al., A Free Lunch From ANN, ICML 2021, arXiv 2106.06984, who choose thresholds for
networks converted from other neurons, layer by layer.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data import packing
from sast_jax.evaluation import confidence, intervals, swap
from sast_jax.snn import connections
from sast_jax.training.trained import Trained

FACTORS = tuple(float(f) for f in np.geomspace(0.5, 2, 17))  # the middle one is 1
_SWEEPS = 2  # over the layers: the best factor of one depends on those of the others


def scaled(network: tuple[Trained, jax.Array], packed_BxTxP: jax.Array) -> swap.Outcome:
    """Hard networks with a factor on each layer's threshold, as a model for ``swap.answer``."""
    trained, factors_L = network
    cells = [_cell(trained, factor) for factor in factors_L]
    frames = trained.model.unpack(packed_BxTxP)
    response = connections.respond(trained.connections(), cells, frames)
    return swap.read(trained.model.readout, response)


class Tried(NamedTuple):
    """Class scores with each of ``FACTORS`` on the threshold of one layer, for ``swap.answer``.

    The layers before it are computed once for all factors.

    Attributes:
      layer: the layer to try factors on; its own entry of ``factors_L`` has no influence.
    """

    layer: int

    def __call__(self, network: tuple[Trained, jax.Array], packed_BxTxP: jax.Array) -> jax.Array:
        """Scores (B, F, K)."""
        trained, factors_L = network
        listed, here = trained.connections(), self.layer
        spikes = trained.model.unpack(packed_BxTxP)
        cells = [_cell(trained, factor) for factor in factors_L]
        if here:
            spikes = connections.respond(listed[:here], cells[:here], spikes).spikes[-1]
        current = listed[here].sums(spikes)

        def scores(factor):
            from_here = [_cell(trained, factor), *cells[here + 1 :]]
            response = connections.respond_to(current, listed[here + 1 :], from_here)
            return trained.model.readout(response)

        return jnp.moveaxis(jax.lax.map(scores, jnp.array(FACTORS)), 0, 1)


def _cell(trained, factor):
    return trained.model.neuron.scaled(factor).hard(trained.hyper.decay)


def threshold_factors(trained: Trained, held_out: packing.Frames) -> np.ndarray:
    """Factors (L,) on the thresholds of one run's layers, among ``FACTORS``.

    The search passes over the layers twice. Each layer takes the factor with the most right
    answers, and of equal ones that nearest to 1. It starts with all factors at 1, so the accuracy
    on ``held_out`` does not fall.

    Args:
      trained: one run.
      held_out: recordings that it was not trained on, and that are not reported.
    """
    factors_L = np.ones(len(trained.connections()), np.float32)
    for layer in [*range(len(factors_L))] * _SWEEPS:
        one = jax.tree.map(lambda leaf: leaf[None], (trained, jnp.asarray(factors_L)))
        scores = swap.answer(Tried(layer), one, held_out.packed_NxTxP)
        answers_MxF = held_out.vote(scores)[0].argmax(axis=-1)
        hits_F = (answers_MxF == held_out.truth_M[:, None]).sum(axis=0)
        best = np.flatnonzero(hits_F == hits_F.max())
        # Nearest by ratio: 0.5 is as far from 1 as 2 is.
        factors_L[layer] = FACTORS[best[np.abs(np.log(FACTORS)[best]).argmin()]]
    return factors_L


def after_training(trained: Trained, held_out: packing.Frames, test: packing.Frames) -> list[dict]:
    """Chooses thresholds and temperatures on held-out recordings, and measures them on others.

    Returns:
      For each run ``threshold_factors`` (by layer), ``calibrated_hard_accuracy`` and its Wilson
      interval ``_ci95``; and for both ``soft_`` and ``hard_``: ``temperature``, ``ece_scaled`` and
      ``nll_scaled`` with that temperature. All are None for a run with scores that are not finite.
    """
    entries = []
    for r, sound in enumerate(trained.finite()):
        one = trained[r : r + 1]

        def scores(model, frames, networks_R=one):
            answers = swap.answer(model, networks_R, frames.packed_NxTxP)
            return frames.vote(answers.scores_BxK)[0]

        entry: dict = {}
        for prefix, model in (("soft_", swap.soft), ("hard_", swap.hard)):
            entry |= _scaled(prefix, scores(model, held_out), scores(model, test), held_out, test)
        keys = ("threshold_factors", "calibrated_hard_accuracy", "calibrated_hard_accuracy_ci95")
        if not sound:
            entries.append(dict.fromkeys([*keys, *entry]))
            continue
        factors_L = threshold_factors(trained[r], held_out)
        with_factors = one, jnp.asarray(factors_L)[None]
        answers_M = scores(scaled, test, with_factors).argmax(axis=-1)
        hits, size = int((answers_M == test.truth_M).sum()), len(test.truth_M)
        found = factors_L.tolist(), hits / size, intervals.wilson(hits, size)
        entries.append(dict(zip(keys, found, strict=True)) | entry)
    return entries


def _scaled(prefix, held_out_MxK, test_MxK, held_out, test) -> dict:
    keys = [f"{prefix}{key}" for key in ("temperature", "ece_scaled", "nll_scaled")]
    if not (np.isfinite(held_out_MxK).all() and np.isfinite(test_MxK).all()):
        return dict.fromkeys(keys)
    temperature = confidence.temperature(held_out_MxK, held_out.truth_M)
    measured = confidence.calibration_of(test_MxK / temperature, test.truth_M)
    return dict(zip(keys, (temperature, measured["ece"], measured["nll"]), strict=True))
