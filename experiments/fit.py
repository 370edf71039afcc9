"""Training from the last checkpoint to the end, with its log, its progress bar and its clock."""

import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments import machine, workdirs
from sast_jax import evaluation, results, training
from sast_jax.checkpoints import Checkpoints
from sast_jax.data import packing
from sast_jax.errors import DivergedError, InputError
from sast_jax.training import Hyperparameters, Recipe

CURVE_RECORDINGS = 1000  # at most so many are evaluated after each epoch; all at the end


class Job(NamedTuple):
    """All that training needs.

    Attributes:
      recipe, hyper_R, runs: what the runs share, and what differs, as arrays and in words.
      initial_R: parameters to start from; None for random ones.
      train: recordings to train on.
      watched, split: recordings to evaluate after each epoch, and the name of their split.
      about: what every checkpoint says of itself, so that its networks can be built again.
      workdir: holds the log and the checkpoints.
    """

    recipe: Recipe
    hyper_R: Hyperparameters
    runs: list[dict]
    initial_R: Any
    train: packing.Frames
    watched: packing.Frames
    split: str
    about: dict
    workdir: pathlib.Path


class Progress(NamedTuple):
    """How far training is: epochs done; of each run the seconds it took and if it is finite."""

    epoch: int
    train_seconds: list[float]
    finite: list[bool]


def fit(job: Job) -> tuple[training.TrainState, Progress]:
    """Trains from the last checkpoint, or from the start, to the end.

    Raises:
      DivergedError: no run is finite any more.
      InputError: the runs do not fit in memory.
    """
    _check_memory(job)
    checkpoints = Checkpoints(job.workdir / "checkpoints")
    state_R = training.initialise(job.recipe, job.hyper_R, job.initial_R)
    progress = Progress(0, [0.0] * len(job.runs), [True] * len(job.runs))
    if checkpoints.latest() is None:
        checkpoints.save(0, state_R, _record(job, progress))
    else:
        record = checkpoints.record()
        state_R = checkpoints.state(state_R)
        progress = Progress(*(record[key] for key in Progress._fields))
        if record["environment"] != machine.environment():
            print("warning: resumed on another machine or version, so not bit for bit the same")
    if missing := workdirs.trim_metrics(job.workdir, progress.epoch):
        print(f"warning: metrics.jsonl lacks {len(missing)} epochs, the first {missing[0]}")
    watched = job.watched.spread(CURVE_RECORDINGS)
    with (
        tqdm(total=job.recipe.epochs, initial=progress.epoch, desc="training", unit="epoch") as bar,
        open(job.workdir / "metrics.jsonl", "a") as log,
    ):
        for trained_R, metrics, seconds_R in epochs(job, state_R, progress.epoch):
            state_R = trained_R
            epoch = progress.epoch + 1
            if not metrics.finite.any():
                checkpoints.close()
                raise DivergedError(
                    f"the loss is no longer finite in epoch {epoch}; lower the learning rate or "
                    f"rho. The last good checkpoint is {checkpoints.folder / str(epoch - 1)}"
                )
            total = [a + b for a, b in zip(progress.train_seconds, seconds_R, strict=True)]
            progress = Progress(epoch, total, metrics.finite.tolist())
            # The smooth spike as it is now, which is not yet the one of the end.
            step = epoch * job.recipe.epoch_steps
            now_R = job.hyper_R._replace(slope_end=training.slope_at(job.recipe, job.hyper_R, step))
            measured = evaluation.evaluate(
                job.recipe, training.trained(job.recipe, state_R), now_R, watched
            )
            for i, result in enumerate(measured):
                line = {"epoch": epoch, "run": i, **job.runs[i], "split": job.split, **result}
                line |= {"loss": float(metrics.loss[i])}
                line |= {"train_accuracy": float(metrics.accuracy[i])}
                line |= {"epoch_seconds": seconds_R[i]}
                log.write(json.dumps(results.finite(line)) + "\n")
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
    return state_R, progress


def _check_memory(job):
    state_R = training.shapes(job.recipe, job.hyper_R)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state_R))
    needed, there = 2 * size, machine.memory()  # the state, and the copy that a checkpoint takes
    if needed > there:
        raise InputError(
            f"the weights and optimizers of {len(job.runs)} runs need about {needed / 1e9:.0f} GB "
            f"of memory, and this machine has {there / 1e9:.0f}; lower config.network's widths or "
            "config.sweep.seeds"
        )


def epochs(
    job: Job, state_R: training.TrainState, begin: int
) -> Iterator[tuple[training.TrainState, training.Metrics, list[float]]]:
    """Yields after each epoch the state, the metrics and each run's seconds, without compiling.

    Runs with a radius of zero are a program of their own, so that they neither pay for SAM's
    gradient nor are timed with it.
    """
    packed = jnp.asarray(job.train.packed_NxTxP)
    labels = jnp.asarray(job.train.labels_N)
    perturbed = np.array([run["rho"] > 0 for run in job.runs])
    parts = [part for part in (np.flatnonzero(perturbed), np.flatnonzero(~perturbed)) if len(part)]
    hypers = _split(job.hyper_R, parts)
    compiled = {}
    for epoch in range(begin, job.recipe.epochs):
        trained, measured, seconds_R = [], [], np.empty(len(job.runs))
        for part, hyper, state in zip(parts, hypers, _split(state_R, parts), strict=True):
            ascend = bool(perturbed[part[0]]) and epoch >= job.recipe.first_epoch
            key = part[0], ascend
            arguments = state, hyper, packed, labels
            if key not in compiled:
                compiled[key] = _compile(job.recipe, arguments, ascend)
            arguments = jax.device_put(arguments, compiled[key].input_shardings[0])
            started = time.perf_counter()
            state, metrics = compiled[key](*arguments)
            measured.append(jax.device_get(metrics))
            seconds_R[part] = (time.perf_counter() - started) / len(part)
            trained.append(state)
        state_R = _join(trained, parts)
        yield state_R, jax.tree.map(np.asarray, _join(measured, parts)), seconds_R.tolist()


def _compile(recipe, arguments, ascend):
    """The program of an epoch that trains as many runs at once as a device's memory holds."""
    at_once, room = len(arguments[1].seed), machine.device_memory()
    while True:
        lowered = training.train_epoch.lower(recipe, *arguments, ascend, at_once)
        program = lowered.compile()
        used = program.memory_analysis()
        needed = used.temp_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes
        if room is None or needed < 0.9 * room or at_once == 1:  # some of it lies in pieces
            return program
        at_once = -(-at_once // 2)


def _split(tree_R, parts):
    if len(parts) == 1:
        return [tree_R]
    return [jax.tree.map(lambda leaf, part=part: leaf[part], tree_R) for part in parts]


def _join(trees, parts):
    if len(parts) == 1:
        return trees[0]
    order = np.argsort(np.concatenate(parts))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[order], *trees)


def _record(job: Job, progress: Progress) -> dict:
    return job.about | {"environment": machine.environment()} | progress._asdict()


def _mean(measured, key) -> str:
    values = [run[key] for run in measured if run[key] is not None]
    return f"{np.mean(values):.1%}" if values else "-"
