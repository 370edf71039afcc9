"""Evaluates a trained run, soft and hard, on recordings in N-MNIST's layout.

    python -m experiments.evaluate --checkpoint=WORKDIR --data_path=FOLDER --json=FILE

WORKDIR is a run's folder; nothing but its checkpoint is read. FOLDER holds a test split; it needs
no train split and not every class. FILE receives the runs with the keys of ``results.json``; for a
checkpoint of a single run its keys also stand at the top.

A network trained on simulated recordings has seen the digits of N-MNIST's training files up to
5848; ``--split=train --above=5848`` evaluates it on the others.
"""

import json
import pathlib

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from experiments import cli, datasets, run, setup, workdirs
from sast_jax import evaluation, results, training
from sast_jax.checkpoints import Checkpoints
from sast_jax.errors import InputError

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "workdir of the run", required=True)
_DATA_PATH = flags.DEFINE_string("data_path", None, "folder with recordings; the run's own if none")
_SPLIT = flags.DEFINE_enum("split", "test", ["test", "train"], "which split to evaluate on")
_ABOVE = flags.DEFINE_integer(
    "above", 0, "leave out recordings whose file number is not above this"
)
_JSON = flags.DEFINE_string("json", None, "file to write the results to")


def main() -> None:
    checkpoints = Checkpoints(pathlib.Path(_CHECKPOINT.value, "checkpoints"))
    record = checkpoints.record()
    config = ConfigDict(record["config"])
    if _DATA_PATH.value is not None:
        config.data.update(source="folder", path=_DATA_PATH.value, train_limit=0, test_limit=0)
    name = _SPLIT.value
    source = datasets.LOADERS[record["experiment"]](config.data, (name,))
    print(f"Data: {source.name}")
    for line in source.warnings:
        print(f"warning: {line}")
    frames = getattr(source, name)
    if _ABOVE.value:
        frames = frames.take(np.flatnonzero(frames.numbers_N > _ABOVE.value))
        print(f"{len(frames.labels_N)} recordings of files above {_ABOVE.value}")
        if not len(frames.labels_N):
            raise InputError(f"--above={_ABOVE.value} leaves no {name} recording; lower it")
    shape = tuple(record["frame_shape"])
    recipe = setup.recipe(config, shape, record["classes"], record["recordings"])
    hyper_R, runs = setup.hyperparameters(config), setup.grid(config)
    like = jax.eval_shape(lambda hyper: training.initialise(recipe, hyper), hyper_R)
    state_R = checkpoints.state(like)
    checkpoints.close()
    if (epoch := record["epoch"]) < config.epochs:
        print(f"warning: the run is at epoch {epoch} of {config.epochs}")
    measured = evaluation.evaluate(recipe, state_R.params, hyper_R, frames)
    seconds = record["train_seconds"] / len(runs)
    entries = [
        {**of, **result, "train_seconds": seconds, "diverged": not sound}
        for of, result, sound in zip(runs, measured, record["finite"], strict=True)
    ]
    about = {
        "experiment": record["experiment"],
        "data": source.name,
        "split": name,
        "environment": run.environment(),
        "train_recordings": record["recordings"],
        "epoch": epoch,
    }
    done = results.collect(record["config"], about, entries)
    print(results.table(done))
    if _JSON.value:
        only = done["runs"][0] if len(runs) == 1 else {}
        workdirs.write(pathlib.Path(_JSON.value), json.dumps(only | done, indent=2))


if __name__ == "__main__":
    cli.run(main)
