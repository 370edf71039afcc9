"""Trainings of a study on a Dask cluster are those of one process, whatever its workers suffer."""

import concurrent.futures
import json
import os
import signal
import threading
import time

import jax
import nmnist_files
import numpy as np
import pytest
from test_family import REGIME, family, settings

from sast_jax.errors import DivergedError, InputError
from sast_jax.runs import build
from sast_jax.runs.settings import Settings
from sast_jax.runs.study import kept_rows, trainings


def test_runs_of_a_sweep_are_settings_of_their_own():
    given = Settings().changed(
        {
            "sweep.rho": (0.1, 0.3),
            "sweep.slope": (1.0, 3.0),
            "sweep.decay": (0.5,),
            "sweep.seeds": 2,
            "seed": 4,
            "workdir": "somewhere",
        }
    )
    singles = trainings.alone(given)
    assert [one.workdir for one in singles] == [f"{os.getcwd()}/somewhere_run{i}" for i in range(8)]
    assert [run for one in singles for run in build.grid(one)] == build.grid(given)
    apart = jax.tree.map(lambda *x: np.concatenate(x), *map(build.hyperparameters, singles))
    for name, values in build.hyperparameters(given)._asdict().items():
        np.testing.assert_array_equal(getattr(apart, name), values)


def test_rows_that_are_made_at_once_wait_for_those_before(tmp_path):
    begun, ready = [], threading.Event()

    def make(name, rows):
        begun.append(name)
        if name == "a":
            assert ready.wait(20)  # all rows have begun
            return {"value": 1}
        if name == "c":
            ready.set()
            assert list(rows) == ["a", "b"]
        return {"value": rows["a"]["value"] + 1}

    abouts = {name: {"of": name} for name in "abc"}
    found = kept_rows.made(tmp_path / "rows.json", abouts, make, at_once=3)
    assert found == {"a": {"value": 1}, "b": {"value": 2}, "c": {"value": 2}}
    assert json.loads((tmp_path / "rows.json").read_text())["b"]["row"] == {"value": 2}
    assert sorted(begun) == ["a", "b", "c"]
    assert kept_rows.made(tmp_path / "rows.json", abouts, None, at_once=3) == found


def test_a_row_that_fails_takes_those_that_wait_for_it_along(tmp_path):
    def make(name, rows):
        if name == "a":
            raise DivergedError("nothing is finite")
        return {"value": 1} if name == "b" else rows["a"]

    abouts = {name: {} for name in "abc"}
    with pytest.raises(DivergedError, match="nothing is finite"):
        kept_rows.made(tmp_path / "rows.json", abouts, make, at_once=3)
    assert list(kept_rows.kept(tmp_path / "rows.json")) == ["b"]


@pytest.mark.parametrize("name", ["local", "local:0", "local:x", "host"])
def test_a_scheduler_that_cannot_be_is_refused(name):
    with pytest.raises(InputError, match=f"--scheduler={name} must be local:N, such as local:2"):
        trainings.of(name, "")
    assert isinstance(trainings.of("", ""), trainings.InTurn)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trainings")
    nmnist_files.dataset(folder / "data", per_class=4)
    return folder


def rows(place, folder, trained):
    """Rows of a study: one tuned and measured, and one of which a run diverges."""

    def make(name, _):
        config = settings(place, name)
        best = family.tuned(config, REGIME, family.VARIANTS[name], folder / name / "t", trained)
        if name == "SAM":
            given = config.changed({"sweep.learning_rate": (1e-2, 3e38)})
            runs, _ = trained.train(given.changed({"workdir": str(folder / name / "far")}))
            assert [one["diverged"] for one in runs] == [False, True]
            return {
                "runs": [{k: v for k, v in run.items() if k != "train_seconds"} for run in runs]
            }
        return family.measured(config.changed(best), 2, folder / name / "final", trained)

    abouts = {name: {} for name in ("SAM", "ascent on 1/8")}
    return kept_rows.made(folder / "rows.json", abouts, make, trained.at_once)


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed_give_the_rows_of_one_process(place, tmp_path):
    fingerprint = settings(place, "SAM").data.load().fingerprint
    with (
        trainings.OnCluster("local:2", fingerprint) as cluster,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        study = pool.submit(rows, place, tmp_path / "two", cluster)
        while len(list(tmp_path.rglob("checkpoints"))) < 2 and not study.done():
            time.sleep(0.1)
        pids = cluster._client.run(os.getpid)
        assert len(set(pids.values())) == 2 and not study.done()
        os.kill(min(pids.values()), signal.SIGKILL)
        two = study.result()
        cluster._fingerprint = "of others"
        given = settings(place, "SAM").changed({"workdir": str(tmp_path / "more"), "epochs": 1})
        with pytest.raises(InputError, match="a worker found other recordings than this process"):
            cluster.train(given)
    kept = json.loads((tmp_path / "two" / "rows.json").read_text())
    (tmp_path / "two" / "rows.json").write_text(json.dumps({"SAM": kept["SAM"]}))
    rows(place, tmp_path / "two", trainings.InTurn())  # goes on without the cluster
    one = rows(place, tmp_path / "one", trainings.InTurn())
    assert two["SAM"] == one["SAM"]
    two, one = (both["ascent on 1/8"] for both in (two, one))
    assert two.keys() == one.keys()
    for key, value in one.items():
        if key.startswith("eigenvalue"):  # its last digits depend on the number of threads
            np.testing.assert_allclose(two[key], value, rtol=1e-5)
        else:
            assert two[key] == value, key
