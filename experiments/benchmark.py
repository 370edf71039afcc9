"""Times a step against bare JAX and its products, SAM, a warp, a grid, reading against tonic.

    python -m experiments.benchmark --data_path=FOLDER

All rows of a table are measured in turns in one process, and only their ratios mean something. The
step is that of an MLP 2312-256-256-10 over 20 steps of time with a batch of 64. A warp shifts,
turns and stretches recordings of 6 steps as ``config.data`` does by default. The grid trains the
MLP with five radii and five seeds, and its times include compiling. FOLDER holds a train split in
N-MNIST's layout; without one, reading is not measured. Leave the machine otherwise idle.
"""

import dataclasses
import itertools
import json
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import tabulate
import tonic
from absl import flags
from jax.experimental.compilation_cache import compilation_cache

from experiments import cli
from sast_jax.data import cache, packing, recordings
from sast_jax.data.layouts import nmnist_archives
from sast_jax.data.words import Words
from sast_jax.errors import InputError
from sast_jax.reports import pages
from sast_jax.runs import build, files, machine, timing
from sast_jax.runs.settings import Settings
from sast_jax.snn import networks, neurons
from sast_jax.snn.model import Model
from sast_jax.snn.readouts import MeanSpikes
from sast_jax.training import epochs, stepping
from sast_jax.training.batches import Shuffled
from sast_jax.training.optimizers import Adam, Constant
from sast_jax.training.recipe import Hyperparameters, Recipe

_DATA_PATH = flags.DEFINE_string("data_path", None, "folder with recordings to read")
_ROUNDS = flags.DEFINE_integer("rounds", 60, "turns of the step", lower_bound=3)
_JSON = flags.DEFINE_string("json", None, "file to write the ratios to")

SHAPE, HIDDEN, CLASSES, TIME_BINS, BATCH = (34, 34, 2), (256, 256), 10, 20, 64
DECAY, THRESHOLD, SLOPE, SCALE, LEARNING_RATE, RHO = 0.9, 1.0, 4.0, 10.0, 1e-3, 0.3
MEASURED_RECORDINGS = 9600  # of the split, at most
GRID_EPOCHS, GRID_STEPS = 2, 15


def main() -> None:
    file = files.asked_for(_JSON.value)
    tables = {}
    if _DATA_PATH.value is not None:  # first, as a wrong path would end it
        tables["reading"] = reading(pathlib.Path(_DATA_PATH.value).expanduser())
    tables = {"step": steps(_ROUNDS.value), "warp": warps(), "grid": grid()} | tables
    print(pages.listed(machine.environment()))
    ratios = {}
    for name, seconds in tables.items():
        first = next(iter(seconds))
        ratios[name] = {
            row: timing.against(values, seconds[first]) for row, values in seconds.items()
        }
        lines = [
            [row, f"{1e3 * np.median(seconds[row]):.1f}", f"{middle:.3f}", f"{low:.3f}-{high:.3f}"]
            for row, (low, middle, high) in ratios[name].items()
        ]
        print(tabulate.tabulate(lines, [name, "ms", "ratio to the first row", "quartiles"]))
    if file is not None:
        found = {"environment": machine.environment(), "ratios": ratios}
        files.write(file, json.dumps(found, indent=2))


