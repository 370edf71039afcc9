"""Trained networks under the conditions of hardware: word widths, mismatch, faults."""

import dataclasses
import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax import chips, connections, evaluation, intervals
from sast_jax.chips import Chip
from sast_jax.connections import Connection
from sast_jax.data import packing
from sast_jax.errors import InputError
from sast_jax.hardware import Device, OnChip
from sast_jax.training import Hyperparameters, Recipe
from sast_jax.variation import Variation

FAULTS = ("dead", "dropped", "spurious")  # which integer networks suffer as well
NAMES = {  # of a condition, before its level
    "weight_bits": "INT",
    "weights": "weight mismatch ",
    "thresholds": "threshold mismatch ",
    "leaks": "leak mismatch ",
    "dead": "dead neurons ",
    "dropped": "dropped spikes ",
    "spurious": "spurious spikes ",
}


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What networks are tried under.

    Attributes:
      chip: number formats; faults meet the integer network of just these.
      weight_bits: word widths of weights to try.
      variations: fields of :class:`sast_jax.variation.Variation` and levels of them, one at a time.
      draws: devices of each level.
    """

    chip: Chip
    weight_bits: tuple[int, ...] = (8, 4, 3, 2)
    variations: tuple[tuple[str, float], ...] = ()
    draws: int = 5


def trials(
    recipe: Recipe,
    params_R: Any,
    hyper_R: Hyperparameters,
    frames: packing.Frames,
    calibration: packing.Frames | None,
    conditions: Conditions,
) -> list[list[dict]]:
    """Accuracy of trained networks under each condition, with soft and hard spikes and in integers.

    A word width rounds the weights; the integer network has the chip's membrane and leak as well.
    Variations draw devices, the same for all levels and radii of a seed and others for the next;
    spikes are lost and added alike in batches of :func:`sast_jax.evaluation.respond`. Integer
    networks meet faults only, as their weights, thresholds and leaks are numbers.

    Args:
      recipe, params_R, hyper_R: of R runs.
      frames: to measure on.
      calibration: to choose scales on, none of them of a test split; None counts every input alike.
      conditions: what to try.

    Returns:
      For each run a list of rows: ``condition`` (its name), ``kind``, ``level``;
      ``soft_accuracy``, ``hard_accuracy``, ``integer_accuracy`` (fractions, None where there is no
      such network) and the same with ``_ci95`` (Wilson's over recordings for a width, Student's
      over draws for a variation). With an integer network also ``clipped`` (share of the potentials
      that the word's range changed, by layer) and ``synops`` (effective operations per recording),
      for a width ``weight_bytes`` (weights, and biases of 32 bits); and ``error``, which says why
      there is none, where the chip's formats cannot hold it. A run whose weights are not finite has
      no rows.
    """
    packed, labels_N = jnp.asarray(frames.packed_NxTxP), frames.labels_N
    if not (conditions.weight_bits or conditions.variations):
        return [[] for _ in hyper_R.seed]
    rows_R = []
    for r in range(len(hyper_R.seed)):
        params, hyper = jax.tree.map(operator.itemgetter(r), (params_R, hyper_R))
        if all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params)):
            bench = _Bench(recipe, connections.connections(params), hyper, packed, labels_N)
            rows_R.append(bench.rows(calibration, conditions))
        else:
            rows_R.append([])
    return rows_R


@dataclasses.dataclass(frozen=True)
class _Bench:
    """One network and the recordings that it is tried on."""

    recipe: Recipe
    network: list[Connection]
    hyper: Hyperparameters
    packed_NxTxP: jax.Array
    labels_N: np.ndarray

    def rows(self, calibration, conditions) -> list[dict]:
        chip = conditions.chip
        grams = chips.grams(self.recipe, self.network, self.hyper, chip, calibration)

        @functools.cache
        def on(bits):
            narrow = dataclasses.replace(chip, weight_bits=bits)
            return narrow, chips.kernels(self.network, narrow, grams)

        rows = [self._width(*on(bits)) for bits in conditions.weight_bits]
        key = jax.random.fold_in(jax.random.key(0), self.hyper.seed)
        keys_D = jax.random.split(key, conditions.draws)
        for kind, level in conditions.variations:
            rows.append(self._variation(kind, level, keys_D, *on(chip.weight_bits)))
        return rows

    def _width(self, chip, kernels) -> dict:
        rounded = chips.rounded(self.network, kernels)
        answers = self._respond(Device(self.recipe), (None, None), rounded, self.hyper)._asdict()
        row, size = _row("weight_bits", chip.weight_bits), len(self.labels_N)
        answers |= self._integer(row, (None, None), chip, kernels)
        for name, answer in answers.items():
            (hits,) = self._hits(answer)
            row[f"{name}_accuracy"] = hits / size
            row[f"{name}_accuracy_ci95"] = intervals.wilson(hits, size)
        weights = sum(connection.kernel.size for connection in self.network)
        biases = sum(connection.bias.size for connection in self.network)
        row["weight_bytes"] = weights * chip.weight_bits / 8 + 4 * biases
        return row

    def _variation(self, kind, level, keys_D, chip, kernels) -> dict:
        devices = keys_D, Variation(**{kind: level})
        answers = self._respond(Device(self.recipe), devices, self.network, self.hyper)._asdict()
        row = _row(kind, level)
        if kind in FAULTS:
            answers |= self._integer(row, devices, chip, kernels)
        for name, answer in answers.items():
            mean, interval = intervals.student([h / len(self.labels_N) for h in self._hits(answer)])
            row[f"{name}_accuracy"] = mean
            row[f"{name}_accuracy_ci95"] = intervals.within(interval, 0.0, 1.0)
        return row

    def _integer(self, row, devices, chip, kernels) -> dict:
        try:
            neurons, layers = chips.to_integers(
                self.recipe, self.network, self.hyper, chip, kernels
            )
        except InputError as error:
            row["error"] = str(error)
            return {}
        answer = self._respond(OnChip(self.recipe, neurons), devices, layers)
        row["clipped"] = answer.clipped_BxL.mean(axis=(0, 1), dtype=np.float64).tolist()
        row["synops"] = float(answer.acs_BxL.sum(axis=-1).mean(dtype=np.float64))
        return {"integer": answer}

    def _respond(self, model, devices, *network):
        keys_D, variation = devices
        draws = 1 if keys_D is None else len(keys_D)
        shared = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (draws, *jnp.shape(leaf))), (variation, *network)
        )
        return evaluation.respond(model, (keys_D, *shared), self.packed_NxTxP)

    def _hits(self, answer) -> list[int]:
        return (answer.scores_BxK.argmax(axis=-1) == self.labels_N).sum(axis=-1).tolist()


def _row(kind, level) -> dict:
    return {
        "condition": f"{NAMES[kind]}{level:g}",
        "kind": kind,
        "level": level,
        "soft_accuracy": None,
        "hard_accuracy": None,
        "integer_accuracy": None,
        "integer_accuracy_ci95": None,
    }
