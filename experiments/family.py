"""What ``experiments.variants`` compares: regimes, variants, their tuning, measurements, table."""

import json
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tabulate
from ml_collections import ConfigDict

from experiments import datasets, files, run, setup, timing, trained
from experiments.configs import nmnist, nmnist_paper
from sast_jax import curvature, evaluation, intervals, training

TUNING_SEEDS = 2
VALIDATION = 1 / 6
CURVATURE_RECORDINGS = 512  # of the training split, spread evenly
TIMED_STEPS = 30


class Regime(NamedTuple):
    """Where variants are compared.

    Attributes:
      config: its settings.
      epochs: how long it trains here.
      radii, learning_rates: to choose from.
      late_warmup: fraction of training over which the radius grows where SAM begins late.
    """

    config: Callable[[], ConfigDict]
    epochs: int
    radii: tuple[float, ...]
    learning_rates: tuple[float, ...]
    late_warmup: float


class Variant(NamedTuple):
    """What a variant changes in a regime whose SAM takes both gradients on the whole batch.

    Attributes:
      changes: keys and values of the config.
      scale: factor on the regime's radii, as a radius means something else to this variant.
      longer: factor on the epochs.
    """

    changes: dict
    scale: float = 1.0
    longer: int = 1


REGIMES = {
    "paper": Regime(
        nmnist_paper.get_config, 12, (0.5, 1.0, 2.0), (1e-3, 2e-3, 4e-3), late_warmup=0.25
    ),
    "default": Regime(nmnist.get_config, 12, (0.2, 0.4, 0.8), (5e-4, 1e-3, 2e-3), late_warmup=0.2),
}
VARIANTS = {
    "Adam": Variant({"rho": 0.0}),
    "Adam, twice as long": Variant({"rho": 0.0}, longer=2),
    "SAM": Variant({}),
    "ascent on 1/8": Variant({"sam.ascent_fraction": 0.125}),
    "second half": Variant({"sam.start": 0.5}),
    "second half, ascent on 1/8": Variant({"sam.start": 0.5, "sam.ascent_fraction": 0.125}),
    "momentum": Variant({"sam.method": "momentum"}, scale=2.0),
    "stale": Variant({"sam.method": "stale"}),
    "ASAM": Variant({"sam.adaptive": True}, scale=10.0),
    "unnormalised": Variant({"sam.method": "unnormalised"}),
    "bounded": Variant({"sam.method": "bounded"}),
    "VaSSO": Variant({"sam.method": "vasso"}),
    "Friendly SAM": Variant({"sam.method": "friendly"}),
    "GSAM": Variant({"sam.method": "gsam"}),
    "groups of 8": Variant({"sam.group_size": 8}),
    "independent batch": Variant({"sam.ascent_batch": "independent"}),
}


def settings(regime: Regime, variant: Variant, data_path: str) -> ConfigDict:
    """The regime's config with full SAM, as the variant changes it."""
    config = regime.config()
    config.epochs = variant.longer * regime.epochs
    config.sam.ascent_fraction = 1.0
    config.hardware.update(weight_bits=(), draws=0)  # which is not compared here
    config.corruptions.kinds = ""
    config.update_from_flattened_dict(variant.changes)
    if config.sam.start:
        config.sam.warmup = regime.late_warmup
    config.data.path = data_path
    config.resume = True
    return config


def tuned(config: ConfigDict, regime: Regime, scale: float, workdir: pathlib.Path) -> dict:
    """The radius, or without SAM the learning rate, of the best hard accuracy on validation.

    That is the mean over seeds; at a tie the smallest.
    """
    if config.rho:
        key, values = "rho", tuple(scale * radius for radius in regime.radii)
    else:
        key, values = "learning_rate", regime.learning_rates
    config = config.copy_and_resolve_references()
    config.workdir = str(workdir)
    config.data.validation = VALIDATION
    config.sweep.seeds = TUNING_SEEDS
    config.sweep[key] = values
    summary = run.run("nmnist", config)["summary"]
    best = max(summary, key=lambda row: row["validation_hard_accuracy_mean"] or 0)
    return {key: best[key]}


