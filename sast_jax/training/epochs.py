"""Epochs of a grid of runs: many steps in one program, compiled in one place.

Everything carries a leading run axis R; a single run is a grid of one. A training set that fits on
the device is trained on for some steps of an epoch, or all, in one call (:func:`train_steps`,
:func:`train_epoch`). A larger one comes to it in chunks (:func:`train_chunk`), in the same order.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data import packing
from sast_jax.data.augmentation import Then
from sast_jax.data.sparse import Lists, Sparse
from sast_jax.data.words import Words
from sast_jax.training import sweeps
from sast_jax.training.recipe import Hyperparameters, Recipe
from sast_jax.training.stepping import RunState, train_step


class Order(NamedTuple):
    """The recordings of an epoch's S steps.

    Attributes:
      descent: indices (S, B) of the recordings of each batch; in :func:`train_chunk`, the
        recordings themselves.
      ascent: the same (S, A) of independent minibatches for the ascent; None where there are none.
    """

    descent: Any
    ascent: Any


class StepMetrics(NamedTuple):
    """Loss and accuracy of each step, (S,), or with a leading run axis."""

    loss: jax.Array | np.ndarray
    accuracy: jax.Array | np.ndarray


class Metrics(NamedTuple):
    """Mean loss and accuracy over one epoch, and whether all weights and losses were finite.

    Loss and accuracy are measured on the recordings that SAM's ascent is taken on; without SAM, on
    the whole batches. For ahead-of-time SAM they are measured at the perturbed parameters.
    """

    loss: jax.Array
    accuracy: jax.Array
    finite: jax.Array


@functools.partial(jax.jit, static_argnums=(0, 5, 6, 7), donate_argnums=1)
def train_epoch(
    recipe: Recipe,
    state_R: RunState,
    hyper_R: Hyperparameters,
    recordings_N: jax.Array | Words | Lists,
    labels_N: jax.Array,
    ascend: bool,
    at_once: int | None = None,
    each: int = 1,
) -> tuple[RunState, Metrics]:
    """One epoch of all runs; :func:`sast_jax.training.sweeps.over_runs` spreads them.

    Args:
      recipe: what the runs share.
      state_R: donated.
      hyper_R: what differs between the runs.
      recordings_N: the training set, packed (N, T, P) as in
        :class:`sast_jax.data.packing.Frames`, or as words or lists, which saves time in each step.
      labels_N: class of each recording.
      ascend: take SAM's perturbation; False trains plainly, at one gradient a step.
      at_once: runs that an accelerator trains together, at most; None for all.
      each: devices that share each batch of a run.

    Returns:
      The new states and the metrics of each run, (R,).
    """

    def one(args):
        state, hyper = args
        order = _order(recipe, state, len(labels_N), ascend)
        state, progress = _steps(
            recipe, state, hyper, order, ascend, lambda n: (recordings_N[n], labels_N[n]), each
        )
        return state, _metrics(state, progress)

    return sweeps.over_runs(one, (state_R, hyper_R), at_once, each, processes=True)


@functools.partial(jax.jit, static_argnums=(0, 8, 9, 10), donate_argnums=(1, 3))
def train_steps(
    recipe: Recipe,
    state_R: RunState,
    hyper_R: Hyperparameters,
    progress_R: StepMetrics,
    recordings_N: jax.Array | Words | Lists,
    labels_N: jax.Array,
    begin: jax.Array,
    end: jax.Array,
    ascend: bool,
    at_once: int | None = None,
    each: int = 1,
) -> tuple[RunState, StepMetrics]:
    """Steps ``begin`` to ``end`` of an epoch. One program serves any of them.

    Wherever an epoch is cut, its steps compute the same bits, on a CPU those of
    :func:`train_epoch`.

    Args:
      recipe, hyper_R, recordings_N, labels_N, ascend, at_once, each: as for :func:`train_epoch`.
      state_R: after ``begin`` steps of the epoch; donated.
      progress_R: loss and accuracy of each step of the epoch (R, S); donated.
      begin, end: whole numbers, up to the S steps of an epoch.

    Returns:
      The new states, and the progress with these steps in their places.
    """

    def one(args):
        state, hyper, progress = args
        order = _order(recipe, state, len(labels_N), ascend)
        body = _step(recipe, state, hyper, ascend, lambda n: (recordings_N[n], labels_N[n]), each)

        def step(i, carry):
            state, progress = carry
            state, own = body(state, jax.tree.map(lambda leaf: leaf[i], order))
            return state, jax.tree.map(lambda leaf, value: leaf.at[i].set(value), progress, own)

        return jax.lax.fori_loop(begin, end, step, (state, progress))

    return sweeps.over_runs(one, (state_R, hyper_R, progress_R), at_once, each, processes=True)


def no_progress(runs: int, steps: int) -> StepMetrics:
    """Where :func:`train_steps` puts the losses and accuracies of an epoch, (R, S)."""
    return StepMetrics(*(np.zeros((runs, steps), np.float32) for _ in StepMetrics._fields))


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def epoch_order(recipe: Recipe, state_R: RunState, recordings: int, ascend: bool) -> Order:
    """The recordings that each step of an epoch takes, for R runs at its beginning."""
    return jax.lax.map(lambda state: _order(recipe, state, recordings, ascend), state_R)


@functools.partial(jax.jit, static_argnums=(0, 4, 5, 6), donate_argnums=1)
def train_chunk(
    recipe: Recipe,
    state_R: RunState,
    hyper_R: Hyperparameters,
    batches_R: Order,
    ascend: bool,
    at_once: int | None = None,
    each: int = 1,
) -> tuple[RunState, StepMetrics]:
    """Some steps of an epoch, for a training set that is not on the device.

    With the batches in the order of :func:`epoch_order` the states are, bit for bit on a CPU, those
    of :func:`train_epoch`.

    Args:
      recipe, hyper_R, ascend, at_once, each: as for :func:`train_epoch`.
      state_R: donated.
      batches_R: for each run the recordings in the places of an order's indices: packed frames
        (R, S, B, T, P), or lists, and labels (R, S, B).

    Returns:
      The new states, and loss and accuracy of each step (R, S).
    """

    def one(args):
        state, hyper, batches = args
        return _steps(recipe, state, hyper, batches, ascend, lambda batch: batch, each)

    return sweeps.over_runs(one, (state_R, hyper_R, batches_R), at_once, each, processes=True)


@jax.jit
def epoch_metrics(state_R: RunState, progress_R: StepMetrics) -> Metrics:
    """The metrics of an epoch's steps, of R runs at its end."""
    return jax.vmap(_metrics)(state_R, progress_R)


