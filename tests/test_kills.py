"""Commands that are killed at random moments, again and again, end with the same numbers."""

import json
import os
import random
import shutil
import signal
import subprocess
import time

import nmnist_files
import pytest
from commands import SMALL, start
from test_killed import read, without_times

from sast_jax.data import cache

pytestmark = pytest.mark.usefixtures("own_programs")

SWEEP = ("--config.sweep.rho=0.0,0.3", "--config.sweep.seeds=2")
TRAINING = ("nmnist", *SMALL, "--config.resume=True")
SCENARIOS = {
    "run": TRAINING,
    "sweep": (*TRAINING, *SWEEP),
    "streamed": (*TRAINING, "--config.data.stream=always"),
    "assessment": (
        *("assessment", "--config.methods=plain,SAST", "--config.regimes=default"),
        *("--config.seeds=2", "--config.tuning_seeds=1", "--config.epochs=2", "--config.rounds=0"),
        *("--config.further=0", "--config.draws=2", "--config.severities=3,"),
    ),
}
RESULT = {"assessment": "assessment.json"}
CLUSTER = "--scheduler=local:2"


def ended(arguments):
    process = start(*arguments)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err


def kill_group(process):
    """Kills a process with all that it has started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()  # which closes its pipes


def begun(arguments):
    return start(*arguments, start_new_session=True)


def killed(arguments, workdir, kills, longest, seed):
    """Starts a command until it was killed so often, then lets it end; gives its kills."""
    moments, count = random.Random(seed), 0
    while count < kills:
        process = begun((*arguments, f"--config.workdir={workdir}"))
        try:
            _, err = process.communicate(timeout=moments.uniform(0.2, 0.7 * longest))
            assert process.returncode == 0, err
            if (workdir / "checkpoints").exists():  # it has ended; begin anew
                shutil.rmtree(workdir)
        except subprocess.TimeoutExpired:
            kill_group(process)
            count += 1
    ended((*arguments, f"--config.workdir={workdir}"))
    return count


@pytest.mark.parametrize(
    "name, kills",
    [
        ("run", 6),
        pytest.param("run", 60, marks=pytest.mark.slow),
        pytest.param("sweep", 50, marks=pytest.mark.slow),
        pytest.param("streamed", 40, marks=pytest.mark.slow),
        pytest.param("assessment", 40, marks=pytest.mark.slow),
    ],
)
def test_kills_at_random_moments_change_nothing(name, kills, tmp_path):
    nmnist_files.dataset(tmp_path / "data", per_class=8)
    arguments = (*SCENARIOS[name], f"--config.data.path={tmp_path / 'data'}")
    whole, cut, file = tmp_path / "whole", tmp_path / "cut", RESULT.get(name, "results.json")
    ended((*arguments, f"--config.workdir={whole}"))  # compiles what all others take
    started = time.monotonic()
    shutil.rmtree(whole)
    ended((*arguments, f"--config.workdir={whole}"))
    longest = time.monotonic() - started
    assert killed(arguments, cut, kills, longest, seed=kills) == kills
    found, expected = read(cut / file), read(whole / file)
    for key in ("runs", "summary") if file == "results.json" else ("regimes", "differences"):
        assert found[key] == expected[key]
    left = [path.name for path in cut.rglob(".*") if path.name not in (".lock",)]
    assert not left, "what killed processes left is cleared"


@pytest.mark.slow
def test_a_study_on_workers_that_are_killed_with_it_changes_nothing(tmp_path):
    nmnist_files.dataset(tmp_path / "data", per_class=8)
    arguments = (*SCENARIOS["assessment"], f"--config.data.path={tmp_path / 'data'}")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    started = time.monotonic()
    # Workers have a core each, and sums of several cores are rounded in another order.
    ended((*arguments, CLUSTER, f"--config.workdir={whole}"))
    longest = time.monotonic() - started
    assert killed((*arguments, CLUSTER), cut, 12, longest, seed=0) == 12
    found, expected = (read(folder / "assessment.json") for folder in (cut, whole))
    assert found["regimes"] == expected["regimes"]


@pytest.mark.parametrize("kills", [6, pytest.param(30, marks=pytest.mark.slow)])
def test_kills_while_the_cache_is_written_change_nothing(kills, tmp_path, monkeypatch):
    nmnist_files.dataset(tmp_path / "data", per_class=8)
    arguments = (*SCENARIOS["run"], f"--config.data.path={tmp_path / 'data'}")
    ended((*arguments, f"--config.workdir={tmp_path / 'whole'}"))
    monkeypatch.setenv("SAST_CACHE", str(tmp_path / "cache"))
    moments = random.Random(kills)
    for _ in range(kills):
        process = begun((*arguments, f"--config.workdir={tmp_path / 'cut'}"))
        deadline = time.monotonic() + 60
        while not (tmp_path / "cache").exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.3))
        kill_group(process)
        for file in (tmp_path / "cache").glob("*.npz"):  # whole, or not there
            assert file.stat().st_size > 0
            file.unlink()
    ended((*arguments, f"--config.workdir={tmp_path / 'cut'}"))
    found, expected = (read(tmp_path / name / "results.json") for name in ("cut", "whole"))
    assert found["runs"] == expected["runs"]


def test_what_dead_writers_left_in_the_cache_is_cleared_after_a_day(tmp_path):
    old, new = tmp_path / ".making-old", tmp_path / ".making-new"
    for scratch in (old, new):
        scratch.mkdir()
        (scratch / "half").write_text("x")
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    assert cache.listing(tmp_path, {"a": 1}, lambda: [1]) == [1]
    assert not old.exists() and new.exists()


def test_times_are_all_that_may_differ():
    runs = [{"hard_accuracy": 0.5, "train_seconds": 1.0, "epoch_seconds": [1.0]}]
    assert without_times(json.loads(json.dumps(runs))) == [{"hard_accuracy": 0.5}]
