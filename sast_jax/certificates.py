"""How many recordings keep their answer under the swap, and how many of them provably."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sast_jax import connections, enclosures, evaluation, theory
from sast_jax.data import packing
from sast_jax.training import Hyperparameters, Recipe


class Certifier(NamedTuple):
    """A model for :func:`sast_jax.evaluation.respond`: certificates of the swap."""

    recipe: Recipe
    enclose: enclosures.Enclose

    def __call__(self, network, packed_BxTxP: jax.Array) -> enclosures.Certificate:
        params, hyper, slack = network
        return enclosures.certify(
            theory.neuron_of(self.recipe, hyper),
            connections.connections(params),
            self.recipe.readout,
            packing.time_first(packed_BxTxP, self.recipe.frame_shape),
            slack,
            self.enclose,
        )


SLACKS = (1e-5, 1e-3, 3e-3, 1e-2, 3e-2)  # of a current, in thresholds; the first for rounding


def of_swap(recipe: Recipe, params_R: Any, hyper_R: Hyperparameters, packed_NxTxP) -> list[dict]:
    """Of each run, how many recordings keep their answer under the swap, and how many provably.

    Returns:
      For each run ``agree`` (share whose soft and hard answer are the same), ``margins`` (share
      certified from the distances to the threshold, with the first slack), ``changeable`` (share of
      the spikes that these cannot exclude to change, by layer), ``changed`` (that do), and
      ``devices`` (share certified for all devices within each of ``SLACKS``).
    """
    threshold, R = recipe.threshold, len(hyper_R.seed)

    def certified(enclose, slack):
        slack_R = jnp.full(R, slack * threshold)
        model = Certifier(recipe, enclose)
        return evaluation.respond(model, (params_R, hyper_R, slack_R), packed_NxTxP)

    answers = [
        evaluation.respond(evaluation.Swap(recipe, cell), (params_R, hyper_R), packed_NxTxP)
        for cell in (Recipe.soft_cell, Recipe.hard_cell)
    ]
    soft, hard = (answer.scores_BxK.argmax(axis=-1) for answer in answers)
    margins = certified(enclosures.by_margins, SLACKS[0])
    signs = [certified(enclosures.by_signs, slack) for slack in SLACKS]
    return [
        {
            "recordings": len(packed_NxTxP),
            "agree": float((soft[r] == hard[r]).mean()),
            "margins": float(margins.agrees_B[r].mean()),
            "changeable": margins.changeable_BxL[r].mean(axis=0).tolist(),
            "changed": signs[0].changeable_BxL[r].mean(axis=0).tolist(),
            "devices": [float(found.agrees_B[r].mean()) for found in signs],
        }
        for r in range(R)
    ]
