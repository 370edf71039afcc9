"""The study in one process on a few recordings: radii by validation, rows, times."""

import json
import re

import nmnist_files
import pytest
from ml_collections import ConfigDict

from experiments.configs import nmnist_sast
from experiments.sam_family import family
from sast_jax.errors import DivergedError
from sast_jax.runs.study import landscape, trainings

IN_TURN = trainings.InTurn()


def tiny() -> ConfigDict:
    config = nmnist_sast.get_config()
    config.update_from_flattened_dict(
        {"network.hidden": (16,), "network.gain": 2.0, "batch_size": 8, "data.time_bins": 4}
    )
    return config


@pytest.fixture(scope="module")
def place(tmp_path_factory, no_pages):
    folder = tmp_path_factory.mktemp("family")
    nmnist_files.dataset(folder / "data", per_class=4)
    return folder


REGIME = family.Comparison(tiny, 4, (0.1, 0.2), (1e-3, 1e-2), late_warmup=0.2)


def settings(place, name):
    return family.settings(REGIME, family.VARIANTS[name], str(place / "data"))


def test_every_variant_is_sound_and_one_of_a_kind(place):
    assert settings(place, "SAM").sam.ascent_fraction == 1
    assert settings(place, "Adam, twice as long").epochs == 8
    assert not family.tuned(
        settings(place, "Adam"), REGIME, family.VARIANTS["Adam"], place, IN_TURN
    )
    configs = [settings(place, name) for name in family.VARIANTS if name != "Adam"]
    assert settings(place, "Adam") == configs[0]  # which is tuned
    assert len(set(configs)) == len(configs)


def test_a_variant_that_diverges_is_named_below_the_others(place, monkeypatch):
    def diverge(*_):
        raise DivergedError("training diverges for every rho of (0.1, 0.2)")

    monkeypatch.setattr(family, "tuned", diverge)
    lost = family.row(
        settings(place, "ASAM"), REGIME, family.VARIANTS["ASAM"], 2, place / "lost", IN_TURN
    )
    assert lost["gradients"] > 1
    means = {f"{key}_mean": 0.5 for key in ("soft_accuracy", "hard_accuracy", "transfer_gap")}
    sound = means | {"hard_rate_mean": 0.1, "eigenvalue_mean": 2.0, "rho": 0.1}
    sound |= {key.replace("_mean", "_ci95"): None for key in sound if key.endswith("_mean")}
    sound |= {"learning_rate": 1e-3, "gradients": 2.0, "diverged": 0}  # runs, as in a summary
    tried = {"SAM": {"rho": (0.1, 0.2)}, "ASAM": {"rho": (0.1, 0.2)}}
    *table, last = family.table({"SAM": sound, "ASAM": lost}, tried, {}).splitlines()
    assert last == "ASAM: training diverges for every rho of (0.1, 0.2)"
    assert any(line.startswith("| SAM") for line in table)
    assert not any("ASAM" in line for line in table)


@pytest.mark.parametrize(
    "name, key, values",
    [
        pytest.param("momentum", "rho", {0.2, 0.4}, marks=pytest.mark.slow),
        pytest.param("second half", "rho", {0.1, 0.2}, marks=pytest.mark.slow),
        pytest.param("Adam, twice as long", "learning_rate", {1e-3, 1e-2}, marks=pytest.mark.slow),
    ],
)
def test_a_row_is_tuned_on_validation_and_measured_once(place, name, key, values, monkeypatch):
    config = settings(place, name)
    chosen = family.tuned(config, REGIME, family.VARIANTS[name], place / name / "tuning", IN_TURN)
    tuning = json.loads((place / name / "tuning" / "results.json").read_text())
    means = {row[key]: row["validation_hard_accuracy_mean"] for row in tuning["summary"]}
    assert means.keys() == values
    assert means[chosen[key]] == max(means.values())
    assert len(tuning["runs"]) == 2 * family.TUNING_SEEDS
    config = config.changed(chosen)
    row = family.measured(config, 2, place / name / "final", IN_TURN)
    assert row["n"] == 2
    assert row["eigenvalue_mean"] > 0
    monkeypatch.setattr(landscape, "_around", None)
    assert family.measured(config, 2, place / name / "final", IN_TURN) == row
    shown = row | {"gradients": 1.5}
    tried = {name: {key: (chosen[key], 100.0)}}
    times = {name: [1.0, 1.25, 1.5]}
    cells = family.table({name: shown}, tried, times).splitlines()[-1].split("|")
    column = 2 if key == "rho" else 3
    assert cells[column].strip() == f"{chosen[key]:g}*"  # the least that was tried
    tried[name][key] = (0.0, chosen[key], 100.0)
    inner = family.table({name: shown}, tried, times).splitlines()[-1].split("|")
    assert inner[column].strip() == f"{chosen[key]:g}"
    assert cells[-3].strip() == "1.5"
    assert cells[-2].strip() == "1.25 (1.00-1.50)"
    assert re.match(rf"\s*{100 * row['hard_accuracy_mean']:.2f} \[", cells[5])
