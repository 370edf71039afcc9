"""What the rows of an assessment say beyond single columns.

    python -m experiments.assessment.findings ROWS.json

prints it for the rows that a study keeps, ``<regime>/rows.json`` in its workdir.
"""

import collections
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy
import tabulate

from experiments.assessment.measures import EIGHTH, MATCHED, PLAIN, REFERENCE, mean_of
from experiments.assessment.methods import METHODS
from sast_jax.evaluation import comparisons, intervals

# Keys with which the loss is another one: its rise compares only methods that share them.
_OF_THE_LOSS = ("slope", "slope_end", "forward", "lif.reset", "readout")
_RANKED = {"mismatch": "what a mismatch of 0.6 costs", "gap": "the gap of the swap"}
PAIRS = (
    (REFERENCE, PLAIN),
    (REFERENCE, MATCHED),
    (EIGHTH, PLAIN),
    ("hard forward with SAM", "hard forward"),
    ("hard forward with SAM", "hard forward twice as long"),
    ("hard forward with SAM", MATCHED),
    ("SAST with lost and added events", EIGHTH),
    ("lost events", PLAIN),
)


class Rank(NamedTuple):
    """A rank correlation over methods: their number, Spearman's coefficient and its p."""

    n: int
    coefficient: float
    p: float


def sharing_the_loss(methods: Mapping[str, Mapping]) -> list[str]:
    """The methods with plain training's slope, reset and readout, whose losses compare."""
    changed = {name: set(METHODS[name].changes) if name in METHODS else set() for name in methods}
    return [
        name
        for name, row in methods.items()
        if not (changed[name] | set(row["tuned"])) & set(_OF_THE_LOSS)
    ]


def flatness(methods: dict[str, dict]) -> dict[str, Rank]:
    """Whether the rise of the loss around a minimum tells what is lost, over methods.

    Returns:
      The rank correlation of the rise (mean over seeds) with what a weight mismatch of 0.6 costs,
      and with the gap of the swap; nothing for fewer than four methods, or where all are equal.
    """
    found = collections.defaultdict(list)
    for name in sharing_the_loss(methods):
        keys = ("rise", "hard_accuracy", "mismatch_0.6", "transfer_gap")
        means = [mean_of(methods[name], key) for key in keys]
        if np.isfinite(means).all():
            rise, hard, under, gap = means
            for key, value in (("rise", rise), ("mismatch", hard - under), ("gap", gap)):
                found[key].append(value)
    if len(found["rise"]) < 4:
        return {}
    ranks = {}
    for key in _RANKED:
        if min(map(np.ptp, (found["rise"], found[key]))) == 0:  # nothing to rank
            continue
        coefficient, p = scipy.stats.spearmanr(found["rise"], found[key])
        ranks[key] = Rank(len(found[key]), float(coefficient), float(p))
    return ranks


def by_kind(row: Mapping) -> dict[str, np.ndarray]:
    """Hard accuracy on each kind of corruption, a mean over severities for each seed (S,)."""
    found = collections.defaultdict(list)
    for condition in row["runs"][0]["corruptions"]:
        kind = condition.rpartition(" ")[0]
        values = [run["corruptions"].get(condition) for run in row["runs"]]
        found[kind].append(np.array(values, float))
    return {kind: np.mean(values, axis=0) for kind, values in found.items()}


def differences_by_kind(methods: dict[str, dict]) -> dict[tuple[str, str], dict[str, tuple]]:
    """For pairs of methods the mean difference on each kind of corruption, and its interval."""
    found = {}
    for pair in PAIRS:
        if all(name in methods for name in pair):
            first, second = (by_kind(methods[name]) for name in pair)
            paired = {kind: first[kind] - second[kind] for kind in first if kind in second}
            if not paired:  # none of the runs of one is finite
                continue
            paired["mean"] = np.mean(list(paired.values()), axis=0)
            found[pair] = {
                kind: intervals.student(values[np.isfinite(values)].tolist())
                for kind, values in paired.items()
                if np.isfinite(values).any()
            }
    return found


def told(methods: dict[str, dict]) -> str:
    """All of it as text, in points."""
    said = [
        f"Over {rank.n} methods that share slope, reset and readout, the rise of the loss has a "
        f"rank correlation of {rank.coefficient:+.2f} (p {rank.p:.1g}) with {_RANKED[key]}."
        for key, rank in flatness(methods).items()
    ]
    hard = {name: [run["hard_accuracy"] for run in row["runs"]] for name, row in methods.items()}
    pooled = comparisons.pooled(hard, REFERENCE, planned=list(hard))
    said += [
        f"Hard accuracy, {name} minus {REFERENCE}, one variance for all methods, not corrected: "
        f"{points(pooled[name].mean, pooled[name].ci95, 2)}, p {pooled[name].p:.1g}."
        for name in (PLAIN, MATCHED)
        if name in pooled and pooled[name].p is not None
    ]
    pairs = differences_by_kind(methods)
    if pairs:
        kinds = list(next(iter(pairs.values())))
        heads = ["", *(f"{first} minus {second}" for first, second in pairs)]
        lines = [
            [kind, *(points(*of_it.get(kind, (None, None))) for of_it in pairs.values())]
            for kind in kinds
        ]
        said.append(tabulate.tabulate(lines, heads, "github", disable_numparse=True))
    return "\n\n".join(said)


def points(mean: float | None, interval: list[float] | None, digits: int = 1) -> str:
    """A mean difference and its interval, fractions, as points; a dash for nothing."""
    if mean is None:
        return "-"
    return f"{100 * mean:+.{digits}f}" + (f" {ends(interval, digits)}" if interval else "")


def ends(interval: Sequence[float], digits: int) -> str:
    """An interval of fractions, in points."""
    low, high = (f"{100 * end:+.{digits}f}" for end in interval)
    return f"[{low}, {high}]"


if __name__ == "__main__":
    for file in sys.argv[1:]:
        rows = json.loads(pathlib.Path(file).read_text())
        print(f"{file}\n\n{told({name: one['row'] for name, one in rows.items()})}\n")
