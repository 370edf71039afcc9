"""The commands as a user runs them: fresh processes, exit codes, one line for each mistake."""

import functools
import hashlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile

import nmnist_files
import numpy as np
import pytest
from commands import ROOT, SMALL, command, final_weights, kill, start, wait_for_epochs

from experiments import download
from sast_jax.data.simulated import likeness
from sast_jax.errors import InputError
from sast_jax.runs import workdirs


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run, and the same run killed with SIGKILL and resumed."""
    folder = tmp_path_factory.mktemp("commands")
    nmnist_files.dataset(folder / "data")
    flags = *SMALL, f"--config.data.path={folder / 'data'}"
    code, out, err = command("nmnist", *flags, f"--config.workdir={folder / 'whole'}")
    assert code == 0, err
    killed = start("nmnist", *flags, f"--config.workdir={folder / 'killed'}")
    wait_for_epochs(killed, folder / "killed")
    kill(killed)
    epoch = final_weights(folder / "killed")[0]
    again = command("nmnist", *flags, f"--config.workdir={folder / 'killed'}")
    resumed = command(
        "nmnist", *flags, f"--config.workdir={folder / 'killed'}", "--config.resume=True"
    )
    return folder, out, epoch, again, resumed


def test_a_run_says_its_data_first_and_its_results_last(trained):
    folder, out, *_ = trained
    assert (
        out.splitlines()[0]
        == f"Data: N-MNIST, recordings from {folder / 'data'} (40 train, 40 test)"
    )
    assert "hard %" in out
    assert out.splitlines()[-1] == f"report: {folder / 'whole' / 'report.html'}"


def test_a_killed_run_resumes_and_ends_bit_for_bit_where_the_whole_one_ends(trained):
    folder, _, epoch, again, resumed = trained
    assert 0 < epoch < 15  # killed in the middle
    assert again[0] == 2
    assert "--config.resume=True" in again[2]
    assert resumed[0] == 0, resumed[2]
    (last_a, a), (last_b, b) = final_weights(folder / "whole"), final_weights(folder / "killed")
    assert last_a == last_b == 15
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)

    def lines(name):
        text = (folder / name / "metrics.jsonl").read_text()
        kept = [json.loads(line) for line in text.splitlines()]
        return [{k: v for k, v in line.items() if k != "epoch_seconds"} for line in kept]

    assert lines("whole") == lines("killed")


def test_evaluate_in_a_fresh_process_agrees_and_takes_any_folder(trained, tmp_path):
    folder, *_ = trained
    (run,) = json.loads((folder / "whole" / "results.json").read_text())["runs"]
    moved = tmp_path / "moved"  # only the checkpoint is needed
    moved.mkdir()
    (folder / "whole" / "checkpoints").rename(moved / "checkpoints")
    try:
        flags = (f"--checkpoint={moved}", f"--json={tmp_path / 'out.json'}")
        code, out, err = command("evaluate", *flags, f"--data_path={folder / 'data'}")
        assert code == 0, err
        whole = json.loads((tmp_path / "out.json").read_text())
        for key in (
            "soft_accuracy",
            "hard_accuracy",
            "hard_rates",
            "hard_confusion",
            "rho",
            "seed",
        ):
            assert whole["runs"][0][key] == whole[key] == run[key]
        assert set(whole["runs"][0]) == set(run)

        # Another split, and only the files above a number.
        above = ("--split=train", "--above=20", f"--data_path={folder / 'data'}")
        code, out, err = command("evaluate", *flags, *above)
        assert code == 0, err
        part = json.loads((tmp_path / "out.json").read_text())
        assert part["recordings"] == 20
        assert part["data"].endswith("20 train recordings of files above 20")

        # A test split only, unpacked, with three of the classes and an empty recording.
        files = {}
        with zipfile.ZipFile(folder / "data" / "test.zip") as archive:
            for name in archive.namelist():
                if name.split("/")[1] in "257":
                    files[name] = archive.read(name)
        files["Test/5/99999.bin"] = b""
        nmnist_files.write_tree(tmp_path / "part", files)
        code, out, err = command("evaluate", *flags, f"--data_path={tmp_path / 'part'}")
        assert code == 0, err
        assert "warning: test: 1 empty recordings are kept" in out
        part = json.loads((tmp_path / "out.json").read_text())
        assert part["recordings"] == 13
        confusion = np.array(part["hard_confusion"])
        assert confusion.sum(axis=1).tolist() == [0, 0, 4, 0, 0, 5, 0, 4, 0, 0]
    finally:
        (moved / "checkpoints").rename(folder / "whole" / "checkpoints")


def bin_of(*events):
    return nmnist_files.encode(*zip(*events, strict=True))


def write_bad(folder, kind):
    """Recordings with one thing wrong; the good ones would be enough to train on."""
    nmnist_files.dataset(folder)
    good = bin_of((0, 1, 1, 0))
    if kind == "truncated archive":
        whole = (folder / "train.zip").read_bytes()
        (folder / "train.zip").write_bytes(whole[: len(whole) // 2])
    elif kind == "none":
        for path in folder.iterdir():
            path.unlink()
    else:
        name, data = {
            "length": ("Train/3/00001.bin", good + b"\x00\x01"),
            "outside": ("Train/3/00001.bin", bin_of((0, 1, 1, 0), (5, 34, 2, 1))),
            "no digit": ("Train/cat/00001.bin", good),
        }[kind]
        (folder / "train.zip").unlink()
        files = {f"Train/{i % 10}/{i + 100:05d}.bin": good for i in range(40)}
        nmnist_files.write_tree(folder, files | {name: data})


@pytest.mark.parametrize(
    "kind, flags, message",
    [
        ("good", ["--config.rhp=0.4"], "no key config.rhp; write --config.rho=0.4; "),
        (
            "good",
            ["--config.sam.wramup=1"],
            "no key config.sam.wramup; write --config.sam.warmup=1; ",
        ),
        ("good", ["--config.batch_size=41"], "config.batch_size=41 is larger"),
        ("good", ["--config.learning_rate=1e38"], "last good checkpoint is"),
        ("good", ["--config.workdir={folder}/train.zip/run"], "cannot be written"),
        ("none", [], "no recordings"),
        ("truncated archive", [], "train.zip: not a whole zip archive"),
        ("length", [], "Train/3/00001.bin: 7 bytes is no multiple of 5"),
        ("outside", [], "Train/3/00001.bin: an event at x=34, y=2 lies outside"),
        ("no digit", [], "its folder 'cat' is no digit"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, kind, flags, message):
    data = tmp_path / "data"
    if kind == "good":
        nmnist_files.dataset(data)
    else:
        write_bad(data, kind)
    before = sorted(data.iterdir())
    places = [f"--config.data.path={data}", f"--config.workdir={tmp_path / 'run'}"]
    flags = [flag.format(folder=data) for flag in flags]
    first = [flag for flag in flags if flag.startswith("--config=")]  # a file precedes its values
    rest = [flag for flag in flags if flag not in first]
    code, _, err = command("nmnist", *first, *SMALL, *places, *rest)
    last = err.strip().splitlines()[-1]
    assert code == 2, err
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in err
    assert sorted(data.iterdir()) == before


def test_a_checkpoint_that_is_none_and_a_folder_without_tests_are_named(trained, tmp_path):
    folder, *_ = trained
    code, _, err = command("evaluate", f"--checkpoint={tmp_path}")
    assert (code, err.startswith(f"error: {tmp_path}/checkpoints: no checkpoint")) == (2, True)
    nowhere = tmp_path / "nowhere" / "out.json"
    for place, what in (
        (tmp_path, "is a folder; name a file"),
        (nowhere, "cannot be written; name a file in a folder that exists"),
    ):
        code, _, err = command("evaluate", f"--checkpoint={folder / 'whole'}", f"--json={place}")
        assert (code, err) == (2, f"error: {place}: {what}\n")
    nmnist_files.dataset(tmp_path / "data", splits=("train",))
    code, _, err = command(
        "evaluate", f"--checkpoint={folder / 'whole'}", f"--data_path={tmp_path / 'data'}"
    )
    assert (code, "no recordings there; name a folder that holds test.zip or" in err) == (2, True)


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "no such file; those that come with this are"),
        ("from experiments import nothing", "cannot import name 'nothing'"),
        ("def get_config():\n    return {'rho': 0.4}", "must return a ConfigDict"),
        ("def get_config():\n    pass", "its get_config() must return a ConfigDict"),
        (
            "from experiments.configs.nmnist import get_config as base\n"
            "def get_config():\n    config = base()\n    config.epochs = 'ten'\n    return config",
            "Could not override field 'epochs'",
        ),
        (
            "from ml_collections import ConfigDict\n"
            "def get_config():\n    return ConfigDict({'rho': 0.4})",
            "is missing; a config starts from",
        ),
    ],
    ids=["missing", "import", "dict", "nothing", "type", "keys"],
)
def test_a_wrong_config_file_is_one_line(tmp_path, text, message):
    if text is not None:
        (tmp_path / "mine.py").write_text(text)
    code, _, err = command("nmnist", f"--config={tmp_path / 'mine.py'}")
    assert code == 2, err
    assert err.startswith("error: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_command_for_any_data_set_asks_for_a_config():
    code, _, err = command("train", "--config.epochs=1")
    assert (code, err) == (2, "error: name a config: --config=my_config.py\n")


def test_a_full_disk_is_named(tmp_path):
    nmnist_files.dataset(tmp_path / "data")
    flags = *SMALL, f"--config.data.path={tmp_path / 'data'}"
    small_files = ("sh", "-c", 'ulimit -f 100; exec "$@"', "sh")  # less than the weights need
    workdir = f"--config.workdir={tmp_path / 'run'}"
    code, _, err = command("nmnist", *flags, workdir, within=small_files)
    last = err.strip().splitlines()[-1]
    assert code == 2, err
    assert last.startswith(f"error: {tmp_path / 'run' / 'checkpoints'}: a checkpoint cannot be wri")
    assert "(File too large)" in last
    assert last.endswith("name another folder")  # none was written before
    assert "Traceback" not in err


def test_ctrl_c_ends_in_one_line_and_resume_goes_on(tmp_path):
    nmnist_files.dataset(tmp_path / "data")
    flags = (*SMALL, f"--config.data.path={tmp_path / 'data'}", "--config.epochs=1000")
    process = start("nmnist", *flags, f"--config.workdir={tmp_path / 'run'}")
    wait_for_epochs(process, tmp_path / "run")
    other = command("nmnist", *flags, f"--config.workdir={tmp_path / 'run'}")
    assert (other[0], f"process {process.pid} on " in other[2]) == (2, True)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith(
        "error: interrupted; the same command goes on where it was"
    )
    assert "Traceback" not in err
    assert final_weights(tmp_path / "run")[0] >= 2


def test_results_are_not_written_over_what_is_not_ones_own(trained, tmp_path):
    folder, *_ = trained
    (tmp_path / "target.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "target.json")
    checkpoint = f"--checkpoint={folder / 'whole'}"
    place = folder / "whole" / "results.json"
    code, _, err = command("evaluate", checkpoint, f"--json={place}")
    assert (code, "belongs to the run" in err) == (2, True)
    assert command("evaluate", checkpoint, f"--json={tmp_path / 'link.json'}")[0] == 0
    assert (tmp_path / "link.json").is_symlink()
    assert "runs" in json.loads((tmp_path / "target.json").read_text())
    code, out, _ = command("evaluate", checkpoint, "--json=/dev/stdout")
    assert (code, '"runs": [' in out) == (0, True)


@pytest.mark.parametrize(
    "old, new, message",
    [('"simulated"', '"simulates"', "it lacks simulated"), ('"sigmoid"', '"relu"', "spike='relu'")],
)
def test_a_checkpoint_of_another_version_is_named(trained, tmp_path, old, new, message):
    folder, *_ = trained
    shutil.copytree(folder / "whole" / "checkpoints", tmp_path / "checkpoints")
    for file in (tmp_path / "checkpoints").glob("*/record/metadata"):
        text = file.read_text()
        assert old in text
        changed = json.loads(text.replace(old, new))
        del changed["state_crc32"], changed["record_crc32"]  # as in records of that time
        file.write_text(json.dumps(changed))
    code, _, err = command("evaluate", f"--checkpoint={tmp_path}")
    assert (code, "is of another version" in err, message in err) == (2, True, True)


def test_a_finished_run_without_its_report_gets_it_again(trained, tmp_path):
    folder, *_ = trained
    shutil.copytree(folder / "whole", tmp_path / "copy")
    for name in ("report.html", "report.md"):
        (tmp_path / "copy" / name).unlink()
    results_before = json.loads((tmp_path / "copy" / "results.json").read_text())
    flags = *SMALL, f"--config.data.path={folder / 'data'}"
    code, _, err = command("nmnist", *flags, f"--config.workdir={tmp_path / 'copy'}")
    assert code == 0, err
    assert "hard %" in (tmp_path / "copy" / "report.md").read_text()
    again = json.loads((tmp_path / "copy" / "results.json").read_text())
    assert again["runs"] == results_before["runs"]


def test_a_network_larger_than_the_memory_is_refused(tmp_path):
    nmnist_files.dataset(tmp_path / "data")
    flags = (f"--config.data.path={tmp_path / 'data'}", f"--config.workdir={tmp_path / 'run'}")
    wide = "--config.network.hidden=(100000,100000,100000,100000)"
    code, _, err = command("nmnist", *SMALL, *flags, wide)
    assert (code, "GB of memory, and this machine has" in err) == (2, True)


@pytest.mark.slow
def test_a_sweep_of_one_value_is_a_sweep(tmp_path):
    nmnist_files.dataset(tmp_path / "data")
    flags = *SMALL, f"--config.data.path={tmp_path / 'data'}"
    workdir = f"--config.workdir={tmp_path / 'run'}"
    code, _, err = command("nmnist", *flags, workdir, "--config.sweep.rho=0.25")
    assert code == 0, err
    (run,) = json.loads((tmp_path / "run" / "results.json").read_text())["runs"]
    assert run["rho"] == 0.25


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags, soft, hard, gap",
    [
        (["nmnist"], 0.975, 0.975, 0.01),
        (["nmnist_long"], 0.98, 0.98, 0.005),
        (["nmnist_conv"], 0.985, 0.985, 0.005),
        (["nmnist_paper"], 0.93, 0.90, 0.04),
        (["nmnist_paper", "--config.rho=0.0"], 0.94, 0, 1),
    ],
    ids=lambda flags: "".join(flags) if isinstance(flags, list) else "",
)
def test_recipes_reach_about_what_the_readme_says(real_data, tmp_path, flags, soft, hard, gap):
    name, *rest = flags
    file = ROOT / "experiments" / "configs" / f"{name}.py"
    places = f"--config.data.path={real_data / 'nmnist_8class'}", f"--config.workdir={tmp_path}/run"
    code, _, err = command("nmnist", f"--config={file}", *places, *rest, timeout=3600)
    assert code == 0, err
    (run,) = json.loads((tmp_path / "run" / "results.json").read_text())["runs"]
    assert run["soft_accuracy"] >= soft
    assert run["hard_accuracy"] >= hard
    assert run["transfer_gap"] <= gap
    if "--config.rho=0.0" in rest:  # where the swap costs most
        assert run["hard_accuracy"] < 0.75


@pytest.mark.slow
def test_a_network_trained_on_simulated_digits_reads_real_ones(real_data, tmp_path):
    run = tmp_path / "run"
    source = "--config.data.source=simulated"
    code, out, err = command("nmnist", source, f"--config.workdir={run}")
    assert code == 0, err
    for split, count in (("train", 8233), ("test", 2062)):
        code, out, err = command(
            "evaluate",
            f"--checkpoint={run}",
            f"--data_path={real_data / 'nmnist_8class'}",
            f"--split={split}",
            "--above=5848",
            f"--json={tmp_path / 'out.json'}",
        )
        assert code == 0, err
        assert "Trained on: simulated N-MNIST" in out
        assert "leave them out" not in out
        found = json.loads((tmp_path / "out.json").read_text())
        assert found["recordings"] == count
        assert found["soft_accuracy"] >= 0.93


@pytest.mark.slow
def test_likeness_prints_the_constants_that_the_reports_use(real_data):
    code, out, err = command("likeness", f"--data_path={real_data / 'nmnist_small'}")
    assert code == 0, err
    mean, deviation = likeness.REAL_EVENTS
    assert f"REAL_EVENTS = ({mean}, {deviation})" in out
    assert "Simulated recordings have" in out


@pytest.fixture
def server(tmp_path):
    """A web server on this machine that offers the folder ``offered``."""
    offered = tmp_path / "offered"
    offered.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(offered))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield offered, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_download_takes_a_whole_file_once_and_refuses_a_wrong_one(server, tmp_path, capsys):
    offered, url = server
    content = os.urandom(300_000)
    md5 = hashlib.md5(content).hexdigest()
    (offered / "train.zip").write_bytes(content)
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.zip").write_bytes(b"somebody's own")
    with pytest.raises(InputError, match="is not the published file"):
        download.fetch(f"{url}/train.zip", folder, "train.zip", md5)
    assert (folder / "train.zip").read_bytes() == b"somebody's own"
    (folder / "train.zip").unlink()
    (folder / "train.zip.part").write_bytes(content[:1000])  # an earlier download was cut off
    download.fetch(f"{url}/train.zip", folder, "train.zip", md5)
    assert (folder / "train.zip").read_bytes() == content
    assert {path.name for path in folder.iterdir()} == {"train.zip", workdirs.LOCK}

    (offered / "train.zip").unlink()
    download.fetch(f"{url}/train.zip", folder, "train.zip", md5)  # asks nobody
    assert "already here" in capsys.readouterr().out

    (offered / "test.zip").write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"test.zip: could not be fetched .* with a browser"):
        download.fetch(f"{url}/test.zip", folder, "test.zip", md5)
    assert not (folder / "test.zip").exists()


def test_a_second_download_into_a_folder_names_the_first(server, tmp_path):
    with (
        workdirs.locked(tmp_path, "this download", "--path"),
        pytest.raises(
            InputError, match=r"process \d+ on .* is at this download; .* another --path"
        ),
    ):
        download.fetch(f"{server[1]}/train.zip", tmp_path, "train.zip", "0" * 32)


def test_a_download_onto_a_full_disk_says_so(server, tmp_path):
    (server[0] / "train.zip").write_bytes(bytes(10))
    (tmp_path / "train.zip.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        download.fetch(f"{server[1]}/train.zip", tmp_path, "train.zip", "0" * 32)
    assert caught.value.filename == str(tmp_path / "train.zip")


def test_download_names_a_host_that_does_not_answer(tmp_path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), None) as closed:
        port = closed.server_port
    with pytest.raises(InputError, match=rf"127.0.0.1:{port}/train.zip"):
        download.fetch(f"http://127.0.0.1:{port}/train.zip", tmp_path, "train.zip", "0" * 32)


@pytest.mark.parametrize(
    "error",
    [
        "MemoryError('no room')",
        "jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: 5 bytes')",
        "jax.errors.JaxRuntimeError('INTERNAL: Out of memory allocating 5 bytes')",
    ],
)
def test_memory_that_runs_out_is_one_line(error):
    program = f"import jax\nfrom experiments import cli\ndef main(): raise {error}\ncli.run(main)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: out of memory (") and "lower config.batch_size" in line


def test_theory_says_what_to_lower_where_memory_runs_out():
    program = """if True:
        import runpy
        from experiments import cli
        run = cli.run
        def fail(): raise MemoryError("no room")
        cli.run = lambda main, *more: run(fail, *more)
        runpy.run_module("experiments.theory", run_name="__main__")
    """
    done = subprocess.run(
        [sys.executable, "-c", program, "--checkpoint=x"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "error: out of memory (no room); lower --recordings, of which all are measured at once\n"
    )


@pytest.mark.parametrize(
    "name, expected",
    [
        ("nmnist", ["Trains spiking networks", "--config.rho=0.4", "SAM radius; 0 trains without"]),
        ("evaluate", ["--checkpoint=", "workdir of the run", "--hardware.follow="]),
        ("assessment", ["--config.seeds=10", "--scheduler="]),
        ("inspect", ["--picture="]),
    ],
)
def test_help_has_the_flags_and_the_keys_with_their_meaning(name, expected):
    code, out, err = command(name, "--help")
    assert (code, err) == (0, "")
    for text in expected:
        assert text in out
    assert "--alsologtostderr" not in out  # a library's


def test_a_reader_that_leaves_ends_a_command_quietly():
    process = start("keys", within=("sh", "-c", '"$@" | head -1; exit 0', "sh"))
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("# Settings\n", "")


def test_a_reader_that_leaves_ends_training(tmp_path):
    nmnist_files.dataset(tmp_path / "data", per_class=8)
    flags = (
        *SMALL,
        f"--config.data.path={tmp_path / 'data'}",
        f"--config.workdir={tmp_path / 'run'}",
    )
    shell = 'exec 3>"$0"; { "$@" 2>&1; echo $? >&3; } | head -1'
    process = start("nmnist", *flags, within=("sh", "-c", shell, tmp_path / "code"))
    out, _ = process.communicate(timeout=120)
    assert out.startswith("Data: N-MNIST") and out.count("\n") == 1
    assert (tmp_path / "code").read_text() == "141\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_command_without_streams_works_on(closed, tmp_path):
    nmnist_files.dataset(tmp_path / "data", per_class=1)
    shell = f'"$@" {closed}; code=$?; exit $code'
    process = start("inspect", str(tmp_path / "data"), within=("sh", "-c", shell, "sh"))
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize("typed", [("-m", "experiments"), ("-m", "experiments.inspect", "--help")])
def test_help_that_nobody_can_keep_is_one_line(typed):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, *typed], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == (
        "error: standard output: No space left on device; make room, then go on\n"
    )


TWICE = """
import sys
from absl import flags
from experiments import cli
from sast_jax.runs.groups import HardwareKeys

config, given = cli.define_config("nmnist"), cli.define_settings("hardware", HardwareKeys())
flags.FLAGS(sys.argv)
print(config().network.hidden, config().rho, config().resume, given())
"""


def test_the_last_of_a_key_counts_whatever_it_holds():
    hidden = "--config.network.hidden"
    flags = f"{hidden}=64,32 --config.rho=0.1 --config.resume {hidden} 16, --config.rho=0.2"
    flags += " --hardware.weight_bits=8, --hardware.weight_bits=4,"
    done = subprocess.run(
        [sys.executable, "-c", TWICE, *flags.split()], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout == "(16,) 0.2 True {'hardware.weight_bits': (4,)}\n", done.stderr
