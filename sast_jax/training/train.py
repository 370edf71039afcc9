"""Training in one call: a recipe, a training set, and what differs between the runs."""

import warnings
from collections.abc import Iterable, Iterator

import jax.numpy as jnp
import numpy as np

from sast_jax.data.packing import Frames
from sast_jax.errors import DivergedError, InputError, needed
from sast_jax.fields import instance, require
from sast_jax.training import passes, stepping
from sast_jax.training.recipe import RANGES, Hyperparameters, Recipe, grid, reaches_rho
from sast_jax.training.trained import Trained

Values = float | Iterable[float]


def train(
    recipe: Recipe,
    frames: Frames,
    *,
    rho: Values,
    seeds: Iterable[int] = (0,),
    learning_rate: Values = 1e-3,
    slope: Values = 2.0,
    slope_end: float = 8.0,
    decay: Values = 0.9,
    warmup: Values = 0.2,
    progress: bool = False,
) -> Trained:
    """Trains all combinations of the values that are given, in one program.

    On an accelerator the runs are vectorised; on a CPU they follow one another, which is faster
    there.

    Args:
      recipe: how the model is trained.
      frames: the training set, from :func:`sast_jax.frames`.
      rho: SAM radius, 0 or more, or several; 0 trains without SAM, at the cost of one gradient a
        step.
      seeds: of the initial weights, the order of the recordings and all that is drawn:
        several whole numbers, such as ``range(5)``.
      learning_rate: at the start of the schedule, above 0, or several.
      slope: of the smooth spike at the start of training, above 0, or several.
      slope_end: the slope at the end for the first value of ``slope``; the others grow by the same
        factor.
      decay: share of the membrane potential that is left after one step, 0..1, or several.
      warmup: share of training over which the radius grows to rho, 0..1, or several.
      progress: show a bar with the mean loss.

    Returns:
      The trained models, one for each combination, seeds innermost.

    Raises:
      InputError: a value is out of its range, a batch is larger than the training set, or a label
        has no output.
      DivergedError: no run is finite any more.

    Examples:
      >>> import numpy as np
      >>> import sast_jax
      >>> rng = np.random.default_rng(0)
      >>> labels = np.arange(32) % 2
      >>> events = [  # a class in the upper half, and one in the lower
      ...     np.stack([rng.integers(0, 8, 60), rng.integers(0, 4, 60) + 4 * label,
      ...               rng.integers(0, 10_000, 60), rng.integers(0, 2, 60)], axis=1)
      ...     for label in labels
      ... ]
      >>> train = sast_jax.frames(events, labels, sensor=(8, 8), time_bins=5, duration=10_000)
      >>> recipe = sast_jax.Recipe(
      ...     sast_jax.Model(sast_jax.MLP((16, 2), gain=2.0)),
      ...     epochs=20,
      ...     batches=sast_jax.Shuffled(8),
      ... )
      >>> runs = sast_jax.train(recipe, train, rho=(0.0, 0.1), seeds=range(2), learning_rate=1e-2)
      >>> len(runs), [run["hard_accuracy"] for run in sast_jax.evaluate(runs, train)]
      (4, [1.0, 1.0, 1.0, 1.0])
    """
    instance(Recipe, recipe=recipe)
    instance(Frames, frames=frames)
    given = {"rho": rho, "learning_rate": learning_rate, "slope": slope, "decay": decay}
    given |= {"warmup": warmup, "slope_end": slope_end}
    values = {name: _several(name, value, RANGES[name]) for name, value in given.items()}
    if not isinstance(seeds, Iterable) or getattr(seeds, "ndim", 1) == 0:  # an array of one number
        raise InputError(f"seeds={seeds!r} must be several, such as range(5), or (5,) for seed 5")
    if len(values["slope_end"]) > 1:
        raise InputError("slope_end is one number, the end of the first slope")
    growth = values["slope_end"][0] / values["slope"][0]
    runs = grid(values, _several("seeds", seeds, RANGES["seed"]))
    hyper_R = Hyperparameters.of(runs, growth)
    bound = recipe.on(frames.frame_shape, len(frames.labels_N))
    _require_fit(bound, frames, runs)
    streamed = passes.is_streamed("auto", frames)
    start_R = stepping.initialise(bound, hyper_R)
    epochs = passes.by_epoch(passes.blocks(bound, hyper_R, frames, streamed, start_R, begin=0))
    for state_R, metrics, _ in _shown(epochs, bound.epochs, progress):
        last_R, finite_R = state_R, metrics.finite
        if not finite_R.any():
            raise DivergedError("the loss is no longer finite; lower the learning rate or rho")
    if not finite_R.all():
        warnings.warn(
            f"{int((~finite_R).sum())} of {len(finite_R)} runs are no longer finite", stacklevel=2
        )
    return Trained.of(bound, last_R, hyper_R)


def _several(name, value, wanted) -> list:
    """One value or several as plain numbers, checked one by one."""
    try:
        values = [value] if isinstance(value, str) else list(value)
    except TypeError:  # a number, or an array without axes
        values = [value]
    if not values:
        raise InputError(f"{name} has no value; give one at least")
    values = [v.item() if hasattr(v, "item") and not np.ndim(v) else v for v in values]
    for v in values:
        require(wanted, **{name: v})
    return values


def _require_fit(recipe, frames, runs) -> None:
    """Raises InputError for a recipe that cannot train these runs on these recordings."""
    recipe.model.require_outputs(frames.labels_N)
    segment, time_bins = recipe.model.segment, frames.packed_NxTxP.shape[1]
    if segment and time_bins % segment:
        raise InputError(f"segment={segment} must divide the {time_bins} time bins")
    start = recipe.sharpness.start
    for run in runs:
        if run["rho"] and not recipe.sharpness.takes_radius:
            raise InputError(f"{type(recipe.sharpness).__name__} trains without SAM; take rho=0")
        if not reaches_rho(start, recipe.epochs, run["warmup"]):
            raise InputError(
                f"start={start} and warmup={run['warmup']} end after the {recipe.epochs} epochs of "
                "training, so that the radius never reaches rho; lower one"
            )


def _shown(epochs, total, progress) -> Iterator:
    if not progress:
        yield from epochs
        return
    tqdm = needed("tqdm", "commands")
    with tqdm.tqdm(total=total, desc="training", unit="epoch") as bar:
        for done in epochs:
            bar.set_postfix(loss=f"{jnp.nanmean(done[1].loss):.3f}", refresh=False)
            bar.update()
            yield done
