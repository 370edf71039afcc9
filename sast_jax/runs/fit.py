"""Training from the last checkpoint to the end, with its log, its progress bar and its clock."""

import json
import os
import pathlib
import time
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from sast_jax import files, processes
from sast_jax.data import packing
from sast_jax.errors import DivergedError, InputError
from sast_jax.evaluation import swap
from sast_jax.reports import health, results
from sast_jax.runs import interrupts, machine, workdirs
from sast_jax.runs.checkpoints import Checkpoints, contents
from sast_jax.training import epochs, passes, stepping, sweeps
from sast_jax.training.recipe import Hyperparameters, Recipe
from sast_jax.training.trained import Trained

CURVE_RECORDINGS = 1000  # evaluated after each epoch, at most; all of them at the end


class Job(NamedTuple):
    """Everything that training needs.

    Attributes:
      recipe: what the runs share.
      hyper_R, runs: what differs between them, as arrays and as dicts.
      initial_R: parameters to start from; None for random ones.
      train: recordings to train on.
      streamed: whether these stay in the host's memory.
      batch_devices: that share each batch, at most; 0 for all that the runs leave over.
      checkpoint_minutes: between checkpoints within an epoch; 0 for none.
      watched, split: recordings to evaluate after each epoch, and the name of their split.
      about: the record of every checkpoint, from which its networks can be built again.
      workdir: holds the log and the checkpoints.
      to_the_end: whether training goes on where no run is finite any more.
    """

    recipe: Recipe
    hyper_R: Hyperparameters
    runs: list[dict]
    initial_R: Any
    train: packing.Frames
    streamed: bool
    batch_devices: int
    checkpoint_minutes: float
    watched: packing.Frames
    split: str
    about: dict
    workdir: pathlib.Path
    to_the_end: bool = False


class Progress(NamedTuple):
    """How far training is.

    Attributes:
      epoch: epochs done.
      train_seconds, finite: of each run, and whether it is finite; up to that epoch.
      steps: of the next epoch that are done.
      within: seconds of each run that these took.
    """

    epoch: int
    train_seconds: list[float]
    finite: list[bool]
    steps: int = 0
    within: list[float] | None = None


def fit(job: Job) -> tuple[stepping.RunState, Progress]:
    """Trains from the last checkpoint, or from the start, to the end.

    A checkpoint is written after each epoch, and within one every ``checkpoint_minutes``.

    Raises:
      StoppedError: SIGTERM has come, and the state is saved.
      DivergedError: no run is finite any more.
      InputError: the runs do not fit in memory, or the workdir is gone.
    """
    _check_memory(job)
    checkpoints = Checkpoints(job.workdir / "checkpoints")
    state_R, progress, within_R = _begin(job, checkpoints)
    with _Log(job, progress) as log, interrupts.deferred() as asked:
        saved = time.monotonic()
        given = job.recipe, job.hyper_R, job.train, job.streamed, state_R, progress.epoch
        for block in passes.blocks(*given, job.batch_devices, progress.steps, within_R):
            state_R, so_far = block.state_R, np.array(progress.within or 0.0)
            progress = progress._replace(
                steps=block.steps, within=(so_far + block.seconds_R).tolist()
            )
            if processes.any_says(workdirs.is_gone(job.workdir)):
                raise InputError(
                    f"{job.workdir}: gone, or emptied, while its run was being trained; remove "
                    "what is left of it, and the same command trains anew"
                )
            stops, late = asked(), time.monotonic() - saved > 60 * job.checkpoint_minutes > 0
            stops, due = processes.any_says(stops), processes.any_says(late)
            if block.metrics is not None:
                progress = _end_epoch(job, checkpoints, log, block, progress)
            elif stops or due:
                number = progress.epoch * job.recipe.batches.known_steps + progress.steps
                partial = state_R, block.progress_R
                checkpoints.save(number, partial, _record(job, progress))
                saved = time.monotonic()
            if stops:
                checkpoints.close()
                raise interrupts.StoppedError(
                    f"{job.workdir}: stopped by SIGTERM, and saved, at epoch {progress.epoch}, "
                    f"step {progress.steps}; {interrupts.SAID}"
                )
        checkpoints.close()
    return sweeps.here(state_R), progress


def _begin(job, checkpoints) -> tuple[stepping.RunState, Progress, epochs.StepMetrics | None]:
    """State and progress of the last checkpoint, or of the start, which is then saved."""
    state_R = sweeps.to_all(stepping.initialise(job.recipe, job.hyper_R, job.initial_R))
    progress = Progress(0, [0.0] * len(job.runs), [True] * len(job.runs))
    if processes.first_decides(lambda: checkpoints.latest() is None):
        # Before the first epoch, so that a folder that cannot be written is noticed at once, and a
        # run that is cut off in its first epoch can be resumed.
        checkpoints.save(0, state_R, _record(job, progress))
        return state_R, progress, None
    steps = job.recipe.batches.steps

    def like_of(record):
        _progress(record, len(job.runs))
        return contents(record, state_R, steps)

    record, saved = checkpoints.restore(like_of)
    checkpoints.drop_newer()  # they are damaged
    if record.get("environment") != machine.environment():
        print("warning: resumed on another machine or version, so not bit for bit the same")
    progress = _progress(record, len(job.runs))
    state_R, within_R = saved if progress.steps else (saved, None)
    return state_R, progress, within_R


