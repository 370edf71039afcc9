"""Passes of a grid of runs over a training set that lies on the device, or is streamed to it."""

import functools
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax import processes
from sast_jax.data import sparse, streaming
from sast_jax.data.packing import Frames
from sast_jax.data.words import Words
from sast_jax.errors import InputError
from sast_jax.snn.connections import Full
from sast_jax.training import epochs, sweeps
from sast_jax.training.gradients import Grouped
from sast_jax.training.recipe import Hyperparameters, Recipe
from sast_jax.training.stepping import RunState

PAUSE, FIRST_STEPS = 10.0, 16  # seconds of a block of steps, and the steps of the first one
SPARSE = 0.12  # share of pixels that fire, up to which lists are faster on one core or two


def device_memory() -> int | None:
    """Bytes that are free on an accelerator; None for a CPU.

    Of several processes the least, so that all of them decide alike.
    """
    known = jax.local_devices()[0].memory_stats()
    if not known:
        return None
    free = known["bytes_limit"] - known["bytes_in_use"]
    return processes.all_min(free >> 12) << 12  # in pages, as 64 bits are not at hand


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


class Block(NamedTuple):
    """Some steps of an epoch that were trained together.

    Attributes:
      state_R: of the runs after them.
      epoch: epochs that were done before this one.
      steps: of this epoch that are done, with those of earlier blocks.
      progress_R: loss and accuracy of each step of the epoch, (R, S); 0 for those to come.
      metrics: of the epoch, after its last block; None before.
      seconds_R: that the block has taken.
    """

    state_R: RunState
    epoch: int
    steps: int
    progress_R: epochs.StepMetrics
    metrics: epochs.Metrics | None
    seconds_R: np.ndarray


def by_epoch(
    blocks: Iterable[Block],
) -> Iterator[tuple[RunState, epochs.Metrics, list[float]]]:
    """Yields after each epoch the state, the metrics and the seconds of each run."""
    seconds_R = np.zeros(())
    for block in blocks:
        seconds_R = seconds_R + block.seconds_R
        if block.metrics is not None:
            yield block.state_R, block.metrics, seconds_R.tolist()
            seconds_R = np.zeros(())


def blocks(
    recipe: Recipe,
    hyper_R: Hyperparameters,
    train: Frames,
    streamed: bool,
    state_R: RunState,
    begin: int,
    most: int = 0,
    steps: int = 0,
    progress_R: epochs.StepMetrics | None = None,
) -> Iterator[Block]:
    """Trains, and yields every ``PAUSE`` seconds or so, and after each epoch.

    The seconds do not count compiling. Runs with a radius of zero are a program of their own, so
    that they neither pay for SAM's gradient nor are timed with it. Wherever the blocks end, the
    weights are the same.

    Args:
      recipe, hyper_R: of the runs.
      train: what they are trained on.
      streamed: whether it stays in the host's memory.
      state_R: of the runs after ``begin`` epochs and ``steps`` steps. What was yielded is to be
        saved before the next block is asked for, which takes its memory.
      begin: epochs that are done.
      most: devices that share each batch, at most; 0 for all that the runs leave over.
      steps, progress_R: where an epoch has begun already, as in a :class:`Block`.
    """
    perturbed = np.asarray(hyper_R.rho) > 0
    parts = [part for part in (np.flatnonzero(perturbed), np.flatnonzero(~perturbed)) if len(part)]
    hypers, total = _split(hyper_R, parts), recipe.batches.known_steps
    one_pass = (
        _Streamed(recipe, train, most, state_R) if streamed else _Resident(recipe, train, most)
    )
    for epoch in range(begin, recipe.epochs):
        if progress_R is None:
            progress_R = epochs.no_progress(len(perturbed), total)
        turns = []
        split = zip(parts, hypers, _split(state_R, parts), _split(progress_R, parts), strict=True)
        for part, hyper, state, progress in split:
            ascend = bool(perturbed[part[0]]) and epoch >= recipe.sharpness.start
            turns.append(one_pass.epoch(hyper, state, progress, ascend, steps))
        while steps < total:
            done, measured, seconds_R = [], [], np.empty(len(perturbed))
            for part, turn in zip(parts, turns, strict=True):
                started, compiling = time.perf_counter(), one_pass.programs.seconds
                state, progress, steps = next(turn)
                if steps == total:
                    # JAX returns before the device is done; fetching the metrics waits for it, as
                    # the clock must. One program trains all runs of a part, so they share its time
                    # evenly.
                    measured.append(jax.device_get(epochs.epoch_metrics(state, progress)))
                seconds = time.perf_counter() - started - (one_pass.programs.seconds - compiling)
                seconds_R[part] = seconds / len(part)
                done.append((state, progress))
            one_pass.took(seconds_R.sum())
            states, progresses = zip(*done, strict=True)
            metrics = jax.tree.map(np.asarray, _join(measured, parts)) if measured else None
            state_R, progress_R = _join(states, parts), _join(progresses, parts)
            yield Block(state_R, epoch, steps, progress_R, metrics, seconds_R)
        steps, progress_R = 0, None


