"""What methods cost: times of their training measured in turns, and gradients of a step."""

import json
import pathlib
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from sast_jax import files
from sast_jax.runs import build, machine, timing, workdirs
from sast_jax.runs.settings import Settings
from sast_jax.runs.study import kept_rows
from sast_jax.training import epochs, stepping
from sast_jax.training.links import AHEAD

TIMED_STEPS = 30


def times(
    file: pathlib.Path, methods: dict[str, Settings], reference: str, rounds: int
) -> dict[str, list[float]]:
    """The result of :func:`time_over`, kept in a file until the settings or the machine change.

    Raises:
      InputError: the file is damaged.
    """
    asked = {name: workdirs.identity(given.as_dict()) for name, given in methods.items()}
    about = {"configs": asked, "rounds": rounds, "environment": machine.environment()}
    kept = kept_rows.kept(file)
    if "times" not in kept or kept["times"]["about"] != about:
        found = time_over(methods, reference, rounds)
        kept = {"times": {"about": about, "row": found}}
        files.write(file, json.dumps(kept))
    return kept["times"]["row"]


def time_over(methods: dict[str, Settings], reference: str, rounds: int) -> dict[str, list[float]]:
    """Quartiles of each method's training time divided by the reference's, measured in turns."""
    # Every timed step takes SAM. Where SAM begins late, the epochs before it are counted at the
    # speed of the reference, which trains plainly.
    functions = {name: _epoch(given) for name, given in methods.items()}
    seconds = timing.in_turns(functions, rounds)
    plain, late = seconds[reference], {name: _late(given) for name, given in methods.items()}
    return {
        name: timing.against(
            methods[name].epochs * (late[name] * plain + (1 - late[name]) * taken),
            methods[reference].epochs * plain,
        )
        for name, taken in seconds.items()
    }


def gradients(given: Settings) -> float:
    """Gradients that a step takes on average, in gradients of a whole batch."""
    search = given.adversary.steps + 1 if given.adversary.weight else 0
    if not given.rho or given.sam.method in (*AHEAD, "random"):
        return 1.0 + search
    return 1 + search + given.sam.ascent_fraction * (1 - _late(given)) * (1 + search)


def _late(given) -> float:
    """The share of the epochs that are trained before SAM begins."""
    return given.first_epoch / given.epochs


def _epoch(given) -> Callable[[], object]:
    """A function that trains for one more short epoch each time it is called."""
    source = given.data.load(("train",))
    train = source.frames("train")
    count = min(TIMED_STEPS * given.batch_size, len(train.labels_N))
    frames = train.take(np.arange(count))
    recipe = build.recipe(given, source.frame_shape, source.classes, count)
    hyper_R = build.hyperparameters(given)
    packed, labels = jnp.asarray(frames.packed_NxTxP), jnp.asarray(frames.labels_N)
    state_R = stepping.initialise(recipe, hyper_R)

    def epoch():
        nonlocal state_R
        ascend = given.rho > 0
        state_R, metrics = epochs.train_epoch(recipe, state_R, hyper_R, packed, labels, ascend)
        return metrics

    return epoch
