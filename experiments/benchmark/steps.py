"""One step of training, a warp and a grid of runs, each timed in turns."""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from experiments.benchmark import peers, yardstick
from experiments.benchmark.peers import memory_of
from experiments.benchmark.yardstick import Batch
from experiments.configs import nmnist_sast
from sast_jax.data.sparse import Lists
from sast_jax.data.words import Words
from sast_jax.runs import build, settings, timing
from sast_jax.training import epochs, stepping
from sast_jax.training.batches import Shuffled
from sast_jax.training.controls import Bfloat16Products
from sast_jax.training.gradients import Sharpness

GRID_EPOCHS, GRID_STEPS = 2, 15
FLOOR = "its products and Adam"


class Row(NamedTuple):
    """What is timed: a function, and what is known of it beside its time.

    Attributes:
      call: takes the step, and waits for it or returns what to wait for.
      memory: bytes at the peak, arguments included; None if unknown.
      loss: of the first step; None where there is none.
    """

    call: Callable[[], Any]
    memory: int | None = None
    loss: float | None = None


def timed(rows: dict[str, Row], rounds: int) -> dict[str, np.ndarray]:
    """Seconds (rounds,) of each row, in turns."""
    return timing.in_turns({name: row.call for name, row in rows.items()}, rounds)


def steps(time_bins: int, size: int) -> dict[str, Row]:
    """One training step: bare JAX, its floor, this library, what SAM adds, and the peers."""
    batch = Batch.random(time_bins, size)
    made, hyper, state = yardstick.library(size)
    weights, moments = yardstick.bare_state(state.params)
    bare = weights, moments, 0, batch.inputs_TxBxI, batch.labels_B
    rows = {"bare JAX": _compiled(jax.jit(yardstick.bare_step), *bare)}
    floor = _compiled(jax.jit(yardstick.floor), weights, moments, batch.inputs_TxBxI)
    rows[FLOOR] = floor

    def step(made, given, ascent):
        return lambda state, own: stepping.train_step(
            made, state, hyper, given(own), ascent(given(own)), jax.random.key(0)
        )

    def dense(frames):
        return frames, batch.labels_B

    def listed(lists):
        return lists.joined(), batch.labels_B

    part = Sharpness(part=max(1, size // 8))
    ascents = {
        "": lambda given: None,
        ", SAM": made.sharpness.ascent,
        ", SAM's ascent on 1/8": part.ascent,
    }
    lists = jax.tree.map(jnp.asarray, Lists.of(batch.frames))
    inputs = {"sast_jax": (dense, batch.frames_TxBxHxWxC)}
    inputs["sast_jax, lists of pixels"] = listed, lists
    for (name, (given, own)), (more, ascent) in itertools.product(inputs.items(), ascents.items()):
        rows[name + more] = _compiled(jax.jit(step(made, given, ascent)), state, own)
    narrow = dataclasses.replace(made, controls=(Bfloat16Products(),))
    program = jax.jit(step(narrow, dense, ascents[""]))
    rows["sast_jax, products of bfloat16"] = _compiled(program, state, batch.frames_TxBxHxWxC)
    hard, _, _ = yardstick.library(size, hard=True)
    for name, (given, own) in inputs.items():
        taken = _compiled(jax.jit(step(hard, given, ascents[""])), state, own)
        rows[f"{name}, hard spikes"] = taken
    for name, peer in peers.installed(weights, batch).items():
        rows[f"{name}, hard spikes"] = Row(peer.step, peer.memory, peer.loss)
    return rows


def _compiled(function, *arguments) -> Row:
    program = function.lower(*arguments).compile()
    made = program(*arguments)
    loss: float | None
    if isinstance(made[0], stepping.RunState):
        loss = float(made[1][0])
    else:
        loss = float(made[-1]) if len(made) == 4 else None
    return Row(lambda: program(*arguments), memory_of(program), loss)


def warps() -> dict[str, Row]:
    """An epoch of ``nmnist_sast.py`` without and with a warp, which moves words or bytes."""
    given = settings.read(nmnist_sast.get_config())
    frames = Batch.random(given.data.time_bins, given.batch_size * GRID_STEPS).frames
    packed, labels = jnp.asarray(frames.packed_NxTxP), jnp.asarray(frames.labels_N)
    words, moved = Words.of(packed, yardstick.SHAPE), build.augment(given)
    assert moved is not None  # as that config shifts and turns recordings
    hyper_R = build.hyperparameters(given)
    made = build.recipe(given, yardstick.SHAPE, yardstick.CLASSES, len(labels))

    def epoch(augment, recordings):
        recipe = dataclasses.replace(made, augment=augment)

        def call():
            state_R = stepping.initialise(recipe, hyper_R)
            return epochs.train_epoch(recipe, state_R, hyper_R, recordings, labels, True)[1]

        return Row(call)

    def by_bytes(key, frames):
        return moved(key, frames)

    return {
        "no warp": epoch(None, words),
        "warp of words": epoch(moved, words),
        "warp of bytes": epoch(by_bytes, packed),
    }


@contextlib.contextmanager
def _compiling_anew():
    """Without what is compiled already, in memory and on disk."""
    before = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]  # JAX sets it
    jax.clear_caches()
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()


def grid() -> dict[str, Row]:
    """Compiling and training 25 runs, one after another and as one grid."""
    batches = Shuffled(64, GRID_STEPS)
    made = dataclasses.replace(yardstick.recipe(), batches=batches, epochs=GRID_EPOCHS)
    frames = Batch.random(20, 64 * GRID_STEPS).frames
    packed, labels = jnp.asarray(frames.packed_NxTxP), jnp.asarray(frames.labels_N)
    pairs = list(itertools.product((0.1, 0.2, 0.3, 0.4, 0.5), range(5)))

    def train(members):
        rhos, seeds = zip(*members, strict=True)
        hyper_R = yardstick.hyperparameters(seeds, rhos)
        state_R = stepping.initialise(made, hyper_R)
        for _ in range(GRID_EPOCHS):
            state_R, metrics = epochs.train_epoch(made, state_R, hyper_R, packed, labels, True)
        return jax.block_until_ready(metrics)

    def one_after_another():
        with _compiling_anew():
            return [train([pair]) for pair in pairs]

    def together():
        with _compiling_anew():
            return train(pairs)

    return {"25 runs, one after another": Row(one_after_another), "grid": Row(together)}