class _Resident:
    def __init__(self, recipe: Recipe, train: Frames, most: int):
        self.programs = _Programs(epochs.train_steps, recipe, most)
        recordings = jax.tree.map(jnp.asarray, _recordings(recipe, train))
        if recipe.moves_pixels:  # else words would only take more memory
            recordings = Words.of(recordings, train.frame_shape)
        self._set = sweeps.to_all((recordings, jnp.asarray(train.labels_N)))
        self._total, self._pace = recipe.batches.known_steps, _Pace()

    def epoch(self, hyper_R, state_R, progress_R, ascend, steps):
        while steps < self._total:
            end = self._pace.end(steps, self._total)
            window = np.int32(steps), np.int32(end)
            given = state_R, hyper_R, progress_R, *self._set, *window
            state_R, progress_R = self.programs(given, ascend)
            jax.block_until_ready(progress_R)
            steps = end
            yield state_R, progress_R, steps

    def took(self, seconds: float):
        self._pace.took(seconds)


class _Pace:
    """How many steps a block has, so that it takes about ``PAUSE`` seconds."""

    def __init__(self):
        self._steps, self._last = FIRST_STEPS, 0

    def end(self, begin: int, total: int) -> int:
        """The step at which a block ends; the same in all processes."""
        self._last = min(self._steps, total - begin)
        return begin + self._last

    def took(self, seconds: float):
        """Says how long the last block took."""
        wanted = int(min(2**30, PAUSE * self._last / max(seconds, 1e-9)))
        self._steps = max(1, processes.broadcast(wanted))


class _Streamed:
    def __init__(self, recipe: Recipe, train: Frames, most: int, state_R: RunState):
        self.programs = _Programs(epochs.train_chunk, recipe, most)
        self._recipe, self._set = recipe, (_recordings(recipe, train), train.labels_N)
        count = len(train.labels_N)
        # All runs take chunks of as many steps, those that do not ascend too.
        order_R = jax.eval_shape(lambda s: epochs.epoch_order(recipe, s, count, True), state_R)
        self._chunk = streaming.steps_at_a_time(self._set, order_R)

    def epoch(self, hyper_R, state_R, progress_R, ascend, steps):
        count = len(self._set[1])
        order_R = epochs.epoch_order(self._recipe, sweeps.here(state_R), count, ascend)
        left_R = jax.tree.map(lambda leaf: leaf[:, steps:], order_R)
        progress_R, before = sweeps.to_all(progress_R), None
        for batches_R in streaming.chunks(self._set, left_R, self._chunk):
            state_R, own_R = self.programs((state_R, hyper_R, batches_R), ascend)
            jax.block_until_ready(before)  # so at most two chunks lie on the device
            before = own_R
            progress_R = _placed(progress_R, own_R, np.int32(steps))
            steps += jax.tree.leaves(own_R)[0].shape[1]
            yield state_R, progress_R, steps

    def took(self, seconds: float):
        pass  # chunks are small


@jax.jit
def _placed(progress_R, own_R, begin):
    """The progress of an epoch with that of some steps in its place."""
    update = jax.lax.dynamic_update_slice_in_dim
    return jax.tree.map(lambda whole, own: update(whole, own, begin, 1), progress_R, own_R)


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
        # An attribute that JAX sets and does not declare.
        precision = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
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
    function: jax.stages.Wrapped, recipe: Recipe, arguments: tuple, ascend: bool, each: int = 1
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
            raise InputError(_too_long(recipe, arguments, needed, 0.9 * room))
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


def _too_long(recipe, arguments, needed, room) -> str:
    T = recipe.model.segment or _steps_of_time(arguments)
    what = "a segment" if recipe.model.segment else "a recording"
    return (
        f"training one run needs {needed / 1e9:.1f} GB beside its recordings, and the device has "
        f"{room / 1e9:.1f}; almost all of it grows with the {T} steps of time of {what}: take at "
        f"most {int(T * room / needed)} of them, or config.network.segment, or a smaller "
        "config.batch_size"
    )


def _steps_of_time(arguments) -> int:
    """T of the recordings among the arguments of a function of :mod:`.epochs`; 0 for lists."""
    for leaf in jax.tree.leaves(arguments, is_leaf=lambda node: isinstance(node, Words)):
        if isinstance(leaf, Words):
            return leaf.time_bins
        if leaf.dtype == jnp.uint8 and leaf.ndim > 2:
            return leaf.shape[-2]
    return 0


def _split(tree_R, parts):
    if len(parts) == 1:
        return [tree_R]
    return [jax.tree.map(lambda leaf, part=part: leaf[part], tree_R) for part in parts]


def _join(trees, parts):
    if len(parts) == 1:
        return trees[0]
    order = np.argsort(np.concatenate(parts))  # back to the order of the grid
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[order], *trees)
