"""Optimizers, schedules and batches of a recipe, as values."""

import dataclasses
from typing import Any

import jax
import optax

from sast_jax.errors import InputError
from sast_jax.fields import COUNT, require


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
class Adam:
    """Adam, or AdamW where ``weight_decay`` is not 0.

    As with every optimizer here, ``optimizer(rate, steps)`` is the optax transformation for an
    initial learning rate and the number of steps of the whole training.
    """

    schedule: Constant | Cosine = Cosine()
    weight_decay: float = 0.0

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


SCHEDULES = {"constant": Constant, "cosine": Cosine}


@dataclasses.dataclass(frozen=True)
class Shuffled:
    """Batches of passes over the training set, in another order each epoch.

    An incomplete last batch is dropped; which recordings fall into it changes each epoch.

    Attributes:
      size: recordings of a batch.
      steps: batches of an epoch, which :meth:`on` finds for a training set; None before.
    """

    size: int = 64
    steps: int | None = None

    def __post_init__(self):
        require(COUNT, size=self.size)

    def on(self, recordings: int) -> "Shuffled":
        """The same for a training set of this size.

        Raises:
          InputError: it has fewer recordings than a batch.
        """
        if recordings < self.size:
            raise InputError(
                f"a batch of {self.size} is larger than the training set of {recordings} "
                "recordings; lower it"
            )
        return dataclasses.replace(self, steps=recordings // self.size)

    def draw(self, key: jax.Array, recordings: int, size: int) -> jax.Array:
        """Indices of an epoch's recordings, the first ``size`` of each batch: (steps, size)."""
        S, B = self.steps, self.size
        return jax.random.permutation(key, recordings)[: S * B].reshape(S, B)[:, :size]


@dataclasses.dataclass(frozen=True)
class Independent(Shuffled):
    """Each batch is drawn from the whole set, with replacement.

    No batch depends on another, as theorems on stochastic gradients assume.
    """

    def draw(self, key, recordings, size):
        S, B = self.steps, self.size
        return jax.random.randint(key, (S, B), 0, recordings)[:, :size]


BATCHES = {"shuffled": Shuffled, "independent": Independent}
