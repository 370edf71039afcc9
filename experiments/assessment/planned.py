"""The comparisons that PROTOCOL.md plans, each with what must hold and whether it does.

    python -m experiments.assessment.planned FOLDER

prints them for a regime's folder in the workdir of a study, which holds its rows and answers.
"""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.assessment.findings import ends, points
from experiments.assessment.measures import EIGHTH, MATCHED, PLAIN, REFERENCE
from sast_jax import files
from sast_jax.evaluation import comparisons
from sast_jax.reports import tables
from sast_jax.runs.study import kept_rows

HARD, MISMATCH = ("as trained hard",), ("weight mismatch 0.6 hard",)
LOST, ADDED = ("event drop",), ("noise", "hot pixels")
AS_FAR = 7 / 6  # of plain training's gradients: what the ascent on an eighth takes
_BOTH = ("default", "paper")
CURE, FOLLOWING = "SAST with lost and added events", "following, "


class Comparison(NamedTuple):
    """One method, or one way to read its networks out, against another.

    Attributes:
      number: in the protocol.
      first, second: the methods.
      conditions: names of what is answered, which are averaged.
      what: they are, in words.
      least: what the mean difference must reach, a fraction.
      certain: whether the interval must lie above 0 too.
      prefix: of the first's conditions, where it is the same network with other thresholds.
      regimes: that it is planned for.
    """

    number: int
    first: str
    second: str
    conditions: tuple[str, ...]
    what: str
    least: float = 0.0
    certain: bool = True
    prefix: str = ""
    regimes: tuple[str, ...] = ("default",)


class Outcome(NamedTuple):
    """What came of a comparison.

    Attributes:
      comparison: the one.
      mean: of the difference, a fraction.
      over_seeds: 95 % interval with one variance for all methods; of following thresholds
        Student's, over the paired differences. None for one seed.
      over_both: the same over seeds and recordings, a bootstrap.
    """

    comparison: Comparison
    mean: float
    over_seeds: list[float] | None
    over_both: list[float]

    @property
    def holds(self) -> bool:
        """Whether the mean reaches what it must, and the interval over seeds lies above 0."""
        sure = self.over_seeds is not None and self.over_seeds[0] > 0
        return self.mean >= self.comparison.least and (sure or not self.comparison.certain)


def comparisons_of(
    methods: Mapping[str, Mapping], severities: Sequence[int], regime: str
) -> list[Comparison]:
    """The comparisons that are planned for a regime, of those methods that are among its rows."""

    def corrupted(kinds, network):
        return tuple(f"{kind} {level} {network}" for kind in kinds for level in severities)

    rival = best_of_one_gradient(methods)
    longer, added = "hard forward twice as long", corrupted(ADDED, "hard")
    planned = [
        Comparison(
            2, "hard forward with SAM", longer, added, "noise and hot pixels", regimes=_BOTH
        ),
        Comparison(3, CURE, EIGHTH, corrupted(LOST, "hard"), "event drop", least=0.1),
        Comparison(3, CURE, EIGHTH, HARD, "hard spikes", least=-0.002, certain=False),
    ]
    if rival:
        eighth = Comparison(1, EIGHTH, rival, MISMATCH, "mismatch 0.6", least=0.005)
        planned.insert(0, eighth)
    under = corrupted(LOST, "integer")
    for name in (PLAIN, EIGHTH):
        planned += [
            Comparison(
                4, name, name, under, "event drop, INT8", 0.1, True, FOLLOWING, regimes=_BOTH
            ),
            Comparison(
                4, name, name, ("INT8 integer",), "INT8", -0.002, False, FOLLOWING, regimes=_BOTH
            ),
        ]
    planned += [Comparison(5, REFERENCE, name, HARD, "hard spikes") for name in (PLAIN, MATCHED)]
    known = [one for one in planned if {one.first, one.second} <= methods.keys()]
    return [one for one in known if regime in one.regimes]


def best_of_one_gradient(methods: Mapping[str, Mapping]) -> str | None:
    """The rival of the ascent on an eighth, chosen without the test split.

    It takes one gradient a step and at most as long. Of these it has the highest mean at a mismatch
    of 0.6 on the validation split, in the trial that was chosen.
    """
    if PLAIN not in methods:
        return None
    most = AS_FAR * methods[PLAIN]["epochs"]
    found = {}
    for name, row in methods.items():
        cheap = row["gradients"] == 1 and row["epochs"] <= most
        chosen = [trial for trial in row["trials"] if trial["settings"] == row["tuned"]]
        if cheap and chosen:
            measured = [run.get("mismatch_0.6") for run in chosen[0].get("measured", ())]
            if measured and None not in measured:
                found[name] = float(np.mean(measured))
    return max(found, key=found.__getitem__) if found else None


def outcomes(
    methods: Mapping[str, Mapping],
    severities: Sequence[int],
    answers: Mapping[str, Mapping[str, np.ndarray]],
    regime: str,
) -> list[Outcome]:
    """All planned comparisons of a regime.

    Args:
      methods: its rows.
      severities: of the corruptions that were measured.
      answers: by method and condition, which recordings the networks of S seeds answer right (S,
        M). A method without answers is compared with none.
      regime: its name.
    """

    def right(name, conditions, prefix=""):
        return np.mean([answers[name][f"{prefix}{one}"] for one in conditions], axis=0)

    methods = {name: row for name, row in methods.items() if name in answers}
    found = []
    for one in comparisons_of(methods, severities, regime):
        first = right(one.first, one.conditions, one.prefix)
        second = right(one.second, one.conditions)
        if one.prefix:
            pair = {"first": first.mean(axis=1), "second": second.mean(axis=1)}
            difference = comparisons.against(pair, "second", planned=["first"])["first"]
        else:
            means = {name: right(name, one.conditions).mean(axis=1) for name in methods}
            difference = comparisons.pooled(means, one.second, planned=list(means))[one.first]
        finite = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
        both = comparisons.over_recordings(first[finite], second[finite])
        mean = float((first[finite] - second[finite]).mean())
        found.append(Outcome(one, mean, difference.ci95, both))
    return found


def table(found: list[Outcome]) -> str:
    """The outcomes in Markdown, in points."""
    heads = ["no.", "what", "on", "points", "over seeds and recordings", "needed", "holds"]
    rows = []
    for outcome in found:
        one = outcome.comparison
        what = f"{one.first} minus {one.second}"
        if one.prefix:
            what = f"{one.first}: thresholds that follow events minus fixed ones"
        needed = f"{100 * one.least:+.1f}" if one.least else ""
        needed = " and ".join(filter(None, (needed, "above 0" if one.certain else "")))
        rows.append(
            [
                *(one.number, what, one.what, points(outcome.mean, outcome.over_seeds, 2)),
                *(ends(outcome.over_both, 2), needed, "yes" if outcome.holds else "no"),
            ]
        )
    return tables.table(rows, heads, "github") if rows else ""


def kept(folder: pathlib.Path, methods: Mapping[str, Mapping], severities: Sequence[int]) -> str:
    """The table of a regime's folder in the workdir of a study, for rows of its methods."""
    places = {name: folder / kept_rows.folder(name) / "deployment.npz" for name in methods}
    answers = {name: files.read_arrays(file) for name, file in places.items() if file.exists()}
    return table(outcomes(methods, severities, answers, folder.name))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        place = pathlib.Path(name)
        config = files.read_json(place.parent / "config.json", dict)
        rows = {key: one["row"] for key, one in kept_rows.kept(place / "rows.json").items()}
        print(f"{place}\n\n{kept(place, rows, config['severities'])}\n")
