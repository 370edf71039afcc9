"""Soft and hard accuracy of trained models in one call, as a list that prints as a table."""

from sast_jax.data.packing import Frames
from sast_jax.errors import InputError
from sast_jax.evaluation import swap
from sast_jax.fields import instance
from sast_jax.training.recipe import SWEPT
from sast_jax.training.trained import Trained

_VALUES = tuple(name for name in SWEPT if name != "rho")
_COLUMNS = {
    "rho": lambda run: f"{run['rho']:g}",
    "seed": lambda run: str(run["seed"]),
    "soft %": lambda run: _percent(run, "soft_accuracy"),
    "hard %": lambda run: _percent(run, "hard_accuracy"),
    "gap": lambda run: _percent(run, "transfer_gap"),
    "soft rate %": lambda run: _percent(run, "soft_rate"),
    "hard rate %": lambda run: _percent(run, "hard_rate"),
    "silent %": lambda run: _percent(run, "hard_silent"),
}


class Evaluation(list):
    """One dict a run; prints as a table, with 95 % intervals over recordings in brackets."""

    def __str__(self) -> str:
        varied = {  # what else tells the runs apart
            name: lambda run, name=name: f"{run[name]:g}"
            for name in _VALUES
            if len({run[name] for run in self}) > 1
        }
        columns = varied | _COLUMNS
        rows = [list(columns), *([cell(run) for cell in columns.values()] for run in self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def evaluate(trained: Trained, frames: Frames) -> Evaluation:
    """Evaluates trained models with their smooth spike, and with a threshold in its place.

    Args:
      trained: from :func:`sast_jax.train`; all runs, or one of them.
      frames: recordings to answer, from :func:`sast_jax.frames`. They may have another number of
        time bins than those of training.

    Returns:
      For each run a dict with the keys of ``results.json``: ``seed``, ``rho``, ``learning_rate``,
      ``slope``, ``decay``, ``warmup``, and those of :func:`sast_jax.evaluation.swap.soft_and_hard`,
      such as ``soft_accuracy``, ``hard_accuracy``, ``transfer_gap``, ``soft_rate``, ``hard_rate``
      (fractions) and ``hard_accuracy_ci95`` (Wilson's interval). Measures are None for a run with
      scores that are not finite.

    Raises:
      InputError: the frames are of another shape than those of training, or a label has no output.
    """
    instance(Trained, trained=trained)
    instance(Frames, frames=frames)
    if not len(frames.labels_N):
        raise InputError("there are no recordings to evaluate on")
    shape = trained.model.frame_shape
    if frames.frame_shape != shape:
        raise InputError(
            f"frames of {frames.frame_shape}, and the models were trained on frames of {shape}"
        )
    trained.model.require_outputs(frames.labels_N)
    trained = trained.with_run_axis()
    hyper = trained.hyper
    names = ("seed", "rho", *_VALUES)
    columns = [getattr(hyper, name).tolist() for name in names]
    runs = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    for run in runs:  # float32 as it was written: 0.3 and not 0.30000001
        run |= {name: float(f"{run[name]:.7g}") for name in names[1:]}
    measured = swap.soft_and_hard(trained, frames)
    return Evaluation(run | result for run, result in zip(runs, measured, strict=True))


def _percent(run, key) -> str:
    if run[key] is None:
        return "-"
    interval = run.get(f"{key}_ci95")
    between = " [{:.2f}, {:.2f}]".format(*(100 * end for end in interval)) if interval else ""
    return f"{100 * run[key]:.2f}{between}"
