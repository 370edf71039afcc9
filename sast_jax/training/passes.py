"""Passes of a grid of runs over a training set that lies on the device, or is streamed to it."""

import functools
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from sast_jax.data import sparse, streaming
from sast_jax.data.packing import Frames
from sast_jax.data.words import Words
from sast_jax.errors import InputError
from sast_jax.snn.connections import Full
from sast_jax.training import epochs, sweeps
from sast_jax.training.gradients import Grouped
from sast_jax.training.recipe import Hyperparameters, Recipe
from sast_jax.training.stepping import RunState

SPARSE = 0.12  # share of pixels that fire, up to which lists are faster on one core or two


def device_memory() -> int | None:
    """Bytes that are free on an accelerator; None for a CPU.

    Of several processes the least, so that all of them decide alike.
    """
    known = jax.local_devices()[0].memory_stats()
    if not known:
        return None
    free = known["bytes_limit"] - known["bytes_in_use"]
    if jax.process_count() == 1:
        return free
    pages = multihost_utils.process_allgather(np.int32(free >> 12))  # 64 bits are not at hand
    return int(pages.min()) << 12


def forget_programs() -> None:
    """Lets go of all compiled programs; a process can hold only so many."""
    jax.clear_caches()
    _program.cache_clear()


def is_streamed(stream: str, train: Frames) -> bool:
    """Whether a set is streamed; "auto": where it would fill half of an accelerator's memory."""
    room = device_memory()
    return stream == "always" or (
        stream == "auto"
        and room is not None
        and Words.nbytes(train.packed_NxTxP.shape, train.frame_shape) > room / 2
    )


def takes_lists(recipe: Recipe, train: Frames) -> bool:
    """Whether steps gather lists of the pixels that fired (:mod:`sast_jax.data.sparse`).

    They do where the recipe allows it, and a whole step is faster with them: on a CPU, if the first
    connection is full and few pixels fire.
    """
    if not recipe.sparse or recipe.augment or recipe.model.segment:
        return False
    if isinstance(recipe.sharpness, Grouped) or jax.default_backend() != "cpu":
        return False
    if jax.device_count() > 1 or not len(train.labels_N):
        return False
    model = recipe.model.on(train.frame_shape)
    first, *_ = jax.eval_shape(lambda: model.connections(model.init(jax.random.key(0))))
    if not isinstance(first, Full):
        return False
    ones = sparse.fired(train.packed_NxTxP).mean() / train.packed_NxTxP.shape[1]
    density = ones / math.prod(train.frame_shape)
    # Products with frames take all cores, and products with lists one.
    return density * max(2, cores()) <= 2 * SPARSE


def passes(
    recipe: Recipe,
    hyper_R: Hyperparameters,
    train: Frames,
    streamed: bool,
    state_R: RunState,
    begin: int,
    most: int = 0,
) -> Iterator[tuple[RunState, epochs.Metrics, list[float]]]:
    """Yields after each epoch the state, the metrics and the seconds of each run.

    The seconds do not count compiling. Runs with a radius of zero are a program of their own, so
    that they neither pay for SAM's gradient nor are timed with it.

    Args:
      recipe, hyper_R: of the runs.
      train: what they are trained on.
      streamed: whether it stays in the host's memory.
      state_R: of the runs after ``begin`` epochs.
      begin: epochs that are done.
      most: devices that share each batch, at most; 0 for all that the runs leave over.
    """
    perturbed = np.asarray(hyper_R.rho) > 0
    parts = [part for part in (np.flatnonzero(perturbed), np.flatnonzero(~perturbed)) if len(part)]
    hypers = _split(hyper_R, parts)
    one_pass = (_Streamed if streamed else _Resident)(recipe, train, most)
    for epoch in range(begin, recipe.epochs):
        trained, measured, seconds_R = [], [], np.empty(len(perturbed))
        for part, hyper, state in zip(parts, hypers, _split(state_R, parts), strict=True):
            ascend = bool(perturbed[part[0]]) and epoch >= recipe.sharpness.start
            started, compiling = time.perf_counter(), one_pass.programs.seconds
            state, metrics = one_pass(state, hyper, ascend)
            # JAX returns before the device is done; fetching the metrics waits for it, as the clock
            # must. One program trains all runs of a part, so they share its time evenly.
            measured.append(jax.device_get(metrics))
            seconds = time.perf_counter() - started - (one_pass.programs.seconds - compiling)
            seconds_R[part] = seconds / len(part)
            trained.append(state)
        state_R = _join(trained, parts)
        yield state_R, jax.tree.map(np.asarray, _join(measured, parts)), seconds_R.tolist()


class _Resident:
    def __init__(self, recipe: Recipe, train: Frames, most: int):
        self.programs = _Programs(epochs.train_epoch, recipe, most)
        recordings = jax.tree.map(jnp.asarray, _recordings(recipe, train))
        if recipe.moves_pixels:  # else words would only take more memory
            recordings = Words.of(recordings, train.frame_shape)
        self._set = sweeps.to_all((recordings, jnp.asarray(train.labels_N)))

    def __call__(self, state_R, hyper_R, ascend):
        return self.programs((state_R, hyper_R, *self._set), ascend)


