"""One experiment from its config to its report: the loop that every data set shares."""

import json
import os
import pathlib
import platform
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from experiments import setup, workdirs
from sast_jax import evaluation, report, results, training
from sast_jax.checkpoints import Checkpoints
from sast_jax.data import likeness, packing
from sast_jax.data.sources import Source
from sast_jax.errors import InputError
from sast_jax.training import Hyperparameters, Recipe

CURVE_RECORDINGS = 1000  # at most so many are evaluated after each epoch; all at the end
EXAMPLES = 4  # recordings shown in the report


class Job(NamedTuple):
    """All that an experiment needs once its config and its data are checked."""

    experiment: str
    config: ConfigDict
    source: Source
    train: packing.Frames
    validation: packing.Frames | None
    recipe: Recipe
    runs: list[dict]
    hyper_R: Hyperparameters
    workdir: pathlib.Path


def run(experiment: str, config: ConfigDict, load: Callable[[ConfigDict], Source]) -> dict:
    """Trains, evaluates and reports the runs of a config; a finished one is only reported again.

    Args:
      experiment: its name, which names the default workdir.
      config: see ``experiments/configs``.
      load: reads the data set that ``config.data`` asks for.

    Returns:
      What ``results.json`` holds.

    Raises:
      InputError: anything a user can set wrong, before anything of theirs is overwritten.
    """
    setup.check(config)
    source = load(config.data)
    print(f"Data: {source.name}", flush=True)
    for line in source.warnings:
        print(f"warning: {line}")
    for split in ("train", "test"):
        if getattr(source, split) is None:
            raise InputError(f"{source.name}: no {split} split, which a training run needs")
    train, validation = hold_out(source.train, config.data.validation, config.data.seed)
    recipe = setup.recipe(config, source.frame_shape, source.classes, len(train.labels_N))
    workdir = workdirs.claim(experiment, config, source.fingerprint)
    done = workdirs.finished(workdir)
    if done is None:
        job = Job(
            experiment, config, source, train, validation, recipe,
            setup.grid(config), setup.hyperparameters(config), workdir,
        )  # fmt: skip
        done = _conclude(job, *_fit(job))
    else:
        print(f"{workdir}: this very run is finished; its results again")
    print(results.table(done))
    print(f"report: {workdir / 'report.html'}")
    return done


def hold_out(
    frames: packing.Frames, fraction: float, seed: int
) -> tuple[packing.Frames, packing.Frames | None]:
    """The recordings to train on, and a random fraction of them held out, or None."""
    count = round(fraction * len(frames.labels_N))
    if not count:
        return frames, None
    order = np.random.default_rng(seed).permutation(len(frames.labels_N))
    return frames.take(np.sort(order[count:])), frames.take(np.sort(order[:count]))


def environment() -> dict:
    """What a run's last bits depend on besides its config."""
    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "jax": jax.__version__,
    }


def _fit(job: Job) -> tuple[training.TrainState, list[bool], float]:
    """Trains from the last checkpoint, or from the start, to the end.

    Returns:
      The final state, which runs are finite, and the seconds spent in training epochs.
    """
    checkpoints = Checkpoints(job.workdir / "checkpoints")
    state_R = training.initialise(job.recipe, job.hyper_R)
    progress = {"epoch": 0, "train_seconds": 0.0, "finite": [True] * len(job.runs)}
    if checkpoints.latest() is None:
        checkpoints.save(0, state_R, _record(job, progress))
    else:
        record = checkpoints.record()
        state_R = checkpoints.state(state_R)
        progress = {key: record[key] for key in progress}
        if record["environment"] != environment():
            print("warning: resumed on another machine or version, so not bit for bit the same")
    workdirs.trim_metrics(job.workdir, progress["epoch"])
    split = "test" if job.validation is None else "validation"
    watched = job.source.test if job.validation is None else job.validation
    # Recordings are in order of their class, so the ones that are watched are spread evenly.
    count = len(watched.labels_N)
    spread = np.linspace(0, count - 1, min(CURVE_RECORDINGS, count)).astype(int)
    watched = watched.take(spread)
    begin, end = progress["epoch"], job.config.epochs
    with (
        tqdm(total=end, initial=begin, desc="training", unit="epoch") as bar,
        open(job.workdir / "metrics.jsonl", "a") as log,
    ):
        for epoch, trained_R, metrics, seconds in _epochs(job, state_R, begin):
            state_R = trained_R
            if not metrics.finite.any():
                checkpoints.close()
                raise InputError(
                    f"the loss is no longer finite in epoch {epoch}; lower the learning rate or "
                    f"rho. The last good checkpoint is {checkpoints.folder / str(epoch - 1)}"
                )
            progress = {
                "epoch": epoch,
                "train_seconds": progress["train_seconds"] + seconds,
                "finite": metrics.finite.tolist(),
            }
            measured = evaluation.evaluate(job.recipe, state_R.params, job.hyper_R, watched)
            for i, result in enumerate(measured):
                line = {"epoch": epoch, "run": i, **job.runs[i], "split": split, **result}
                line |= {"loss": float(metrics.loss[i])}
                line |= {"train_accuracy": float(metrics.accuracy[i]), "epoch_seconds": seconds}
                log.write(json.dumps(results.finite(line)) + "\n")
            log.flush()
            checkpoints.save(epoch, state_R, _record(job, progress))
            bar.set_postfix(
                loss=f"{np.nanmean(metrics.loss):.3f}",
                soft=f"{np.mean([r['soft_accuracy'] for r in measured]):.1%}",
                hard=f"{np.mean([r['hard_accuracy'] for r in measured]):.1%}",
                refresh=False,
            )
            bar.update()
    checkpoints.close()
    return state_R, progress["finite"], progress["train_seconds"]


