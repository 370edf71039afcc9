"""What studies of several methods share: tuning on validation, times, the loss around a minimum."""

import dataclasses
import itertools
import json
import math
import pathlib
import re
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from experiments.assessment.page import RADIUS
from sast_jax.errors import DivergedError, InputError
from sast_jax.evaluation import curvature, sensitivity, swap
from sast_jax.reports import results
from sast_jax.runs import build, files, reloaded, run, settings, timing, workdirs
from sast_jax.runs.settings import SWEPT, SWEPT_KEYS
from sast_jax.training import epochs, machine, stepping, sweeps
from sast_jax.training.links import AHEAD

RECORDINGS = 512  # of the training split, spread evenly, whose loss is looked at
TIMED_STEPS = 30
_SHORT = {key: name for name, key in SWEPT_KEYS.items()}


def folder(name: str) -> str:
    """A name of a method as that of a folder."""
    return "_".join(re.findall(r"\w+", name))


def most_accurate(row: dict) -> float:
    """What :func:`tuned` looks for by default: hard accuracy on the validation split."""
    return row["validation_hard_accuracy_mean"]


def tuned(
    experiment: str,
    config: ConfigDict,
    grid: dict[str, Sequence[float]],
    workdir: pathlib.Path,
    score: Callable[[dict], float] = most_accurate,
) -> tuple[dict[str, float], list[dict]]:
    """The settings of a grid with the best score of their means over seeds; at a tie the first.

    The test split has no say, nor have settings with a run that diverges. What is finished is not
    trained again.

    Args:
      experiment, config: of the runs; the config has a validation split.
      grid: keys of the config and the values that are tried of each, in all combinations.
      workdir: for the trials.
      score: of a row of a summary.

    Returns:
      The settings, and all trials: ``settings`` and ``hard_accuracy`` on the validation split, None
      where a run diverged.

    Raises:
      DivergedError: no settings have runs that are all finite.
    """
    names = {key: _SHORT.get(key, key) for key in grid}
    swept = {name: key for key, name in names.items() if name in SWEPT}  # in one program
    single = {key: values for key, values in grid.items() if key not in swept.values()}
    config = config.copy_and_resolve_references()
    config.sweep.update({name: tuple(grid[key]) for name, key in swept.items()})
    trials, scores = [], []
    for values in itertools.product(*single.values()):
        these = dict(zip(single, values, strict=True))
        config.update_from_flattened_dict(these)
        config.workdir = str(workdir.joinpath(*(f"{value:g}" for value in values)))
        for row in _summary(experiment, config):
            sound = not row["diverged"]
            settings = these | {key: row[name] for name, key in swept.items()}
            trials.append(
                {"settings": settings, "hard_accuracy": most_accurate(row) if sound else None}
            )
            scores.append(score(row) if sound else -math.inf)
    best = max(range(len(trials)), key=scores.__getitem__)
    if scores[best] == -math.inf:
        tried = ", ".join(f"{key} of {tuple(values)}" for key, values in grid.items())
        raise DivergedError(f"{workdir}: training diverges for every {tried}")
    return trials[best]["settings"], trials


def _summary(experiment, config) -> list[dict]:
    try:
        return run.results_of(experiment, config)[0]["summary"]
    except DivergedError:  # every one of its runs did
        return results.summarise(
            [one | {"diverged": True} for one in build.grid(settings.read(config))]
        )


def rows(
    file: pathlib.Path, abouts: dict[str, dict], make: Callable[[str, dict], dict]
) -> dict[str, dict]:
    """Rows of a table by name, each of them made once and then kept in a file; says which it makes.

    Args:
      file: a copy of it is all that another machine needs to go on with these rows.
      abouts: of each row all that it rests on, as JSON can hold it.
      make: (name, the rows before it) -> a row.

    Raises:
      InputError: the file is damaged, or one of its rows rests on something else.
    """
    kept, found = _kept(file), {}
    for name, about in json.loads(json.dumps(abouts)).items():
        if name not in kept:
            print(f"{file.parent.name}: {name}, {len(found) + 1} of {len(abouts)}", flush=True)
            kept[name] = {"about": about, "row": make(name, found)}
            file.parent.mkdir(parents=True, exist_ok=True)
            files.write(file, json.dumps(kept, indent=1))
        if kept[name]["about"] != about:
            raise InputError(
                f"{file}: its row {name!r} rests on other settings or recordings; move it away"
            )
        found[name] = kept[name]["row"]
    return found


def _kept(file) -> dict[str, dict]:
    """By name ``about`` and ``row``."""
    kept = files.read_json(file) if file.exists() else {}
    try:
        if all(row.keys() == {"about", "row"} for row in kept.values()):
            return kept
    except AttributeError:
        pass  # no rows at all
    raise InputError(f"{file}: damaged (not rows of a study); remove it")


