"""SIGTERM ends every command with exit code 143 and one line, and none of its processes stays."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import nmnist_files
import psutil
import pytest
from commands import ROOT, SMALL, command, start
from test_kills import CLUSTER, SCENARIOS
from test_own_recordings import folder as own_folder

pytestmark = pytest.mark.usefixtures("own_programs")

TRAINS = (*SMALL, "--config.data.path={}/data", "--config.workdir={}/new")
STUDIES = (*SCENARIOS["assessment"][1:], *TRAINS[-2:])
RUN = "--checkpoint={}/run"
COMMANDS = {
    "nmnist": TRAINS,
    "train": ("--config={}/own.py", *TRAINS),
    "recordings": (
        *SMALL,
        "--config.data.path={}/classes",
        "--config.data.duration=100",
        TRAINS[-1],
    ),
    "shd": ("--config.data.train_limit=64", "--config.batch_size=16", TRAINS[-1]),
    "dvs_gesture": ("--config.data.train_limit=16", "--config.batch_size=8", TRAINS[-1]),
    "assessment": STUDIES,
    "variants": ("--data_path={}/data", "--workdir={}/new", "--seeds=2", "--rounds=0"),
    "evaluate": (RUN,),
    "evaluate_nir": ("--file={}/a.nir", "--data_path={}/data"),
    "bench": ("--network={}/a.nir", "--data_path={}/data", "--out={}/new"),
    "export": (RUN, "--out={}/b.nir"),
    "theory": (RUN,),
    "severities": (RUN,),
    "inspect": ("{}/data",),
    "likeness": ("--data_path={}/raw",),
    "plots": (),
    "benchmark": ("--json={}/b.json",),
}
LASTING = ("nmnist", "train", "recordings", "shd", "dvs_gesture", "assessment", "variants")
QUICK = ("nmnist", "inspect")  # the others differ in what they import, which takes seconds


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("terminated")
    nmnist_files.dataset(folder / "data", per_class=8)
    own = "from sast_jax.runs import settings\n\ndef get_config(): return settings.config('nmnist')"
    (folder / "own.py").write_text(own)
    own_folder(folder / "classes", classes=("a", "b"))
    nmnist_files.dataset(folder / "raw", per_class=101, splits=("train",))
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    """A finished run and its network in a file."""
    quick = *SMALL, "--config.epochs=1", "--config.lif.reset=zero", "--config.data.validation=0.2"
    for module, *arguments in (
        ("nmnist", *quick, f"--config.data.path={folder / 'data'}"),
        ("export", f"--out={folder / 'a.nir'}"),
    ):
        name = "checkpoint" if module == "export" else "config.workdir"
        code, _, err = command(module, *arguments, f"--{name}={folder / 'run'}")
        assert code == 0, err


def wait_until_caught(process, number):
    """Returns once a process handles a signal itself."""
    deadline = time.monotonic() + 60
    while process.poll() is None:
        assert time.monotonic() < deadline
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
        if int(caught, 16) >> number - 1 & 1:
            return
        time.sleep(0.001)


def ends_with_one_line(process):
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    is_one_line(err)


def is_one_line(err):
    lines = [line for line in err.split("error: ")[1:] if line.strip()]
    assert len(lines) == 1 and "stopped by SIGTERM" in lines[0]
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "module",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in COMMANDS],
)
def test_sigterm_ends_every_command(module, folder, request):
    if any(argument.endswith(("/run", "/a.nir")) for argument in COMMANDS[module]):
        request.getfixturevalue("trained")
    arguments = [argument.replace("{}", str(folder)) for argument in COMMANDS[module]]
    process = start(module, *arguments)
    wait_until_caught(process, signal.SIGTERM)
    ends_with_one_line(process)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1, 3, 6])
@pytest.mark.parametrize("module", COMMANDS)
def test_sigterm_ends_every_command_at_work(module, seconds, folder, trained):
    arguments = [argument.replace("{}", str(folder)) for argument in COMMANDS[module]]
    process = start(module, *arguments)
    wait_until_caught(process, signal.SIGTERM)
    try:
        _, err = process.communicate(timeout=seconds)
        assert process.returncode == 0, err  # it was faster
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
        # Others may just have ended; as they do, Python lets go of its handlers.
        ended = () if module in LASTING and seconds == 1 else (0, -signal.SIGTERM)
        assert process.returncode in (143, *ended), err
        if process.returncode == 143:
            is_one_line(err)
    shutil.rmtree(folder / "new", ignore_errors=True)


STALLED = """
import sys
from experiments import cli, download
download.SETS["nmnist"].train_url = sys.argv.pop()
cli.run(download.main)
"""


@pytest.mark.slow
def test_sigterm_ends_a_download(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/train.zip"
        typed = [sys.executable, "-c", STALLED, f"--path={tmp_path}", url]
        pipe = subprocess.PIPE
        process = subprocess.Popen(typed, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
        asked, _ = silent.accept()
        with asked:  # and is not answered
            ends_with_one_line(process)
    assert not list(tmp_path.glob("train*"))


@pytest.mark.slow
def test_sigterm_ends_a_study_with_its_workers(folder):
    arguments = [argument.replace("{}", str(folder)) for argument in STUDIES]
    process = start("assessment", *arguments, CLUSTER, start_new_session=True)
    deadline = time.monotonic() + 180
    while not any((folder / "new" / "default").rglob("metrics.jsonl")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    ends_with_one_line(process)
    deadline = time.monotonic() + 20
    while left := [one for one in psutil.process_iter() if is_of(one, process.pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def is_of(process, session):
    try:
        return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
