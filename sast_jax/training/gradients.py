"""Which gradients a step of training takes: plain ones, SAM's in several ways, one ahead of time.

``Recipe.sharpness`` holds one of these classes. Training asks it for the links around the
optimizer, for the recordings that SAM's ascent is taken on, and for the gradient to descend.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sast_jax.data.sparse import Sparse
from sast_jax.errors import InputError
from sast_jax.fields import COUNT, between, function, require
from sast_jax.sharpness import eval_params
from sast_jax.training.controls import Control
from sast_jax.training.links import Momentum, Sam, SharedMomentum, Stale

Batch = tuple[jax.Array | Sparse, jax.Array]


class Descent(NamedTuple):
    """What a step descends: the gradient, the link's new state, and loss and accuracy."""

    gradient: Any
    link_state: Any
    loss: jax.Array
    accuracy: jax.Array


_FROM_0 = between(0, math.inf, whole=True)
Take = Callable[[Any, Batch, Batch], Descent]  # (link's state, ascent batch, batch) -> descent


@dataclasses.dataclass(frozen=True)
class Plain:
    """One gradient a step, at the parameters themselves: no SAM, whatever the radius."""

    start = 0
    takes_radius: ClassVar[bool] = False

    def check(self, batch_size: int, controls: Sequence[Control]) -> None:
        """Raises InputError for batches or controls of a recipe that it cannot train with."""

    def links(
        self, optimizer: optax.GradientTransformation, radius: jax.typing.ArrayLike
    ) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
        """The link that perturbs, and the optimizer behind it."""
        return optax.identity(), optimizer

    def drawn(self, batches: Any, key: jax.Array, recordings: int) -> jax.Array | None:
        """Indices of independent minibatches for the ascent, (steps, A); None where none are."""
        return None

    def ascent(self, batch: Batch) -> Batch | None:
        """The part of a batch that the ascent is taken on; None for a step without ascent."""
        return None

    def descend(self, take: Take, link_state: Any, ascent: Batch, batch: Batch) -> Descent:
        """The gradient of a step with SAM."""
        return take(link_state, ascent, batch)

    def evaluated(self, optimizer_state: Any, params: Any) -> Any:
        """The parameters to evaluate."""
        return params


class _Linked(Plain):
    """What :class:`Sharpness` and :class:`Grouped` share: a link that perturbs."""

    takes_radius = True

    link: Callable[[jax.typing.ArrayLike], optax.GradientTransformation]
    independent: bool

    def __post_init__(self):
        require(_FROM_0, start=self.start)
        function(link=self.link)
        other = self.independent or getattr(self, "part", None) is not None
        if other and getattr(self.link, "whole_batch", False):
            raise InputError(
                f"{type(self.link).__name__} takes both gradients on the whole batch; leave part "
                "and independent out"
            )

    def links(self, optimizer, radius):
        return self.link(radius), optimizer


@dataclasses.dataclass(frozen=True)
class Sharpness(_Linked):
    """SAM: the gradient at parameters that are perturbed first.

    Attributes:
      link: which perturbation; radius -> link, a value of :mod:`sast_jax.training.links`.
      start: epochs that are trained without it first.
      part: recordings of the ascent's gradient, the first of the batch; None for all of them.
      independent: take that gradient on a second minibatch, drawn independently.
    """

    link: Callable[[jax.typing.ArrayLike], optax.GradientTransformation] = Sam()
    start: int = 0
    part: int | None = None
    independent: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.part is not None:
            require(COUNT, part=self.part)

    def check(self, batch_size, controls):
        if self.part is not None:
            require(between(1, batch_size), part=self.part)

    def drawn(self, batches, key, recordings):
        if not self.independent:
            return None
        return batches.draw(key, recordings, self.part or batches.size)

    def ascent(self, batch):
        frames_TxBxHxWxC, labels_B = batch
        # Batches are drawn at random, so their first recordings are as good as any others.
        size = self.part or len(labels_B)
        if isinstance(frames_TxBxHxWxC, Sparse):
            return frames_TxBxHxWxC.first(size), labels_B[:size]
        return frames_TxBxHxWxC[:, :size], labels_B[:size]


@dataclasses.dataclass(frozen=True)
class Grouped(_Linked):
    """m-sharpness: the batch is split into groups, and each has a perturbation of its own.

    Attributes:
      groups: their number, which divides the size of a batch.
      link, start, independent: as of :class:`Sharpness`.
    """

    groups: int = 1
    link: Callable[[jax.typing.ArrayLike], optax.GradientTransformation] = Sam()
    start: int = 0
    independent: bool = False

    def __post_init__(self):
        super().__post_init__()
        require(COUNT, groups=self.groups)
        if getattr(self.link, "draws", False):
            raise InputError(
                f"{type(self.link).__name__} draws one perturbation for all groups; take Sharpness"
            )

    def check(self, batch_size, controls):
        if batch_size % self.groups:
            raise InputError(f"groups={self.groups} must divide the batch of {batch_size}")
        for control in controls:
            if not control.grouped:
                raise InputError(
                    f"the control {type(control).__name__} acts on a whole batch; leave it out, or "
                    "take Sharpness in place of Grouped"
                )

    def drawn(self, batches, key, recordings):
        return batches.draw(key, recordings, batches.size) if self.independent else None

    def ascent(self, batch):
        return batch

    def descend(self, take, link_state, ascent, batch):
        parts = [self._split(whole) for whole in (ascent, batch)]
        found = jax.vmap(lambda *own: take(link_state, *own))(*parts)
        # A stateful ascent continues from the mean of what the groups made of its state.
        return jax.tree.map(lambda leaf: leaf.mean(axis=0).astype(leaf.dtype), found)

    def _split(self, batch):
        frames_TxBxHxWxC, labels_B = batch
        T, B, *frame = frames_TxBxHxWxC.shape
        frames = frames_TxBxHxWxC.reshape(T, self.groups, B // self.groups, *frame)
        return jnp.moveaxis(frames, 1, 0), labels_B.reshape(self.groups, -1)


@dataclasses.dataclass(frozen=True)
class Ahead(Plain):
    """SAM at one gradient a step: the optimizer perturbs the parameters of its next step.

    The parameters that are trained hold the perturbation; :meth:`evaluated` takes it out.

    Attributes:
      perturb: (optimizer, radius) -> optimizer, a value of :mod:`sast_jax.training.links`.
      start: epochs that are trained without it first.
    """

    takes_radius = True

    perturb: Momentum | SharedMomentum | Stale = Momentum()
    start: int = 0

    def __post_init__(self):
        require(_FROM_0, start=self.start)

    def links(self, optimizer, radius):
        return optax.identity(), self.perturb(optimizer, radius)

    def evaluated(self, optimizer_state, params):
        return eval_params(optimizer_state, params)
