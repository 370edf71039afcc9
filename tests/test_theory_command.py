"""experiments.theory in one process and as a command; the convergence theorem on real data."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import nmnist_files
import numpy as np
import pytest

from experiments.configs import nmnist_paper, nmnist_robust, theory_aligned
from sast_jax.data import sets
from sast_jax.errors import InputError
from sast_jax.runs import reloaded, run, settings
from sast_jax.theory import moments, page as page_lib, report
from sast_jax.training import batches as batches_lib

QUICK = {"hardware.weight_bits": (), "hardware.draws": 0, "corruptions.kinds": ""}


def train(workdir, data, **changes):
    places = {"data.path": str(data), "workdir": str(workdir)}
    run.run(settings.read(theory_aligned.get_config()).changed(QUICK | places | changes))


@pytest.fixture(scope="module")
def reported(tmp_path_factory, no_pages):
    folder = tmp_path_factory.mktemp("theory")
    nmnist_files.dataset(folder / "data", per_class=4)
    small = {"network.hidden": (8,), "data.time_bins": 4, "batch_size": 8, "epochs": 4}
    train(folder / "run", folder / "data", **small, **{"sweep.rho": (0.0, 0.1)})
    before = {path: path.read_bytes() for path in (folder / "run").glob("*.json*")}
    done = report.report(folder / "run", str(folder / "data"), 100, 2)
    return folder, before, done


def test_it_writes_a_page_and_leaves_the_run_alone(reported):
    folder, before, done = reported
    assert all(path.read_bytes() == content for path, content in before.items())
    kept = json.loads((folder / "run" / "theory.json").read_text())
    assert kept["conclusions"] == page_lib.conclusions(done)
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
    assert len(rows) > 45
    for row in rows:
        assert row["measured"] <= row["bound"] * (1 + 1e-4), row
    assert all(entry["met"] for entry in done["assumptions"])
    assert [group["name"] for group in done["groups"]] == ["rho 0", "rho 0.1"]
    assert [run["name"] for run in done["runs"]] == [
        "run with rho 0, seed 0",
        "run with rho 0.1, seed 0",
    ]


def test_without_sam_nothing_is_perturbed(reported):
    run, group = reported[2]["runs"][0], reported[2]["groups"][0]
    assert run["course"]["moved"] == [0, 0, 0]
    assert group["measured"]["terms"]["radius"] == group["measured"]["tighter_terms"]["radius"] == 0


def test_the_last_moment_is_of_the_checkpoint(reported):
    """One whose weights are all zero has the risk of a guess, wherever training ends."""
    found = reloaded.load(reported[0] / "run")
    blank = jax.tree.map(jnp.zeros_like, found.trained.params)
    found = found._replace(trained=dataclasses.replace(found.trained, params=blank))
    recordings = reloaded.training_set(found)
    _, course_PxR, same = report._retrace(found, recordings, recordings, 2)
    classes = found.record["classes"]
    np.testing.assert_allclose(course_PxR.loss[-1], np.log(classes), rtol=1e-5)
    assert not same and (abs(course_PxR.loss[1] - np.log(classes)) > 1e-3).all()


def test_what_a_practical_run_violates_is_said():
    course = moments.Moment(*[np.array([[30.0, 3.0]] * 2)] * len(moments.Moment._fields))
    runs = [{"rho": 0.4, "learning_rate": 0.1}, {"rho": 0.0, "learning_rate": 0.2}]

    def broken(config, whole=True):
        entries = report.assumptions(settings.read(config), runs, course, whole)
        return " ".join(entry["text"] for entry in entries if not entry["met"])

    said = broken(nmnist_paper.get_config())
    for part in (
        "adam",
        "3 / L",
        "second minibatch wherever rho is not 0 (it is: same",
        "shuffled",
    ):
        assert part in said
    assert "annealing" in broken(nmnist_robust.get_config())
    hard = theory_aligned.get_config()
    runs = [{"rho": 0.4, "learning_rate": 0.01}, {"rho": 0.0, "learning_rate": 0.3}]
    assert broken(hard) == ""
    assert "all training recordings" in broken(hard, whole=False)
    hard.sam.ascent_batch = "same"
    assert "second minibatch" in broken(hard)
    runs[0]["rho"] = 0.0
    assert broken(hard) == ""  # none of its runs has SAM
    hard.forward = "hard"
    assert broken(hard) == "the gradient is that of the risk (forward pass: hard)"


def test_vacuous_and_broken_bounds_are_named(reported):
    done = json.loads(json.dumps(reported[2]))
    done["runs"][0]["rows"][0] |= {"bound": 1.0, "measured": 2.0}
    done["runs"][0]["rows"][1] |= {"vacuous": "as it is a test"}
    done["runs"][1]["contraction"] = 5.0
    said = " ".join(page_lib.conclusions(done))
    assert "does not need: q-hat = 5 at the end, not below 1" in said
    assert "Not met by what was measured: potential, layer 1." in said
    assert "potential, layer 1, by intervals (as it is a test)" in said


def test_settings_are_named_by_all_that_varies():
    settings = [
        {"rho": 0.1, "learning_rate": rate, "seed": s} for rate in (0.1, 0.2) for s in (0, 1)
    ]
    runs = [one | {"slope": 4.0, "decay": 0.9, "warmup": 0.0} for one in settings]
    recipe = types.SimpleNamespace(batches=batches_lib.Shuffled(steps=3))
    models = types.SimpleNamespace(recipe=recipe)
    found = types.SimpleNamespace(runs=runs, record={"epoch": 3}, trained=models)
    course = moments.Moment(*[np.ones((3, 4))] * len(moments.Moment._fields))
    groups = report._groups(found, [0, 1, 3], course)
    assert [g["name"] for g in groups] == [
        "rho 0.1, learning rate 0.1",
        "rho 0.1, learning rate 0.2",
    ]
    assert [g["measured"]["runs"] for g in groups] == [2, 2]


def test_a_broken_bound_is_drawn_as_broken():
    rows = [
        {"name": str(ratio), "bound": ratio, "measured": 1.0, "ratio": ratio, "vacuous": ""}
        for ratio in (0.1, 10.0)
    ]
    axis = page_lib._ratios(rows).axes[0]
    high, low = axis.patches  # from the last row on
    assert low.get_width() == -1 and high.get_width() == 1
    assert low.get_facecolor() != high.get_facecolor()


def test_windows_that_answer_together_are_refused(tmp_path, monkeypatch):
    loaded = types.SimpleNamespace(settings=settings.Settings(data=sets.GestureData()))
    monkeypatch.setattr(report.reloaded, "load", lambda workdir: loaded)
    with pytest.raises(InputError, match=r"--config\.data\.windows=1"):
        report.report(tmp_path, None, 16, 2)


def test_other_recordings_and_no_run_are_errors_of_one_line(reported, tmp_path):
    folder = reported[0]
    nmnist_files.dataset(tmp_path / "data", per_class=5)
    with pytest.raises(InputError, match="holds other recordings than the runs were trained on"):
        report.report(folder / "run", str(tmp_path / "data"), 16, 2)
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
    done = report.report(tmp_path / "run", None, 1000, 20)
    assert all(entry["met"] for entry in done["assumptions"]), done["assumptions"]
    (group,) = done["groups"]
    plain, tighter = group["rows"]
    assert group["measured"]["runs"] == 3 and group["measured"]["end"] < 0.5
    assert plain["measured"] <= tighter["bound"] <= plain["bound"]
