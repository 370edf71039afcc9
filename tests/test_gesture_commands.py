"""The commands on DVS Gesture: trained, evaluated, exported; one line for each bad file."""

import hashlib
import http.server
import json
import os
import pathlib
import threading
import types

import gesture_writing as files
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from commands import command

from experiments import download
from experiments.download import DVSGesture
from sast_jax.errors import InputError
from sast_jax.runs import workdirs

SMALL = (
    "--config.network.channels=4,",
    "--config.network.hidden=16,",
    "--config.data.time_bins=4",
    "--config.data.window=200",
    "--config.data.side=16",
    "--config.data.least=1",
    "--config.batch_size=8",
    "--config.epochs=3",
    "--config.learning_rate=0.01",
    "--config.hardware.weight_bits=8,",
    "--config.hardware.draws=0",
    "--config.corruptions.kinds=event_drop",
    "--config.corruptions.severities=3,",
    "--config.lif.reset=zero",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gestures")
    files.dataset(folder / "data")
    places = f"--config.data.path={folder / 'data'}", f"--config.workdir={folder / 'run'}"
    done = command("dvs_gesture", *SMALL, *places)
    return folder, done


def test_a_run_is_trained_and_evaluated_alike(trained, tmp_path):
    folder, (code, out, err) = trained
    assert code == 0, err
    first = out.splitlines()[0]
    assert first == f"Data: DVS Gesture, recordings from {folder / 'data'} (44 train, 44 test)"
    done = json.loads((folder / "run" / "results.json").read_text())
    (run,) = done["runs"]
    assert (done["train_recordings"], run["recordings"]) == (44, 44)
    assert np.sum(run["hard_confusion"]) == 44
    assert len(run["hard_confusion"]) == 11
    assert run["corruptions"][0]["kind"] == "event_drop"
    code, out, err = command(
        "evaluate",
        f"--checkpoint={folder / 'run'}",
        f"--data_path={folder / 'data'}",
        f"--json={tmp_path / 'out.json'}",
    )
    assert code == 0, err
    again = json.loads((tmp_path / "out.json").read_text())
    for key in ("soft_accuracy", "hard_accuracy", "hard_confusion", "hardware", "corruptions"):
        assert again["runs"][0][key] == run[key]


def test_numbers_of_files_are_refused(trained):
    flags = f"--checkpoint={trained[0] / 'run'}", "--above=3"
    code, _, err = command("evaluate", *flags)
    assert code == 2, err
    last = err.strip().splitlines()[-1]
    assert last == "error: --above=3: files of gestures have no numbers; leave it out"


def test_an_exported_network_answers_as_the_run_does(trained, tmp_path):
    folder, _ = trained
    file = tmp_path / "network.nir"
    code, _, err = command("export", f"--checkpoint={folder / 'run'}", f"--out={file}")
    assert code == 0, err
    flags = f"--data_path={folder / 'data'}", f"--json={tmp_path / 'out.json'}"
    code, _, err = command("evaluate_nir", f"--file={file}", *flags)
    assert code == 0, err
    found = json.loads((tmp_path / "out.json").read_text())
    (run,) = json.loads((folder / "run" / "results.json").read_text())["runs"]
    assert found["recordings"] == 44
    assert found["hard_confusion"] == run["hard_confusion"]


def cut_archive(folder):
    content = files.dataset(folder / "tree", subjects=(1,))
    path = folder / "ibmGestureTrain.tar.gz"
    files.write_archive(path, {name: files.npy(rows) for name, rows in content.items()})
    path.write_bytes(path.read_bytes()[:-3000])


def bad_file(name, data):
    def write(folder):
        files.dataset(folder)
        files.write(folder, {f"ibmGestureTrain/{name}": data})

    return write


def other_csv(folder):
    rows = files.random_rows(np.random.default_rng(0))
    content = {
        "user01_led.aedat": files.aedat(rows),
        "user01_led_labels.csv": (files.CSV + "1,5000000,6000000\n").encode(),
        "trials_to_train.txt": b"user01_led.aedat\n",
    }
    files.write(folder, content)


GOOD = files.npy(files.random_rows(np.random.default_rng(0)))
OBJECTS = files.npy(np.array([[1, 2, 0, 3]], object))
MISTAKES = {
    "truncated archive": (cut_archive, "the archive is cut off or damaged here"),
    "objects": (bad_file("user01_led/3.npy", OBJECTS), "3.npy: not a whole array"),
    "label": (bad_file("user01_led/11.npy", GOOD), "11.npy: '11' is no class 0-10"),
    "csv": (other_csv, "the two files do not belong together"),
}


@pytest.mark.parametrize("write, message", MISTAKES.values(), ids=MISTAKES)
def test_a_bad_file_is_one_line_and_exit_code_2(tmp_path, write, message):
    write(tmp_path / "data")
    places = f"--config.data.path={tmp_path / 'data'}", f"--config.workdir={tmp_path / 'run'}"
    code, _, err = command("dvs_gesture", *SMALL, *places)
    assert code == 2, err
    (last,) = err.strip().splitlines()[-1:]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


@pytest.fixture
def server(tmp_path):
    """A web server that sends ``offered`` from any byte on; the requests that it got."""
    offered = tmp_path / "offered"
    offered.mkdir()
    asked = []

    class Ranges(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            data = pathlib.Path(offered, self.path[1:]).read_bytes()
            asked.append(self.headers.get("Range"))
            begin = int((asked[-1] or "bytes=0-")[len("bytes=") : -1])
            if begin >= len(data):
                return self.send_error(416)
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(data) - begin))
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            return self.wfile.write(data[begin : begin + 200_000])  # no more at a time

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ranges) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield offered, f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()


