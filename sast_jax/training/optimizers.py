"""Optimizers and schedules of a recipe, as values."""

import dataclasses
import math
from typing import Any

import jax
import optax

from sast_jax.fields import Checked, number


@dataclasses.dataclass(frozen=True)
class Constant:
    """The learning rate stays."""

    def __call__(self, rate: jax.typing.ArrayLike, steps: int) -> Any:
        return rate


@dataclasses.dataclass(frozen=True)
class Cosine:
    """The learning rate falls to 0 along half a cosine."""

    def __call__(self, rate: jax.typing.ArrayLike, steps: int) -> Any:
        return optax.cosine_decay_schedule(rate, steps)


@dataclasses.dataclass(frozen=True)
class Adam(Checked):
    """Adam, or AdamW where ``weight_decay`` is not 0.

    As with every optimizer here, ``optimizer(rate, steps)`` is the optax transformation for an
    initial learning rate and the number of steps of the whole training.
    """

    schedule: Constant | Cosine = Cosine()
    weight_decay: float = number(0.0, 0, math.inf, "of AdamW; 0: Adam")

    def __call__(self, rate: jax.typing.ArrayLike, steps: int) -> optax.GradientTransformation:
        rate = self.schedule(rate, steps)
        return (
            optax.adamw(rate, weight_decay=self.weight_decay)
            if self.weight_decay
            else optax.adam(rate)
        )


@dataclasses.dataclass(frozen=True)
class Sgd:
    """Plain stochastic gradient descent."""

    schedule: Constant | Cosine = Cosine()

    def __call__(self, rate: jax.typing.ArrayLike, steps: int) -> optax.GradientTransformation:
        return optax.sgd(self.schedule(rate, steps))


SCHEDULES: dict[str, type[Constant | Cosine]] = {"constant": Constant, "cosine": Cosine}