def _epochs(
    job: Job, state_R, begin: int
) -> Iterator[tuple[int, training.TrainState, training.Metrics, float]]:
    """Yields after each epoch its number, the state, the metrics, and seconds without compiling."""
    packed = jnp.asarray(job.train.packed_NxTxP)
    labels = jnp.asarray(job.train.labels_N)
    compiled = {}
    for epoch in range(begin, job.config.epochs):
        ascend = epoch >= job.recipe.first_epoch and max(run["rho"] for run in job.runs) > 0
        if ascend not in compiled:
            program = training.train_epoch.lower(
                job.recipe, state_R, job.hyper_R, packed, labels, ascend
            )
            compiled[ascend] = program.compile()
        started = time.perf_counter()
        state_R, metrics = compiled[ascend](state_R, job.hyper_R, packed, labels)
        metrics = jax.device_get(metrics)
        yield epoch + 1, state_R, metrics, time.perf_counter() - started


def _record(job: Job, progress: dict) -> dict:
    """What a checkpoint says of itself: enough to build its networks again, and to go on."""
    return {
        "experiment": job.experiment,
        "config": job.config.to_dict(),
        "data": job.source.name,
        "frame_shape": job.source.frame_shape,
        "classes": job.source.classes,
        "recordings": len(job.train.labels_N),
        "environment": environment(),
        **progress,
    }


def _conclude(job: Job, state_R, finite, seconds) -> dict:
    """Evaluates the last epoch on the whole test split, and writes results and report."""
    params_R, source = state_R.params, job.source
    entries = [
        {**run, **result, "train_seconds": seconds / len(job.runs), "diverged": not sound}
        for run, result, sound in zip(
            job.runs,
            evaluation.evaluate(job.recipe, params_R, job.hyper_R, source.test),
            finite,
            strict=True,
        )
    ]
    if job.validation is not None:
        held_out = evaluation.evaluate(job.recipe, params_R, job.hyper_R, job.validation)
        for entry, result in zip(entries, held_out, strict=True):
            entry |= {f"validation_{key}": value for key, value in result.items()}
    about = {
        "experiment": job.experiment,
        "data": source.name,
        "environment": environment(),
        "train_recordings": len(job.train.labels_N),
    }
    done = results.collect(job.config.to_dict(), about, entries)
    lines = (job.workdir / "metrics.jsonl").read_text().splitlines()
    report.write(
        job.workdir,
        done,
        [json.loads(line) for line in lines],
        _examples(job, params_R),
        [*source.warnings, *_likeness(source)],
    )
    workdirs.write(job.workdir / "results.json", json.dumps(done, indent=2))
    return done


def _examples(job: Job, params_R) -> list[report.Example]:
    """Test recordings of different classes, and what the first run does with them."""
    test = job.source.test
    firsts = [np.flatnonzero(test.labels_N == label)[:1] for label in np.unique(test.labels_N)]
    chosen = np.concatenate(firsts)[:EXAMPLES]
    params, hyper = jax.tree.map(lambda leaf: leaf[0], (params_R, job.hyper_R))
    packed_TxBxP = jnp.moveaxis(jnp.asarray(test.packed_NxTxP[chosen]), 1, 0)
    frames = packing.unpack(packed_TxBxP, job.recipe.frame_shape)

    def respond(cell):
        x = frames.astype(jnp.float32)
        response = job.recipe.network.apply({"params": params}, x, cell)
        flat = [spikes.reshape(*spikes.shape[:2], -1) for spikes in response.spikes]
        return flat, job.recipe.readout(response).argmax(axis=-1)

    soft, soft_class = respond(job.recipe.soft_cell(hyper))
    hard, hard_class = respond(job.recipe.hard_cell(hyper))
    return [
        report.Example(
            label=int(test.labels_N[chosen[i]]),
            frames_TxHxWxC=np.asarray(frames[:, i]),
            soft=[np.asarray(layer[:, i]) for layer in soft],
            hard=[np.asarray(layer[:, i]) for layer in hard],
            soft_prediction=int(soft_class[i]),
            hard_prediction=int(hard_class[i]),
        )
        for i in range(len(chosen))
    ]


def _likeness(source: Source) -> list[str]:
    if not source.simulated:
        return []
    return [
        "The recordings are simulated, so the accuracies are not N-MNIST's. "
        + likeness.compare(likeness.describe(source.train), likeness.real())
    ]
