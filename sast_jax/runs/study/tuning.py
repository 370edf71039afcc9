"""Settings chosen on a validation split."""

import functools
import itertools
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from sast_jax.errors import DivergedError, InputError
from sast_jax.reports import results
from sast_jax.runs import build
from sast_jax.runs.settings import SWEPT_KEYS, Settings
from sast_jax.runs.study.trainings import InTurn, Measure, OnCluster
from sast_jax.training.recipe import SWEPT

_SHORT = {key: name for name, key in SWEPT_KEYS.items()}


def most_accurate(row: dict) -> float:
    """The default score of :func:`tuned`: hard accuracy on the validation split."""
    return row["validation_hard_accuracy_mean"]


def tuned(
    given: Settings,
    grid: Mapping[str, Sequence[float]],
    workdir: pathlib.Path,
    score: Callable[[dict], float] = most_accurate,
    trainings: InTurn | OnCluster | None = None,
) -> tuple[dict[str, float], list[dict]]:
    """The settings of a grid with the best score, from means over seeds; at a tie the first.

    The test split has no influence, and settings with a run that diverges cannot win. Trials that
    are finished are not trained again.

    Args:
      given: settings of the runs, with a validation split.
      grid: keys of the config and the values to try of each, in all combinations.
      workdir: for the trials.
      score: row of a summary -> score.
      trainings: how they are trained; None for one after another.

    Returns:
      The settings, and all trials: ``settings`` and ``hard_accuracy`` on the validation split, None
      where a run diverged.

    Raises:
      DivergedError: no settings have runs that are all finite.
    """
    # Keys that a sweep can hold are tried together in one program. Each combination of the others
    # is a training of its own, in a folder of its own.
    names = {key: _SHORT.get(key, key) for key in grid}
    swept = {name: key for key, name in names.items() if name in SWEPT}
    single = {key: values for key, values in grid.items() if key not in swept.values()}
    sweep = {f"sweep.{name}": tuple(grid[key]) for name, key in swept.items()}
    trials: list[dict] = []
    scores, trainings = [], trainings or InTurn()
    for values in itertools.product(*single.values()):
        these = dict(zip(single, values, strict=True))
        place = str(workdir.joinpath(*(f"{value:g}" for value in values)))
        for row in _summary(given.changed(sweep | these | {"workdir": place}), trainings):
            sound = not row["diverged"]
            tried = these | {key: row[name] for name, key in swept.items()}
            accuracy = most_accurate(row) if sound else None
            trials.append({"settings": tried, "hard_accuracy": accuracy})
            scores.append(score(row) if sound else -math.inf)
    best = max(range(len(trials)), key=scores.__getitem__)
    if scores[best] == -math.inf:
        listed = ", ".join(f"{key} of {tuple(values)}" for key, values in grid.items())
        raise DivergedError(f"{workdir}: training diverges for every {listed}")
    return trials[best]["settings"], trials


def searched(
    make: Callable[[dict], Settings],
    grid: Mapping[str, Sequence[float]],
    workdir: pathlib.Path,
    score: Callable[[dict, dict], dict[str, float | None]],
    measure: Measure,
    trainings: InTurn | OnCluster,
    further: int,
) -> list[dict]:
    """Trials of a grid, which goes on beyond an edge where the best of a score lies at it.

    Args:
      make: values of the grid's keys -> settings of a trial's runs, with a validation split and as
        many seeds as each trial has. It raises InputError for values that cannot be.
      grid: keys of the config and the values to try of each, in all combinations.
      workdir: for the trials.
      score: (run of ``results.json``, what ``measure`` gives of it) -> scores by name.
      measure: of each trial.
      trainings: how they are trained.
      further: values beyond the grid that are tried for each key and score, at most. Each lies as
        far from the edge, as a factor, as the one before, with the other keys as in the best trial.

    Returns:
      All trials: ``settings``, ``measured`` of each seed, and ``scores``, by name one a seed, None
      where a run diverged.
    """

    def tried(values, urgency):
        place = str(workdir.joinpath(*(f"{value:g}" for value in values.values())))
        given = make(values).changed({"workdir": place})
        try:
            runs, (measured,) = trainings.train(given, (measure,), urgency)
        except DivergedError:
            runs = measured = [{}] * given.sweep.seeds
        rows = [score(*pair) for pair in zip(runs, measured, strict=True)]
        return {
            "settings": values,
            "measured": measured,
            "scores": {name: [row[name] for row in rows] for name in rows[0]},
        }

    product = itertools.product(*grid.values())
    trials: list[dict] = []
    wanted = [dict(zip(grid, values, strict=True)) for values in product]
    for left in range(further, -1, -1):
        with ThreadPoolExecutor(trainings.at_once) as pool:
            urgency = int(left < further)  # rows that have begun are ended first
            trials += pool.map(functools.partial(tried, urgency=urgency), wanted)
        wanted = _beyond(trials, make) if left else []
        if not wanted:
            break
    return trials


def _beyond(trials, make) -> list[dict]:
    """The next values beyond the edges at which the best trials of the scores lie."""
    found = []
    for name in trials[0]["scores"]:
        best = max(trials, key=lambda trial: _mean(trial["scores"][name], -math.inf))
        for key, value in best["settings"].items():
            known = sorted({trial["settings"][key] for trial in trials})
            if len(known) < 2 or known[0] < value < known[-1] or known[0] <= 0:
                continue
            first, second = known[:2] if value == known[0] else known[:-3:-1]
            values = best["settings"] | {key: first * (first / second)}
            new = all(values != trial["settings"] for trial in trials)
            if new and values not in found and _can_be(make, values):
                found.append(values)
    return found


def chosen(trials: Sequence[dict], score: str, key: str) -> dict[str, float]:
    """The settings of the trial with the best mean score, by the rule of one standard error.

    Of the trials whose mean is within one standard error of the best one's, those with the least
    value of ``key`` are taken, and of these the best. Trials with a run that diverged are left out.

    Raises:
      DivergedError: no trial is left.
    """
    sound = [trial for trial in trials if None not in trial["scores"][score]]
    if not sound:
        raise DivergedError("training diverges for everything that was tried")
    means = [_mean(trial["scores"][score]) for trial in sound]
    top = int(np.argmax(means))
    seeds = sound[top]["scores"][score]
    error = np.std(seeds, ddof=1) / math.sqrt(len(seeds)) if len(seeds) > 1 else 0.0
    near = [i for i, mean in enumerate(means) if mean >= means[top] - error]
    least = min(sound[i]["settings"].get(key, 0) for i in near)
    mildest = [i for i in near if sound[i]["settings"].get(key, 0) == least]
    return sound[max(mildest, key=means.__getitem__)]["settings"]


def _mean(scores, without=None):
    return without if None in scores else float(np.mean(scores))


def _can_be(make, values) -> bool:
    try:
        make(values)
    except InputError:  # beyond the range of the key
        return False
    return True


def _summary(given, trainings) -> list[dict]:
    try:
        return results.summarise(trainings.train(given).runs)
    except DivergedError:  # every one of its runs did
        return results.summarise([one | {"diverged": True} for one in build.grid(given)])
