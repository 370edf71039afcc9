"""Two processes read recordings and train a run together as one does, also after a kill."""

import json
import os
import socket
import sys
import zipfile
from subprocess import PIPE, Popen

import nmnist_files
import numpy as np
import pytest
from commands import ROOT, SMALL, command, final_weights, wait_for_epochs

from sast_jax import files
from sast_jax.data.sets import load_nmnist

TWO_DEVICES = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    nmnist_files.dataset(folder)
    return folder


def arguments(data, workdir, epochs=6, *more):
    return (
        *SMALL,
        f"--config.data.path={data}",
        f"--config.workdir={workdir}",
        f"--config.epochs={epochs}",
        "--config.hardware.weight_bits=()",
        *more,
    )


def start_two(*given, what=("-m", "experiments.nmnist"), each=((), ())):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    started = []
    for number in range(2):
        together = (f"--coordinator=localhost:{port}", "--processes=2", f"--process={number}")
        started.append(
            Popen(
                [sys.executable, *what, *given, *each[number], *together],
                cwd=ROOT, stdout=PIPE, stderr=PIPE, text=True, env=TWO_DEVICES,
            )
        )  # fmt: skip
    return started


def ended(processes):
    found = [process.communicate(timeout=120) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, found, strict=True)]


def same(here, there):
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


READING = """
import os, sys
from sast_jax import errors, files, processes
from sast_jax.data.layouts import nmnist_archives
from sast_jax.data.sets import load_nmnist
made, folder, *flags = sys.argv[1:]
coordinator, count, number = (flag.partition("=")[2] for flag in flags)
os.environ["SAST_CACHE"] = made + number
processes.join(coordinator, int(count), int(number))
processes.begin()
decoded, decode = [], nmnist_archives.decode
nmnist_archives.decode = lambda raw, names: decoded.extend(names) or decode(raw, names)
try:
    frames = load_nmnist("folder", folder, time_bins=4, splits=("train",)).train
except errors.InputError as error:
    sys.exit(str(error))
files.write_arrays(files.place(f"{made}{number}.npz"), frames.arrays() | {"decoded": decoded})
"""


FAILING = """
import pathlib, sys
from sast_jax import processes
folder, coordinator, count, number = (flag.rpartition("=")[2] for flag in sys.argv[1:])
processes.join(coordinator, int(count), int(number))
def cannot_read():
    if number == "0":
        raise OSError("cannot read")
    return {}
for work in (
    lambda: processes.first_works(lambda: 1 / 0, pathlib.Path(folder)),
    lambda: processes.all_gather(cannot_read),
):
    try:
        work()
    except Exception as error:
        print(error, file=sys.stderr, flush=True)
assert processes.first_works(lambda: 3, pathlib.Path(folder)) == (3 if number == "0" else None)
assert not list(pathlib.Path(folder).iterdir())
"""


def test_each_of_two_processes_decodes_a_half(data, tmp_path, monkeypatch):
    """Also where one of them has the frames already."""
    made = str(tmp_path / "made")
    monkeypatch.setenv("SAST_CACHE", f"{made}0")
    alone = load_nmnist("folder", data, time_bins=4, splits=("train",)).train.arrays()
    two = ended(start_two(made, str(data), what=("-c", READING)))
    assert [code for code, *_ in two] == [0, 0], two
    each = [files.read_arrays(files.place(f"{made}{number}.npz")) for number in range(2)]
    decoded = [own.pop("decoded").tolist() for own in each]
    assert [len(names) for names in decoded] == [20, 20] and len({*decoded[0], *decoded[1]}) == 40
    for own in each:
        assert own.keys() == alone.keys()
        for name, array in own.items():
            np.testing.assert_array_equal(array, alone[name], strict=True)


def test_a_damaged_recording_ends_the_process_that_reads_it_and_the_other(data, tmp_path):
    with zipfile.ZipFile(data / "train.zip") as archive:
        whole = {name: archive.read(name) for name in archive.namelist()}
    nmnist_files.write_zip(tmp_path / "train.zip", whole | {max(whole): b"???????"})
    two = ended(start_two(str(tmp_path / "made"), str(tmp_path), what=("-c", READING)))
    assert [code for code, *_ in two] == [1, 1], two
    assert "another process ended with an error; it says which" in two[0][2]
    assert max(whole) in two[1][2]