def landscape(config: ConfigDict) -> list[dict]:
    """The smooth training loss around each run of a finished workdir; kept in ``landscape.json``.

    Returns:
      For each run ``eigenvalue`` (the largest one of the Hessian) and its ``residual``, ``rise``
      (of the loss within ``RADIUS``), and the mean norms of the gradients of single recordings,
      ``input_gradient`` and ``parameter_gradient``; on ``RECORDINGS`` of the training split. None
      where a number is not finite.

    Raises:
      InputError: the recordings that it was trained on are gone, or the file is damaged.
    """
    file = pathlib.Path(config.workdir, "landscape.json")
    if not file.exists():
        found = reloaded.load(pathlib.Path(config.workdir))
        few = reloaded.training_set(found).spread(RECORDINGS)
        measured = _around(found, jnp.asarray(few.packed_NxTxP), jnp.asarray(few.labels_N))
        rows = [
            {key: float(leaf[r]) for key, leaf in measured.items()} for r in range(len(found.runs))
        ]
        files.write(file, json.dumps(results.finite(rows)))
    return files.read_json(file)


def uncertain(around: list[dict]) -> list[str]:
    """What must be said of eigenvalues of :func:`landscape` that have not converged."""
    shares = [
        one["residual"] / abs(one["eigenvalue"])
        for one in around
        if one["eigenvalue"] and one["residual"] is not None
    ]
    worst = max(shares, default=0)
    return [f"the residual of an eigenvalue is {100 * worst:.0f} % of it"] if worst > 0.01 else []


def _around(found: reloaded.Trained, packed, labels) -> dict[str, jax.Array]:
    def one(run):
        def loss(params):
            there = dataclasses.replace(run, params=params)
            scores = run.model.readout(swap.apply(there, run.soft_cell(), packed))
            return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()

        top = curvature.top_eigenvalue(loss, run.params, jax.random.key(0))
        norms = sensitivity.gradient_norms(run, packed, labels)
        return {
            "eigenvalue": top.value,
            "residual": top.residual,
            "rise": curvature.rise(loss, run.params, RADIUS),
            "input_gradient": norms.input_N.mean(),
            "parameter_gradient": norms.parameters_N.mean(),
        }

    every_run = jax.jit(lambda runs_R: sweeps.over_runs(one, runs_R, at_once=1))
    return every_run(found.trained)


def times(
    file: pathlib.Path, experiment: str, configs: dict[str, ConfigDict], reference: str, rounds: int
) -> dict[str, list[float]]:
    """What :func:`time_over` finds; kept in a file, until configs or machine are others.

    Raises:
      InputError: the file is damaged.
    """
    asked = {name: workdirs.identity(config.to_dict()) for name, config in configs.items()}
    about = {"configs": asked, "rounds": rounds, "environment": machine.environment()}
    kept = _kept(file)
    if "times" not in kept or kept["times"]["about"] != about:
        found = time_over(experiment, configs, reference, rounds)
        kept = {"times": {"about": about, "row": found}}
        files.write(file, json.dumps(kept))
    return kept["times"]["row"]


def time_over(
    experiment: str, configs: dict[str, ConfigDict], reference: str, rounds: int
) -> dict[str, list[float]]:
    """Quartiles of each config's whole training time over that of the reference, in turns.

    A config whose SAM begins late trains plainly before; the two are weighted by their epochs.
    """
    functions = {name: _epoch(experiment, config) for name, config in configs.items()}
    seconds = timing.in_turns(functions, rounds)
    plain, late = seconds[reference], {name: _late(config) for name, config in configs.items()}
    return {
        name: timing.against(
            configs[name].epochs * (late[name] * plain + (1 - late[name]) * taken),
            configs[reference].epochs * plain,
        )
        for name, taken in seconds.items()
    }


def gradients(config: ConfigDict) -> float:
    """Gradients of a whole batch that a step takes on average."""
    search = config.adversary.steps + 1 if config.adversary.weight else 0
    if not config.rho or config.sam.method in (*AHEAD, "random"):
        return 1.0 + search
    return 1 + search + config.sam.ascent_fraction * (1 - _late(config)) * (1 + search)


def _late(config) -> float:
    """The share of the epochs that are trained before SAM begins."""
    return settings.read(config).first_epoch / config.epochs


def _epoch(experiment, config) -> Callable[[], object]:
    """A function that trains a short epoch more each time it is called."""
    given = settings.read(config)
    source = given.data.load(("train",))
    count = min(TIMED_STEPS * config.batch_size, len(source.train.labels_N))
    frames = source.train.take(np.arange(count))
    recipe = build.recipe(given, source.frame_shape, source.classes, count)
    hyper_R = build.hyperparameters(given)
    packed, labels = jnp.asarray(frames.packed_NxTxP), jnp.asarray(frames.labels_N)
    state_R = stepping.initialise(recipe, hyper_R)

    def epoch():
        nonlocal state_R
        ascend = config.rho > 0
        state_R, metrics = epochs.train_epoch(recipe, state_R, hyper_R, packed, labels, ascend)
        return metrics

    return epoch
