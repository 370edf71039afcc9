"""The smooth training loss around the parameters that a run has found."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import optax

from sast_jax import files
from sast_jax.evaluation import curvature, sensitivity, swap
from sast_jax.reports import results
from sast_jax.runs import reloaded
from sast_jax.training import sweeps

RADIUS = 0.5  # of the ball in which the loss may rise
RECORDINGS = 512  # of the training split, spread evenly


def around(workdir: pathlib.Path) -> list[dict]:
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
    return files.read_json(file, list)


def uncertain(measured: list[dict]) -> list[str]:
    """A warning if eigenvalues of :func:`around` have not converged."""
    shares = [
        one["residual"] / abs(one["eigenvalue"])
        for one in measured
        if one["eigenvalue"] and one["residual"] is not None
    ]
    worst = max(shares, default=0)
    return [f"the residual of an eigenvalue is {100 * worst:.0f} % of it"] if worst > 0.01 else []


def _around(found: reloaded.Reloaded, packed, labels) -> dict[str, jax.Array]:
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
