"""Training from the last checkpoint to the end, with its log, its progress bar and its clock."""

import json
import os
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from sast_jax.data import packing
from sast_jax.errors import DivergedError, InputError
from sast_jax.evaluation import swap
from sast_jax.reports import health, results
from sast_jax.runs import machine, processes, workdirs
from sast_jax.runs.checkpoints import Checkpoints
from sast_jax.training import passes, stepping, sweeps
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
    watched: packing.Frames
    split: str
    about: dict
    workdir: pathlib.Path
    to_the_end: bool = False


class Progress(NamedTuple):
    """How far training is: epochs done, and for each run its seconds and if it is finite."""

    epoch: int
    train_seconds: list[float]
    finite: list[bool]


def fit(job: Job) -> tuple[stepping.RunState, Progress]:
    """Trains from the last checkpoint, or from the start, to the end.

    Raises:
      DivergedError: no run is finite any more.
      InputError: the runs do not fit in memory.
    """
    _check_memory(job)
    checkpoints = Checkpoints(job.workdir / "checkpoints")
    state_R = stepping.initialise(job.recipe, job.hyper_R, job.initial_R)
    state_R = sweeps.to_all(state_R)
    first = processes.is_first()
    progress = Progress(0, [0.0] * len(job.runs), [True] * len(job.runs))
    if checkpoints.latest() is None:
        # Before the first epoch, so that a folder that cannot be written is noticed at once, and a
        # run that is cut off in its first epoch can be resumed.
        checkpoints.save(0, state_R, _record(job, progress))
    else:
        record = checkpoints.record()
        state_R = checkpoints.state(state_R)
        progress = Progress(*(record[key] for key in Progress._fields))
        if record["environment"] != machine.environment():
            print("warning: resumed on another machine or version, so not bit for bit the same")
    if first and (missing := workdirs.trim_metrics(job.workdir, progress.epoch)):
        print(f"warning: metrics.jsonl lacks {len(missing)} epochs, the first {missing[0]}")
    watched, told = job.watched.spread(CURVE_RECORDINGS), set()
    shown = {"desc": "training", "unit": "epoch", "disable": not first}
    with (
        tqdm(total=job.recipe.epochs, initial=progress.epoch, **shown) as bar,
        open(job.workdir / "metrics.jsonl" if first else os.devnull, "a") as log,
    ):
        given = job.recipe, job.hyper_R, job.train, job.streamed, state_R, progress.epoch
        for trained_R, metrics, seconds_R in passes.passes(*given, job.batch_devices):
            state_R = trained_R
            epoch = progress.epoch + 1
            if not (metrics.finite.any() or job.to_the_end):
                checkpoints.close()
                raise DivergedError(
                    f"the loss is no longer finite in epoch {epoch}; lower the learning rate or "
                    f"rho. The last good checkpoint is {checkpoints.folder / str(epoch - 1)}"
                )
            total = [a + b for a, b in zip(progress.train_seconds, seconds_R, strict=True)]
            progress = Progress(epoch, total, metrics.finite.tolist())
            # The smooth spike as it is now, which is not yet the one of the end.
            step = epoch * job.recipe.batches.steps
            now_R = job.hyper_R._replace(slope_end=job.recipe.slope_at(job.hyper_R, step))
            measured = []
            if first:
                trained = Trained.of(job.recipe, sweeps.here(state_R), now_R)
                measured = swap.soft_and_hard(trained, watched)
            for i, result in enumerate(measured):
                line = {"epoch": epoch, "run": i, **job.runs[i], "split": job.split, **result}
                line |= {"loss": float(metrics.loss[i])}
                line |= {"train_accuracy": float(metrics.accuracy[i])}
                line |= {"epoch_seconds": seconds_R[i]}
                for fault in health.faults(line):
                    if (i, fault.kind) not in told:  # each once
                        told.add((i, fault.kind))
                        who = results.named(job.runs[i], job.runs)
                        bar.write(f"warning: epoch {epoch}, {who}: {fault.text}")
                log.write(json.dumps(results.finite(line)) + "\n")
            # The log before the checkpoint: a run that is cut off between them repeats this epoch,
            # and trim_metrics drops its lines. The other way round they would be missing.
            log.flush()
            checkpoints.save(epoch, state_R, _record(job, progress))
            bar.set_postfix(
                loss=f"{np.nanmean(metrics.loss):.3f}",
                soft=_mean(measured, "soft_accuracy"),
                hard=_mean(measured, "hard_accuracy"),
                refresh=False,
            )
            bar.update()
    checkpoints.close()
    return sweeps.here(state_R), progress


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


def _mean(measured, key) -> str:
    values = [run[key] for run in measured if run[key] is not None]
    return f"{np.mean(values):.1%}" if values else "-"
