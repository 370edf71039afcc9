"""How well trained networks would do on a chip: the score that tunes, and following thresholds."""

import json
import pathlib

import numpy as np

from sast_jax import files
from sast_jax.data.sets import selection
from sast_jax.evaluation import swap
from sast_jax.hardware import bench
from sast_jax.reports import results
from sast_jax.runs import answers, measure, reloaded

DEVICES, SEVERITY = 5, 3  # of each level of mismatch; of every kind of corruption
COLUMNS = ("hard", "INT4", "INT2", "mismatch_0.3", "mismatch_0.6", "corrupted")
EXPONENT, LOSSES = 0.5, "event_drop,dead_pixels,interruption"  # of following thresholds
_CONDITIONS = bench.Conditions((4, 2), (("weights", 0.3), ("weights", 0.6)), DEVICES)


def on_validation(workdir: pathlib.Path) -> list[dict]:
    """The deployment score of each run of a finished workdir; kept in ``deployment.json``.

    Returns:
      For each run the accuracies ``COLUMNS`` on the validation split, and ``score``, their mean:
      the swap alone, integer networks with weights of 4 and 2 bits, hard networks with mismatched
      weights (means over ``DEVICES``), and hard networks on corrupted recordings (mean over all
      kinds at ``SEVERITY``). All are None for a run that is not finite; a column is None where the
      number formats cannot hold the network, and so is the score.

    Raises:
      InputError: the recordings are gone, or the file is damaged.
    """
    file = workdir / "deployment.json"
    if not file.exists():
        files.write(file, json.dumps(results.finite(_measured(reloaded.load(workdir)))))
    return files.read_json(file, list)


def following(workdir: pathlib.Path) -> list[dict[str, np.ndarray]]:
    """Which test recordings each run of a finished workdir answers right as its thresholds follow.

    They follow the events (:class:`sast_jax.hardware.following.Following`) with ``EXPONENT``.
    Kept in ``following.npz``.

    Returns:
      As :func:`sast_jax.runs.answers.read`, at INT8 and on recordings that have lost events
      (``LOSSES``, at the severities of the run), with names such as
      ``"following, event drop 3 integer"``.

    Raises:
      InputError: the recordings are gone, or the file is damaged.
    """
    name = "following.npz"
    if not (workdir / name).exists():
        found = reloaded.load(workdir)
        given = found.settings.changed({"hardware.follow": EXPONENT, "corruptions.kinds": LOSSES})
        benches_R = measure.benches(found.trained, reloaded.training_set(found), given)
        source = given.data.load()
        test = source.frames("test")
        bench.trials(benches_R, test, bench.Conditions((8,)))
        measure.corrupted(benches_R, measure.recorded(source, "test", given), given)
        answers.write(workdir, benches_R, test, name)
    return [
        {f"following, {condition}": right_M for condition, right_M in own.items()}
        for own in answers.read(workdir, name)
    ]


def _measured(found: reloaded.Reloaded) -> list[dict]:
    given, source = found.settings, reloaded.training_source(found)
    whole = source.frames("train")
    held_out_N = selection.held_out(whole, given.data.validation, given.data.seed)
    train, validation = (whole.take(part_N) for part_N in (~held_out_N, held_out_N))
    given = given.changed({"corruptions.kinds": "all", "corruptions.severities": (SEVERITY,)})
    benches_R = measure.benches(found.trained, train, given)
    hard = swap.soft_and_hard(found.trained, validation)
    tried = bench.trials(benches_R, validation, _CONDITIONS)
    recorded = measure.recorded(source, "train", given)
    corrupted = measure.corrupted(benches_R, recorded, given, held_out_N)
    rows = []
    for own, rows_of_it, under in zip(hard, tried, corrupted, strict=True):
        row = dict.fromkeys(COLUMNS) | {"hard": own["hard_accuracy"]}
        for one in rows_of_it:
            if one["kind"] == "weight_bits":
                row[f"INT{one['level']}"] = one["integer_accuracy"]
            else:
                row[f"mismatch_{one['level']:g}"] = one["hard_accuracy"]
        row["corrupted"] = under["hard_corruption_accuracy"]
        known = None not in row.values()
        rows.append(row | {"score": float(np.mean(list(row.values()))) if known else None})
    return rows
