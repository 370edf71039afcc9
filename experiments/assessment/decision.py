"""The answer of an assessment: for each need the best method, its command and its cost."""

import shlex
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import scipy

from experiments.assessment.findings import by_kind
from experiments.assessment.measures import DEPLOYED, MEASURES, PLAIN, finite_values
from experiments.assessment.methods import METHODS, base as base_of, start, with_slope_end
from sast_jax.evaluation import comparisons, intervals
from sast_jax.reports import tables
from sast_jax.runs import workdirs

LOST, ADDED = ("event drop", "dead pixels", "interruption"), ("noise", "hot pixels")


class Need(NamedTuple):
    """What somebody may want of a network.

    Attributes:
      title: in words.
      key: of a run, or the kinds of corruption that are averaged.
    """

    title: str
    key: str | tuple[str, ...]


NEEDS = (
    Need("all of it: mean of hard, INT4, INT2, mismatch 0.3 and 0.6, corrupted", "deployment"),
    Need("hard spikes", "hard_accuracy"),
    Need("weights of 4 bits", "INT4"),
    Need("weights of 2 bits", "INT2"),
    Need("devices that differ by 0.3", "mismatch_0.3"),
    Need("devices that differ by 0.6", "mismatch_0.6"),
    Need("events that are lost", LOST),
    Need("events that are added", ADDED),
    Need("any corruption", "hard_corruption_accuracy"),
)


class Choice(NamedTuple):
    """A row of the decision table.

    Attributes:
      need: what it is for.
      method: the one with the highest mean over seeds.
      mean, ci95: of it, a fraction.
      plain: plain training's mean.
    """

    need: str
    method: str
    mean: float
    ci95: list[float] | None
    plain: float | None


def values_of(row: Mapping, key: str | tuple[str, ...]) -> list[float]:
    """What the runs of a method have for a need, a number a seed; empty if one is missing."""
    runs = row["runs"]
    if key == "deployment":
        columns = [values_of(row, one) for one in DEPLOYED]
        return np.mean(columns, axis=0).tolist() if all(columns) else []
    if isinstance(key, str):
        values = finite_values(runs, key) if all(key in run for run in runs) else []
        return values if len(values) == len(runs) else []
    kinds = by_kind(row) if all(run.get("corruptions") for run in runs) else {}
    if not set(key) <= kinds.keys():
        return []
    means = np.mean([kinds[kind] for kind in key], axis=0)
    return means.tolist() if np.isfinite(means).all() else []


def choices(methods: Mapping[str, dict]) -> list[Choice]:
    """For each need the method with the best mean; needs that nothing was measured for are out."""
    found = []
    for need in NEEDS:
        of_it = {name: values_of(row, need.key) for name, row in methods.items()}
        known = {name: values for name, values in of_it.items() if values}
        if not known:
            continue
        best = max(known, key=lambda name: np.mean(known[name]))
        mean, interval = intervals.student(known[best])
        plain = float(np.mean(known[PLAIN])) if PLAIN in known else None
        found.append(Choice(need.title, best, mean, interval, plain))
    return found


def command_of(config: Mapping, regime: str, name: str, row: Mapping) -> str:
    """The command that trains a method with the settings of its row, on all recordings."""
    given = config["dataset"], regime, config["base"]
    (file, begins), whole = start(*given), workdirs.flat(base_of(*given).to_dict())
    slopes = whole["slope"], whole["slope_end"]
    whole |= METHODS[name].untuned(config["epochs"] or whole["epochs"])
    whole |= row["taken"] | with_slope_end(row["tuned"], *slopes)
    if path := config["data"]["path"]:
        whole["data.path"] = path
    known = workdirs.flat(begins.to_dict())
    changed = {key: value for key, value in whole.items() if known.get(key) != value}
    words = [f"--config={file}"] if file else []
    words += [f"--config.{key}={_shown(value)}" for key, value in changed.items()]
    return " ".join(["python -m", f"experiments.{config['dataset']}", *map(shlex.quote, words)])


def table(config: Mapping, regime: str, methods: Mapping[str, dict]) -> str:
    """The decision table of a regime of an assessment with this config, in Markdown."""
    rows = []
    for choice in choices(methods):
        row = methods[choice.method]
        shown = tables.decimals(
            100 * choice.mean, choice.ci95 and [100 * end for end in choice.ci95], 2
        )
        plain = "-" if choice.plain is None else f"{100 * choice.plain:.2f}"
        time = f"{row['time'][1]:.2f}" if "time" in row else "-"
        known = choice.method in METHODS
        command = f"`{command_of(config, regime, choice.method, row)}`" if known else "-"
        rows.append([choice.need, choice.method, shown, plain, time, command])
    heads = ["what you need", "method", "%", "plain %", "time over plain", "command"]
    return tables.table(rows, heads, "github")


def mean_ranks(methods: Mapping[str, dict]) -> dict[str, float]:
    """Each method's rank by its mean, averaged over the columns of deployment; the best first."""
    means = {name: [values_of(row, key) for key in DEPLOYED] for name, row in methods.items()}
    known = {name: np.mean(columns, axis=1) for name, columns in means.items() if all(columns)}
    if not known:
        return {}
    ranks = scipy.stats.rankdata(-np.array(list(known.values())), axis=0).mean(axis=1)
    return dict(sorted(zip(known, ranks.tolist(), strict=True), key=lambda pair: pair[1]))


def shown_better(methods: Mapping[str, dict], name: str) -> dict[str, list[str]]:
    """By column of deployment the methods that are shown to be better than one.

    By paired t-tests over seeds, with Holm's correction over the methods; columns without are out.
    """
    found = {}
    for key in DEPLOYED:
        values = {one: [run[key] for run in row["runs"]] for one, row in methods.items()}
        against = comparisons.against(values, name)
        if better := [one for one, difference in against.items() if difference.sign > 0]:
            found[key] = better
    return found


def standing(methods: Mapping[str, dict]) -> str:
    """Which methods have the best mean rank, and where others are shown better than the first."""
    ranks = mean_ranks(methods)
    if len(ranks) < 2:
        return ""
    first, *_ = ranks
    listed = ", ".join(f"{name} ({rank:.1f})" for name, rank in list(ranks.items())[:5])
    better = shown_better(methods, first)
    where = "; ".join(f"{MEASURES[key].title} {', '.join(names)}" for key, names in better.items())
    return (
        f"Mean rank over hard, INT4, INT2, mismatch 0.3 and 0.6, and corrupted: {listed}. Shown "
        f"better than {first}: {where or 'no method in any of them'}."
    )


def _shown(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