def steps(rounds: int) -> dict[str, np.ndarray]:
    """Seconds of one training step: bare JAX, this library, and what SAM adds."""
    made, hyper, state = library()
    frames = jax.random.bernoulli(jax.random.key(0), 0.05, (TIME_BINS, BATCH, *SHAPE))
    batch = frames.astype(jnp.float32), jnp.arange(BATCH) % CLASSES
    inputs_TxBxI = batch[0].reshape(TIME_BINS, BATCH, -1)
    weights, moments = bare_state(state.params)
    reference, floor = jax.jit(bare_step), jax.jit(products)
    step = jax.jit(stepping.train_step, static_argnums=0)
    eighth = batch[0][:, : BATCH // 8], batch[1][: BATCH // 8]
    return timing.in_turns(
        {
            "bare JAX": lambda: reference(weights, moments, 0, inputs_TxBxI, batch[1]),
            "its matrix products": lambda: floor(weights, inputs_TxBxI),
            "sast_jax": lambda: step(made, state, hyper, batch, None),
            "with SAM": lambda: step(made, state, hyper, batch, batch),
            "with SAM, ascent on 1/8": lambda: step(made, state, hyper, batch, eighth),
        },
        rounds,
    )


def warps() -> dict[str, np.ndarray]:
    """Seconds of an epoch without and with a warp, which moves words or bytes."""
    given = Settings()
    T, N = given.data.time_bins, given.batch_size * GRID_STEPS
    frames_NxTxP = np.random.default_rng(0).random((N, T, int(np.prod(SHAPE)))) < 0.05
    packed, labels = jnp.asarray(np.packbits(frames_NxTxP, axis=-1)), jnp.arange(N) % CLASSES
    words, moved = Words.of(packed, SHAPE), build.augment(given)
    hyper_R, made = build.hyperparameters(given), build.recipe(given, SHAPE, CLASSES, N)

    def epoch(augment, recordings):
        recipe = dataclasses.replace(made, augment=augment)
        state_R = stepping.initialise(recipe, hyper_R)
        return epochs.train_epoch(recipe, state_R, hyper_R, recordings, labels, True)[1]

    def by_bytes(key, frames):
        return moved(key, frames)

    return timing.in_turns(
        {
            "no warp": lambda: epoch(None, words),
            "warp of words": lambda: epoch(moved, words),
            "warp of bytes": lambda: epoch(by_bytes, packed),
        },
        15,
    )


def grid() -> dict[str, np.ndarray]:
    """Seconds to compile and train 25 runs, one after another and as one grid."""
    batches = Shuffled(BATCH, GRID_STEPS)
    made = dataclasses.replace(recipe(), batches=batches, epochs=GRID_EPOCHS)
    N, pixels = BATCH * GRID_STEPS, int(np.prod(SHAPE))
    rng = np.random.default_rng(0)
    frames_NxTxP = rng.random((N, TIME_BINS, pixels), np.float32) < 0.05
    packed, labels = jnp.asarray(np.packbits(frames_NxTxP, axis=-1)), jnp.arange(N) % CLASSES
    pairs = list(itertools.product((0.1, 0.2, 0.3, 0.4, 0.5), range(5)))

    def train(members):
        rhos, seeds = zip(*members, strict=True)
        hyper_R = hyperparameters(seeds, rhos)
        state_R = stepping.initialise(made, hyper_R)
        for _ in range(GRID_EPOCHS):
            state_R, metrics = epochs.train_epoch(made, state_R, hyper_R, packed, labels, True)
        return jax.block_until_ready(metrics)

    def one_after_another():
        jax.clear_caches()
        return [train([pair]) for pair in pairs]

    def together():
        jax.clear_caches()
        return train(pairs)

    jax.config.update("jax_enable_compilation_cache", False)  # what is on disk costs no time
    compilation_cache.reset_cache()
    return timing.in_turns({"25 runs, one after another": one_after_another, "grid": together}, 3)


def hyperparameters(seeds, rhos) -> Hyperparameters:
    """Those of the measured network, for runs of these seeds and radii."""
    given = (0.0, LEARNING_RATE, SLOPE, SLOPE, DECAY)
    same = (jnp.full(len(seeds), value, jnp.float32) for value in given)
    return Hyperparameters(jnp.array(seeds), jnp.array(rhos, jnp.float32), *same)


def recipe() -> Recipe:
    """The measured network and its training, one step in all."""
    model = Model(networks.MLP((*HIDDEN, CLASSES)), neurons.LIF(THRESHOLD), MeanSpikes(SCALE))
    made = Recipe(model, Adam(Constant()), batches=Shuffled(BATCH), epochs=1)
    return made.on(SHAPE, BATCH)


def library() -> tuple[Recipe, Hyperparameters, stepping.RunState]:
    """The same as this library trains it: recipe, one run's values and fresh state."""
    made, hyper_R = recipe(), hyperparameters([0], [RHO])
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
    return weights, (first, second), done, value


def products(weights, inputs_TxBxI):
    """The matrix products of the step and nothing else: what no step can do without."""
    x, found = inputs_TxBxI.reshape(-1, inputs_TxBxI.shape[-1]), []
    for kernel, _ in weights:  # forward, the gradient of the weights, and that of the inputs
        y = x @ kernel
        found.append(x.T @ y)
        if len(found) > 1:
            found.append(y @ kernel.T)
        x = y
    return found


def reading(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Seconds to read, check, bin and pack recordings, and to read them from the cache.

    tonic reads the same recordings one by one from unpacked files, as it would from its own folder.
    """
    split = nmnist_archives.find_split(folder, "train")
    if split is None:
        raise InputError(f"{folder}: no recordings (train.zip or Train/) there to measure with")
    count = len(split.names)
    chosen = np.linspace(0, count - 1, min(MEASURED_RECORDINGS, count)).astype(int)
    size = {"time_bins": TIME_BINS, "duration": recordings.DURATION}
    to_frames = tonic.transforms.ToFrame(sensor_size=(34, 34, 2), n_time_bins=TIME_BINS)
    with tempfile.TemporaryDirectory() as scratch:
        unpacked = [pathlib.Path(scratch, f"{i}.bin") for i in range(len(chosen))]
        for file, content in zip(unpacked, split.read(chosen), strict=True):
            file.write_bytes(content)

        def with_tonic():
            for file in unpacked:
                to_frames(tonic.io.read_mnist_file(file, dtype=tonic.datasets.NMNIST.dtype))

        def pack():
            return packing.pack(nmnist_archives.select(split, chosen), **size)

        def from_cache():
            return cache.frames(scratch, {}, pack)

        return timing.in_turns(
            {"tonic, unpacked files": with_tonic, "sast_jax": pack, "its cache": from_cache}, 3
        )


if __name__ == "__main__":
    cli.run(main)