def _end_epoch(job, checkpoints, log, block, progress) -> Progress:
    """Evaluates, logs and saves the end of an epoch."""
    epoch, metrics = progress.epoch + 1, block.metrics
    if not (metrics.finite.any() or job.to_the_end):
        checkpoints.close()
        lower = [key for key in ("learning_rate", "rho") if any(run[key] for run in job.runs)]
        of_it = " or ".join(f"{key} from {max(run[key] for run in job.runs):g}" for key in lower)
        raise DivergedError(
            f"the loss is no longer finite in epoch {epoch}; lower {of_it}. The last good "
            f"checkpoint is {checkpoints.folder / str(checkpoints.latest())}"
        )
    total = np.array(progress.train_seconds) + progress.within
    ended = Progress(epoch, total.tolist(), metrics.finite.tolist())
    # The smooth spike as it is now, which is not yet the one of the end.
    step = epoch * job.recipe.batches.steps
    if processes.is_first():
        now_R = job.hyper_R._replace(slope_end=job.recipe.slope_at(job.hyper_R, step))
        trained = Trained.of(job.recipe, sweeps.here(block.state_R), now_R)
        log.add(epoch, metrics, progress.within, swap.soft_and_hard(trained, log.watched))
    # The log before the checkpoint: a run that is cut off between them repeats this epoch, and
    # trim_metrics drops its lines. The other way round they would be missing.
    checkpoints.save(step, block.state_R, _record(job, ended))
    log.advance()
    return ended


class _Log:
    """The progress bar and ``metrics.jsonl``, of several processes of the first; a context."""

    def __init__(self, job: Job, progress: Progress):
        self.watched = job.watched.spread(CURVE_RECORDINGS)
        self._job, first = job, processes.is_first()
        self._told: set[tuple[int, str]] = set()
        if first and (missing := workdirs.trim_metrics(job.workdir, progress.epoch)):
            print(f"warning: metrics.jsonl lacks {len(missing)} epochs, the first {missing[0]}")
        self._place = job.workdir / "metrics.jsonl" if first else pathlib.Path(os.devnull)
        total, shown = job.recipe.epochs, {"desc": "training", "unit": "epoch"}
        self._bar = tqdm(total=total, initial=progress.epoch, disable=not first, **shown)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()

    def add(self, epoch: int, metrics: epochs.Metrics, seconds_R, measured: list[dict]):
        """A line for each run, and a warning for what is wrong with it."""
        runs, lines = self._job.runs, []
        for i, result in enumerate(measured):
            line = {"epoch": epoch, "run": i, **runs[i], "split": self._job.split, **result}
            line |= {"loss": float(metrics.loss[i])}
            line |= {"train_accuracy": float(metrics.accuracy[i])}
            line |= {"epoch_seconds": seconds_R[i]}
            for fault in health.faults(line):
                if not fault.passing and (i, fault.kind) not in self._told:  # each once
                    self._told.add((i, fault.kind))
                    who = results.named(runs[i], runs)
                    self._bar.write(f"warning: epoch {epoch}, {who}: {fault.text}")
            lines.append(json.dumps(results.finite(line)) + "\n")
        with files.naming(self._place), open(self._place, "a") as file:
            file.writelines(lines)
        self._bar.set_postfix(
            loss=f"{np.nanmean(metrics.loss):.3f}",
            soft=_mean(measured, "soft_accuracy"),
            hard=_mean(measured, "hard_accuracy"),
            refresh=False,
        )

    def advance(self):
        self._bar.update()


def _check_memory(job):
    state_R = stepping.shapes(job.recipe, job.hyper_R)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state_R))
    needed, there = 2 * size, machine.memory()  # the state, and the copy that a checkpoint takes
    if needed > there:
        raise InputError(
            f"the weights and optimizers of {len(job.runs)} runs need about {needed / 1e9:.0f} GB "
            f"of memory, and this machine has {there / 1e9:.0f}; lower config.network's widths or "
            "config.sweep.seeds"
        )


def _record(job: Job, progress: Progress) -> dict:
    return job.about | {"environment": machine.environment()} | progress._asdict()


def _progress(record: dict, runs: int) -> Progress:
    """The progress of that many runs that a checkpoint's record holds."""
    found = Progress(**{key: record[key] for key in Progress._fields if key in record})
    if not runs == len(found.train_seconds) == len(found.finite):
        raise ValueError(f"it is of {len(found.finite)} runs, and there are {runs}")
    return found


def _mean(measured, key) -> str:
    values = [run[key] for run in measured if run[key] is not None]
    return f"{np.mean(values):.1%}" if values else "-"
