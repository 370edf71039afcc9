"""What is measured of trained networks: the swap, operations, conditions, corruptions."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments import setup
from sast_jax import evaluation, hardware, results, tables, trials
from sast_jax.data import packing, sources
from sast_jax.errors import InputError
from sast_jax.training import Hyperparameters, Recipe


def benches(
    recipe: Recipe,
    params_R: Any,
    hyper_R: Hyperparameters,
    train: packing.Frames | None,
    config: ConfigDict,
) -> list[trials.Bench | None]:
    """The trained networks of R runs, to be tried.

    Args:
      recipe, params_R, hyper_R: of the runs.
      train: what they were trained on, to calibrate scales with; None to do without.
      config: whose ``hardware`` counts.
    """
    return trials.benches(recipe, params_R, hyper_R, setup.chip(config), few(train, config))


def measure(
    recipe: Recipe,
    params_R: Any,
    hyper_R: Hyperparameters,
    benches_R: Sequence[trials.Bench | None],
    frames: packing.Frames,
    config: ConfigDict,
) -> list[dict]:
    """What ``results.json`` says of each run's networks on the recordings of a split.

    Args:
      recipe, params_R, hyper_R: of R runs.
      benches_R: of the same.
      frames: to measure on.
      config: whose ``hardware`` counts.

    Returns:
      For each run the keys of :func:`sast_jax.evaluation.evaluate`, and ``synops`` (effective
      synaptic operations per recording), ``operations`` (:func:`sast_jax.operations.report`),
      ``hardware`` (:func:`sast_jax.trials.trials`).
    """
    measured = evaluation.evaluate(recipe, params_R, hyper_R, frames)
    counted = hardware.count(recipe, params_R, hyper_R, frames)
    tried = trials.trials(benches_R, frames, setup.conditions(config))
    for entry, operations, rows in zip(measured, counted, tried, strict=True):
        if entry["hard_accuracy"] is None:
            operations = None
        synops = operations and operations["effective_acs"] + operations["effective_macs"]
        entry |= {"synops": synops, "operations": operations, "hardware": rows}
    return measured


def corrupted(
    benches_R: Sequence[trials.Bench | None],
    recorded: sources.Recorded,
    config: ConfigDict,
    indices: np.ndarray | slice = slice(None),
) -> list[dict]:
    """What ``results.json`` says of each run's networks on corrupted recordings.

    Args:
      benches_R: of R runs.
      recorded: the recordings.
      config: whose ``corruptions`` count.
      indices: which of the recordings.

    Returns:
      For each run ``corruptions`` (:func:`sast_jax.trials.corruptions`), and for all three kinds of
      network their mean, such as ``hard_corruption_accuracy``; nothing where none is asked for.
    """
    given = config.corruptions
    made = recorded.corrupted(setup.corruptions(config), given.severities, given.seed)
    chosen = ((kind, severity, frames.take(indices)) for kind, severity, frames in made)
    return [
        {"corruptions": rows}
        | {
            f"{network}_corruption_accuracy": _mean(row[f"{network}_accuracy"] for row in rows)
            for network in results.NETWORKS
        }
        for rows in trials.corruptions(benches_R, chosen)
    ]


def _mean(values: Iterable[float | None]) -> float | None:
    values = list(values)
    return float(np.mean(values)) if values and None not in values else None


def few(train: packing.Frames | None, config: ConfigDict) -> packing.Frames | None:
    """The training recordings that scales are calibrated with."""
    count = config.hardware.calibration
    return train.spread(count) if train is not None and count else None


def show(done: dict) -> None:
    """Prints what ``results.json`` holds."""
    for text in (tables.runs(done), tables.hardware(done), tables.corruptions(done)):
        if text:
            print(text)
    for line in results.remarks(done["runs"]):
        print(f"note: {line}")


def raise_failure(runs: list[dict], workdir: Any) -> None:
    """Raises InputError where a chip's formats could not hold a network; all else is written."""
    for row in (row for run in runs for row in [*run["hardware"], *run["corruptions"]]):
        if "error" in row:
            raise InputError(
                f"{row['condition']}: {row['error']}. All else is measured; try other formats with "
                f"'python -m experiments.evaluate --checkpoint={workdir} --hardware.KEY=VALUE'"
            )
