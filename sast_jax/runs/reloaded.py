"""Loads trained networks from the workdir of a run."""

import dataclasses
import itertools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax import files
from sast_jax.data import packing, sets
from sast_jax.data.layouts import split as splits_lib
from sast_jax.data.sets import selection
from sast_jax.data.sets.loading import Source
from sast_jax.errors import InputError
from sast_jax.runs import build, settings as settings_lib
from sast_jax.runs.checkpoints import Checkpoints, contents
from sast_jax.runs.settings import Settings
from sast_jax.training import recipe as recipes, stepping, trained as trained_lib


class Reloaded(NamedTuple):
    """The runs of a workdir at their last checkpoint.

    Attributes:
      record: the JSON record of the checkpoint.
      settings: of the runs.
      trained: their models.
      runs: seed and swept values of each run.
    """

    record: dict
    settings: Settings
    trained: trained_lib.Trained
    runs: list[dict]


def load(workdir: pathlib.Path) -> Reloaded:
    """Reads the checkpoint of a workdir, and nothing else in it.

    Raises:
      InputError: there is none, or it is of another version, in which settings may mean something
        else.
    """
    for inner in (workdir, *workdir.parents):  # a checkpoint, or a file of the run
        if inner.name == "checkpoints" or inner.is_file():
            raise InputError(f"{workdir}: within a run; name its workdir, {inner.parent}")
    checkpoints = Checkpoints(workdir / "checkpoints")

    def like_of(record):
        _, recipe, hyper_R = _made(workdir, record)
        return contents(record, stepping.shapes(recipe, hyper_R), recipe.batches.known_steps)

    record, saved = checkpoints.restore(like_of)
    checkpoints.close()
    settings, recipe, hyper_R = _made(workdir, record)
    state_R, steps = saved, record["epoch"] * recipe.batches.steps
    if record.get("steps"):
        state_R, steps = saved[0], steps + record["steps"]
    if record["epoch"] < settings.epochs:
        print(f"warning: {workdir}: the run is at epoch {record['epoch']} of {settings.epochs}")
        hyper_R = hyper_R._replace(slope_end=recipe.slope_at(hyper_R, steps))
    models = trained_lib.Trained.of(recipe, state_R, hyper_R)
    return Reloaded(record, settings, models, build.grid(settings))


def _made(
    workdir: pathlib.Path, record: dict
) -> tuple[Settings, recipes.Recipe, recipes.Hyperparameters]:
    """The settings that a checkpoint's record holds, and what is made of them."""
    needed = {"experiment", "config", "data", "simulated", "frame_shape", "classes", "train_rows"}
    missing = needed - record.keys()
    if missing or record["experiment"] not in sets.SETS:
        raise InputError(
            f"{workdir}: its checkpoint is of another version (it lacks "
            f"{', '.join(sorted(missing)) or 'a known experiment'}); use that one"
        )
    try:
        settings = settings_lib.read(record["config"], record["experiment"])
        if record["simulated"]:  # even if real recordings have come to the default folder since
            settings = settings.changed({"data.source": "simulated"})
    except (InputError, TypeError, AttributeError) as error:
        raise InputError(f"{workdir}: its checkpoint is of another version: {error}") from error
    shape, classes = tuple(record["frame_shape"]), record["classes"]
    recipe = build.recipe(settings, shape, classes, record["train_rows"])
    return settings, recipe, build.hyperparameters(settings)


def calibration_set(found: Reloaded) -> packing.Frames | None:
    """The recordings that the runs were trained on, to calibrate scales and count events.

    None if ``config.hardware`` asks for no calibration. If the recordings are gone it warns, and
    returns None too.
    """
    given = found.settings.hardware
    if (given.scale != "error" or not given.calibration) and not given.follow:
        return None
    try:
        return training_set(found)
    except InputError as error:
        print(f"warning: scales of weights are chosen without calibration: {error}")
        return None


def training_set(found: Reloaded) -> packing.Frames:
    """The recordings that the runs were trained on.

    Raises:
      InputError: they are gone.
    """
    data = found.settings.data
    return selection.hold_out(training_source(found).frames("train"), data.validation, data.seed)[0]


def training_source(found: Reloaded) -> Source:
    """The training split of the runs, with the recordings that they held out.

    Raises:
      InputError: it is gone.
    """
    record, data = found.record, found.settings.data
    if data.source == "auto":  # and not simulated, but the folder may be gone by now
        data = dataclasses.replace(data, source="folder")
    source = data.load(("train",))
    # The fingerprint of a run is that of the training split, a plus and that of the test split.
    if source.fingerprint != record["data_fingerprint"].partition("+")[0]:
        raise InputError(f"{data.path} holds other recordings than the runs were trained on")
    return source


def warn_of_trained_on(found: Reloaded, source: Source, split: str) -> None:
    """Prints a warning if the runs were trained on some of the recordings to evaluate on."""
    here, data = source.recorded[split].split, found.settings.data
    if found.record["simulated"] or here is None:
        return
    try:
        training = training_source(found)
    except InputError as error:
        print(f"warning: whether some of these recordings were trained on is not known: {error}")
        return
    train, there = training.frames("train"), training.recorded["train"].split
    rows_N = train.recordings_N
    if data.validation:
        rows_N = rows_N[~selection.held_out(train, data.validation, data.seed)]
    if there is not None:
        trained_on = splits_lib.part(there, np.unique(rows_N))
        if pairs := splits_lib.shared(here, trained_on):
            i, j = pairs[0]
            print(
                f"warning: {len(pairs)} of {len(here.names)} recordings were trained on, first "
                f"{here.names[i]} as {trained_on.names[j]}"
            )


def initial(
    settings: Settings,
    recipe: recipes.Recipe,
    hyper_R: recipes.Hyperparameters,
    fingerprint: str,
) -> Any:
    """The parameters that R runs start from, (R, ...): those in the workdir ``config.initial``.

    If that holds one run, all runs start from it; else each run starts from the one in its place.

    Args:
      settings: of the runs that start.
      recipe, hyper_R: made from these settings.
      fingerprint: of their recordings.

    Raises:
      InputError: the networks or the numbers of runs differ, or recordings that are held out here
        were trained on there.
    """
    workdir = files.place(settings.initial)
    if not (workdir / "checkpoints").is_dir():
        raise InputError(f"config.initial={settings.initial!r}: no run there; name its workdir")
    there = load(workdir)
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
        many = np.shape(hyper_R.seed)[0]
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
