"""What inspect says of files and folders, and what it draws."""

import json
import os
import pathlib

import event_files
import gesture_writing
import nmnist_files
import numpy as np
import pytest
from commands import command
from matplotlib import image
from test_own_recordings import folder

from sast_jax.data import inspection
from sast_jax.data.formats.stream import Stream, columns
from sast_jax.reports import event_picture

DATA = pathlib.Path(
    os.environ.get("SAST_TEST_DATA") or pathlib.Path(__file__).parents[2] / "shared" / "data"
)


def inspected(tmp_path, data, name="a.raw", **options):
    path = tmp_path / name
    path.write_bytes(data)
    return inspection.of_file(path, **options)[0]


def test_a_file_is_described_with_every_key(tmp_path):
    x, y, t, p = event_files.random_events(np.random.default_rng(0), 400, 640, 480)
    found = inspected(tmp_path, event_files.evt3(x, y, t, p, 640, 480))
    assert found == {
        "format": "EVT3",
        "width": 640,
        "height": 480,
        "events": 400,
        "t_first": t[0],
        "t_last": t[-1],
        "on_share": p.mean(),
        "events_per_second": 400 / ((t[-1] - t[0]) * 1e-6),
        "not_formats": ["EVT2", "EVT21"],
        "beside": {},
        "warnings": [],
    }
    assert json.dumps(found)