class _Streamed:
    def __init__(self, recipe: Recipe, train: Frames, most: int):
        self.programs = _Programs(epochs.train_chunk, recipe, most)
        self._recipe, self._set = recipe, (_recordings(recipe, train), train.labels_N)

    def __call__(self, state_R, hyper_R, ascend):
        count = len(self._set[1])
        order_R = epochs.epoch_order(self._recipe, sweeps.here(state_R), count, ascend)
        steps = streaming.steps_at_a_time(self._set, order_R)
        done = []
        for batches_R in streaming.chunks(self._set, order_R, steps):
            state_R, progress_R = self.programs((state_R, hyper_R, batches_R), ascend)
            if done:  # waits for the chunk before, so at most two lie on the device
                jax.block_until_ready(done[-1])
            done.append(progress_R)
        whole_R = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *done)
        return state_R, epochs.epoch_metrics(state_R, whole_R)


class _Programs:
    """A function of :mod:`sast_jax.training.epochs`, compiled for the shapes of its arguments.

    It is compiled ahead of time and not by its first call, so that training is timed without it.

    Attributes:
      seconds: time that compiling has taken.
    """

    def __init__(self, function: Callable, recipe: Recipe, most: int):
        self.seconds = 0.0
        self._function, self._recipe, self._most = function, recipe, most

    def __call__(self, arguments: tuple, ascend: bool) -> tuple:
        started = time.perf_counter()
        leaves, tree = jax.tree.flatten(arguments)
        shapes = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)
        runs, batch = len(arguments[1].seed), self._recipe.batches.size
        each = sweeps.devices_of_a_run(runs, batch, self._most)
        precision = jax.config.jax_default_matmul_precision
        program = _program(self._function, self._recipe, tree, shapes, ascend, each, precision)
        self.seconds += time.perf_counter() - started
        # A program compiled ahead of time moves no arguments: they must lie where it expects them.
        return program(*sweeps.put(arguments, program.input_shardings[0]))


@functools.lru_cache(maxsize=64)
def _program(function, recipe, tree, shapes, ascend, each, precision):
    """The program for arguments of these shapes; equal settings compile once in a process."""
    del precision  # of JAX's products: another one is another program
    return compile_in_chunks(function, recipe, jax.tree.unflatten(tree, shapes), ascend, each)


def compile_in_chunks(
    function: Callable, recipe: Recipe, arguments: tuple, ascend: bool, each: int = 1
) -> Any:
    """The program that trains as many runs at once as a device's memory holds.

    Args:
      function: of :mod:`sast_jax.training.epochs`.
      recipe, ascend, each: as it takes them.
      arguments: those between, or their shapes.

    Raises:
      InputError: a single run needs more memory than there is.
    """
    at_once, room = arguments[1].seed.shape[0], device_memory()
    # What a program needs is known only once it is compiled, and each try costs a compilation.
    # Halving takes few of them.
    while True:
        program = function.lower(recipe, *arguments, ascend, at_once, each).compile()
        needed = memory_of(program)  # arguments are on the device already
        # A tenth stays free, as free memory may lie in pieces too small to use.
        if room is None or needed < 0.9 * room:
            return program
        if at_once == 1:
            raise InputError(_too_long(recipe, needed, 0.9 * room))
        at_once = -(-at_once // 2)


def _recordings(recipe, train) -> Any:
    """The recordings in the form that steps gather, in the host's memory."""
    return sparse.Lists.of(train) if takes_lists(recipe, train) else train.packed_NxTxP


def cores() -> int:
    """Cores that this process may use."""
    known = hasattr(os, "sched_getaffinity")  # not on every system
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def memory_of(program: Any) -> int:
    """Bytes that a compiled program needs beside its arguments."""
    used = program.memory_analysis()
    # Outputs that take the place of donated arguments (alias) need no memory of their own.
    return used.temp_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes


def _too_long(recipe, needed, room) -> str:
    T = recipe.model.segment
    what = f"a segment of {T} steps of time" if T else "a recording"
    return (
        f"training one run needs {needed / 1e9:.1f} GB beside its recordings, and the device has "
        f"{room / 1e9:.1f}; almost all of it grows with the steps of time of {what}: take at most "
        f"{room / needed:.0%} of them, or config.network.segment, or a smaller config.batch_size"
    )


def _split(tree_R, parts):
    if len(parts) == 1:
        return [tree_R]
    return [jax.tree.map(lambda leaf, part=part: leaf[part], tree_R) for part in parts]


def _join(trees, parts):
    if len(parts) == 1:
        return trees[0]
    order = np.argsort(np.concatenate(parts))  # back to the order of the grid
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[order], *trees)
