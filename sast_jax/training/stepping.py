"""The step of training.

What differs between the runs of a grid (``Hyperparameters``) is traced, and what they share
(``Recipe``) is static, so one program trains them all. :mod:`sast_jax.training.epochs` compiles it.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sast_jax.snn import connections
from sast_jax.training import controls
from sast_jax.training.controls import Forward
from sast_jax.training.gradients import Batch, Descent
from sast_jax.training.recipe import Hyperparameters, Recipe


class RunState(NamedTuple):
    """State of one run, or of R runs with a leading axis on each leaf.

    Gradients are taken at these parameters. For evaluation take those of ``Trained.of``, from which
    a perturbation made ahead of time is removed.
    """

    step: jax.Array
    key: jax.Array
    params: Any
    optimizer: optax.OptState


@functools.partial(jax.jit, static_argnums=0)
def initialise(recipe: Recipe, hyper_R: Hyperparameters, params_R: Any = None) -> RunState:
    """Fresh states (R, ...) of the runs, with random parameters or with those given."""

    def one(args):
        hyper, params = args
        # The seed alone decides initial weights and everything drawn later, so runs of one seed can
        # be compared pair by pair, whatever else differs between them.
        weights_key, key = jax.random.split(jax.random.key(hyper.seed))
        if params is None:
            params = recipe.model.init(weights_key)
        links = recipe.links(hyper, jnp.int32(0))
        return RunState(jnp.int32(0), key, params, tuple(link.init(params) for link in links))

    return jax.lax.map(one, (hyper_R, params_R))


def shapes(recipe: Recipe, hyper_R: Hyperparameters) -> RunState:
    """Shapes and dtypes of the runs' states, without making them."""
    return jax.eval_shape(functools.partial(initialise, recipe), hyper_R)


def train_step(
    recipe: Recipe,
    state: RunState,
    hyper: Hyperparameters,
    batch: Batch,
    ascent_batch: Batch | None,
    key: jax.Array | None = None,
) -> tuple[RunState, tuple[jax.Array, jax.Array]]:
    """One step of one run.

    Args:
      recipe: what the runs of the grid share.
      state, hyper: of this run.
      batch: frames (T, B, H, W, C) of any dtype and labels (B,); their loss is descended.
      ascent_batch: the recordings that choose SAM's perturbation, in the same form; None trains
        plainly.
      key: random key of the epoch; controls and random ascents need it.

    Returns:
      The new state, and loss and accuracy at the old parameters on the ascent batch (or the batch).
    """
    weights_key, cell_key, loss_key, ascent_key = _keys(recipe, key, state.step)
    params, (link_state, optimizer_state) = state.params, state.optimizer
    link, optimizer = recipe.links(hyper, state.step)
    cell = recipe.model.neuron.smooth(hyper.decay, recipe.slope_at(hyper, state.step))
    for own, control in _with_keys(recipe, "cell", cell_key):
        cell = _returned(control, "cell", control.cell(own, cell))

    def loss(params, frames, labels):
        def forward(params):
            response = recipe.model.respond(params, cell, frames)
            cells = connections.alike(cell, response.spikes)
            return Forward(params, response, recipe.model.readout(response), cells)

        # Rounding comes before noise, as on a chip: mismatch acts on the weights stored there.
        params = recipe.model.rounded(params)
        for own, control in _with_keys(recipe, "weights", weights_key):
            params = _returned(control, "weights", control.weights(own, params))
        scores = (made := forward(params)).scores_BxK
        value = optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()
        for own, control in _with_keys(recipe, "loss", loss_key):
            added = _returned(control, "loss", control.loss(own, made, forward))
            if shape := jnp.shape(added):
                raise TypeError(f"{type(control).__name__}.loss returned {shape}, not one number")
            value = value + added
        return value, (scores.argmax(-1) == labels).mean()

    # Both gradients of SAM use the same keys, so it perturbs the very loss that it descends.
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

    if ascent_batch is None:  # plain training: the first gradient is the one to descend
        found = take(link_state, batch, None)
    else:
        found = recipe.sharpness.descend(take, link_state, ascent_batch, batch)
    updates, optimizer_state = optimizer.update(found.gradient, optimizer_state, params)
    params = optax.apply_updates(params, updates)
    states = found.link_state, optimizer_state
    return RunState(state.step + 1, state.key, params, states), (found.loss, found.accuracy)


def _keys(recipe, key, step):
    """The keys of a step: for controls of weights, of cells, of the loss; for random ascents."""
    if key is None:
        if recipe.controls:
            raise TypeError("train_step needs a key for what this recipe draws.")
        return None, None, None, None
    key = jax.random.fold_in(key, step)
    # The weights take this key itself; controls.keys folds 1, 2, ... into it for further controls.
    # 2**31 is far from those numbers, so the other keys are independent of them.
    others = jax.random.fold_in(key, 2**31)
    return key, *jax.random.split(others, 3)


def _returned(control, method, value):
    if value is None:
        raise TypeError(f"{type(control).__name__}.{method} returned None; is its return missing?")
    return value


def _with_keys(recipe, method, key):
    """The controls that override a method, each with a key of its own."""
    own = controls.overriding(recipe.controls, method)
    return zip(controls.keys(key, own), own, strict=True)
