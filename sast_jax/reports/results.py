"""The contents of ``results.json``: runs and their summary over seeds."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sast_jax.evaluation import intervals
from sast_jax.reports import health
from sast_jax.training.recipe import SWEPT

KINDS = ("soft", "hard")
NETWORKS = (*KINDS, "integer")  # of a condition of hardware
SUMMARISED = (
    "soft_accuracy",
    "hard_accuracy",
    "transfer_gap",
    "soft_rate",
    "hard_rate",
    "soft_ece",
    "hard_ece",
    "soft_nll",
    "hard_nll",
    "soft_brier",
    "hard_brier",
    "soft_ece_scaled",
    "hard_ece_scaled",
    "calibrated_hard_accuracy",
    "synops",
    "soft_corruption_accuracy",
    "hard_corruption_accuracy",
    "integer_corruption_accuracy",
    "validation_soft_accuracy",
    "validation_hard_accuracy",
    "validation_transfer_gap",
    "validation_soft_rate",
    "train_seconds",
)


def collect(config: dict, about: dict, runs: Sequence[dict]) -> dict:
    """The contents of ``results.json``, with None (null) for numbers that are not finite.

    Args:
      config: the settings of the experiment.
      about: further keys, such as the data and the machine.
      runs: for each run its seed, its values of ``SWEPT`` and what was measured.
    """
    return finite({"config": config, **about, "runs": list(runs), "summary": summarise(runs)})


def entries(
    runs: Sequence[dict], measured: Sequence[dict], seconds: Sequence[float], sound: Sequence[bool]
) -> list[dict]:
    """The runs of ``results.json``: settings, measurements, seconds and whether they diverged."""
    return [
        {**run, **result, "train_seconds": s, "diverged": not finite}
        for run, result, s, finite in zip(runs, measured, seconds, sound, strict=True)
    ]


def summarise(runs: Sequence[dict]) -> list[dict]:
    """Mean, standard deviation and 95 % interval (Student's t) over the seeds of each setting.

    Runs that diverged are counted as such and left out of the means.
    """
    swept = [key for key in SWEPT if key in runs[0]]  # none for a network out of a file
    settings = list(dict.fromkeys(tuple(run[key] for key in swept) for run in runs))
    rows = []
    for setting in settings:
        members = [run for run in runs if tuple(run[key] for key in swept) == setting]
        sound = [run for run in members if not run.get("diverged")]
        row = dict(zip(swept, setting, strict=True))
        row |= {"n": len(sound), "diverged": len(members) - len(sound)}
        for key in SUMMARISED:
            if key not in members[0]:
                continue  # there is no validation split
            row |= _mean(key, [run[key] for run in sound])
        for key in ("hardware", "corruptions", "validation_hardware"):
            if key in members[0]:
                row[key] = _conditions([run[key] for run in sound])
        rows.append(row)
    return rows


def _mean(key, values) -> dict:
    values = [value for value in values if value is not None]
    mean, interval = intervals.student(values) if values else (None, None)
    if key.endswith(("_accuracy", "_rate")):
        interval = intervals.within(interval, 0.0, 1.0)
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {f"{key}_mean": mean, f"{key}_std": std, f"{key}_ci95": interval}


def _conditions(trials_R) -> list[dict]:
    """Means of the rows of :mod:`sast_jax.hardware.bench` over the runs of a setting."""
    rows = []
    for same in zip(*trials_R, strict=True):
        row = {key: same[0][key] for key in ("condition", "kind", "level")} | {"n": len(same)}
        for key in (f"{network}_accuracy" for network in NETWORKS):
            values = [trial[key] for trial in same]
            # A mean over the runs that have such a network would not be that of n runs.
            row |= _mean(key, [] if None in values else values)
            if len(same) == 1:  # no scatter over seeds, but one over devices or recordings
                row[f"{key}_ci95"] = same[0].get(f"{key}_ci95")
        for key in ("clipped", "synops"):
            if all(key in trial for trial in same):
                row[f"{key}_mean"] = np.mean([trial[key] for trial in same], axis=0).tolist()
        rows.append(row)
    return rows


def finite(value: Any) -> Any:
    """The same nest of lists and dicts with None for every NaN and infinity."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def setting(row: dict, keys: Sequence[str]) -> str:
    """The values of some keys in words, such as "rho 0.4, seed 0"."""
    return ", ".join(f"{key.replace('_', ' ')} {row[key]:g}" for key in keys)


def remarks(runs: Sequence[dict]) -> list[str]:
    """Warnings about runs: their faults (:mod:`.health`), and why they lack integer networks."""
    lines = [
        f"{named(run, runs)}: {fault.text}."
        for run in runs
        for fault in health.faults(run, kinds(runs))
    ]
    return lines + _refusals(runs)


def _refusals(runs) -> list[str]:
    """Why runs lack integer networks, each reason once."""
    rows = (row for run in runs for key in ("hardware", "corruptions") for row in run.get(key, ()))
    reasons = dict.fromkeys(row["error"] for row in rows if "error" in row)
    return [f"no integer network: {reason}" for reason in reasons]


def shown(rows: Sequence[dict]) -> list[str]:
    """Keys that name a setting: the radius, and those of ``SWEPT`` with several values."""
    return [key for key in dict.fromkeys(["rho", *varied(rows)]) if key in rows[0]]


def varied(rows: Sequence[dict]) -> list[str]:
    """The keys of ``SWEPT`` that take more than one value."""
    return [key for key in SWEPT if len({row.get(key) for row in rows}) > 1]


def named(run: dict, rows: Sequence[dict]) -> str:
    """A run in words, by the keys that name the settings of some rows, and its seed."""
    keys = [*shown(rows), "seed"]
    return setting(run, keys) if "seed" in run else "the network"


def kinds(rows: Sequence[dict]) -> list[str]:
    """Those of ``KINDS`` that runs, or rows of a summary, have: a network of a file is hard."""
    return [kind for kind in KINDS if rows[0].keys() & {f"{kind}_rate", f"{kind}_rate_mean"}]


def networks(rows: Sequence[dict]) -> list[str]:
    """Those of ``NETWORKS`` that are tried."""
    return [*kinds(rows), *NETWORKS[len(KINDS) :]]