def test_processes_that_find_other_recordings_keep_none_of_them(data, tmp_path):
    nmnist_files.dataset(tmp_path / "other", seed=1)
    each = (str(data),), (str(tmp_path / "other"),)
    two = ended(start_two(str(tmp_path / "made"), what=("-c", READING), each=each))
    assert [code for code, *_ in two] == [1, 1], two
    for _, _, err in two:
        told = "the processes differ in the recordings that they find, recordings: "
        assert told in err and "; give all of them the same ones" in err
    assert not list(tmp_path.glob("made*"))


@pytest.mark.slow
def test_two_processes_train_as_one(data, tmp_path):
    given = arguments(data, tmp_path / "two", 6, "--config.sweep.rho=0.0,0.4")
    two = ended(start_two(*given))  # of two devices each
    assert [code for code, *_ in two] == [0, 0], two
    assert "report: " in two[0][1]
    # Lines of the library that connects processes may be cut in two.
    lines = two[1][1].splitlines()
    assert not [line for line in lines if "Gloo" not in line and "peer ranks" not in line]
    given = arguments(data, tmp_path / "one", 6, "--config.sweep.rho=0.0,0.4")
    code, _, err = command("nmnist", *given)
    assert code == 0, err
    same(final_weights(tmp_path / "two")[1], final_weights(tmp_path / "one")[1])
    one, both = (
        json.loads((tmp_path / name / "results.json").read_text())["runs"][0]
        for name in ("one", "two")
    )
    assert abs(one["soft_accuracy"] - both["soft_accuracy"]) < 0.06
    lines = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 12


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--config.data.stream=always", "--config.sweep.seeds=3")])
def test_a_run_of_two_processes_goes_on_after_a_kill(data, tmp_path, more):
    given = arguments(data, tmp_path / "two", 40, *more)
    started = start_two(*given)
    wait_for_epochs(started[0], tmp_path / "two")
    started[1].kill()
    codes = [code for code, *_ in ended(started)]
    assert codes[1] == -9 and codes[0] != 0
    again = ended(start_two(*given, "--config.resume=True"))
    assert [code for code, *_ in again] == [0, 0], again
    code, _, err = command("nmnist", *arguments(data, tmp_path / "one", 40, *more))
    assert code == 0, err
    epoch, weights = final_weights(tmp_path / "two")
    assert epoch == 40
    same(weights, final_weights(tmp_path / "one")[1])


def test_a_wrong_setting_ends_both(data, tmp_path):
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "other").write_text("something")
    two = ended(start_two(*arguments(data, tmp_path / "two")))
    assert [code for code, *_ in two] == [2, 2]
    assert "not empty and not a run of sast_jax" in two[0][2]
    assert "the first process ended with an error; it says which" in two[1][2]


@pytest.mark.slow
def test_a_workdir_that_is_not_shared_is_named(data, tmp_path):
    each = [(f"--config.workdir={tmp_path / name}",) for name in ("one", "two")]
    two = ended(start_two(*arguments(data, tmp_path / "gone"), each=each))
    assert [code for code, *_ in two] == [2, 2]
    for _, _, err in two:
        assert "the processes do not see the same folder; name a --config.workdir on a disk" in err


def test_what_the_first_process_fails_in_ends_the_others(tmp_path):
    two = ended(start_two(str(tmp_path), what=("-c", FAILING)))
    assert [code for code, *_ in two] == [0, 0], two
    assert "division by zero\ncannot read\n" in two[0][2]
    ends = "process ended with an error; it says which\n"
    assert f"the first {ends}another {ends}" in two[1][2]


def test_processes_with_other_settings_end(data, tmp_path):
    each = (), ("--config.data.stream=always",)
    two = ended(start_two(*arguments(data, tmp_path / "two"), each=each))
    assert [code for code, *_ in two] == [2, 2]
    for _, _, err in two:
        told = 'the processes differ in their settings, data.stream: "always" and "auto"; start'
        assert told in err
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ("--coordinator=localhost:1",),
        ("--coordinator=localhost:1", "--processes=2", "--process=2"),
        ("--processes=2", "--process=1"),
        ("--coordinator=auto", "--processes=2"),
    ],
)
def test_processes_must_be_numbered(flags):
    code, _, err = command("nmnist", *flags)
    assert code == 2
    assert "--coordinator=HOST:PORT needs --processes=N, and --process=I from 0 to N - 1 in" in err
