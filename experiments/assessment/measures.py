"""What the assessment keeps of a run, and how methods differ from SAST in it."""

import math
import pathlib
import re
from typing import NamedTuple

import numpy as np

from sast_jax import files
from sast_jax.evaluation import comparisons
from sast_jax.reports import results

PLAIN, MATCHED, REFERENCE = "plain", "plain twice as long", "SAST"
EIGHTH = "SAST ascent on 1/8"
SCORES = ("deployment", "clean")  # what settings are chosen by; the first is what rows report
ALIKE = "plain training of as many epochs"


class Measure(NamedTuple):
    """A column: title, factor on the values shown, digits, and whether more is better.

    Where neither more nor less is better (``better`` is 0), no differences are shown.
    """

    title: str
    factor: float = 100
    digits: int = 2
    better: int = 1


TABLES = {
    "Accuracy and confidence": {
        "soft_accuracy": Measure("soft %"),
        "hard_accuracy": Measure("hard %"),
        "transfer_gap": Measure("gap, points", better=-1),
        "calibrated_hard_accuracy": Measure("calibrated hard %"),
        "hard_ece": Measure("ECE, points", better=-1),
        "hard_ece_scaled": Measure("ECE with temperature, points", better=-1),
    },
    "Hardware and corrupted recordings": {
        "INT8": Measure("INT8 %"),
        "INT4": Measure("INT4 %"),
        "INT2": Measure("INT2 %"),
        "mismatch_0.1": Measure("mismatch 0.1 %"),
        "mismatch_0.3": Measure("mismatch 0.3 %"),
        "mismatch_0.6": Measure("mismatch 0.6 %"),
        "threshold_0.3": Measure("threshold mismatch 0.3 %"),
        "hard_corruption_accuracy": Measure("corrupted %"),
    },
    "Activity and the loss around the minimum": {
        "synops": Measure("kSynOps", 1e-3, 0, -1),
        "INT8_synops": Measure("at INT8", 1e-3, 0, -1),
        "INT2_synops": Measure("at INT2", 1e-3, 0, -1),
        "soft_rate": Measure("soft rate %", better=0),
        "hard_rate": Measure("hard rate %", better=0),
        "eigenvalue": Measure("top eigenvalue", 1, 2, 0),
        "rise": Measure("rise", 1, 3, 0),
        "input_gradient": Measure("input gradient", 1, 3, 0),
        "parameter_gradient": Measure("weight gradient", 1, 2, 0),
    },
}
MEASURES = {key: measure for columns in TABLES.values() for key, measure in columns.items()}
COMPARED = tuple(key for key, measure in MEASURES.items() if measure.better)
KEPT = (  # further keys of a run, which the JSON file has and the page does not
    *("seed", "validation_soft_rate", "validation_soft_accuracy", "validation_hard_accuracy"),
    *("hard_ties", "hard_silent", "hard_nll", "hard_brier", "soft_ece", "soft_nll"),
    *("hard_temperature", "threshold_factors"),
    *("soft_corruption_accuracy", "integer_corruption_accuracy"),
)
ANSWERS = re.compile(  # names of conditions and networks
    r"(as trained|weight mismatch 0.6|(event drop|noise|hot pixels) \d) hard"
    r"|(following, )?(INT8|event drop \d) integer"
)
ROBUST = ("INT4", "INT2", "mismatch_0.3", "mismatch_0.6", "hard_corruption_accuracy")
DEPLOYED = ("hard_accuracy", *ROBUST)  # whose mean is the deployment score


_MISMATCH = {"weights": "mismatch", "thresholds": "threshold"}


def entry(run: dict, around: dict, followed: dict[str, np.ndarray]) -> dict:
    """What the assessment keeps of a run.

    Args:
      run: of ``results.json``.
      around: eigenvalue, rise and gradient norms of its loss.
      followed: which recordings are answered right with thresholds that follow events.
    """
    kept = {key: run.get(key) for key in (*KEPT, *MEASURES)}
    for row in run["hardware"]:
        if row["kind"] == "weight_bits":
            kept[f"INT{row['level']}"] = row["integer_accuracy"]
            kept[f"INT{row['level']}_synops"] = row.get("synops")  # none without the network
        elif row["kind"] in _MISMATCH:
            kept[f"{_MISMATCH[row['kind']]}_{row['level']:g}"] = row["hard_accuracy"]
    kept |= {key: around[key] for key in (*MEASURES, "residual") if key in around}
    kept["following"] = {name: float(right_M.mean()) for name, right_M in followed.items()}
    kept["corruptions"] = {row["condition"]: row["hard_accuracy"] for row in run["corruptions"]}
    return results.finite(kept)


def mean_of(row: dict, key: str) -> float:
    """A method's mean over its finite runs; NaN if there are none, or none has the key."""
    values = [run[key] for run in row["runs"] if run.get(key) is not None]
    return float(np.mean(values)) if values else math.nan


def held_out_rate(runs: list[dict]) -> float | None:
    """The runs' mean firing rate with smooth spikes on the validation split."""
    rates = finite_values(runs, "validation_soft_rate")
    return sum(rates) / len(rates) if rates else None


def finite_values(runs, key) -> list[float]:
    return [run[key] for run in runs if run[key] is not None]


def missed_rate(target: float, runs: list[dict]) -> list[str]:
    """A remark if the runs do not reach the firing rate that they are trained for."""
    rate = held_out_rate(runs)
    if rate is None or abs(rate - target) <= 0.1 * target:
        return []
    return [f"soft rate {100 * rate:.2f} % on validation, where SAST's is {100 * target:.2f} %"]


def differences(methods: dict[str, dict]) -> dict[str, dict[str, comparisons.Difference]]:
    """Each method minus SAST, in each compared measure, corrected over the methods."""
    return {
        key: comparisons.against(
            {name: [run[key] for run in row["runs"]] for name, row in methods.items()},
            REFERENCE,
        )
        for key in COMPARED
    }


def keep_answers(file: pathlib.Path, right: list[dict[str, np.ndarray]]) -> None:
    """Keeps which test recordings S runs answer right: an array (S, M) for each condition.

    These are the conditions of planned comparisons alone (``ANSWERS``): with all of them, a study
    of many methods would fill the disk.

    Args:
      file: ``.npz``.
      right: of :func:`sast_jax.runs.answers.read`; a run that diverged has none, and NaN here.
    """
    names = sorted({name for one in right for name in one if ANSWERS.fullmatch(name)})
    size = max((len(values) for one in right for values in one.values()), default=0)
    nothing = np.full(size, np.nan, np.float32)
    arrays = {name: np.stack([one.get(name, nothing) for one in right]) for name in names}
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_arrays(file, arrays)
