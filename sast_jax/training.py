"""Training: recipe, state and step of a run.

What differs between the runs of a grid (:class:`Hyperparameters`) is traced, what they share
(:class:`Recipe`) is static, so one program trains them all; :mod:`sast_jax.epochs` has it.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from sast_jax import lif, networks, spikes
from sast_jax.sam import eval_params, ramp, sam


class Hyperparameters(NamedTuple):
    """What may differ between the runs of a grid; each leaf is a scalar, or (R,) for R runs.

    Attributes:
      seed: of the initial weights, the order of the recordings and the augmentation.
      rho: SAM radius after its ramp.
      warmup: fraction of training over which the radius grows linearly to rho.
      learning_rate: at the start of the schedule.
      slope, slope_end: slope of the smooth spike at the start and the end of training.
      decay: share of the membrane potential that is left after one step.
    """

    seed: jax.typing.ArrayLike
    rho: jax.typing.ArrayLike
    warmup: jax.typing.ArrayLike
    learning_rate: jax.typing.ArrayLike
    slope: jax.typing.ArrayLike
    slope_end: jax.typing.ArrayLike
    decay: jax.typing.ArrayLike


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What the runs of a grid share. Hashable, so that it can be a static argument under jit.

    Attributes:
      network: a module of :mod:`sast_jax.networks`.
      frame_shape: (H, W, C) of the unpacked frames.
      spike: slope -> smooth spike function, such as :func:`sast_jax.spikes.sigmoid`.
      forward: what the smooth spike becomes in the training forward pass: itself, or
        :func:`sast_jax.spikes.hard_forward`.
      cell: reset; (decay, threshold, spike) -> step, from :mod:`sast_jax.lif`.
      threshold: of the membrane potential.
      readout: how class scores are read from a response.
      optimizer: (learning_rate, steps) -> the optax transformation behind the SAM link.
      epochs: number of passes over the training set.
      epoch_steps: batches of an epoch; the recordings left over are dropped, others each time.
      batch_size: recordings of a step.
      redraw: draw each batch anew from the whole set, with replacement, so that no batch depends on
        another, as theorems on stochastic gradients have it; False passes over the set.
      ascent: radius -> link, such as :func:`sast_jax.sam.sam`.
      ahead: (optimizer, radius) -> optimizer that perturbs the parameters of its next step, such as
        :func:`sast_jax.sam.momentum_sam`. It takes the place of the link, and of its second
        gradient, so that the next three fields do not count; None for the link.
      independent: take the ascent gradient on a second, independently drawn minibatch.
      ascent_size: recordings of the ascent gradient, at most batch_size.
      groups: m-sharpness: parts of the batch that are each perturbed on their own.
      first_epoch: SAM begins with this epoch; plain training before.
      augment: (key, frames) -> frames of a batch (B, T, H, W, C), anew each time; None for none.
      rounding: parameters -> those that stand in their place, in training and ever after, such as
        :func:`sast_jax.weights.rounded`; None for themselves.
      noise: (key, parameters) -> those of the forward pass of training alone, such as
        :func:`sast_jax.weights.noisy`; None for none.
      neurons: (spike -> cell, spike) -> cell of the training forward pass alone, such as
        :func:`sast_jax.lif.stochastic` returns; None for the cell itself.
      penalty: response -> what is added to the loss, such as
        :func:`sast_jax.controls.rate_penalty`; None for none.
      adversary: (scores, parameters, key) -> what is added to the loss, such as a partial
        :func:`sast_jax.controls.adversarial_divergence`; None for none.
      segment: steps of time of a segment, to save memory; see :func:`networks.in_segments`. None
        for all steps at once.
    """

    network: nn.Module
    frame_shape: tuple[int, int, int]
    spike: Callable[[jax.typing.ArrayLike], spikes.Spike]
    forward: Callable[[spikes.Spike], spikes.Spike]
    cell: Callable[..., lif.Cell]
    threshold: float
    readout: networks.Readout
    optimizer: Callable[[jax.typing.ArrayLike, int], optax.GradientTransformation]
    epochs: int
    epoch_steps: int
    batch_size: int
    redraw: bool = False
    ascent: Callable[[jax.typing.ArrayLike], optax.GradientTransformation] = sam
    ahead: Callable[..., optax.GradientTransformation] | None = None
    independent: bool = False
    ascent_size: int | None = None
    groups: int = 1
    first_epoch: int = 0
    augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    rounding: Callable[[Any], Any] | None = None
    noise: Callable[[jax.Array, Any], Any] | None = None
    neurons: Callable[[Callable[[spikes.Spike], lif.Cell], spikes.Spike], lif.Cell] | None = None
    penalty: Callable[[networks.Response], jax.Array] | None = None
    adversary: Callable[[Callable[[Any], jax.Array], Any, jax.Array], jax.Array] | None = None
    segment: int | None = None

    def soft_cell(self, hyper: Hyperparameters) -> lif.Cell:
        """The trained neuron with its smooth spike, at the slope training ends with."""
        return self.cell(hyper.decay, self.threshold, self.spike(hyper.slope_end))

    def hard_cell(self, hyper: Hyperparameters) -> lif.Cell:
        """The same neuron with a hard spike: the swap, and nothing else."""
        return self.cell(hyper.decay, self.threshold, spikes.heaviside)


Batch = tuple[jax.Array, jax.Array]


