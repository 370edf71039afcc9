"""What the machine lacks ends a command in one line, and what it had done by then is kept."""

import subprocess
import sys

import event_files
import nmnist_files
import numpy as np
import pytest
from commands import ROOT, SMALL, command
from test_killed import read
from test_kills import RESULT, SCENARIOS

from sast_jax import files

# The disk is the command's own, and grows before the command is given again.
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=$1 tmpfs $2 || exit 3
disk=$2 kept=$3; shift 3
"$@" 2> $kept/err; echo $? > $kept/code
mount -o remount,size=1g $disk
"$@" && cp -r $disk/run $kept/run
"""
ALONE = ("unshare", "--user", "--map-root-user", "--mount")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    nmnist_files.dataset(folder, per_class=8)
    return folder


@pytest.mark.parametrize("name", ["cuda", "tpu", "abacus"])
def test_a_backend_that_is_not_there(name, recordings, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", name)
    flags = *SMALL, f"--config.data.path={recordings}", f"--config.workdir={tmp_path / 'run'}"
    typed = [sys.executable, "-m", "experiments.nmnist", *flags]
    done = subprocess.run(typed, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: JAX_PLATFORMS={name}: not on this machine")
    assert line.endswith("unset it to take what is there, or install JAX for it")
    assert not (tmp_path / "run").exists()


def test_output_that_nobody_can_keep_is_named(recordings):
    typed = [sys.executable, "-m", "experiments.inspect", str(recordings)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(typed, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "error: standard output: No space left on device; make room" in done.stderr


def test_numbers_of_64_bits_are_refused(recordings, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    typed = [sys.executable, "-m", "experiments.nmnist", f"--config.data.path={recordings}"]
    done = subprocess.run([*typed, f"--config.workdir={tmp_path}/a"], cwd=ROOT, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: JAX_ENABLE_X64 is set, and networks here are of float32")
    assert not (tmp_path / "a").exists()


def test_a_backend_of_matplotlib_that_is_not_there_is_not_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "bogus")
    events = event_files.random_events(np.random.default_rng(0), 40)
    (tmp_path / "a.raw").write_bytes(event_files.WRITERS["EVT3"][0](*events))
    typed = [sys.executable, "-m", "experiments.inspect", f"--picture={tmp_path / 'a.png'}"]
    done = subprocess.run([*typed, tmp_path / "a.raw"], cwd=ROOT, capture_output=True)
    assert done.returncode == 0 and (tmp_path / "a.png").stat().st_size, done.stderr


def test_a_full_disk_is_named_with_its_file(tmp_path):
    (tmp_path / "page.md").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        files.write(tmp_path / "page.md", "x")
    assert caught.value.filename == str(tmp_path / "page.md")


def test_neither_home_nor_cache(recordings, tmp_path, monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("SAST_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").touch()
    flags = *SMALL, f"--config.data.path={recordings}", f"--config.workdir={tmp_path / 'run'}"
    code, _, err = command("nmnist", *flags)
    assert code == 0
    told = [line for line in err.splitlines() if "cache" in line]
    assert told and all("no cache kept (Not a directory)" in line for line in told)


def test_a_user_who_is_not_known_has_no_home(recordings, tmp_path, monkeypatch):
    unknown = "unshare", "--user", "--map-user=12345"
    if subprocess.run([*unknown, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody be somebody else")
    for variable in ("HOME", "XDG_CACHE_HOME", "SAST_CACHE", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(variable, raising=False)
    code, _, err = command("inspect", str(recordings), within=unknown)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("error: no home folder to keep a cache in; name a folder with the variab")
    monkeypatch.setenv("SAST_CACHE", str(tmp_path))
    code, _, err = command("inspect", str(recordings), within=unknown)
    assert code == 0, err


@pytest.mark.parametrize(
    "name, size",
    [
        ("run", "100k"),  # ends within its checkpoints
        pytest.param("run", "800k", marks=pytest.mark.slow),  # within its plots
        pytest.param("sweep", "200k", marks=pytest.mark.slow),
        pytest.param("sweep", "900k", marks=pytest.mark.slow),
        pytest.param("assessment", "200k", marks=pytest.mark.slow),
        pytest.param("assessment", "1500k", marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_ends_a_command_that_goes_on_with_more_room(name, size, recordings, tmp_path):
    if subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a disk")
    module, *flags = SCENARIOS[name]
    flags.append(f"--config.data.path={recordings}")
    code, _, err = command(module, *flags, f"--config.workdir={tmp_path / 'whole'}")
    assert code == 0, err
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    kept.mkdir()
    typed = [sys.executable, "-m", f"experiments.{module}", *flags]
    typed.append(f"--config.workdir={disk / 'run'}")
    script = *ALONE, "sh", "-c", ON_A_SMALL_DISK, "sh"
    done = subprocess.run([*script, size, disk, kept, *typed], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert (kept / "code").read_text() == "2\n"
    last = (kept / "err").read_text().split("error: ")[-1]
    assert str(disk) in last and "No space left on device" in last and "make room" in last
    file = RESULT.get(name, "results.json")
    found, expected = read(kept / "run" / file), read(tmp_path / "whole" / file)
    for key in ("runs", "summary") if file == "results.json" else ("regimes", "differences"):
        assert found[key] == expected[key]
