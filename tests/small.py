"""A task that a network of a few neurons learns in a second, for tests."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data import packing
from sast_jax.snn import networks
from sast_jax.snn.model import Model
from sast_jax.snn.readouts import MeanSpikes
from sast_jax.training import stepping
from sast_jax.training.batches import Shuffled
from sast_jax.training.epochs import train_epoch
from sast_jax.training.gradients import Sharpness
from sast_jax.training.optimizers import Adam, Constant
from sast_jax.training.recipe import Hyperparameters, Recipe
from sast_jax.training.trained import Trained

SHAPE = (6, 6, 2)
N, T, K, B = 40, 5, 3, 8
READOUT = MeanSpikes(10.0)


def recordings():
    """Recordings in which each class fires in its own rows."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, K, N).astype(np.int32)
    rate = np.full((N, T, *SHAPE), 0.05)
    for n, label in enumerate(labels):
        rate[n, :, 2 * label : 2 * label + 2] = 0.7
    frames = (rng.random(rate.shape) < rate).astype(np.uint8)
    return jnp.asarray(np.packbits(frames.reshape(N, T, -1), axis=-1)), jnp.asarray(labels)


def frames():
    """The recordings as a split of a data set."""
    packed, labels = (np.asarray(leaf) for leaf in recordings())
    count = np.zeros((N, 2), np.int64)
    numbers = np.arange(N)
    return packing.Frames(packed, labels, numbers, count, count[:1], np.int64(0), numbers, SHAPE)


def windows():
    """The same as two windows each of half as many recordings, whose class is the first one's."""
    given, numbers = frames(), np.arange(N) % (N // 2)
    return given._replace(labels_N=given.labels_N[numbers], numbers_N=numbers, recordings_N=numbers)


def voted(scores_NxK):
    """Mean scores over the two windows of each recording of :func:`windows`."""
    scores_NxK = np.asarray(scores_NxK, np.float64)
    return (scores_NxK[: N // 2] + scores_NxK[N // 2 :]) / 2


def batch():
    """The first B recordings as a batch: frames (T, B, H, W, C) and labels."""
    packed, labels = recordings()
    frames = jnp.moveaxis(packing.unpack(packed[:B], SHAPE), 1, 0)
    return frames.astype(jnp.float32), labels[:B]


def recipe(**changes):
    """The recipe of the task; changes are fields of it or of its model."""
    model = {f.name: changes.pop(f.name) for f in dataclasses.fields(Model) if f.name in changes}
    plain = Recipe(
        model=Model(networks.MLP((16, K), gain=2.0), readout=READOUT),
        optimizer=Adam(Constant()),
        sharpness=Sharpness(),
        batches=Shuffled(B),
        epochs=6,
    ).on(SHAPE, N)
    changed = dataclasses.replace(plain.model, **model)
    return dataclasses.replace(plain, model=changed, **changes)


def hyper(seeds=(0,), rhos=None, **changes):
    values = {"warmup": 0.0, "learning_rate": 1e-2, "slope": 4.0, "slope_end": 4.0, "decay": 0.9}
    values |= changes
    R = len(seeds)
    columns = {key: jnp.full(R, value, jnp.float32) for key, value in values.items()}
    rhos = jnp.asarray(rhos if rhos is not None else (0.1,) * R, jnp.float32)
    return Hyperparameters(seed=jnp.asarray(seeds, jnp.int32), rho=rhos, **columns)


def fit(made, hyper_R, epochs=2, ascend=True, state=None):
    packed, labels = recordings()
    state = stepping.initialise(made, hyper_R) if state is None else state
    for _ in range(epochs):
        state, metrics = train_epoch(made, state, hyper_R, packed, labels, ascend)
    return state, metrics


def trained(made, hyper_R, epochs=2, ascend=True):
    """The models of runs after a few epochs."""
    return Trained.of(made, fit(made, hyper_R, epochs, ascend)[0], hyper_R)


def untrained(made, hyper_R):
    """The models of runs before their first step."""
    return Trained.of(made, stepping.initialise(made, hyper_R), hyper_R)


def run_of(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)