class TrainState(NamedTuple):
    """State of one run, or of R runs with a leading axis on each leaf.

    The parameters are those whose gradient is taken; :func:`trained` gives those to evaluate.
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
            frames = jnp.zeros((1, 1, *recipe.frame_shape))
            params = recipe.network.init(weights_key, frames, recipe.hard_cell(hyper))["params"]
        links = _links(recipe, hyper, jnp.int32(0))
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
      key: of all that is drawn for the forward pass or for a random ascent, if anything is; the
        same for both gradients of the step.

    Returns:
      The new state, and loss and accuracy at the old parameters on the ascent batch (or the batch).
    """
    spike = recipe.forward(recipe.spike(slope_at(recipe, hyper, state.step)))
    make = functools.partial(recipe.cell, hyper.decay, recipe.threshold)
    cell = recipe.neurons(make, spike) if recipe.neurons else make(spike)
    neurons_key = adversary_key = ascent_key = None
    if key is not None:
        key = jax.random.fold_in(key, state.step)
        others = jax.random.fold_in(key, 2**31)  # far from what the noise takes of the same key
        neurons_key, adversary_key, ascent_key = jax.random.split(others, 3)
    elif recipe.noise or recipe.neurons or recipe.adversary:
        raise TypeError("train_step needs a key for what this recipe draws.")

    drawn = neurons_key if recipe.neurons else None

    def loss(params, frames, labels):
        if recipe.rounding:
            params = recipe.rounding(params)
        if recipe.noise:
            params = recipe.noise(key, params)
        response = respond(recipe, params, cell, frames, drawn)
        scores = recipe.readout(response)
        value = optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()
        if recipe.penalty:
            value = value + recipe.penalty(response)
        if recipe.adversary:
            value = value + recipe.adversary(
                lambda w: recipe.readout(respond(recipe, w, cell, frames, drawn)),
                params,
                adversary_key,
            )
        return value, (scores.argmax(-1) == labels).mean()

    def ascend_and_descend(link_state, ascent_batch, batch):
        (value, accuracy), grads = jax.value_and_grad(loss, has_aux=True)(params, *ascent_batch)
        if batch is None:
            return grads, link_state, value, accuracy
        grads, link_state = link.update(
            grads,
            link_state,
            params,
            grad_fn=lambda w: jax.grad(loss, has_aux=True)(w, *batch)[0],
            key=ascent_key,
        )
        return grads, link_state, value, accuracy

    link, optimizer = _links(recipe, hyper, state.step)
    params, (link_state, optimizer_state) = state.params, state.optimizer
    if ascent_batch is None:
        grads, link_state, *metrics = ascend_and_descend(link_state, batch, None)
    elif recipe.groups == 1:
        grads, link_state, *metrics = ascend_and_descend(link_state, ascent_batch, batch)
    else:
        parts = [_split_batch(b, recipe.groups) for b in (ascent_batch, batch)]
        # A stateful ascent continues from the mean of what the groups made of its state.
        outputs = jax.vmap(functools.partial(ascend_and_descend, link_state))(*parts)
        grads, link_state, *metrics = jax.tree.map(
            lambda leaf: leaf.mean(axis=0).astype(leaf.dtype), outputs
        )
    updates, optimizer_state = optimizer.update(grads, optimizer_state, params)
    params = optax.apply_updates(params, updates)
    optimizer_state = link_state, optimizer_state
    return TrainState(state.step + 1, state.key, params, optimizer_state), tuple(metrics)


def respond(
    recipe: Recipe,
    params: Any,
    cell: lif.Cell,
    frames_TxBxHxWxC: jax.Array,
    key: jax.Array | None = None,
) -> networks.Response:
    """What a recipe's network does with frames of any dtype, in segments if the recipe has them."""

    def network(frames, states, key):
        frames = frames.astype(jnp.float32)
        return recipe.network.apply({"params": params}, frames, cell, states, key)

    if recipe.segment:
        return networks.in_segments(network, frames_TxBxHxWxC, recipe.segment, key)
    return network(frames_TxBxHxWxC, None, key)


def trained(recipe: Recipe, state_R: TrainState) -> Any:
    """The parameters to evaluate, of R runs: without a perturbation made ahead, and rounded."""
    params_R = eval_params(state_R.optimizer, state_R.params) if recipe.ahead else state_R.params
    return jax.vmap(recipe.rounding)(params_R) if recipe.rounding else params_R


def slope_at(recipe: Recipe, hyper: Hyperparameters, step: jax.typing.ArrayLike) -> jax.Array:
    """Slope of the smooth spike after so many steps: from slope to slope_end, geometrically."""
    done = step / (recipe.epochs * recipe.epoch_steps)
    return hyper.slope * (hyper.slope_end / hyper.slope) ** done


def _split_batch(batch, groups):
    frames_TxBxHxWxC, labels_B = batch
    T, B, *frame = frames_TxBxHxWxC.shape
    frames = frames_TxBxHxWxC.reshape(T, groups, B // groups, *frame)
    return jnp.moveaxis(frames, 1, 0), labels_B.reshape(groups, -1)


def _links(recipe, hyper, step):
    total = recipe.epochs * recipe.epoch_steps
    start = recipe.first_epoch * recipe.epoch_steps
    radius = ramp(hyper.rho, total, start=start, warmup=hyper.warmup * total)(step)
    optimizer = recipe.optimizer(hyper.learning_rate, total)
    if recipe.ahead:
        return optax.identity(), recipe.ahead(optimizer, radius)
    return recipe.ascent(radius), optimizer
