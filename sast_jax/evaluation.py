"""Soft and hard accuracy, firing rates and confusion of trained networks, with intervals.

The swap: the same parameters run once with the smooth spike they were trained with and once with a
threshold, and nothing else changes. The transfer gap is soft minus hard accuracy.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax import intervals, lif, networks
from sast_jax.data import packing
from sast_jax.networks import Response
from sast_jax.training import Hyperparameters, Recipe


class Outcome(NamedTuple):
    """What R networks answered on N recordings.

    Attributes:
      scores_RxNxK: class scores; the prediction is their argmax, the lowest class at a tie.
      rates_RxNxL: mean spike of each layer over steps and neurons.
    """

    scores_RxNxK: np.ndarray
    rates_RxNxL: np.ndarray


def respond(
    recipe: Recipe,
    cell: Callable[[Recipe, Hyperparameters], lif.Cell],
    params_R: Any,
    hyper_R: Hyperparameters,
    packed_NxTxP: jax.Array,
    batch_size: int = 128,
) -> Outcome:
    """Runs R networks on recordings, never augmented.

    Args:
      recipe: what the runs share.
      cell: ``Recipe.soft_cell`` or ``Recipe.hard_cell``.
      params_R: parameters with a leading run axis.
      hyper_R: what differs between the runs.
      packed_NxTxP: the recordings; see :class:`sast_jax.data.packing.Frames`.
      batch_size: recordings at a time.
    """
    N = len(packed_NxTxP)
    batch_size = min(batch_size, N)
    starts = jnp.minimum(jnp.arange(0, N, batch_size), N - batch_size)  # the last one overlaps
    scores_RxSxBxK, rates_RxSxBxL = _respond(
        recipe, cell, batch_size, params_R, hyper_R, packed_NxTxP, starts
    )

    def whole(x_RxSxBxD):
        out = np.empty((x_RxSxBxD.shape[0], N, x_RxSxBxD.shape[-1]), np.float32)
        for i, start in enumerate(np.asarray(starts)):
            out[:, start : start + batch_size] = x_RxSxBxD[:, i]
        return out

    return Outcome(whole(scores_RxSxBxK), whole(rates_RxSxBxL))


def apply(recipe: Recipe, params: Any, cell: lif.Cell, packed_BxTxP: jax.Array) -> Response:
    """What one network does with packed recordings."""
    frames = packing.unpack(jnp.moveaxis(packed_BxTxP, 1, 0), recipe.frame_shape)
    return recipe.network.apply({"params": params}, frames.astype(jnp.float32), cell)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _respond(recipe, cell, batch_size, params_R, hyper_R, packed_NxTxP, starts):
    def one_run(args):
        params, hyper = args

        def one_batch(start):
            packed_BxTxP = jax.lax.dynamic_slice_in_dim(packed_NxTxP, start, batch_size)
            response = apply(recipe, params, cell(recipe, hyper), packed_BxTxP)
            return recipe.readout(response), networks.firing_rates(response)

        return jax.lax.map(one_batch, starts)

    return jax.lax.map(one_run, (params_R, hyper_R))


def evaluate(
    recipe: Recipe, params_R: Any, hyper_R: Hyperparameters, frames: packing.Frames
) -> list[dict]:
    """Soft and hard (swap-only) results of each run on the same recordings, as plain numbers.

    Returns:
      For each run: ``recordings`` (their number), ``transfer_gap`` (soft minus hard accuracy), and
      for both ``soft_`` and ``hard_``: ``accuracy`` (fraction), ``accuracy_ci95`` (its Wilson
      interval), ``rate`` (mean spike over all layers, each layer counting the same), ``rates`` (by
      layer), ``ties`` and ``silent`` (fractions of the recordings whose highest score is shared,
      and whose output layer never spikes), ``confusion`` (counts, true class by predicted class).
    """
    packed_NxTxP = jnp.asarray(frames.packed_NxTxP)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params_R)]
    sound_R = np.all([[np.isfinite(w).all() for w in leaf] for leaf in leaves], axis=0)
    runs = [{"recordings": len(frames.labels_N)} for _ in hyper_R.seed]
    for prefix, cell in (("soft_", Recipe.soft_cell), ("hard_", Recipe.hard_cell)):
        outcome = respond(recipe, cell, params_R, hyper_R, packed_NxTxP)
        # A threshold makes silence of NaN, which must not pass for an answer.
        outcome.scores_RxNxK[~sound_R] = np.nan
        for run, scores_NxK, rates_NxL in zip(runs, *outcome, strict=True):
            measured = measure(scores_NxK, rates_NxL, frames.labels_N)
            run |= {prefix + key: value for key, value in measured.items()}
    for run in runs:
        sound = None not in (run["soft_accuracy"], run["hard_accuracy"])
        run["transfer_gap"] = run["soft_accuracy"] - run["hard_accuracy"] if sound else None
    return runs


def measure(scores_NxK: np.ndarray, rates_NxL: np.ndarray, labels_N: np.ndarray) -> dict:
    """What :func:`evaluate` says of one run and one spike function.

    All of it is None for a network whose scores are not finite.
    """
    if not np.isfinite(scores_NxK).all():
        nothing = dict.fromkeys(("accuracy", "accuracy_ci95", "rate", "ties", "silent"))
        return nothing | {"rates": [None] * rates_NxL.shape[-1], "confusion": None}
    classes = scores_NxK.shape[-1]
    predicted_N = scores_NxK.argmax(axis=-1)
    tied_N = (scores_NxK == scores_NxK.max(axis=-1, keepdims=True)).sum(axis=-1) > 1
    confusion_KxK = np.zeros((classes, classes), int)
    np.add.at(confusion_KxK, (labels_N, predicted_N), 1)
    rates_L = rates_NxL.mean(axis=0, dtype=np.float64)
    hits = int((predicted_N == labels_N).sum())
    return {
        "accuracy": hits / len(labels_N),
        "accuracy_ci95": intervals.wilson(hits, len(labels_N)),
        "rate": float(rates_L.mean()),
        "rates": rates_L.tolist(),
        "ties": float(tied_N.mean()),
        "silent": float((rates_NxL[:, -1] == 0).mean()),
        "confusion": confusion_KxK.tolist(),
    }
