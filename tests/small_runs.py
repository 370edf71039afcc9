"""Networks of a few epochs, an MLP and a convolutional one, on simulated and on real recordings."""

import functools
import pathlib
from typing import NamedTuple

import numpy as np

from experiments.configs import nmnist_robust
from sast_jax.data import packing, sets
from sast_jax.runs import build, settings
from sast_jax.snn import connections
from sast_jax.training import epochs, stepping
from sast_jax.training.trained import Trained


class Run(NamedTuple):
    """One trained network.

    Attributes:
      trained: one run.
      network: its connections.
      test: recordings that it has not seen.
    """

    trained: Trained
    network: list[connections.Connection]
    test: packing.Frames


RECORDINGS = 900
KINDS = {
    "MLP": {"network.hidden": (64, 32), "epochs": 7},
    "ConvNet": {"network.channels": (8, 12), "network.hidden": (32,), "epochs": 5},
}


@functools.cache
def train(kind: str, folder: pathlib.Path | None) -> Run:
    """Trains with a reset to zero, on few recordings of a folder or on simulated ones."""
    config = nmnist_robust.get_config()
    config.update_from_flattened_dict(KINDS[kind])
    config.lif.reset = "zero"
    config.forward, config.slope, config.slope_end = "hard", 4.0, 4.0
    config.network.kernel, config.network.gain = 3, 2.0
    config.learning_rate, config.batch_size = 4e-3, 32
    config.data.update(shift=0, rotation=0.0, zoom=0.0)
    source = sets.load_nmnist(
        "simulated" if folder is None else "folder",
        "" if folder is None else folder,
        time_bins=config.data.time_bins,
        train_limit=RECORDINGS,
        test_limit=200,
    )
    given = settings.read(config)
    recipe = build.recipe(given, source.frame_shape, source.classes, RECORDINGS)
    hyper_R = build.hyperparameters(given)
    state_R = stepping.initialise(recipe, hyper_R)
    for _ in range(config.epochs):
        state_R, _ = epochs.train_epoch(
            recipe, state_R, hyper_R, source.train.packed_NxTxP, source.train.labels_N, False
        )
    one = Trained.of(recipe, state_R, hyper_R)[0]
    return Run(one, one.connections(), source.test)


def frames(run: Run) -> np.ndarray:
    """The test recordings, (T, N, H, W, C)."""
    return np.asarray(
        packing.time_first(run.test.packed_NxTxP, run.trained.model.frame_shape, np.uint8)
    )
