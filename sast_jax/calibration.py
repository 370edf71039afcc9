"""What can be done after training, on recordings held out from it: thresholds and temperatures.

The threshold of each layer is scaled for the best hard accuracy. As spikes are binary, dividing the
weights and biases of a layer by the same factor would be the same, so there is no gain to choose
besides. Temperatures divide class scores; see :mod:`sast_jax.confidence`.

Choosing thresholds for a network that was trained with other neurons: Li et al., A Free Lunch From
ANN, ICML 2021, arXiv 2106.06984, who do so for converted networks, layer by layer.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax import confidence, connections, evaluation, intervals, sweeps
from sast_jax.data import packing
from sast_jax.spikes import heaviside
from sast_jax.training import Hyperparameters, Recipe

FACTORS = tuple(float(f) for f in np.geomspace(0.5, 2, 17))
_SWEEPS = 2  # over the layers


class Scaled(NamedTuple):
    """Hard networks with a factor on each layer's threshold, as a model for ``respond``."""

    recipe: Recipe

    def __call__(self, network: tuple, packed_BxTxP: jax.Array) -> evaluation.Outcome:
        params, hyper, factors_L = network
        frames = packing.time_first(packed_BxTxP, self.recipe.frame_shape)
        cells = [_cell(self.recipe, hyper, factor) for factor in factors_L]
        response = connections.respond(connections.connections(params), cells, frames)
        return evaluation.outcome(self.recipe.readout, response)


class Tried(NamedTuple):
    """The same with each of ``FACTORS`` for one layer; what is before it is computed once.

    Attributes:
      recipe: of the network.
      layer: whose factor is tried; that of ``factors_L`` does not count.
    """

    recipe: Recipe
    layer: int

    def __call__(self, network: tuple, packed_BxTxP: jax.Array) -> jax.Array:
        """Scores (B, F, K)."""
        params, hyper, factors_L = network
        listed, here = connections.connections(params), self.layer
        spikes = packing.time_first(packed_BxTxP, self.recipe.frame_shape)
        cells = [_cell(self.recipe, hyper, factor) for factor in factors_L]
        if here:
            spikes = connections.respond(listed[:here], cells[:here], spikes).spikes[-1]
        current = connections.sums(listed[here], spikes)

        def scores(factor):
            from_here = [_cell(self.recipe, hyper, factor), *cells[here + 1 :]]
            response = connections.respond_to(current, listed[here + 1 :], from_here)
            return self.recipe.readout(response)

        return jnp.moveaxis(jax.lax.map(scores, jnp.array(FACTORS)), 0, 1)


def _cell(recipe, hyper, factor):
    return recipe.cell(hyper.decay, recipe.threshold * factor, heaviside)


def threshold_factors(
    recipe: Recipe, params: Any, hyper: Hyperparameters, held_out: packing.Frames
) -> np.ndarray:
    """Factors (L,) on the thresholds of one run's layers, among ``FACTORS``.

    Layer by layer, twice over: the factor with the most right answers, among equals the one next to
    1. All 1 is where the search starts, so the accuracy on ``held_out`` does not fall.

    Args:
      recipe, params, hyper: of the run.
      held_out: recordings that it was not trained on, and that are not reported.
    """
    factors_L = np.ones(len(connections.connections(params)), np.float32)
    for layer in [*range(len(factors_L))] * _SWEEPS:
        one = jax.tree.map(lambda leaf: leaf[None], (params, hyper, jnp.asarray(factors_L)))
        scores = evaluation.respond(Tried(recipe, layer), one, held_out.packed_NxTxP)
        answers_MxF = held_out.vote(scores)[0].argmax(axis=-1)
        hits_F = (answers_MxF == held_out.truth_M[:, None]).sum(axis=0)
        best = np.flatnonzero(hits_F == hits_F.max())
        factors_L[layer] = FACTORS[best[np.abs(np.log(FACTORS)[best]).argmin()]]
    return factors_L


def after_training(
    recipe: Recipe,
    params_R: Any,
    hyper_R: Hyperparameters,
    held_out: packing.Frames,
    test: packing.Frames,
) -> list[dict]:
    """Chooses on held-out recordings, and measures on others.

    Returns:
      For each run ``threshold_factors`` (by layer), ``calibrated_hard_accuracy`` and its Wilson
      interval ``_ci95``; and for both ``soft_`` and ``hard_``: ``temperature``, ``ece_scaled`` and
      ``nll_scaled`` with that temperature. All None for a run whose scores are not finite.
    """
    entries = []
    for r, sound in enumerate(sweeps.finite(params_R)):
        params, hyper = jax.tree.map(lambda leaf, r=r: leaf[r], (params_R, hyper_R))
        one = jax.tree.map(lambda leaf: leaf[None], (params, hyper))

        def scores(model, frames, *more, one=one):
            answers = evaluation.respond(model, (*one, *more), frames.packed_NxTxP)
            return frames.vote(answers.scores_BxK)[0]

        entry = {}
        for prefix, cell in (("soft_", Recipe.soft_cell), ("hard_", Recipe.hard_cell)):
            model = evaluation.Swap(recipe, cell)
            entry |= _scaled(prefix, scores(model, held_out), scores(model, test), held_out, test)
        keys = ("threshold_factors", "calibrated_hard_accuracy", "calibrated_hard_accuracy_ci95")
        if not sound:
            entries.append(dict.fromkeys([*keys, *entry]))
            continue
        factors_L = threshold_factors(recipe, params, hyper, held_out)
        answers_M = scores(Scaled(recipe), test, jnp.asarray(factors_L)[None]).argmax(axis=-1)
        hits, size = int((answers_M == test.truth_M).sum()), len(test.truth_M)
        found = factors_L.tolist(), hits / size, intervals.wilson(hits, size)
        entries.append(dict(zip(keys, found, strict=True)) | entry)
    return entries


def _scaled(prefix, held_out_MxK, test_MxK, held_out, test) -> dict:
    keys = [f"{prefix}{key}" for key in ("temperature", "ece_scaled", "nll_scaled")]
    if not (np.isfinite(held_out_MxK).all() and np.isfinite(test_MxK).all()):
        return dict.fromkeys(keys)
    temperature = confidence.temperature(held_out_MxK, held_out.truth_M)
    measured = confidence.measure(test_MxK / temperature, test.truth_M)
    return dict(zip(keys, (temperature, measured["ece"], measured["nll"]), strict=True))
