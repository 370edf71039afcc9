"""The step that is timed: as this library takes it, and written out without it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data import packing
from sast_jax.snn import networks, neurons
from sast_jax.snn.model import Model
from sast_jax.snn.readouts import MeanSpikes
from sast_jax.training import stepping
from sast_jax.training.batches import Shuffled
from sast_jax.training.controls import HardForward
from sast_jax.training.optimizers import Adam, Constant
from sast_jax.training.recipe import Hyperparameters, Recipe

SHAPE, HIDDEN, CLASSES, DENSITY = (34, 34, 2), (256, 256), 10, 0.05
GAIN = 3.0  # with which hard spikes reach the outputs
DECAY, THRESHOLD, SLOPE, SCALE, LEARNING_RATE, RHO = 0.9, 1.0, 4.0, 10.0, 1e-3, 0.3


class Batch(NamedTuple):
    """Random recordings in which one pixel in twenty fires.

    Attributes:
      frames: of them as a set.
      inputs_TxBxI: float32.
      labels_B: their classes.
    """

    frames: packing.Frames
    inputs_TxBxI: jax.Array
    labels_B: jax.Array

    @classmethod
    def random(cls, time_bins: int, size: int) -> "Batch":
        """A batch of this many recordings."""
        pixels = int(np.prod(SHAPE))
        rng = np.random.default_rng(0)
        fired_BxTxI = rng.random((size, time_bins, pixels), np.float32) < DENSITY
        rows, labels = np.arange(size), (np.arange(size) % CLASSES).astype(np.int32)
        frames = packing.Frames(
            np.packbits(fired_BxTxI, axis=-1),
            labels,
            numbers_N=rows,
            events_NxC=np.zeros((size, SHAPE[-1]), np.int64),
            profile_TxC=np.zeros((time_bins, SHAPE[-1])),
            unsorted=np.int64(0),
            recordings_N=rows,
            frame_shape=SHAPE,
        )
        inputs_TxBxI = jnp.asarray(fired_BxTxI.swapaxes(0, 1), jnp.float32)
        return cls(frames, inputs_TxBxI, jnp.asarray(labels))

    @property
    def frames_TxBxHxWxC(self) -> jax.Array:
        """The inputs as frames."""
        return self.inputs_TxBxI.reshape(*self.inputs_TxBxI.shape[:2], *SHAPE)


def hyperparameters(seeds, rhos) -> Hyperparameters:
    """Those of the network, for runs of these seeds and radii."""
    given = (0.0, LEARNING_RATE, SLOPE, SLOPE, DECAY)
    same = (jnp.full(len(seeds), value, jnp.float32) for value in given)
    return Hyperparameters(jnp.array(seeds), jnp.array(rhos, jnp.float32), *same)


def recipe(size: int = 64, hard: bool = False) -> Recipe:
    """The network and its training on batches of this size, one step in all."""
    network = networks.MLP((*HIDDEN, CLASSES), GAIN)
    model = Model(network, neurons.LIF(THRESHOLD), MeanSpikes(SCALE))
    controls = (HardForward(),) if hard else ()
    made = Recipe(model, Adam(Constant()), batches=Shuffled(size), epochs=1, controls=controls)
    return made.on(SHAPE, size)


def library(
    size: int = 64, hard: bool = False
) -> tuple[Recipe, Hyperparameters, stepping.RunState]:
    """Recipe, one run's values and its fresh state."""
    made, hyper_R = recipe(size, hard), hyperparameters([0], [RHO])
    state_R = stepping.initialise(made, hyper_R)
    hyper, state = jax.tree.map(lambda leaf: leaf[0], (hyper_R, state_R))
    return made, hyper, state


def bare_state(params) -> tuple[list, list]:
    """The same weights as pairs (kernel, bias), and zero moments for Adam."""
    weights = [(layer["kernel"], layer["bias"]) for _, layer in sorted(params.items())]
    return weights, [jax.tree.map(jnp.zeros_like, weights) for _ in range(2)]


def bare_step(weights, moments, count, inputs_TxBxI, labels_B):
    """The step written out without this library, Flax or optax: the yardstick for speed."""

    def loss(weights):
        s = inputs_TxBxI
        for kernel, bias in weights:
            current = s @ kernel + bias[None, None]

            def cell(carry, current):
                u, s = carry
                u = DECAY * u * (1 - s) + current
                s = jax.nn.sigmoid(SLOPE * (u - THRESHOLD))
                return (u, s), s

            rest = jnp.zeros_like(current[0])
            _, s = jax.lax.scan(cell, (rest, rest), current)
        log_p = jax.nn.log_softmax(SCALE * s.mean(axis=0))
        return -log_p[jnp.arange(len(labels_B)), labels_B].mean()

    value, grads = jax.value_and_grad(loss)(weights)
    weights, moments, done = _adam(weights, moments, count, grads)
    return weights, moments, done, value


def _adam(weights, moments, count, grads):
    first, second = moments
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, second, grads)
    done = count + 1
    weights = jax.tree.map(
        lambda w, m, v: (
            w - LEARNING_RATE * (m / (1 - 0.9**done)) / (jnp.sqrt(v / (1 - 0.999**done)) + 1e-8)
        ),
        weights,
        first,
        second,
    )
    return weights, (first, second), done


def floor(weights, moments, inputs_TxBxI):
    """What no step with dense products can do without: these products, and Adam's update."""
    x, found, grads = inputs_TxBxI.reshape(-1, inputs_TxBxI.shape[-1]), [], []
    for kernel, bias in weights:  # forward, the gradient of the weights, and that of the inputs
        y = x @ kernel
        grads.append((x.T @ y, bias))
        if len(grads) > 1:
            found.append(y @ kernel.T)
        x = y
    return found, _adam(weights, moments, 0, grads)
