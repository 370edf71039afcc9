"""A workdir belongs to one run, and nothing of another's is overwritten."""

import errno
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys

import nmnist_files
import pytest
from commands import command

from sast_jax import files
from sast_jax.errors import InputError
from sast_jax.runs import workdirs
from sast_jax.runs.settings import Settings


def settings(**changes):
    return Settings(rho=0.4).changed(changes)


def test_the_default_folder_follows_the_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = workdirs.claim(settings(), "data")
    assert first == workdirs.claim(settings(resume=True), "data")
    elsewhere = settings(**{"data.path": "the/same/recordings/elsewhere"})
    assert first == workdirs.claim(elsewhere, "data")
    other = workdirs.claim(settings(rho=0.5), "data")
    assert first != other
    assert first.parent == other.parent
    assert workdirs.claim(settings(), "other data") not in (first, other)
    written = json.loads((other / "config.json").read_text())
    assert (written["rho"], written["experiment"]) == (0.5, "nmnist")


def test_another_run_is_refused_and_the_difference_named(tmp_path):
    folder = str(tmp_path / "run")
    workdirs.claim(settings(workdir=folder), "data")
    before = (tmp_path / "run" / "config.json").read_text()
    with pytest.raises(InputError, match=r"run: holds another run \(rho is 0.4 there and 0.5 here"):
        workdirs.claim(settings(workdir=folder, rho=0.5, resume=True), "data")
    changes = {"rho": 0.5, "epochs": 5, "slope": 3.0, "batch_size": 5, "workdir": folder}
    with pytest.raises(InputError, match=r"rho is .* here, .* is .* here, 1 more differ\); name"):
        workdirs.claim(settings(**changes), "data")
    with pytest.raises(InputError, match="on other recordings"):
        workdirs.claim(settings(workdir=folder), "other data")
    assert (tmp_path / "run" / "config.json").read_text() == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="not empty and not a run"):
        workdirs.claim(settings(workdir=str(tmp_path)), "data")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_whose_run_never_began_is_taken(tmp_path):
    with workdirs.held(tmp_path):
        pass
    assert workdirs.claim(settings(workdir=str(tmp_path)), "data") == tmp_path


@pytest.mark.parametrize("name", ["results.json", "landscape.json", "default/rows.json"])
def test_what_belongs_to_a_run_or_study_is_not_written_over(tmp_path, name):
    (tmp_path / "default").mkdir()
    assert files.asked_for(str(tmp_path / name)) == tmp_path / name
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="belongs to the run in that folder; name another file"):
        files.asked_for(str(tmp_path / name))
    assert files.asked_for(str(tmp_path / "own.json")) == tmp_path / "own.json"


def test_an_unfinished_run_wants_resume(tmp_path):
    folder = str(tmp_path / "run")
    workdirs.claim(settings(workdir=folder), "data")
    (tmp_path / "run" / "checkpoints").mkdir()
    with pytest.raises(InputError, match=r"--config\.resume=True"):
        workdirs.claim(settings(workdir=folder), "data")
    workdirs.claim(settings(workdir=folder, resume=True), "data")
    whole = json.dumps(dict.fromkeys(("config", "runs", "summary"), "something"))
    (tmp_path / "run" / "results.json").write_text(whole)
    workdirs.claim(settings(workdir=folder), "data")  # finished: reported again


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        workdirs.claim(settings(workdir=str(tmp_path / "file" / "run")), "data")


def test_a_damaged_file_is_named(tmp_path):
    folder = str(tmp_path / "run")
    workdirs.claim(settings(workdir=folder), "data")
    (tmp_path / "run" / "results.json").write_text('{"half')
    with pytest.raises(InputError, match=r"results\.json: damaged"):
        workdirs.finished(tmp_path / "run")
    (tmp_path / "run" / "results.json").write_text("[1]")
    with pytest.raises(InputError, match=r"results\.json: damaged \(not a dict\); remove it"):
        workdirs.finished(tmp_path / "run")
    (tmp_path / "run" / "results.json").write_text("{}")
    with pytest.raises(InputError, match=r"results\.json: not the results of a run"):
        workdirs.finished(tmp_path / "run")
    for damaged in ("", "[]"):
        (tmp_path / "run" / "config.json").write_text(damaged)
        with pytest.raises(InputError, match=r"config\.json: damaged"):
            workdirs.claim(settings(workdir=folder), "data")


