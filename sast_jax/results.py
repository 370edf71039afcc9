"""The contents of ``results.json``: runs, their summary over seeds, and tables of them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tabulate

from sast_jax import intervals

KINDS = ("soft", "hard")
GRID_KEYS = ("rho", "learning_rate", "slope", "decay", "warmup")
SUMMARISED = (
    "soft_accuracy",
    "hard_accuracy",
    "transfer_gap",
    "soft_rate",
    "hard_rate",
    "validation_soft_accuracy",
    "validation_hard_accuracy",
    "validation_transfer_gap",
    "train_seconds",
)


def collect(config: dict, about: dict, runs: Sequence[dict]) -> dict:
    """All of ``results.json``, with null for every number that is not finite.

    Args:
      config: the settings of the experiment.
      about: the data and the machine, in words.
      runs: for each run its seed, its values of ``GRID_KEYS`` and what was measured.
    """
    return finite({"config": config, **about, "runs": list(runs), "summary": summarise(runs)})


def entries(
    runs: Sequence[dict], measured: Sequence[dict], seconds: Sequence[float], sound: Sequence[bool]
) -> list[dict]:
    """The runs of ``results.json``: what each is, what was measured of it, how long it took."""
    return [
        {**run, **result, "train_seconds": s, "diverged": not finite}
        for run, result, s, finite in zip(runs, measured, seconds, sound, strict=True)
    ]


def summarise(runs: Sequence[dict]) -> list[dict]:
    """Mean, standard deviation and 95 % interval (Student's t) over the seeds of each setting.

    Runs that diverged are counted as such and left out of the means.
    """
    settings = list(dict.fromkeys(tuple(run[key] for key in GRID_KEYS) for run in runs))
    rows = []
    for setting in settings:
        members = [run for run in runs if tuple(run[key] for key in GRID_KEYS) == setting]
        sound = [run for run in members if not run.get("diverged")]
        row = dict(zip(GRID_KEYS, setting, strict=True))
        row |= {"n": len(sound), "diverged": len(members) - len(sound)}
        for key in SUMMARISED:
            if key not in members[0]:
                continue  # there is no validation split
            values = [run[key] for run in sound if run[key] is not None]
            mean, interval = intervals.student(values) if values else (None, None)
            row[f"{key}_mean"] = mean
            row[f"{key}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
            if interval and key.endswith(("_accuracy", "_rate")):  # the t interval knows no ends
                interval = [max(interval[0], 0.0), min(interval[1], 1.0)]
            row[f"{key}_ci95"] = interval
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


def table(results: dict, style: str = "simple") -> str:
    """The results as a table: a row a run, then a row a setting if there are several seeds.

    Args:
      results: as :func:`collect` returns them.
      style: a table format of the package tabulate.
    """
    runs, summary = results["runs"], results["summary"]
    shown = list(dict.fromkeys(["rho", *varied(summary)]))
    validated = [f"validation_{kind}_accuracy" for kind in KINDS]
    validated = [key for key in validated if key in runs[0]]
    rows = [
        [*(run[key] for key in shown), run["seed"]]
        + [_percent(run[key], run[f"{key}_ci95"]) for key in validated]
        + [_percent(run[f"{kind}_accuracy"], run[f"{kind}_accuracy_ci95"]) for kind in KINDS]
        + [_percent(run["transfer_gap"], None)]
        + [_percent(run[f"{kind}_rate"], None) for kind in KINDS]
        + [_percent(run["hard_ties"], None), _percent(run["hard_silent"], None)]
        + ["diverged" if run.get("diverged") else f"{run['train_seconds']:.0f}"]
        for run in runs
    ]
    if len(runs) > len(summary):
        rows += [
            [*(row[key] for key in shown), f"mean of {row['n']}"]
            + [_percent(*_pair(row, key)) for key in validated]
            + [_percent(*_pair(row, f"{kind}_accuracy")) for kind in KINDS]
            + [_percent(*_pair(row, "transfer_gap"))]
            + [_percent(row[f"{kind}_rate_mean"], None) for kind in KINDS]
            + ["", "", f"{row['train_seconds_mean']:.0f}" if row["n"] else ""]
            for row in summary
        ]
    headers = [*shown, "seed", *("soft % validation", "hard % validation")[: len(validated)]]
    test = " test" if validated else ""
    headers += [f"soft %{test}", f"hard %{test}", "gap", "soft rate %", "hard rate %"]
    headers += ["ties %", "silent %", "seconds"]
    return tabulate.tabulate(rows, headers, tablefmt=style, disable_numparse=True)


def setting(row: dict, keys: Sequence[str]) -> str:
    """The values of some keys in words, such as "rho 0.4, seed 0"."""
    return ", ".join(f"{key.replace('_', ' ')} {row[key]:g}" for key in keys)


def remarks(runs: Sequence[dict]) -> list[str]:
    """What a reader must not overlook: runs that answer everything alike, or hardly at all."""
    keys = list(dict.fromkeys(["rho", *varied(runs), "seed"]))
    lines = []
    for run in runs:
        who = setting(run, keys)
        for kind in KINDS:
            if run[f"{kind}_confusion"] is None:
                lines.append(f"{who}: the loss became infinite or no number.")
                break
            confusion_KxK = np.array(run[f"{kind}_confusion"])
            classes, answers = (np.flatnonzero(confusion_KxK.sum(axis=axis)) for axis in (1, 0))
            if len(answers) == 1 and len(classes) > 1:
                lines.append(
                    f"{who}: collapsed, {kind} spikes answer every recording with {answers[0]}."
                )
            elif run[f"{kind}_ties"] > 0.1:
                lines.append(
                    f"{who}: {100 * run[f'{kind}_ties']:.1f} % of the {kind} "
                    f"answers are ties; {100 * run[f'{kind}_silent']:.1f} % of "
                    "the recordings leave the output silent."
                )
    return lines


def varied(rows: Sequence[dict]) -> list[str]:
    """Those of ``GRID_KEYS`` that take more than one value."""
    return [key for key in GRID_KEYS if len({row[key] for row in rows}) > 1]


def _pair(row, key):
    return row[f"{key}_mean"], row[f"{key}_ci95"]


def _percent(value, interval):
    if value is None:
        return "-"
    shown = f"{100 * value:.2f}"
    return (
        shown if interval is None else f"{shown} [{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]"
    )
