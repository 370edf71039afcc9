"""Which perturbation SAM takes, as values: a radius makes them links of an optax chain.

See :mod:`sast_jax.sharpness` for what each does. :data:`LINKS` and :data:`AHEAD` map the values of
``config.sam.method`` to these classes. The fields ``adaptive``, ``bound`` and ``alpha`` are set
from keys of ``config.sam`` with these names; the others can be set from Python.
"""

import dataclasses
from typing import ClassVar

import jax
import optax

from sast_jax.sharpness import (
    bounded_scale_to_norm,
    friendly_sam,
    gap_aware,
    momentum_sam,
    perturb_ahead,
    sam,
    scale_to_norm,
    shared_momentum_sam,
    sharpness_aware,
    vasso,
)


class Link:
    """A perturbation of SAM: radius -> link. A link of your own may as well be a function."""

    whole_batch: ClassVar[bool] = False  # both of its gradients must be of the same recordings
    draws: ClassVar[bool] = False  # it draws at random, the same for all groups of a batch

    def __call__(self, radius: jax.typing.ArrayLike) -> optax.GradientTransformation:
        raise NotImplementedError(f"{type(self).__name__} defines no __call__")


@dataclasses.dataclass(frozen=True)
class Sam(Link):
    """Towards the gradient, over a fixed distance; ``adaptive``: ASAM's element-wise radius."""

    adaptive: bool = False

    def __call__(self, radius: jax.typing.ArrayLike) -> optax.GradientTransformation:
        return sam(radius, adaptive=self.adaptive)


@dataclasses.dataclass(frozen=True)
class Unnormalised(Link):
    """Towards the gradient, over the radius times its norm."""

    def __call__(self, radius: jax.typing.ArrayLike) -> optax.GradientTransformation:
        return sharpness_aware(optax.scale(radius))


@dataclasses.dataclass(frozen=True)
class Bounded(Link):
    """As SAM, but over no more than ``bound`` times the gradient's norm."""

    bound: float = 2.0

    def __call__(self, radius: jax.typing.ArrayLike) -> optax.GradientTransformation:
        return sharpness_aware(bounded_scale_to_norm(radius, self.bound))


@dataclasses.dataclass(frozen=True)
class Vasso(Link):
    """Along a running mean of the gradients."""

    theta: float = 0.4

    def __call__(self, radius: jax.typing.ArrayLike) -> optax.GradientTransformation:
        return vasso(radius, self.theta)


@dataclasses.dataclass(frozen=True)
class Friendly(Link):
    """Along the gradient without its running mean."""

    decay: float = 0.6
    weight: float = 1.0

    def __call__(self, radius: jax.typing.ArrayLike) -> optax.GradientTransformation:
        return friendly_sam(radius, self.decay, self.weight)


@dataclasses.dataclass(frozen=True)
class RandomDirection(Link):
    """A random direction instead of the gradient's, over the same distance.

    SAM's lead over this control is due to its direction. The link's ``update`` needs the keyword
    ``key``, a new one each time.
    """

    draws = True

    def __call__(self, radius: jax.typing.ArrayLike) -> optax.GradientTransformationExtraArgs:
        def update(updates, state, params=None, *, key, **extra_args):
            return optax.tree.random_like(key, updates), state

        direction = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
        return sharpness_aware(optax.chain(direction, scale_to_norm(radius)))


@dataclasses.dataclass(frozen=True)
class GapAware(Link):
    """GSAM: descends the gap between perturbed and plain loss as well, with weight ``alpha``."""

    whole_batch = True

    alpha: float = 0.1

    def __call__(self, radius: jax.typing.ArrayLike) -> optax.GradientTransformation:
        return gap_aware(scale_to_norm(radius), self.alpha)


@dataclasses.dataclass(frozen=True)
class Momentum:
    """Perturbs ahead of time, against the momentum of the gradients."""

    momentum: float = 0.9

    def __call__(
        self, optimizer: optax.GradientTransformation, radius: jax.typing.ArrayLike
    ) -> optax.GradientTransformation:
        return momentum_sam(optimizer, radius, self.momentum)


@dataclasses.dataclass(frozen=True)
class SharedMomentum:
    """Perturbs ahead of time, against the momentum that the optimizer keeps."""

    def __call__(
        self, optimizer: optax.GradientTransformation, radius: jax.typing.ArrayLike
    ) -> optax.GradientTransformation:
        return shared_momentum_sam(optimizer, radius)


@dataclasses.dataclass(frozen=True)
class Stale:
    """Perturbs ahead of time, along the gradient of the step before."""

    def __call__(
        self, optimizer: optax.GradientTransformation, radius: jax.typing.ArrayLike
    ) -> optax.GradientTransformation:
        return perturb_ahead(optimizer, scale_to_norm(radius))


LINKS: dict[str, type[Link]] = {
    "sam": Sam,
    "unnormalised": Unnormalised,
    "bounded": Bounded,
    "vasso": Vasso,
    "friendly": Friendly,
    "random": RandomDirection,
    "gsam": GapAware,
}
AHEAD = {"momentum": Momentum, "shared_momentum": SharedMomentum, "stale": Stale}