def _metrics(state, progress) -> Metrics:
    loss_S, accuracy_S = progress
    finite = jnp.stack([jnp.isfinite(w).all() for w in jax.tree.leaves(state.params)]).all()
    return Metrics(loss_S.mean(), accuracy_S.mean(), finite & jnp.isfinite(loss_S).all())


def _keys(recipe, state):
    """The keys of an epoch: order of the batches, of the ascent's own, augmentation, noise."""
    # The run's key never changes. Folding in the step at which the epoch began gives each epoch its
    # own keys, and a chunk in the middle, or a resumed run, finds them from the state alone.
    begin = state.step - state.step % recipe.batches.steps
    return jax.random.split(jax.random.fold_in(state.key, begin), 4)


def _frames(recipe, batch, key) -> jax.Array | Sparse:
    """The frames (T, B, H, W, C) of a batch, augmented, or what stands in their place."""
    if isinstance(batch, Lists):
        return batch.joined()
    augment, shape = recipe.augment, recipe.model.frame_shape
    move = augment.first if isinstance(augment, Then) else augment
    if move is not None and recipe.moves_pixels:
        words = batch if isinstance(batch, Words) else Words.of(batch, shape)
        frames = words.moved(functools.partial(move, key)).time_first()
        return augment.changed(key, frames) if isinstance(augment, Then) else frames
    if isinstance(batch, Words):
        frames = batch.time_first()
    else:
        frames = packing.time_first(batch, shape, jnp.uint8)
    return jnp.moveaxis(augment(key, jnp.moveaxis(frames, 1, 0)), 1, 0) if augment else frames


def _order(recipe, state, recordings, ascend) -> Order:
    descent_key, ascent_key, *_ = _keys(recipe, state)
    batches, sharpness = recipe.batches, recipe.sharpness
    return Order(
        batches.draw(descent_key, recordings, batches.size),
        sharpness.drawn(batches, ascent_key, recordings) if ascend else None,
    )


def _steps(recipe, state, hyper, batches: Order, ascend, gather, each):
    """Trains through an order; ``gather`` turns its entries into recordings and labels."""
    return jax.lax.scan(_step(recipe, state, hyper, ascend, gather, each), state, batches)


def _step(recipe, state, hyper, ascend, gather, each):
    """A step of the epoch that the state is in: (state, entry of an order) -> state, metrics."""
    *_, augment_key, noise_key = _keys(recipe, state)

    def load(entry, key):
        batch, labels_B = gather(sweeps.shared(entry, 0, each))
        return sweeps.shared(_frames(recipe, batch, key), 1, each), labels_B

    def body(state, entry):
        keys = jax.random.split(jax.random.fold_in(augment_key, state.step))
        batch, second = load(entry.descent, keys[0]), None
        if entry.ascent is not None:
            second = load(entry.ascent, keys[1])
        elif ascend:
            # A part of the batch that is loaded already, with the same deformations.
            second = recipe.sharpness.ascent(batch)
            if second is not None:
                frames, labels_B = second
                second = sweeps.shared(frames, 1, each), sweeps.shared(labels_B, 0, each)
        # The noise key is that of the epoch: train_step folds the step into it.
        state, progress = train_step(recipe, state, hyper, batch, second, noise_key)
        return state, StepMetrics(*progress)

    return body
