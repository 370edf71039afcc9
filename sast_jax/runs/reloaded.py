"""Trained networks, as the workdir of a run keeps them."""

import dataclasses
import itertools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sast_jax.data import packing, sets
from sast_jax.data.sets.loading import Source
from sast_jax.errors import InputError
from sast_jax.runs import build, selection
from sast_jax.runs import settings as settings_lib
from sast_jax.runs.checkpoints import Checkpoints
from sast_jax.runs.settings import Settings
from sast_jax.training import recipe as recipes
from sast_jax.training import stepping
from sast_jax.training import trained as trained_lib


class Trained(NamedTuple):
    """The runs of a workdir at their last checkpoint.

    Attributes:
      record: what the checkpoint says of itself.
      settings: of it.
      trained: its models.
      runs: what differs between them, in words.
    """

    record: dict
    settings: Settings
    trained: trained_lib.Trained
    runs: list[dict]


def load(workdir: pathlib.Path) -> Trained:
    """Reads a workdir; nothing but its checkpoint.

    Raises:
      InputError: there is none, or one of another version, whose settings may mean something else.
    """
    checkpoints = Checkpoints(workdir / "checkpoints")
    record = checkpoints.record()
    needed = {"experiment", "config", "data", "simulated", "frame_shape", "classes", "train_rows"}
    missing = needed - record.keys()
    if missing or record["experiment"] not in sets.SETS:
        raise InputError(
            f"{workdir}: its checkpoint is of another version (it lacks "
            f"{', '.join(sorted(missing)) or 'a known experiment'}); use that one"
        )
    try:
        settings = settings_lib.read(record["config"])
        if record["simulated"]:  # even if real recordings have come to the default folder since
            settings = settings.changed({"data.source": "simulated"})
    except InputError as error:
        raise InputError(f"{workdir}: its checkpoint is of another version: {error}") from error
    shape, classes = tuple(record["frame_shape"]), record["classes"]
    recipe = build.recipe(settings, shape, classes, record["train_rows"])
    hyper_R = build.hyperparameters(settings)
    if record["epoch"] < settings.epochs:
        print(f"warning: {workdir}: the run is at epoch {record['epoch']} of {settings.epochs}")
        slope = recipe.slope_at(hyper_R, record["epoch"] * recipe.batches.steps)
        hyper_R = hyper_R._replace(slope_end=slope)
    state_R = checkpoints.state(stepping.shapes(recipe, hyper_R))
    checkpoints.close()
    models = trained_lib.Trained.of(recipe, state_R, hyper_R)
    return Trained(record, settings, models, build.grid(settings))


def calibration_set(found: Trained) -> packing.Frames | None:
    """What the runs were trained on, to calibrate scales of weights with.

    None if ``config.hardware`` asks for no calibration and, with a warning, if it is gone.
    """
    given = found.settings.hardware
    if given.scale != "error" or not given.calibration:
        return None
    try:
        return training_set(found)
    except InputError as error:
        print(f"warning: scales of weights are chosen without calibration: {error}")
        return None


def training_set(found: Trained) -> packing.Frames:
    """What the runs were trained on.

    Raises:
      InputError: it is gone.
    """
    data = found.settings.data
    return selection.hold_out(training_source(found).train, data.validation, data.seed)[0]


def training_source(found: Trained) -> Source:
    """The training split that the runs trained on and held out from, and that alone.

    Raises:
      InputError: it is gone.
    """
    record, data = found.record, found.settings.data
    if data.source == "auto":  # and not simulated, but the folder may be gone by now
        data = dataclasses.replace(data, source="folder")
    source = data.load(("train",))
    if source.fingerprint != record["data_fingerprint"].partition("+")[0]:
        raise InputError(f"{data.path} holds other recordings than the runs were trained on")
    return source


def initial(
    settings: Settings,
    recipe: recipes.Recipe,
    hyper_R: recipes.Hyperparameters,
    fingerprint: str,
) -> Any:
    """The parameters of ``config.initial``'s runs to start from: (R, ...), as R runs have them.

    A workdir of one run serves all of them; else each run starts from the one in its place.

    Args:
      settings: of the runs that start.
      recipe, hyper_R: the same as the library takes it.
      fingerprint: of their recordings.

    Raises:
      InputError: the networks or their numbers differ, or what is held out here was trained on.
    """
    there = load(pathlib.Path(settings.initial).expanduser())
    before, now = (
        (data.validation, data.seed, data.train_limit)
        for data in (there.settings.data, settings.data)
    )
    same_recordings = there.record["data_fingerprint"] == fingerprint
    if settings.data.validation and same_recordings and before != now:
        raise InputError(
            f"config.initial={settings.initial!r} was trained on recordings that are held out "
            f"here; train it with --config.data.validation={settings.data.validation} and the same "
            "data.seed and data.train_limit"
        )
    params_R, wanted = there.trained.params, stepping.shapes(recipe, hyper_R).params
    if len(there.runs) == 1:
        many = len(hyper_R.seed)
        params_R = jax.tree.map(lambda leaf: jnp.repeat(leaf, many, axis=0), params_R)
    shapes = [[leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (params_R, wanted)]
    if shapes[0] != shapes[1]:
        here, others = next((b, a) for a, b in itertools.zip_longest(*shapes) if a != b)
        raise InputError(
            f"config.initial={settings.initial!r} holds another network or another number of runs "
            f"(an array of {others} there, of {here} here); take the same config.network, and one "
            "run or as many"
        )
    return params_R