def test_a_download_goes_on_where_it_was_cut_off(server, tmp_path):
    offered, url, asked = server
    content = os.urandom(500_000)
    (offered / "a.tar.gz").write_bytes(content)
    arguments = f"{url}/a.tar.gz", tmp_path, "a.tar.gz", hashlib.md5(content).hexdigest()
    for size in (200_000, 400_000):
        with pytest.raises(InputError, match=r"a\.tar\.gz: could not be fetched .*cut off after"):
            download.fetch(*arguments)
        assert (tmp_path / "a.tar.gz.part").stat().st_size == size
    download.fetch(*arguments)
    assert (tmp_path / "a.tar.gz").read_bytes() == content
    assert asked == [None, "bytes=200000-", "bytes=400000-"]
    assert not (tmp_path / "a.tar.gz.part").exists()


@pytest.mark.parametrize("part", [b"something else", os.urandom(90_000)])
def test_a_part_of_another_file_is_not_gone_on_with_for_ever(server, tmp_path, part):
    offered, url, _ = server
    content = os.urandom(80_000)
    (offered / "a").write_bytes(content)
    (tmp_path / "a.part").write_bytes(part)
    arguments = f"{url}/a", tmp_path, "a", hashlib.md5(content).hexdigest()
    with pytest.raises(InputError, match="has the checksum"):
        download.fetch(*arguments)
    download.fetch(*arguments)
    assert (tmp_path / "a").read_bytes() == content


# What answers a request to go on at byte 1000: status, headers, body.
NO_CONTINUATION = {
    "an empty page": (202, {"Content-Length": "0"}, b""),
    "a page": (200, {"Content-Length": "5"}, b"robot"),
    "a short file": (200, {"Content-Length": "80000"}, b"short"),
    "the beginning": (
        206,
        {"Content-Range": "bytes 0-9/3000", "Content-Length": "9"},
        b"beginning",
    ),
    "no range": (206, {"Content-Length": "3"}, b"end"),
}


@pytest.mark.parametrize("answer", NO_CONTINUATION.values(), ids=NO_CONTINUATION)
def test_a_part_outlives_answers_that_do_not_go_on_with_it(tmp_path, answer):
    status, headers, body = answer

    class Other(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(status)
            for header in headers.items():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(body)

    (tmp_path / "a.part").write_bytes(bytes(1000))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        with pytest.raises(InputError, match="could not be fetched"):
            download.fetch(f"http://127.0.0.1:{running.server_port}/a", tmp_path, "a", "0" * 32)
        running.shutdown()
    assert {path.name for path in tmp_path.iterdir()} == {"a.part", workdirs.LOCK}
    assert (tmp_path / "a.part").read_bytes() == bytes(1000)


def test_a_file_that_was_fetched_by_hand_is_taken(tmp_path, capsys):
    (tmp_path / "a").write_bytes(b"by hand")
    download.fetch("http://127.0.0.1:9/a", tmp_path, "a", hashlib.md5(b"by hand").hexdigest())
    assert "already here" in capsys.readouterr().out


@pytest.mark.parametrize(
    "path, folder, flag",
    [
        (None, "data/dvs_gesture", ""),
        ("data/dvs_gesture/", "data/dvs_gesture", ""),
        ("elsewhere", "elsewhere", " --config.data.path=elsewhere"),
        ("~/x", "{home}/x", " --config.data.path={home}/x"),
    ],
)
def test_the_last_line_names_the_command_that_reads_what_came(
    server, tmp_path, monkeypatch, capsys, path, folder, flag
):
    offered, url, _ = server
    (offered / "a").write_bytes(b"whole")
    one = {"train_url": f"{url}/a", "train_md5": hashlib.md5(b"whole").hexdigest()}
    both = one | {key.replace("train", "test"): value for key, value in one.items()}
    chosen = types.SimpleNamespace(**both, train_filename="a", test_filename="b")
    monkeypatch.setitem(download.SETS, "dvs_gesture", chosen)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    flags.FLAGS.mark_as_parsed()  # as other commands' flags, which are required, may be there
    with flagsaver.flagsaver(dataset="dvs_gesture", path=path):
        download.main()
    folder, flag = (text.format(home=tmp_path / "home") for text in (folder, flag))
    assert {file.name for file in (tmp_path / folder).iterdir()} == {"a", "b", workdirs.LOCK}
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"{folder}: complete; 'python -m experiments.dvs_gesture{flag}' reads it from there"
    )


def test_gestures_come_from_the_address_that_answers_programs():
    assert DVSGesture.train_url.endswith("/v2/file/download/38022171")
    assert DVSGesture.test_url.endswith("/v2/file/download/38020584")
    assert DVSGesture.train_md5 == "3a8f0d4120a166bac7591f77409cb105"
    assert DVSGesture.test_md5 == "56070e45dadaa85fff82e0fbfbc06de5"
