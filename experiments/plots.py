"""Draws the figures of ``RESULTS.md`` from the numbers that are kept in ``experiments/results``.

All tables of a study are written as well, beside its rows: ``tables.md``.

    python -m experiments.plots
    python -m experiments.plots --keep=WORKDIR --name=rho_nmnist

The second one keeps the summary of a sweep, ``results/sweeps/<name>.json``, and then draws.
"""

import json
import pathlib
import re
from typing import TypeAlias

import matplotlib.figure
import numpy as np
from absl import flags

from experiments import cli
from experiments.assessment import figures, page
from sast_jax import files
from sast_jax.errors import InputError
from sast_jax.reports import plots
from sast_jax.runs import workdirs
from sast_jax.runs.study import kept_rows

RESULTS = pathlib.Path(__file__).parent / "results"
FIGURES = pathlib.Path(__file__).parent / "figures"
PUBLISHED = (0.30, 0.40)  # radii of the papers
Studies: TypeAlias = dict[pathlib.Path, dict[str, dict]]  # rows of methods, by folder
KEPT = ("soft_accuracy", "hard_accuracy", "transfer_gap")

_TABLES = (
    "Written by `python -m experiments.plots` from `rows.json` and `times.json`. Means over seeds "
    "with 95 % intervals (Student's t); times over those of plain training."
)

_KEEP = flags.DEFINE_string("keep", "", "workdir of a finished sweep whose summary is to be kept")
_NAME = flags.DEFINE_string("name", "", "name to keep it under")


def main() -> None:
    if bool(_KEEP.value) != bool(_NAME.value):
        raise InputError("--keep=WORKDIR and --name=NAME belong together")
    if not re.fullmatch(r"[\w-]*", _NAME.value):
        raise InputError(f"--name={_NAME.value!r} must be letters, digits, - and _")
    if _KEEP.value:
        keep(files.place(_KEEP.value), _NAME.value)
    FIGURES.mkdir(exist_ok=True)
    rows = studies()
    for name, figure in drawn(rows).items():
        files.write_figure(FIGURES / f"{name}.png", figure)
        print(FIGURES / f"{name}.png")
    for file, text in tables(rows).items():
        files.write(file, text)
        print(file)


def keep(workdir: pathlib.Path, name: str) -> None:
    """Keeps what plots need of a finished sweep.

    Raises:
      InputError: there is no finished run.
    """
    done = workdirs.finished(workdir)
    if done is None:
        raise InputError(f"{workdir}: no results.json; let the sweep end first")
    try:
        kept = {key: done[key] for key in ("config", "data")}
        kept |= {"summary": [_needed(row) for row in done["summary"]]}
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{workdir}: its results.json is damaged ({error!r})") from error
    file = RESULTS / "sweeps" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write(file, json.dumps(kept, indent=1))


def _needed(row) -> dict:
    """What plots need of a setting's row."""
    wanted = tuple(f"{prefix}{key}" for prefix in ("", "validation_") for key in KEPT)
    counts = ("n", "diverged")
    found = {key: value for key, value in row.items() if key in counts or _is_of(key, wanted)}
    return found | {key: row[key] for key in ("rho", "slope", "learning_rate")}


def _is_of(key, wanted) -> bool:
    return key.endswith(("_mean", "_ci95")) and key.rpartition("_")[0] in wanted


def drawn(rows_of: Studies) -> dict[str, matplotlib.figure.Figure]:
    """The figures by their names; those whose numbers are not there are left out."""
    made: dict[str, matplotlib.figure.Figure] = {}
    for folder, rows in rows_of.items():
        name = "_".join(folder.parts[-2:])
        made |= {f"{name}_{kind}": figure for kind, figure in figures.drawn(rows).items()}
    made |= _panels("rho", ("rho_nmnist", "rho_gestures"), "rho", PUBLISHED)
    made |= _panels("slope_and_rate", ("slope", "learning_rate"), None, ())
    return made


def tables(rows_of: Studies) -> dict[pathlib.Path, str]:
    """All tables of the studies that are kept, by the files that they are written to."""
    made = {}
    for folder, rows in rows_of.items():
        about = files.read_json(folder.parent / "config.json", dict)
        title = f"# {' '.join(folder.parts[-2:])}: all tables"
        parts = [title, _TABLES, *page.details(folder, rows, about["severities"])]
        made[folder / "tables.md"] = "\n\n".join(parts) + "\n"
    return made


def studies() -> Studies:
    """The rows of the studies that are kept, with times where they were measured, by folder."""
    found = {}
    for file in sorted((RESULTS / "assessment").glob("*/*/rows.json")):
        rows = {name: kept["row"] for name, kept in kept_rows.kept(file).items()}
        timed = kept_rows.kept(file.with_name("times.json")).get("times", {"row": {}})["row"]
        found[file.parent] = rows | {name: rows[name] | {"time": t} for name, t in timed.items()}
    return found


def _panels(name, sweeps, key, marks) -> dict[str, matplotlib.figure.Figure]:
    """A panel for each sweep that is kept: soft and hard accuracy over what was swept."""
    known = {sweep: RESULTS / "sweeps" / f"{sweep}.json" for sweep in sweeps}
    known = {sweep: file for sweep, file in known.items() if file.exists()}
    if not known:
        return {}
    figure = matplotlib.figure.Figure(figsize=(4.6 * len(known), 3.6), layout="constrained")
    axes = figure.subplots(1, len(known), squeeze=False)[0]
    for axis, (sweep, file) in zip(axes, known.items(), strict=True):
        kept = json.loads(file.read_text())
        curve(axis, kept["summary"], key or sweep)
        for mark in marks:
            axis.axvline(mark, color="0.6", lw=0.8, ls=":")
        axis.set_title(kept["data"].partition(",")[0], fontsize=9)
    axes[0].legend(fontsize=8)
    return {name: figure}


def curve(axis, summary: list[dict], key: str) -> None:
    """Soft and hard accuracy over a key, with intervals over seeds."""
    rows = sorted(summary, key=lambda row: row[key])
    for kind, colour in (("soft", plots.SOFT), ("hard", plots.HARD)):
        sound = [row for row in rows if row[f"{kind}_accuracy_mean"] is not None]
        x = [row[key] for row in sound]
        mean = 100 * np.array([row[f"{kind}_accuracy_mean"] for row in sound])
        ends = [row[f"{kind}_accuracy_ci95"] or [row[f"{kind}_accuracy_mean"]] * 2 for row in sound]
        low, high = 100 * np.array(ends).T
        axis.plot(x, mean, "o-", ms=3, color=colour, label=kind)
        axis.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
    axis.set(xlabel=key.replace("_", " "), ylabel="accuracy, %")
    if key != "rho":
        axis.set_xscale("log")


if __name__ == "__main__":
    cli.run(main)
