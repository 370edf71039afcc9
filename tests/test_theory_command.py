"""experiments.theory in one process and as a command; the convergence theorem on real data."""

import json
import pathlib
import subprocess
import sys

import nmnist_files
import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments import run, theory
from experiments.configs import nmnist, nmnist_paper, theory_aligned
from sast_jax import moments, theory_page
from sast_jax.errors import InputError

QUICK = {"hardware.weight_bits": (), "hardware.draws": 0, "corruptions.kinds": ""}


def train(workdir, data, **changes) -> ConfigDict:
    config = theory_aligned.get_config()
    config.update_from_flattened_dict(QUICK | {"data.path": str(data), "workdir": str(workdir)})
    config.update_from_flattened_dict(changes)
    run.run("nmnist", config)
    return config


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theory")
    nmnist_files.dataset(folder / "data", per_class=4)
    small = {"network.hidden": (8,), "data.time_bins": 4, "batch_size": 8, "epochs": 4}
    train(folder / "run", folder / "data", **small, **{"sweep.rho": (0.05, 0.1)})
    before = {path: path.read_bytes() for path in (folder / "run").glob("*.json*")}
    done = theory.report(folder / "run", str(folder / "data"), 16, 2)
    return folder, before, done


def test_it_writes_a_page_and_leaves_the_run_alone(reported):
    folder, before, done = reported
    assert all(path.read_bytes() == content for path, content in before.items())
    kept = json.loads((folder / "run" / "theory.json").read_text())
    assert kept["conclusions"] == theory_page.conclusions(done)
    page = (folder / "run" / "theory.md").read_text()
    assert "bit for bit where the checkpoint is" in page and "not bit for bit" not in page
    for sentence in kept["conclusions"]:
        assert sentence in page
    for name in ("course", "ratios", "mechanism", "certified"):
        assert (folder / "run" / "plots" / f"theory_{name}.png").stat().st_size > 1000


def test_every_bound_of_the_page_holds(reported):
    done = reported[2]
    assert [run["epochs"] for run in done["runs"]] == [[0, 2, 4]] * 2
    rows = [row for run in done["runs"] for row in run["rows"]]
    assert len(rows) > 50
    for row in rows:
        assert row["measured"] <= row["bound"] * (1 + 1e-4), row
    assert all(entry["met"] for entry in done["assumptions"])
    assert [group["name"] for group in done["groups"]] == ["rho 0.05", "rho 0.1"]


def test_what_a_practical_run_violates_is_said():
    course = moments.Moment(*[np.full((2, 1), 30.0)] * len(moments.Moment._fields))
    runs = [{"contraction": 5.0, "learning_rate": 0.1}]

    def broken(config):
        entries = theory.assumptions(config, runs, course)
        return " ".join(entry["text"] for entry in entries if not entry["met"])

    said = broken(nmnist_paper.get_config())
    for part in (
        "q-hat = 5 at the end",
        "adam",
        "3 / L",
        "second minibatch (it is: same",
        "shuffled",
    ):
        assert part in said
    assert "annealing" in broken(nmnist.get_config())
    hard = theory_aligned.get_config()
    runs = [{"contraction": 0.9, "learning_rate": 0.01}]
    assert broken(hard) == ""
    hard.forward = "hard"
    assert broken(hard) == "the gradient is that of the risk (forward pass: hard)"


def test_vacuous_and_broken_bounds_are_named(reported):
    done = json.loads(json.dumps(reported[2]))
    done["runs"][0]["rows"][0] |= {"bound": 1.0, "measured": 2.0}
    done["runs"][0]["rows"][1] |= {"vacuous": "as it is a test"}
    said = " ".join(theory_page.conclusions(done))
    assert "Not met by what was measured: potential, layer 1." in said
    assert "potential, layer 1, by intervals (as it is a test)" in said


def test_other_recordings_and_no_run_are_errors_of_one_line(reported, tmp_path):
    folder = reported[0]
    nmnist_files.dataset(tmp_path / "data", per_class=5)
    with pytest.raises(InputError, match="holds other recordings than the runs were trained on"):
        theory.report(folder / "run", str(tmp_path / "data"), 16, 2)
    root = pathlib.Path(__file__).parents[1]
    command = [sys.executable, "-m", "experiments.theory", f"--checkpoint={tmp_path / 'none'}"]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ") and "no checkpoint here" in line


@pytest.mark.slow
def test_the_convergence_inequality_holds_on_real_recordings(real_data, tmp_path):
    """The mean over three seeds, of the risk of all recordings that they are trained on."""
    changes = {"data.train_limit": 1000, "network.hidden": (64,), "epochs": 60}
    data = real_data / "nmnist_8class"
    train(tmp_path / "run", data, **changes, **{"sweep.seeds": 3})
    done = theory.report(tmp_path / "run", None, 1000, 20)
    assert all(entry["met"] for entry in done["assumptions"]), done["assumptions"]
    (group,) = done["groups"]
    plain, tighter = group["rows"]
    assert group["measured"]["runs"] == 3 and group["measured"]["end"] < 0.5
    assert plain["measured"] <= tighter["bound"] <= plain["bound"]
    print(json.dumps(group, indent=2))
