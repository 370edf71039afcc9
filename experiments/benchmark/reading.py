"""What surrounds the steps of training: reading recordings, compiling, evaluating."""

import dataclasses
import os
import pathlib
import tempfile
import time
from unittest import mock

import numpy as np

from experiments.benchmark.steps import Row
from experiments.configs import nmnist_sast
from sast_jax.data import cache, packing, recordings, sets
from sast_jax.data.layouts import nmnist_archives
from sast_jax.errors import InputError
from sast_jax.evaluation import swap
from sast_jax.runs import build, settings
from sast_jax.training import passes, stepping
from sast_jax.training.trained import Trained

MEASURED_RECORDINGS = 9600  # of the split, at most
TIME_BINS = 20


def split(folder: pathlib.Path) -> nmnist_archives.Split:
    """The train split of a folder in N-MNIST's layout.

    Raises:
      InputError: there is none.
    """
    found = nmnist_archives.find_split(folder, "train")
    if found is None:
        raise InputError(f"{folder}: no recordings (train.zip or Train/) there to measure with")
    return found


def rows(found: nmnist_archives.Split, scratch: pathlib.Path) -> dict[str, Row]:
    """Reading, checking, binning and packing recordings, and reading them from the cache.

    tonic reads the same recordings one by one from unpacked files, as it would from its own folder.

    Args:
      found: the recordings.
      scratch: an empty folder.
    """
    import tonic  # which an accelerator's machine can do without

    count = len(found.names)
    chosen = np.linspace(0, count - 1, min(MEASURED_RECORDINGS, count)).astype(int)
    to_frames = tonic.transforms.ToFrame(sensor_size=(34, 34, 2), n_time_bins=TIME_BINS)
    unpacked = [scratch / f"{i}.bin" for i in range(len(chosen))]
    for file, content in zip(unpacked, found.read(chosen), strict=True):
        file.write_bytes(content)

    def with_tonic():
        for file in unpacked:
            to_frames(tonic.io.read_mnist_file(file, dtype=tonic.datasets.NMNIST.dtype))

    def pack():
        some = nmnist_archives.select(found, chosen)
        return packing.pack(some, time_bins=TIME_BINS, duration=recordings.DURATION)

    def from_cache():
        return cache.frames(str(scratch), {}, pack)

    calls = {"tonic, unpacked files": with_tonic, "sast_jax": pack, "its cache": from_cache}
    return {name: Row(call) for name, call in calls.items()}


def stages(data: sets.Data) -> dict[str, float]:
    """Seconds of each stage of ``nmnist_sast.py``, with four epochs, in this process."""
    given = settings.read(nmnist_sast.get_config())
    given, seconds = dataclasses.replace(given, data=data, epochs=4), {}

    def stage(name, function):
        started = time.perf_counter()
        made = function()
        seconds[name] = time.perf_counter() - started
        return made

    with (
        tempfile.TemporaryDirectory() as scratch,
        mock.patch.dict(os.environ, SAST_CACHE=scratch),
    ):
        stage("read and pack", given.data.load)
        source = stage("read from the cache", given.data.load)
    train, test = source.frames("train"), source.frames("test")
    recipe = build.recipe(given, source.frame_shape, source.classes, len(train.labels_N))
    hyper_R = build.hyperparameters(given)

    def start():
        state_R = stepping.initialise(recipe, hyper_R)
        return passes.by_epoch(passes.blocks(recipe, hyper_R, train, False, state_R, 0))

    epochs = stage("initial weights", start)
    ends = [stage(f"epoch {i + 1}", lambda: next(epochs)) for i in range(given.epochs)]
    seconds["compile the epoch"] = seconds["epoch 1"] - seconds["epoch 3"]
    trained = Trained.of(recipe, ends[-1][0], hyper_R)
    stage("evaluate, compiling", lambda: swap.soft_and_hard(trained, test))
    stage("evaluate", lambda: swap.soft_and_hard(trained, test))
    return seconds
