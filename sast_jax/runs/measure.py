"""Measures trained networks: the swap, operations, conditions of hardware, corruptions."""

from collections.abc import Iterable, Sequence

import numpy as np

from sast_jax.data import packing
from sast_jax.data.sets import loading
from sast_jax.errors import InputError
from sast_jax.evaluation import swap
from sast_jax.hardware import bench, models
from sast_jax.hardware.following import Following
from sast_jax.reports import results, tables
from sast_jax.runs import build
from sast_jax.runs.groups import kinds_of
from sast_jax.runs.settings import Settings
from sast_jax.training.trained import Trained


def benches(
    trained: Trained, train: packing.Frames | None, settings: Settings
) -> list[bench.Bench | None]:
    """A bench for each of R runs; see :func:`sast_jax.hardware.bench.benches`.

    Args:
      trained: R runs.
      train: the recordings they were trained on, to calibrate scales; None for no calibration.
      settings: of the runs; ``hardware`` is used.

    Raises:
      InputError: thresholds are to follow events, and there are no such recordings.
    """
    following, exponent = None, settings.hardware.follow
    if exponent:
        if train is None:
            raise InputError(
                f"hardware.follow={exponent:g} needs the recordings that the run was trained on; "
                "set it to 0"
            )
        following = Following.of(exponent, train)
    return bench.benches(trained, build.chip(settings), few(train, settings), following)


def measure(
    trained: Trained,
    benches_R: Sequence[bench.Bench | None],
    frames: packing.Frames,
    settings: Settings,
) -> list[dict]:
    """The entries of ``results.json`` for each run, measured on the recordings of a split.

    Args:
      trained: R runs.
      benches_R: of the same runs.
      frames: to measure on.
      settings: of the runs; ``hardware`` is used.

    Returns:
      For each run the keys of :func:`sast_jax.evaluation.swap.soft_and_hard`, and ``synops``
      (effective synaptic operations per recording), ``operations``
      (:func:`sast_jax.hardware.operations.report`), ``hardware``
      (:func:`sast_jax.hardware.bench.trials`).
    """
    measured = swap.soft_and_hard(trained, frames)
    counted = models.count(trained, frames)
    tried = bench.trials(benches_R, frames, build.conditions(settings))
    for entry, operations, rows in zip(measured, counted, tried, strict=True):
        known = None if entry["hard_accuracy"] is None else operations
        synops = known and known["effective_acs"] + known["effective_macs"]
        entry |= {"synops": synops, "operations": known, "hardware": rows}
    return measured


def recorded(source: loading.Source, split: str, settings: Settings) -> loading.Recorded | None:
    """Where the frames of a split came from; None if nothing is corrupted.

    Raises:
      InputError: recordings are to be corrupted, and the data set does not tell.
    """
    if not kinds_of(settings.corruptions.kinds):
        return None
    if split not in source.recorded:
        raise InputError(
            f"{source.name}: Source.recorded has no {split!r}, which corruptions need; add it, or "
            "take --config.corruptions.kinds="
        )
    return source.recorded[split]


def corrupted(
    benches_R: Sequence[bench.Bench | None],
    recorded: loading.Recorded | None,
    settings: Settings,
    indices: np.ndarray | slice = slice(None),
) -> list[dict]:
    """The entries of ``results.json`` for each run, measured on corrupted recordings.

    Args:
      benches_R: of R runs.
      recorded: from :func:`recorded`.
      settings: of the runs; ``corruptions`` is used.
      indices: of the recordings to take.

    Returns:
      For each run ``corruptions`` (:func:`sast_jax.hardware.bench.corruptions`), and their mean for
      each kind of network, such as ``hard_corruption_accuracy``: None if nothing is corrupted.
    """
    given = settings.corruptions
    kinds = kinds_of(given.kinds)
    made = recorded.corrupted(kinds, given.severities, given.seed) if recorded else ()
    chosen = ((kind, severity, frames.take(indices)) for kind, severity, frames in made)
    return [
        {"corruptions": rows}
        | {
            f"{network}_corruption_accuracy": _mean(row[f"{network}_accuracy"] for row in rows)
            for network in results.NETWORKS
        }
        for rows in bench.corruptions(benches_R, chosen)
    ]


def _mean(values: Iterable[float | None]) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known and len(known) == len(found) else None


def few(train: packing.Frames | None, settings: Settings) -> packing.Frames | None:
    """The training recordings that scales are calibrated with."""
    count = settings.hardware.calibration
    return train.spread(count) if train is not None and count else None


def show(done: dict) -> None:
    """Prints what ``results.json`` holds."""
    print("\n".join(lines(done)))


def lines(done: dict) -> list[str]:
    """What :func:`show` prints."""
    texts = (tables.runs(done), tables.hardware(done), tables.corruptions(done))
    notes = [f"note: {line}" for line in results.remarks(done["runs"])]
    return [text for text in texts if text] + notes


def raise_failure(runs: list[dict], command: str) -> None:
    """Raises InputError if the number formats could not hold a network; call it last of all.

    Args:
      runs: of the results.
      command: that tries others, up to its flags of hardware.

    A network that no formats can hold is no failure of theirs; a note of :func:`show` names it.
    """
    kinds = ("hardware", "corruptions")
    for row in (row for run in runs for kind in kinds for row in run.get(kind, ())):
        if "error" in row and not row.get("unsupported"):
            raise InputError(
                f"{row['condition']}: {row['error']}. All else is measured; try other formats with "
                f"'python -m experiments.{command} --hardware.KEY=VALUE'"
            )