ODD = {
    "late": (lambda x, y, t, p: (x, y, t + 10**7, p), "it begins at 10"),
    "epoch": (lambda x, y, t, p: (x, y, t + 16 * 10**14, p), "count from 1970"),
    "still": (lambda x, y, t, p: (x, y, t * 0, p), "all its events have one time"),
    "backwards": (lambda x, y, t, p: (x, y, t[::-1], p), "run backwards in places"),
    "one polarity": (lambda x, y, t, p: (x, y, t, p * 0), "all its events are OFF"),
    "pause": (lambda x, y, t, p: (x, y, t + 10**6 * (t > 50_000), p), "it pauses for"),
    "milliseconds": (lambda x, y, t, p: (x % 9, y % 9, t // 1000, p), "in milliseconds or seconds"),
    "nanoseconds": (lambda x, y, t, p: (x, y, t * 10**6, p), "in nanoseconds"),
    "no size": (lambda x, y, t, p: (x, y, t, p), "it states no size of the sensor"),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_odd_is_said(kind, tmp_path):
    change, said = ODD[kind]
    events = change(*event_files.random_events(np.random.default_rng(1), 400))
    found = inspected(tmp_path, event_files.npy_structured(*events), "a.npy")
    assert any(said in line for line in found["warnings"])
    sound = event_files.random_events(np.random.default_rng(1), 400)
    lines = inspected(tmp_path, event_files.npy_structured(*sound), "a.npy")["warnings"]
    assert len(lines) == 1 and "no size" in lines[0]


def test_an_ending_that_says_something_else_is_said(tmp_path):
    events = event_files.random_events(np.random.default_rng(2))
    found = inspected(tmp_path, event_files.evt3(*events), "a.aedat4")
    assert found["warnings"] == ["its ending is .aedat4, but its content is EVT3"]
    assert found["not_formats"] == ["AEDAT4"]


@pytest.mark.parametrize("size", [(480, 640), (1, 700), (34, 34)])
def test_a_picture_shows_events_where_and_when_they_were(size, tmp_path):
    height, width = size
    x, t = np.array([0, width - 1, width // 2]), np.array([0, 500_000, 999_999])
    y, p = np.array([0, height - 1, height // 2]), np.array([1, 0, 1])
    stream = Stream(*columns(x, y, t, p), "made up")
    figure = event_picture.picture(stream, size)
    images = [ax.images[0].get_array() for ax in figure.axes]
    for i, picture in enumerate(images):
        coloured = np.argwhere((np.asarray(picture) < 1).any(axis=-1))
        assert coloured.tolist() == [[y[i], x[i]]]
        red, _, blue = np.asarray(picture)[y[i], x[i]]
        assert (red > blue) == bool(p[i])
    figure.savefig(tmp_path / "a.png")
    assert image.imread(tmp_path / "a.png").ndim == 3


def test_the_command_describes_a_file(tmp_path):
    events = event_files.random_events(np.random.default_rng(3))
    (tmp_path / "a.es").write_bytes(event_files.event_stream_2(*events))
    picture, file = tmp_path / "p.png", tmp_path / "j.json"
    code, out, err = command(
        "inspect", str(tmp_path / "a.es"), f"--json={file}", f"--picture={picture}"
    )
    assert code == 0, err
    assert "format  Event Stream" in out and "sensor  34 x 34 pixels" in out
    assert json.loads(file.read_text())["events"] == 500
    assert picture.stat().st_size > 5000
    (tmp_path / "a.es").write_bytes(b"Event Stream\x02\0\0\0")
    code, _, err = command("inspect", str(tmp_path / "a.es"), f"--json={file}")
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1
    code, _, err = command("inspect")
    assert code == 2 and "name one FILE_OR_FOLDER" in err
    code, _, err = command("inspect", str(tmp_path / "none"))
    assert code == 2 and "none: cannot be read" in err


def test_a_stray_pixel_does_not_make_a_picture_of_gigabytes(tmp_path):
    x, y, t, p = event_files.random_events(np.random.default_rng(3))
    x[7] = y[7] = 32_000
    (tmp_path / "a.npy").write_bytes(event_files.npy_structured(x, y, t, p))
    file = tmp_path / "j.json"
    flags = f"--json={file}", f"--picture={tmp_path / 'p.png'}"
    code, _, err = command("inspect", str(tmp_path / "a.npy"), *flags)
    assert code == 0, err
    assert json.loads(file.read_text())["width"] == 32_001
    code, _, err = command("inspect", str(tmp_path / "a.npy"), f"--picture={tmp_path / 'p.xyz'}")
    assert code == 2 and "p.xyz: a picture cannot be of this kind; name one" in err


def test_a_folder_says_what_training_would(tmp_path):
    root = folder(tmp_path / "my recordings", 4)
    copy = (root / "train" / "a" / "user0_00.npy").read_bytes()
    (root / "test" / "a" / "other.npy").write_bytes(copy)
    code, out, err = command("inspect", str(root), "--unit=us")
    assert code == 0, err
    assert f"--config.data.path='{root}' --config.data.unit=us" in out
    assert "warning: 1 of 13 test recordings are training recordings as well" in out


def test_the_command_describes_folders(tmp_path):
    root, file = folder(tmp_path / "own", 5, ("NPY", "EVT3"), splits=("",)), tmp_path / "j.json"
    code, out, err = command("inspect", str(root), f"--json={file}")
    assert code == 0, err
    assert "0.2 of each class, drawn with seed 0" in out
    assert f"python -m experiments.recordings --config.data.path={root}" in out
    found = json.loads(file.read_text())
    assert (found["set"], found["recordings"], found["formats"]) == (
        "recordings", 15, ["EVT3", "NPY"],
    )  # fmt: skip
    assert found["classes"]["a"] == {"train": 4, "test": 1}
    assert found["training"]["frame_shape"] == [34, 34, 2]
    nmnist_files.dataset(tmp_path / "nmnist", 2)
    code, out, err = command("inspect", str(tmp_path / "nmnist"), f"--json={file}")
    assert code == 0, err
    assert "python -m experiments.nmnist" in out
    assert json.loads(file.read_text())["classes"]["7"] == {"train": 2, "test": 2}
    gesture_writing.dataset(tmp_path / "gestures", subjects=(1,))
    code, out, err = command("inspect", str(tmp_path / "gestures"), f"--json={file}")
    assert json.loads(file.read_text())["set"] == "dvs_gesture"
    events = event_files.random_events(np.random.default_rng(3))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.raw").write_bytes(event_files.evt2(*events))
    code, out, err = command("inspect", str(tmp_path / "files"), f"--json={file}")
    assert code == 0, err
    assert "no labels to train on" in out
    assert json.loads(file.read_text())["files"]["a.raw"]["format"] == "EVT2"
