"""The step of training.

What differs between the runs of a grid (``Hyperparameters``) is traced, what they share
(``Recipe``) is static, so one program trains them all; :mod:`sast_jax.training.epochs` has it.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sast_jax.training import controls
from sast_jax.training.controls import Forward
from sast_jax.training.gradients import Batch, Descent
from sast_jax.training.recipe import Hyperparameters, Recipe


class TrainState(NamedTuple):
    """State of one run, or of R runs with a leading axis on each leaf.

    The parameters are those whose gradient is taken; ``Trained.of`` gives those to evaluate.
    """

    step: jax.Array
    key: jax.Array
    params: Any
    optimizer: optax.OptState


@functools.partial(jax.jit, static_argnums=0)
def initialise(recipe: Recipe, hyper_R: Hyperparameters, params_R: Any = None) -> TrainState:
    """Fresh states (R, ...) of the runs, with random parameters or with those given."""

    def one(args):
        hyper, params = args
        weights_key, key = jax.random.split(jax.random.key(hyper.seed))
        if params is None:
            params = recipe.model.init(weights_key)
        links = recipe.links(hyper, jnp.int32(0))
        return TrainState(jnp.int32(0), key, params, tuple(link.init(params) for link in links))

    return jax.lax.map(one, (hyper_R, params_R))


def shapes(recipe: Recipe, hyper_R: Hyperparameters) -> TrainState:
    """Shapes and dtypes of the runs' states, without making them."""
    return jax.eval_shape(functools.partial(initialise, recipe), hyper_R)


def train_step(
    recipe: Recipe,
    state: TrainState,
    hyper: Hyperparameters,
    batch: Batch,
    ascent_batch: Batch | None,
    key: jax.Array | None = None,
) -> tuple[TrainState, tuple[jax.Array, jax.Array]]:
    """One step of one run.

    Args:
      recipe: what the runs of the grid share.
      state, hyper: of this run.
      batch: frames (T, B, H, W, C) of any dtype and labels (B,) whose loss is descended.
      ascent_batch: the same, of the recordings that choose SAM's perturbation; None trains plainly.
      key: of all that is drawn in training; controls and random ascents need it.

    Returns:
      The new state, and loss and accuracy at the old parameters on the ascent batch (or the batch).
    """
    weights_key, cell_key, loss_key, ascent_key = _keys(recipe, key, state.step)
    params, (link_state, optimizer_state) = state.params, state.optimizer
    link, optimizer = recipe.links(hyper, state.step)
    cell = recipe.model.neuron.smooth(hyper.decay, recipe.slope_at(hyper, state.step))
    for own, control in _with_keys(recipe, "cell", cell_key):
        cell = control.cell(own, cell)

    def loss(params, frames, labels):
        def forward(params):
            response = recipe.model.respond(params, cell, frames)
            return Forward(params, response, recipe.model.readout(response))

        params = recipe.model.rounded(params)
        for own, control in _with_keys(recipe, "weights", weights_key):
            params = control.weights(own, params)
        scores = (made := forward(params)).scores_BxK
        value = optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()
        for own, control in _with_keys(recipe, "loss", loss_key):
            value = value + control.loss(own, made, forward)
        return value, (scores.argmax(-1) == labels).mean()

    def take(link_state, ascent_batch, batch):
        (value, accuracy), grads = jax.value_and_grad(loss, has_aux=True)(params, *ascent_batch)
        if batch is not None:
            grads, link_state = link.update(
                grads,
                link_state,
                params,
                grad_fn=lambda w: jax.grad(loss, has_aux=True)(w, *batch)[0],
                key=ascent_key,
            )
        return Descent(grads, link_state, value, accuracy)

    if ascent_batch is None:
        found = take(link_state, batch, None)
    else:
        found = recipe.sharpness.descend(take, link_state, ascent_batch, batch)
    updates, optimizer_state = optimizer.update(found.gradient, optimizer_state, params)
    params = optax.apply_updates(params, updates)
    states = found.link_state, optimizer_state
    return TrainState(state.step + 1, state.key, params, states), (found.loss, found.accuracy)


def _keys(recipe, key, step):
    """Of a step: for weights, cells, losses and ascents."""
    if key is None:
        if recipe.controls:
            raise TypeError("train_step needs a key for what this recipe draws.")
        return None, None, None, None
    key = jax.random.fold_in(key, step)
    others = jax.random.fold_in(key, 2**31)  # far from what controls of the weights fold in
    return key, *jax.random.split(others, 3)


def _with_keys(recipe, method, key):
    """The controls that have a method, each with a key of its own."""
    own = controls.overriding(recipe.controls, method)
    return zip(controls.keys(key, own), own, strict=True)