def test_a_file_of_another_kind_is_damaged(tmp_path):
    file = tmp_path / "kept.json"
    for kind, content in ((dict, {"a": [1]}), (list, [{"a": 1}])):
        file.write_text(json.dumps(content))
        assert files.read_json(file, kind) == content
        other = list if kind is dict else dict
        for damaged in (json.dumps(content), "null", "3"):
            file.write_text(damaged)
            named = rf"kept\.json: damaged \(not a {other.__name__}\); remove it"
            with pytest.raises(InputError, match=named):
                files.read_json(file, other)


def test_files_that_are_nested_too_deep_are_damaged(tmp_path):
    (tmp_path / "kept.json").write_text("[" * 200_000)
    with pytest.raises(InputError, match=r"kept\.json: damaged \(nested too deep\); remove it"):
        files.read_json(tmp_path / "kept.json", list)


def test_a_second_process_is_kept_out(tmp_path):
    program = (
        "import pathlib, sys; from sast_jax.runs import workdirs\n"
        "with workdirs.held(pathlib.Path(sys.argv[1])): print('in', flush=True); input()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout.readline() == "in\n"
        who = rf"process {other.pid} on {socket.gethostname()} is at this run; wait for it"
        with pytest.raises(InputError, match=who), workdirs.held(tmp_path):
            pass
        other.kill()
        other.wait()
    with workdirs.held(tmp_path):  # the lock ended with the process
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("name, prefix", [("assessment", "config."), ("variants", "")])
def test_a_study_keeps_a_second_process_out(name, prefix, tmp_path):
    nmnist_files.dataset(tmp_path / "data")
    folder, data = tmp_path / "study", "config.data.path" if prefix else "data_path"
    folder.mkdir()
    with workdirs.held(folder):
        code, _, err = command(name, f"--{data}={tmp_path / 'data'}", f"--{prefix}workdir={folder}")
    assert code == 2
    assert f"process {os.getpid()} on {socket.gethostname()} is at this run" in err
    assert err.endswith(f"wait for it, or name another --{prefix}workdir\n")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
@pytest.mark.parametrize("stale", [False, True])
def test_a_disk_without_locks_is_named(tmp_path, monkeypatch, number, stale):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    if stale:
        (tmp_path / ".lock").touch()
        (tmp_path / ".owner").write_text("process 1 on elsewhere")
    monkeypatch.setattr(fcntl, "flock", flock)
    told = rf"cannot be locked \({os.strerror(number)}\).*name a --config\.workdir on another disk"
    with pytest.raises(InputError, match=told), workdirs.held(tmp_path):
        pass


def test_lines_logged_after_the_checkpoint_go(tmp_path):
    lines = [json.dumps({"epoch": epoch, "loss": 1.0}) + "\n" for epoch in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("".join(lines) + '{"epoch": 4, "lo')
    assert workdirs.trim_metrics(tmp_path, 2) == []
    assert (tmp_path / "metrics.jsonl").read_text() == "".join(lines[:2])
    (tmp_path / "metrics.jsonl").write_text(lines[1])
    assert workdirs.trim_metrics(tmp_path, 3) == [1, 3]
    (tmp_path / "metrics.jsonl").write_text("junk\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl: damaged"):
        workdirs.trim_metrics(tmp_path, 2)


def test_a_folder_within_a_run_is_refused(tmp_path):
    run = workdirs.claim(settings(workdir=str(tmp_path / "run")), "data")
    within = settings(workdir=str(run / "plots" / "again"))
    workdirs.claim(within, "data")  # as those of a study lie in its folder
    (run / "checkpoints").mkdir()
    shutil.rmtree(run / "plots")
    with pytest.raises(InputError, match=r"again: within the run .*run; name another"):
        workdirs.claim(within, "data")


@pytest.mark.parametrize(
    "change", [{"epochs": "x"}, {"experiment": [1]}, {"sam": 3}, {"data": None}]
)
def test_a_config_of_other_types_is_another_run(tmp_path, change):
    folder = workdirs.claim(settings(workdir=str(tmp_path / "run")), "data")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError, match="holds another run"):
        workdirs.claim(settings(workdir=str(folder), resume=True), "data")


def test_only_a_run_is_told_how_it_goes_on(tmp_path):
    folder = workdirs.claim(settings(workdir=str(tmp_path / "run"), schedule="constant"), "data")
    longer = settings(workdir=str(folder), schedule="constant", epochs=settings().epochs + 1)
    with pytest.raises(InputError, match=r"it goes on with --config\.resume=True"):
        workdirs.claim(longer, "data")
    with pytest.raises(InputError, match=r"here\); name another --config.workdir"):
        workdirs.compare(folder, {"epochs": 1}, {"epochs": 2})
