"""Parts of studies that compare methods: tuning on validation, times, loss around a minimum."""

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

from sast_jax.errors import DivergedError, InputError
from sast_jax.evaluation import curvature, sensitivity, swap
from sast_jax.reports import results
from sast_jax.runs import build, files, reloaded, run, timing, workdirs
from sast_jax.runs.settings import SWEPT, SWEPT_KEYS, Settings
from sast_jax.training import epochs, machine, stepping, sweeps
from sast_jax.training.links import AHEAD

RADIUS = 0.5  # of the ball in which the loss may rise
RECORDINGS = 512  # of the training split, spread evenly, for the loss around a minimum
TIMED_STEPS = 30
_SHORT = {key: name for name, key in SWEPT_KEYS.items()}


def folder(name: str) -> str:
    """The name of a folder for a method."""
    return "_".join(re.findall(r"\w+", name))


def most_accurate(row: dict) -> float:
    """The default score of :func:`tuned`: hard accuracy on the validation split."""
    return row["validation_hard_accuracy_mean"]


def tuned(
    given: Settings,
    grid: dict[str, Sequence[float]],
    workdir: pathlib.Path,
    score: Callable[[dict], float] = most_accurate,
) -> tuple[dict[str, float], list[dict]]:
    """The settings of a grid with the best score, from means over seeds; at a tie the first.

    The test split has no influence, and settings with a run that diverges cannot win. Trials that
    are finished are not trained again.

    Args:
      given: settings of the runs, with a validation split.
      grid: keys of the config and the values to try of each, in all combinations.
      workdir: for the trials.
      score: row of a summary -> score.

    Returns:
      The settings, and all trials: ``settings`` and ``hard_accuracy`` on the validation split, None
      where a run diverged.

    Raises:
      DivergedError: no settings have runs that are all finite.
    """
    # Keys that a sweep can hold are tried together in one program. Each combination of the others
    # is a training of its own, in a folder of its own.
    names = {key: _SHORT.get(key, key) for key in grid}
    swept = {name: key for key, name in names.items() if name in SWEPT}
    single = {key: values for key, values in grid.items() if key not in swept.values()}
    sweep = {f"sweep.{name}": tuple(grid[key]) for name, key in swept.items()}
    trials, scores = [], []
    for values in itertools.product(*single.values()):
        these = dict(zip(single, values, strict=True))
        place = str(workdir.joinpath(*(f"{value:g}" for value in values)))
        for row in _summary(given.changed(sweep | these | {"workdir": place})):
            sound = not row["diverged"]
            tried = these | {key: row[name] for name, key in swept.items()}
            accuracy = most_accurate(row) if sound else None
            trials.append({"settings": tried, "hard_accuracy": accuracy})
            scores.append(score(row) if sound else -math.inf)
    best = max(range(len(trials)), key=scores.__getitem__)
    if scores[best] == -math.inf:
        tried = ", ".join(f"{key} of {tuple(values)}" for key, values in grid.items())
        raise DivergedError(f"{workdir}: training diverges for every {tried}")
    return trials[best]["settings"], trials


def _summary(given) -> list[dict]:
    try:
        return run.results_of(given)[0]["summary"]
    except DivergedError:  # every one of its runs did
        return results.summarise([one | {"diverged": True} for one in build.grid(given)])


def rows(
    file: pathlib.Path, abouts: dict[str, dict], make: Callable[[str, dict], dict]
) -> dict[str, dict]:
    """Rows of a table by name, each made once and then kept in a file; prints which one it makes.

    Args:
      file: keeps the rows. Another machine needs only a copy of it to go on.
      abouts: for each row everything that it depends on, as values that JSON can hold.
      make: (name, the rows before it) -> a row.

    Raises:
      InputError: the file is damaged, or one of its rows depends on something else.
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
    """The rows in a file: by name, ``about`` and ``row``."""
    kept = files.read_json(file) if file.exists() else {}
    try:
        if all(row.keys() == {"about", "row"} for row in kept.values()):
            return kept
    except AttributeError:
        pass  # no rows at all
    raise InputError(f"{file}: damaged (not rows of a study); remove it")


def landscape(workdir: pathlib.Path) -> list[dict]:
    """The smooth training loss around each run of a finished workdir; kept in ``landscape.json``.

    Returns:
      For each run ``eigenvalue`` (the largest one of the Hessian) and its ``residual``, ``rise``
      (of the loss within ``RADIUS``), and the mean norms of single recordings' gradients,
      ``input_gradient`` and ``parameter_gradient``. They are measured on ``RECORDINGS`` of the
      training split. Numbers that are not finite are None.

    Raises:
      InputError: the recordings that it was trained on are gone, or the file is damaged.
    """
    file = workdir / "landscape.json"
    if not file.exists():
        found = reloaded.load(workdir)
        few = reloaded.training_set(found).spread(RECORDINGS)
        measured = _around(found, jnp.asarray(few.packed_NxTxP), jnp.asarray(few.labels_N))
        rows = [
            {key: float(leaf[r]) for key, leaf in measured.items()} for r in range(len(found.runs))
        ]
        files.write(file, json.dumps(results.finite(rows)))
    return files.read_json(file)


def uncertain(around: list[dict]) -> list[str]:
    """A warning if eigenvalues of :func:`landscape` have not converged."""
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
    file: pathlib.Path, methods: dict[str, Settings], reference: str, rounds: int
) -> dict[str, list[float]]:
    """The result of :func:`time_over`, kept in a file until the settings or the machine change.

    Raises:
      InputError: the file is damaged.
    """
    asked = {name: workdirs.identity(given.as_dict()) for name, given in methods.items()}
    about = {"configs": asked, "rounds": rounds, "environment": machine.environment()}
    kept = _kept(file)
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
    count = min(TIMED_STEPS * given.batch_size, len(source.train.labels_N))
    frames = source.train.take(np.arange(count))
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
