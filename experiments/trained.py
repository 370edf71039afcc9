"""Trained networks, as the workdir of a run keeps them."""

import itertools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments import checks, datasets, setup
from sast_jax import training
from sast_jax.checkpoints import Checkpoints
from sast_jax.data import packing
from sast_jax.data.sources import Source
from sast_jax.errors import InputError


class Trained(NamedTuple):
    """The runs of a workdir at their last checkpoint.

    Attributes:
      record: what the checkpoint says of itself.
      config: its settings.
      recipe: what the runs share.
      hyper_R: what differs between them; ``slope_end`` is the slope they were trained up to.
      runs: the same in words.
      params_R: the parameters to evaluate.
    """

    record: dict
    config: ConfigDict
    recipe: training.Recipe
    hyper_R: training.Hyperparameters
    runs: list[dict]
    params_R: Any


def load(workdir: pathlib.Path) -> Trained:
    """Reads a workdir; nothing but its checkpoint.

    Raises:
      InputError: there is none, or one of another version, whose settings may mean something else.
    """
    checkpoints = Checkpoints(workdir / "checkpoints")
    record = checkpoints.record()
    needed = {"experiment", "config", "data", "simulated", "frame_shape", "classes", "train_rows"}
    missing = needed - record.keys()
    if missing or record["experiment"] not in datasets.LOADERS:
        raise InputError(
            f"{workdir}: its checkpoint is of another version (it lacks "
            f"{', '.join(sorted(missing)) or 'a known experiment'}); use that one"
        )
    config = ConfigDict(record["config"])
    if record["simulated"]:  # even if real recordings have come to the default folder since
        config.data.source = "simulated"
    try:
        checks.check(config)
    except InputError as error:
        raise InputError(f"{workdir}: its checkpoint is of another version: {error}") from error
    shape, classes = tuple(record["frame_shape"]), record["classes"]
    recipe = setup.recipe(config, shape, classes, record["train_rows"])
    hyper_R = setup.hyperparameters(config)
    if record["epoch"] < config.epochs:
        print(f"warning: {workdir}: the run is at epoch {record['epoch']} of {config.epochs}")
        slope = training.slope_at(recipe, hyper_R, record["epoch"] * recipe.epoch_steps)
        hyper_R = hyper_R._replace(slope_end=slope)
    state_R = checkpoints.state(training.shapes(recipe, hyper_R))
    checkpoints.close()
    params_R = training.trained(recipe, state_R)
    return Trained(record, config, recipe, hyper_R, setup.grid(config), params_R)


def calibration_set(found: Trained) -> packing.Frames | None:
    """What the runs were trained on, to calibrate scales of weights with.

    None if ``config.hardware`` asks for no calibration and, with a warning, if it is gone.
    """
    if found.config.hardware.scale != "error" or not found.config.hardware.calibration:
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
    data = found.config.data
    return datasets.hold_out(training_source(found).train, data.validation, data.seed)[0]


def training_source(found: Trained) -> Source:
    """The training split that the runs trained on and held out from, and that alone.

    Raises:
      InputError: it is gone.
    """
    record, data = found.record, found.config.data.copy_and_resolve_references()
    if data.source == "auto":  # and not simulated, but the folder may be gone by now
        data.source = "folder"
    source = datasets.load(record["experiment"], data, ("train",))
    if source.fingerprint != record["data_fingerprint"].partition("+")[0]:
        raise InputError(f"{data.path} holds other recordings than the runs were trained on")
    return source


def initial(
    config: ConfigDict,
    recipe: training.Recipe,
    hyper_R: training.Hyperparameters,
    fingerprint: str,
) -> Any:
    """The parameters of ``config.initial``'s runs to start from: (R, ...), as R runs have them.

    A workdir of one run serves all of them; else each run starts from the one in its place.

    Args:
      config: of the runs that start.
      recipe, hyper_R: the same as the library takes it.
      fingerprint: of their recordings.

    Raises:
      InputError: the networks or their numbers differ, or what is held out here was trained on.
    """
    there = load(pathlib.Path(config.initial).expanduser())
    before, now = (
        (data.validation, data.seed, data.train_limit) for data in (there.config.data, config.data)
    )
    same_recordings = there.record["data_fingerprint"] == fingerprint
    if config.data.validation and same_recordings and before != now:
        raise InputError(
            f"config.initial={config.initial!r} was trained on recordings that are held out here; "
            f"train it with --config.data.validation={config.data.validation} and the same "
            "data.seed and data.train_limit"
        )
    params_R, wanted = there.params_R, training.shapes(recipe, hyper_R).params
    if len(there.runs) == 1:
        many = len(hyper_R.seed)
        params_R = jax.tree.map(lambda leaf: jnp.repeat(leaf, many, axis=0), params_R)
    shapes = [[leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (params_R, wanted)]
    if shapes[0] != shapes[1]:
        here, others = next((b, a) for a, b in itertools.zip_longest(*shapes) if a != b)
        raise InputError(
            f"config.initial={config.initial!r} holds another network or another number of runs "
            f"(an array of {others} there, of {here} here); take the same config.network, and one "
            "run or as many"
        )
    return params_R
