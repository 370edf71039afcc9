"""Averaged weights: an optimizer that keeps a mean of the weights it has passed through."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sast_jax.fields import Checked, between, function, number, setting


class AveragedState(NamedTuple):
    """State of the optimizer, steps done, and the mean of the weights."""

    base: optax.OptState
    count: jax.Array  # type: ignore[assignment]  # checkpoints have it by this name
    mean: Any


@dataclasses.dataclass(frozen=True)
class Averages(Checked):
    """Which steps the mean is taken over, and how fast it forgets.

    Attributes:
      start: share of the training after which it begins; before, the mean is the weights
        themselves. 1: no mean is kept.
      decay: share of the mean that is left after a step; 1 weighs all steps alike. Until
        1 / (1 - decay) steps are averaged, they too weigh alike.
    """

    start: float = number(
        1.0, 0, 1, "share of the training after which it begins; 1: never", before=1.0
    )
    decay: float = setting(
        1.0,
        "share of the mean that is left after a step; 1: all steps weigh alike",
        between(0, 1),
        before=1.0,
    )

    @property
    def active(self) -> bool:
        """Whether a mean is kept."""
        return self.start < 1


@dataclasses.dataclass(frozen=True)
class Averaged:
    """An optimizer whose weights are averaged; :func:`averaged_params` has the mean.

    With ``decay=1`` it is stochastic weight averaging (Izmailov et al., Averaging Weights Leads to
    Wider Optima and Better Generalization, UAI 2018, arXiv 1803.05407), sampled at each step in
    place of each cycle of a cyclic learning rate; below 1 an exponential moving average.

    Attributes:
      optimizer: (learning rate, steps) -> transformation.
      averages: which steps are averaged.
    """

    optimizer: Callable[[jax.typing.ArrayLike, int], optax.GradientTransformation]
    averages: Averages

    def __post_init__(self):
        function(optimizer=self.optimizer)

    def __call__(self, rate: jax.typing.ArrayLike, steps: int) -> optax.GradientTransformation:
        base = optax.with_extra_args_support(self.optimizer(rate, steps))
        begin = math.floor(self.averages.start * steps)

        def init_fn(params):
            # A copy, as states are donated and no buffer can be donated twice.
            return AveragedState(base.init(params), jnp.int32(0), jax.tree.map(jnp.array, params))

        def update_fn(updates, state, params=None, **extra_args):
            if params is None:
                raise ValueError("averaging needs the parameters: update(grads, state, params).")
            updates, base_state = base.update(updates, state.base, params, **extra_args)
            count = state.count + 1
            # The first step after ``begin`` replaces the mean, the n-th moves it by 1 / n.
            weight = jnp.maximum(1 / jnp.maximum(count - begin, 1), 1 - self.averages.decay)
            now = optax.apply_updates(params, updates)
            mean = jax.tree.map(lambda m, w: m + weight * (w - m), state.mean, now)
            return updates, AveragedState(base_state, count, mean)

        return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def averaged_params(state: optax.OptState, params: Any) -> Any:
    """The mean that :class:`Averaged` keeps anywhere in this state; the parameters without one."""
    found = jax.tree.leaves(state, is_leaf=lambda part: isinstance(part, AveragedState))
    means = [part.mean for part in found if isinstance(part, AveragedState)]
    return means[0] if means else params
