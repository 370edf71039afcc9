"""The report of ``experiments.theory``: trains a run again, measures it and compares bounds."""

import dataclasses
import itertools
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from sast_jax.data import packing
from sast_jax.errors import InputError
from sast_jax.evaluation import sensitivity
from sast_jax.reports import results
from sast_jax.runs import build, machine, reloaded
from sast_jax.runs.settings import Settings
from sast_jax.theory import certificates, inequalities, moments, page
from sast_jax.theory.moments import Moment
from sast_jax.training import passes, stepping
from sast_jax.training.recipe import SWEPT
from sast_jax.training.trained import Trained

_TEST_RECORDINGS = 1000  # that are certified, at most


def report(
    workdir: pathlib.Path, data_path: str | None, recordings: int, points: int
) -> dict[str, Any]:
    """Measures, writes the page, and returns what it shows.

    Args:
      workdir: of the runs.
      data_path: folder with their recordings; None for the one they name.
      recordings: of the training set, that the risk is measured on.
      points: moments of training, the start included and the end not.

    Raises:
      InputError: there is no run, its folder cannot be written, its recordings are cut into windows
        or are gone, or one of its runs diverges.
    """
    found = reloaded.load(workdir)
    if not os.access(workdir, os.W_OK):
        raise InputError(
            f"{workdir}: cannot be written, and the report belongs there; copy the run"
        )
    if getattr(found.settings.data, "windows", 1) > 1:
        raise InputError(
            f"{workdir}: certificates are of single answers, and windows of a recording answer "
            "together there; train with --config.data.windows=1"
        )
    if data_path is not None:
        elsewhere = {"data.source": "folder", "data.path": data_path}
        found = found._replace(settings=found.settings.changed(elsewhere))
    train = reloaded.training_set(found)
    test = found.settings.data.load(("test",)).test
    if test is None:
        raise InputError(f"{found.settings.data.path}: no test split, which certificates need")
    few = train.spread(recordings)
    epochs, course_PxR, same = _retrace(found, train, few, points)
    if not np.isfinite(course_PxR.loss).all():
        raise InputError(f"{workdir}: a run of it diverges, and has nothing to bound")
    runs = [_run(found, r, epochs, course_PxR, few) for r in range(len(found.runs))]
    packed_NxTxP = test.spread(_TEST_RECORDINGS).packed_NxTxP
    swaps = certificates.of_swap(found.trained, packed_NxTxP)
    runs = [run | {"swap": swap} for run, swap in zip(runs, swaps, strict=True)]
    means = [[run["course"][key][-1] for run in runs] for key in ("parameters", "inputs")]
    done = {
        "experiment": found.record["experiment"],
        "data": found.record["data"],
        "about": f"The risk is that of {len(few.labels_N)} of the {len(train.labels_N)} training "
        "recordings, the radius a run's own. Trained again to measure on the way, and ended "
        f"{'' if same else 'not '}bit for bit where the checkpoint is.",
        "config": found.settings.as_dict(),
        "environment": machine.environment(),
        "groups": _groups(found, epochs, course_PxR),
        "assumptions": assumptions(
            found.settings, runs, course_PxR, len(few.labels_N) == len(train.labels_N)
        ),
        "rank_runs": _rank(*means) if len(runs) > 2 else None,
        "runs": runs,
    }
    page.write_theory(workdir, done)
    return done


def _retrace(found: reloaded.Reloaded, train: packing.Frames, few: packing.Frames, points: int):
    """Trains again; the measured epochs, their moments (P, R), and if it ends at the checkpoint."""
    settings, recipe = found.settings, found.trained.recipe
    hyper_R, last = build.hyperparameters(settings), found.record["epoch"]
    initial_R = None
    if settings.initial:
        fingerprint = found.record["data_fingerprint"]
        initial_R = reloaded.initial(settings, recipe, hyper_R, fingerprint)
    chosen = set(np.linspace(0, last, points + 1).round().astype(int).tolist())
    data = jnp.asarray(few.packed_NxTxP), jnp.asarray(few.labels_N)
    state_R = stepping.initialise(recipe, hyper_R, initial_R)
    streamed = passes.is_streamed(settings.data.stream, train)
    trained_R = passes.by_epoch(passes.blocks(recipe, hyper_R, train, streamed, state_R, 0))
    states = itertools.chain([state_R], (state for state, *_ in trained_R))
    course = []
    for epoch, state_R in enumerate(itertools.islice(states, last + 1)):
        if epoch not in chosen:
            continue
        slope = recipe.slope_at(hyper_R, epoch * recipe.batches.known_steps)
        models = Trained.of(recipe, state_R, hyper_R._replace(slope_end=slope))
        if epoch == last:  # the bounds are of the checkpoint, and so is what is measured there
            ends = [jax.tree.leaves(one.params) for one in (models, found.trained)]
            same = all(np.array_equal(a, b) for a, b in zip(*ends, strict=True))
            models = dataclasses.replace(models, params=found.trained.params)
        one_R = []
        for r, run in enumerate(found.runs):
            key = jax.random.fold_in(jax.random.key(run["seed"]), epoch)
            one_R.append(moments.measure_risk(models[r], *data, run["rho"], key))
        course.append(jax.tree.map(lambda *leaves: np.array(leaves, float), *one_R))
        print(f"epoch {epoch}: curvature {course[-1].curvature.max():.3g}", flush=True)
    return sorted(chosen), Moment(*map(np.stack, zip(*course, strict=True))), same


