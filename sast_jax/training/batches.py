"""Which recordings the steps of an epoch take, as values."""

import dataclasses

import jax

from sast_jax.errors import InputError
from sast_jax.fields import COUNT, require


@dataclasses.dataclass(frozen=True)
class Batches:
    """Batches of one size; a kind of batches of your own overrides :meth:`draw`.

    Attributes:
      size: recordings of a batch.
      steps: batches of an epoch, which :meth:`on` finds for a training set; None before.
    """

    size: int = 64
    steps: int | None = None

    def __post_init__(self):
        require(COUNT, size=self.size)

    def on(self, recordings: int) -> "Batches":
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

    @property
    def known_steps(self) -> int:
        """``steps`` of batches :meth:`on` a training set; raises TypeError for any other."""
        if self.steps is None:
            raise TypeError("the batches have no steps yet; take batches.on(recordings)")
        return self.steps

    def draw(self, key: jax.Array, recordings: int, size: int) -> jax.Array:
        """Indices of an epoch's recordings, the first ``size`` of each batch: (steps, size)."""
        raise NotImplementedError(f"{type(self).__name__} defines no draw")


@dataclasses.dataclass(frozen=True)
class Shuffled(Batches):
    """Passes over the training set, in another order each epoch.

    An incomplete last batch is dropped; which recordings fall into it changes each epoch.
    """

    def draw(self, key, recordings, size):
        S, B = self.known_steps, self.size
        return jax.random.permutation(key, recordings)[: S * B].reshape(S, B)[:, :size]


@dataclasses.dataclass(frozen=True)
class Independent(Batches):
    """Each batch is drawn from the whole set, with replacement.

    No batch depends on another, as theorems on stochastic gradients assume.
    """

    def draw(self, key, recordings, size):
        S, B = self.known_steps, self.size
        return jax.random.randint(key, (S, B), 0, recordings)[:, :size]


BATCHES = {"shuffled": Shuffled, "independent": Independent}
