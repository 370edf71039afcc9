"""How a model is trained: what the runs of a grid share, and what may differ between them."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sast_jax.errors import InputError
from sast_jax.fields import COUNT, Wanted, between, function, instance, require
from sast_jax.sharpness import ramp
from sast_jax.snn.model import Model
from sast_jax.training.batches import Batches, Shuffled
from sast_jax.training.controls import METHODS, Control, overriding
from sast_jax.training.gradients import Plain, Sharpness
from sast_jax.training.optimizers import Adam

SEED = 2**31 - 1
SWEPT = ("rho", "learning_rate", "slope", "decay", "warmup")  # what a grid varies beside the seed
RANGES: dict[str, Wanted] = {  # what hyperparameters may be
    "seed": between(0, SEED, whole=True),
    "rho": between(0, math.inf),
    "warmup": between(0, 1),
    "learning_rate": between(0, math.inf, above=True),
    "slope": between(0, math.inf, above=True),
    "slope_end": between(0, math.inf, above=True),
    "decay": between(0, 1),
}


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

    seed: jax.Array | int
    rho: jax.Array | float
    warmup: jax.Array | float
    learning_rate: jax.Array | float
    slope: jax.Array | float
    slope_end: jax.Array | float
    decay: jax.Array | float

    @classmethod
    def of(cls, runs: Sequence[Mapping[str, Any]], growth: float) -> "Hyperparameters":
        """The runs of a :func:`grid` as arrays (R,).

        Args:
          runs: their seeds and values.
          growth: of the slope in training, as a factor.
        """
        columns = {name: jnp.array([run[name] for run in runs], jnp.float32) for name in SWEPT}
        seeds = jnp.array([run["seed"] for run in runs], jnp.int32)
        slope_end = jnp.array([np.float32(run["slope"] * growth) for run in runs])
        return cls(seed=seeds, slope_end=slope_end, **columns)


def grid(axes: Mapping[str, Iterable[float]], seeds: Iterable[int]) -> list[dict]:
    """All combinations of the values of ``SWEPT``, each with all seeds: a dict for each run."""
    # Adding 0.0 makes a plain 0 of -0.0, which would be shown as another value.
    return [
        {"seed": seed, **{name: float(v) + 0.0 for name, v in zip(SWEPT, values, strict=True)}}
        for *values, seed in itertools.product(*(axes[name] for name in SWEPT), seeds)
    ]


def reaches_rho(start: int, epochs: int, warmup: float) -> bool:
    """Whether a warm-up that begins after ``start`` epochs ends within the training."""
    return not start or start / epochs + warmup <= 1


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What the runs of a grid share. Its fields are values, so equal recipes share programs.

    Attributes:
      model: what is trained.
      optimizer: (learning rate, steps) -> the optax transformation behind the SAM link.
      sharpness: which gradients a step takes.
      controls: what else training does to the forward pass or adds to the loss.
      batches: which recordings a step takes.
      epochs: of training; each takes as many steps as ``batches`` says.
      augment: (key, frames) -> frames of a batch (B, T, H, W, C), anew each time; None for none.
        If it has an attribute ``moves_pixels`` that is true, it moves pixels in the same way at all
        steps and channels, and may be given their words for frames of one step.
      sparse: let the first layer take lists of the pixels that fired, where that is faster; sums
        are then rounded otherwise. See :func:`sast_jax.training.passes.takes_lists`.

    Raises:
      InputError: values do not go together, such as groups that do not divide the batch.
    """

    model: Model
    optimizer: Callable[[jax.typing.ArrayLike, int], optax.GradientTransformation] = Adam()
    sharpness: Plain = Sharpness()
    controls: tuple[Control, ...] = ()
    batches: Batches = Shuffled()
    epochs: int = 45
    augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    sparse: bool = True

    def __post_init__(self):
        instance(Model, model=self.model)
        instance(Plain, sharpness=self.sharpness)
        instance(Batches, batches=self.batches)
        function(optimizer=self.optimizer)
        if self.augment is not None:
            function(augment=self.augment)
        require(COUNT, epochs=self.epochs)
        instance(Sequence, controls=self.controls)
        # A list has no hash, which a static argument needs.
        object.__setattr__(self, "controls", tuple(self.controls))
        for control in self.controls:
            instance(Control, control=control)
            if not any(overriding([control], method) for method in METHODS):
                raise TypeError(
                    f"the control {type(control).__name__} overrides none of {', '.join(METHODS)}"
                )
        if self.sharpness.start >= self.epochs:
            raise InputError(
                f"start={self.sharpness.start} of {type(self.sharpness).__name__} must be below "
                f"the {self.epochs} epochs of training"
            )
        self.sharpness.check(self.batches.size, self.controls)

    def on(self, frame_shape: tuple[int, int, int], recordings: int) -> "Recipe":
        """The recipe for a training set of this size, with frames of this shape.

        Raises:
          InputError: a batch is larger than the training set.
        """
        return dataclasses.replace(
            self, model=self.model.on(frame_shape), batches=self.batches.on(recordings)
        )

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.epochs * self.batches.known_steps

    @property
    def moves_pixels(self) -> bool:
        """Whether augmentation can be given words in the place of frames."""
        return bool(self.augment) and getattr(self.augment, "moves_pixels", False)

    def slope_at(self, hyper: Hyperparameters, step: jax.Array | int) -> jax.Array | float:
        """Slope of the smooth spike after some steps: from slope to slope_end, geometrically."""
        return hyper.slope * (hyper.slope_end / hyper.slope) ** (step / self.steps)

    def links(
        self, hyper: Hyperparameters, step: jax.typing.ArrayLike
    ) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
        """The link that perturbs after some steps, and the optimizer behind it."""
        # The links are made anew each step with the radius of that step. It may be traced, so one
        # program serves all runs of a grid, and no link has to count steps for it.
        start = self.sharpness.start * self.batches.known_steps
        warmup = hyper.warmup * self.steps
        radius = ramp(hyper.rho, self.steps, start=start, warmup=warmup)(step)
        return self.sharpness.links(self.optimizer(hyper.learning_rate, self.steps), radius)
