"""What is measured of trained networks: the swap, operations, the conditions of hardware."""

from typing import Any

from ml_collections import ConfigDict

from experiments import setup
from sast_jax import evaluation, hardware, results, tables, trials
from sast_jax.data import packing
from sast_jax.errors import InputError
from sast_jax.training import Hyperparameters, Recipe


def measure(
    recipe: Recipe,
    params_R: Any,
    hyper_R: Hyperparameters,
    frames: packing.Frames,
    train: packing.Frames | None,
    config: ConfigDict,
) -> list[dict]:
    """Everything that ``results.json`` says of each run's networks.

    Args:
      recipe, params_R, hyper_R: of R runs.
      frames: to measure on.
      train: what they were trained on, to calibrate scales with; None to do without.
      config: whose ``hardware`` counts.

    Returns:
      For each run the keys of :func:`sast_jax.evaluation.evaluate`, and ``synops`` (effective
      synaptic operations per recording), ``operations`` (:func:`sast_jax.operations.report`),
      ``hardware`` (:func:`sast_jax.trials.trials`).
    """
    measured = evaluation.evaluate(recipe, params_R, hyper_R, frames)
    counted = hardware.count(recipe, params_R, hyper_R, frames)
    calibration = few(train, config)
    conditions = setup.conditions(config)
    tried = trials.trials(recipe, params_R, hyper_R, frames, calibration, conditions)
    for entry, operations, rows in zip(measured, counted, tried, strict=True):
        if entry["hard_accuracy"] is None:
            operations = None
        synops = operations and operations["effective_acs"] + operations["effective_macs"]
        entry |= {"synops": synops, "operations": operations, "hardware": rows}
    return measured


def few(train: packing.Frames | None, config: ConfigDict) -> packing.Frames | None:
    """The training recordings that scales are calibrated with."""
    count = config.hardware.calibration
    return train.spread(count) if train is not None and count else None


def show(done: dict) -> None:
    """Prints what ``results.json`` holds."""
    for text in (tables.runs(done), tables.hardware(done)):
        if text:
            print(text)
    for line in results.remarks(done["runs"]):
        print(f"note: {line}")


def raise_failure(runs: list[dict], workdir: Any) -> None:
    """Raises InputError where a chip's formats could not hold a network; all else is written."""
    for row in (row for run in runs for row in run["hardware"]):
        if "error" in row:
            raise InputError(
                f"{row['condition']}: {row['error']}. All else is measured; try other formats with "
                f"'python -m experiments.evaluate --checkpoint={workdir} --hardware.KEY=VALUE'"
            )