def measured(config: ConfigDict, seeds: int, workdir: pathlib.Path) -> dict:
    """A row of the table: what the runs on all training recordings came to."""
    config = config.copy_and_resolve_references()
    config.workdir = str(workdir)
    config.sweep.seeds = seeds
    (row,) = run.run("nmnist", config)["summary"]
    file = workdir / "curvature.json"
    if not file.exists():
        found = top_eigenvalues(config)._asdict()
        files.write(file, json.dumps({key: leaf.tolist() for key, leaf in found.items()}))
    curvatures = json.loads(file.read_text())
    worst = max(r / abs(v) for v, r in zip(*curvatures.values(), strict=True) if v)
    if worst > 0.01:
        print(f"warning: {workdir}: an eigenvalue is known to {100 * worst:.0f} % only")
    mean, interval = intervals.student(curvatures["value"])
    return row | {"eigenvalue_mean": mean, "eigenvalue_ci95": interval}


def gradients(config: ConfigDict) -> float:
    """Gradients of a whole batch that a step takes on average."""
    if not config.rho or config.sam.method in setup.AHEAD:
        return 1.0
    return 1 + config.sam.ascent_fraction * (1 - _late(config))


def top_eigenvalues(config: ConfigDict) -> curvature.Eigenvalue:
    """Of each run of a finished workdir: the largest one of the smooth training loss's Hessian."""
    few = datasets.load_nmnist(config.data).train.spread(CURVATURE_RECORDINGS)
    found = trained.load(pathlib.Path(config.workdir))
    recipe = found.recipe
    packed, labels = jnp.asarray(few.packed_NxTxP), jnp.asarray(few.labels_N)

    def one(args):
        params, hyper = args

        def loss(params):
            response = evaluation.apply(recipe, params, recipe.soft_cell(hyper), packed)
            scores = recipe.readout(response)
            return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()

        return curvature.top_eigenvalue(loss, params, jax.random.key(0))

    return jax.jit(lambda args: jax.lax.map(one, args))((found.params_R, found.hyper_R))


def time_over_adam(configs: dict[str, ConfigDict], rounds: int) -> dict[str, list[float]]:
    """Quartiles of each variant's whole training time over plain Adam's, epochs measured in turns.

    A variant that begins late trains as Adam before; the two are weighted by their epochs.
    """
    source = datasets.load_nmnist(configs["Adam"].data)
    epochs = {name: _epoch(config, source) for name, config in configs.items()}
    seconds = timing.in_turns(epochs, rounds)
    plain, late = seconds["Adam"], {name: _late(config) for name, config in configs.items()}
    return {
        name: timing.against(
            configs[name].epochs * (late[name] * plain + (1 - late[name]) * taken),
            configs["Adam"].epochs * plain,
        )
        for name, taken in seconds.items()
    }


def _late(config) -> float:
    """The share of the epochs that are trained before SAM begins."""
    return setup.first_epoch(config) / config.epochs


def _epoch(config, source) -> Callable[[], object]:
    """A function that trains a short epoch more each time it is called."""
    count = min(TIMED_STEPS * config.batch_size, len(source.train.labels_N))
    frames = source.train.take(np.arange(count))
    recipe = setup.recipe(config, source.frame_shape, source.classes, count)
    hyper_R = setup.hyperparameters(config)
    packed, labels = jnp.asarray(frames.packed_NxTxP), jnp.asarray(frames.labels_N)
    state_R = training.initialise(recipe, hyper_R)

    def epoch():
        nonlocal state_R
        ascend = config.rho > 0
        state_R, metrics = training.train_epoch(recipe, state_R, hyper_R, packed, labels, ascend)
        return metrics

    return epoch


def table(done: dict[str, dict]) -> str:
    """A row a variant, in the form of a Markdown table."""
    rows = [
        [variant, f"{row['rho']:g}", f"{row['learning_rate']:g}"]
        + [
            _shown(row, key, 100)
            for key in ("soft_accuracy", "hard_accuracy", "transfer_gap", "hard_rate")
        ]
        + [_shown(row, "eigenvalue", 1), f"{row['gradients']:.3g}"]
        + ["{1:.2f} ({0:.2f}-{2:.2f})".format(*row["time"]) if "time" in row else "-"]
        for variant, row in done.items()
    ]
    headers = ["", "rho", "learning rate", "soft %", "hard %", "gap", "hard rate %"]
    headers += ["top eigenvalue", "gradients a step", "time over Adam"]
    return tabulate.tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def _shown(row, key, factor):
    mean, interval = row[f"{key}_mean"], row[f"{key}_ci95"]
    if interval is None:  # no run, or one, is finite
        return "-"
    return f"{factor * mean:.2f} [{factor * interval[0]:.2f}, {factor * interval[1]:.2f}]"
