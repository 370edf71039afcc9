"""Settings chosen on a validation split."""

import itertools
import math
import pathlib
from collections.abc import Callable, Sequence

from sast_jax.errors import DivergedError
from sast_jax.reports import results
from sast_jax.runs import build
from sast_jax.runs.settings import SWEPT_KEYS, Settings
from sast_jax.runs.study.trainings import InTurn, OnCluster
from sast_jax.training.recipe import SWEPT

_SHORT = {key: name for name, key in SWEPT_KEYS.items()}


def most_accurate(row: dict) -> float:
    """The default score of :func:`tuned`: hard accuracy on the validation split."""
    return row["validation_hard_accuracy_mean"]


def tuned(
    given: Settings,
    grid: dict[str, Sequence[float]],
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
    trials, scores, trainings = [], [], trainings or InTurn()
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
        tried = ", ".join(f"{key} of {tuple(values)}" for key, values in grid.items())
        raise DivergedError(f"{workdir}: training diverges for every {tried}")
    return trials[best]["settings"], trials


def _summary(given, trainings) -> list[dict]:
    try:
        return results.summarise(trainings.train(given).runs)
    except DivergedError:  # every one of its runs did
        return results.summarise([one | {"diverged": True} for one in build.grid(given)])
