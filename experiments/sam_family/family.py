"""The parts of ``experiments.variants``: regimes, variants, tuning, measurements and table."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from experiments.configs import nmnist_paper, nmnist_sast
from sast_jax.errors import DivergedError
from sast_jax.evaluation import intervals
from sast_jax.reports import results, tables
from sast_jax.runs.settings import Settings, read
from sast_jax.runs.study import cost, landscape, tuning
from sast_jax.runs.study.trainings import InTurn, OnCluster

TUNING_SEEDS = 2
VALIDATION = 1 / 6


class Comparison(NamedTuple):
    """Settings under which variants are compared.

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
    """What a variant changes in a regime with SAM, with both gradients on the whole batch.

    Attributes:
      changes: keys and values of the config.
      scale: factor on the regime's radii, as a radius means something else to this variant.
      longer: factor on the epochs.
      tune: choose its radius or learning rate; else it takes those of the regime.
    """

    changes: dict
    scale: float = 1.0
    longer: int = 1
    tune: bool = True


REGIMES = {
    "paper": Comparison(
        nmnist_paper.get_config, 12, (0.5, 1.0, 2.0), (1e-3, 2e-3, 4e-3), late_warmup=0.25
    ),
    "default": Comparison(
        nmnist_sast.get_config, 12, (0.2, 0.4, 0.8), (5e-4, 1e-3, 2e-3), late_warmup=0.2
    ),
}
VARIANTS = {
    "Adam": Variant({"rho": 0.0}, tune=False),
    "Adam, its best learning rate": Variant({"rho": 0.0}),
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


def settings(regime: Comparison, variant: Variant, data_path: str) -> Settings:
    """The regime's settings with full SAM, as the variant changes them."""
    changes = {
        "epochs": variant.longer * regime.epochs,
        "sam.ascent_fraction": 1.0,
        "hardware.weight_bits": (),  # which is not compared here
        "hardware.draws": 0,
        "corruptions.kinds": "",
        "data.path": data_path,
        "resume": True,
        **variant.changes,
    }
    if changes.get("sam.start"):
        changes["sam.warmup"] = regime.late_warmup
    return read(regime.config()).changed(changes)


def choices(regime: Comparison, variant: Variant, given: Settings) -> dict[str, tuple[float, ...]]:
    """What a variant is tuned over: radii, learning rates without SAM, or nothing."""
    if not variant.tune:
        return {}
    if given.rho:
        return {"rho": tuple(variant.scale * radius for radius in regime.radii)}
    return {"learning_rate": regime.learning_rates}


def tuned(
    given: Settings,
    regime: Comparison,
    variant: Variant,
    workdir: pathlib.Path,
    trained: InTurn | OnCluster,
) -> dict:
    """The tuned key and its best value, by hard accuracy on validation; empty if none is tuned."""
    grid = choices(regime, variant, given)
    if not grid:
        return {}
    trial = given.changed({"data.validation": VALIDATION, "sweep.seeds": TUNING_SEEDS})
    return tuning.tuned(trial, grid, workdir, trainings=trained)[0]


def row(
    given: Settings,
    regime: Comparison,
    variant: Variant,
    seeds: int,
    workdir: pathlib.Path,
    trained: InTurn | OnCluster,
) -> dict:
    """A row of the table: the variant tuned, and measured; ``failed`` says why there is none."""
    try:
        given = given.changed(tuned(given, regime, variant, workdir / "tuning", trained))
        found = measured(given, seeds, workdir / "final", trained)
    except DivergedError as error:
        found = {"failed": str(error)}
    return found | {"gradients": cost.gradients(given)}


def measured(
    given: Settings, seeds: int, workdir: pathlib.Path, trained: InTurn | OnCluster
) -> dict:
    """A row of the table, measured on runs with all training recordings; without their time."""
    final = given.changed({"workdir": str(workdir), "sweep.seeds": seeds})
    runs, (around,) = trained.train(final, (landscape.around,))
    (row,) = results.summarise(runs)
    values = [entry["eigenvalue"] for entry in around if entry["eigenvalue"] is not None]
    for line in landscape.uncertain(around):
        print(f"warning: {workdir}: {line}")
    mean, interval = intervals.student(values)
    kept = {key: value for key, value in row.items() if not key.startswith("train_seconds")}
    return kept | {"eigenvalue_mean": mean, "eigenvalue_ci95": interval}


def table(
    done: dict[str, dict],
    tried: Mapping[str, Mapping[str, Sequence[float]]],
    times: dict[str, list[float]],
) -> str:
    """A row a variant, in the form of a Markdown table; times are quartiles over Adam.

    A value with a star is the least or the largest of those that were tried of it. Variants whose
    training diverges are named below the table.
    """

    def value(variant, key):
        values = tried[variant].get(key)
        at_an_end = values and done[variant][key] in (min(values), max(values))
        return f"{done[variant][key]:g}{'*' if at_an_end else ''}"

    sound = {variant: row for variant, row in done.items() if "failed" not in row}
    rows = [
        [variant, value(variant, "rho"), value(variant, "learning_rate")]
        + [
            _shown(row, key, 100)
            for key in ("soft_accuracy", "hard_accuracy", "transfer_gap", "hard_rate")
        ]
        + [_shown(row, "eigenvalue", 1), f"{row['gradients']:.3g}"]
        + ["{1:.2f} ({0:.2f}-{2:.2f})".format(*times[variant]) if variant in times else "-"]
        for variant, row in sound.items()
    ]
    lost = [f"{variant}: {row['failed']}" for variant, row in done.items() if variant not in sound]
    headers = ["", "rho", "learning rate", "soft %", "hard %", "gap", "hard rate %"]
    headers += ["top eigenvalue", "gradients a step", "time over Adam"]
    return "\n\n".join([tables.table(rows, headers, "github"), *lost])


def _shown(row, key, factor):
    mean, interval = row[f"{key}_mean"], row[f"{key}_ci95"]
    if interval is None:  # no run, or one, is finite
        return "-"
    return f"{factor * mean:.2f} [{factor * interval[0]:.2f}, {factor * interval[1]:.2f}]"
