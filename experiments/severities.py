"""Finds the levels of corruptions that cost a trained run 1, 3, 10, 25 and 50 points.

    python -m experiments.severities --checkpoint=WORKDIR

The points are of hard accuracy, the mean over the workdir's runs, on the recordings that the run
held out of its training split (``config.data.validation``). A level is found by bisection on a
logarithmic scale, to within one percent. If a kind cannot cost that many points, its row ends
early.
"""

import functools
import pathlib
from collections.abc import Callable

import numpy as np
from absl import flags

from experiments import cli
from sast_jax import files
from sast_jax.data import corruptions, recordings
from sast_jax.data.sets import selection
from sast_jax.errors import InputError
from sast_jax.evaluation import swap
from sast_jax.reports import tables
from sast_jax.runs import reloaded

POINTS = (1, 3, 10, 25, 50)
DECADES = 4  # between the least level that is tried and the largest
TOLERANCE = 0.01

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "workdir of the run", required=True)
_KINDS = flags.DEFINE_list("kinds", list(corruptions.KINDS), "which kinds of corruption")


def main() -> None:
    known, unknown = ",".join(corruptions.KINDS), set(_KINDS.value) - set(corruptions.KINDS)
    if unknown:
        raise InputError(f"--kinds={min(unknown)}: not known; choose from {known}")
    if not _KINDS.value:
        raise InputError(f"--kinds= names none; choose from {known}")
    accuracy = hard_accuracy(files.place(_CHECKPOINT.value))
    clean = accuracy(None)
    print(f"hard accuracy of recordings as they are: {100 * clean:.2f} %")
    rows = []
    for kind in _KINDS.value:

        def lost(level, kind=kind):
            worse = accuracy(functools.partial(corruptions.corrupt, kind=kind, level=level))
            return 100 * (clean - worse)

        found = levels(lost, corruptions.KINDS[kind].most)
        cells = [f"{level:.3g} ({points:.1f})" for level, points in found]
        rows.append([kind, corruptions.KINDS[kind].level, *cells])
        print(f"{kind}: {', '.join(cells) or 'costs less than a point'}", flush=True)
    headers = ["kind", "level", *(f"{points} points" for points in POINTS)]
    print(tables.table(rows, headers, "github"))


def levels(lost: Callable[[float], float], most: float) -> list[tuple[float, float]]:
    """The levels that cost the points of ``POINTS``, and what each of them costs.

    Args:
      lost: points that a level costs; it should not fall where the level grows.
      most: the largest level; no point is looked for beyond.

    Returns:
      A pair for each of ``POINTS`` that the largest level costs at least.
    """
    # All costs that were measured for other points narrow the bracket of the next one.
    tried = {most: lost(most), most * 10.0**-DECADES: 0.0}
    found = []
    for points in POINTS:
        if tried[most] < points:
            break
        below = max(level for level, cost in tried.items() if cost < points)
        above = min(level for level, cost in tried.items() if cost >= points and level > below)
        while above > below * (1 + TOLERANCE):
            middle = float(np.sqrt(above * below))
            tried[middle] = lost(middle)
            above, below = (middle, below) if tried[middle] >= points else (above, middle)
        away = {level: abs(tried[level] - points) for level in (above, below)}
        nearest = min(away, key=away.__getitem__)
        found.append((nearest, tried[nearest]))
    return found


def hard_accuracy(workdir: pathlib.Path) -> Callable[..., float]:
    """A function (what corrupts recordings, or None) -> accuracy on the held-out recordings.

    Raises:
      InputError: nothing was held out, or the recordings are others or gone.
    """
    found = reloaded.load(workdir)
    data = found.settings.data
    if not data.validation:
        raise InputError(
            f"{workdir}: held no recordings out; train with --config.data.validation=0.2"
        )
    source = reloaded.training_source(found)
    train, where = source.frames("train"), source.recorded["train"]
    rows_N = np.flatnonzero(selection.held_out(train, data.validation, data.seed))
    windows = len(train.labels_N) // len(where.recordings.labels_N)
    few = recordings.take(where.recordings, np.unique(rows_N // windows))
    few = corruptions.in_memory(few)

    def accuracy(change):
        frames = where.pack(few, change)
        answers = swap.answer(swap.hard, found.trained, frames.packed_NxTxP)
        scores = answers.scores_BxK
        return float((frames.vote(scores).argmax(axis=-1) == frames.truth_M).mean())

    return accuracy


if __name__ == "__main__":
    cli.run(main)