def _run(found, r, epochs, course_PxR, few) -> dict:
    """The rows of one run, and what it was along training and at single recordings."""
    one, run = found.trained[r], found.runs[r]
    packed, labels = jnp.asarray(few.packed_NxTxP), jnp.asarray(few.labels_N)
    course = Moment(*(leaf[:, r] for leaf in course_PxR))
    network = inequalities.describe(one, packed.shape[1])
    frames = np.asarray(packing.unpack(packed, one.model.frame_shape))
    frames_NxTxP = frames.reshape(*frames.shape[:2], -1)
    norms = sensitivity.gradient_norms(one, packed, labels)
    parameters_N, inputs_N = (np.asarray(norm_N) for norm_N in norms)
    end = Moment(*(leaf[-1] for leaf in course))
    of_mechanism, bound_N = inequalities.of_mechanism(network, parameters_N, inputs_N, frames_NxTxP)
    rows = [
        *inequalities.of_states(network, packed),
        *inequalities.of_inputs(network, packed, labels),
        *inequalities.of_risk(
            network, end, run["rho"], run["learning_rate"], inequalities.frames_norm(frames_NxTxP)
        ),
        *of_mechanism,
    ]
    singles = {"parameters": parameters_N, "inputs": inputs_N, "bound": bound_N}
    return {
        "name": f"run with {results.setting(run, [*results.shown(found.runs), 'seed'])}",
        **run,
        "rows": [row.as_dict() for row in rows],
        "epochs": epochs,
        "course": {key: leaf.tolist() for key, leaf in course._asdict().items()},
        "singles": {key: leaf.tolist() for key, leaf in singles.items()},
        "rank_recordings": _rank(parameters_N, inputs_N),
        "rank_training": _rank(course.parameters, course.inputs),
        "contraction": max(factor.upper for factor in network.factors),
    }


def _rank(a, b) -> float:
    return float(scipy.stats.spearmanr(a, b).statistic)


def _groups(found, epochs, course_PxR) -> list[dict]:
    """The convergence inequality of each setting, over its seeds."""
    keys = [tuple(run[name] for name in SWEPT) for run in found.runs]
    done, steps = [], found.record["epoch"] * found.trained.recipe.batches.known_steps
    for key in dict.fromkeys(keys):
        members = [r for r, other in enumerate(keys) if other == key]
        run = found.runs[members[0]]
        rows, measured = inequalities.of_convergence(
            Moment(*(leaf[:, members].T for leaf in course_PxR)), epochs,
            run["learning_rate"], steps, run["rho"],
        )  # fmt: skip
        name = results.setting(run, results.shown(found.runs))
        done.append({"name": name, "rows": [r.as_dict() for r in rows], "measured": measured})
    return done


def assumptions(
    settings: Settings, runs: list[dict], course_PxR: Moment[np.ndarray], whole: bool
) -> list[dict]:
    """The assumptions of :mod:`sast_jax.theory.convergence`, and whether the runs meet them.

    Args:
      settings: of the runs.
      runs: their ``rho`` and ``learning_rate``.
      course_PxR: of each, L along the run.
      whole: the risk measured is that of all training recordings.
    """
    L_R = course_PxR.curvature.max(axis=0)
    steps = max(run["learning_rate"] * L for run, L in zip(runs, L_R, strict=True))
    perturbed = any(run["rho"] for run in runs)
    moving = {
        "deformed frames": settings.data.shift or settings.data.rotation or settings.data.zoom,
        "noise": settings.neurons.noise or settings.neurons.hard or settings.weights.noise,
        "a penalty": settings.rates.weight or settings.adversary.weight,
        "rounding": settings.weights.bits,
        "annealing": settings.slope != settings.slope_end,
    }
    moved = [name for name, there in moving.items() if there]
    second = settings.sam.ascent_batch
    return [
        {
            "text": f"the gradient is that of the risk (forward pass: {settings.forward})",
            "met": settings.forward == "surrogate",
        },
        {
            "text": f"one risk throughout (it has {', '.join(moved) or 'nothing that moves it'})",
            "met": not moved,
        },
        {"text": "the risk measured is that of all training recordings", "met": whole},
        {
            "text": f"plain SGD of a constant step (optimizer: {settings.optimizer}, schedule: "
            f"{settings.schedule})",
            "met": settings.optimizer == "sgd" and settings.schedule == "constant",
        },
        {
            "text": f"a step of at most 1 / L, by the L measured along the run (it is {steps:.3g} "
            "/ L)",
            "met": bool(steps <= 1),
        },
        {
            "text": f"an independent second minibatch wherever rho is not 0 (it is: {second}, "
            f"method: {settings.sam.method})",
            "met": not perturbed or (second == "independent" and settings.sam.method == "sam"
            and not settings.sam.adaptive and not settings.sam.group_size),
        },
        {
            "text": f"minibatches that are independent of the past (they are: {settings.batches})",
            "met": settings.batches == "independent",
        },
    ]  # fmt: skip
