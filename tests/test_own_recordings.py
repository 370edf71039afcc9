"""Recordings of one's own, from a folder with one for each class, in whatever formats."""

import json
import os
import pathlib

import event_files
import nmnist_files
import numpy as np
import pytest
from commands import command

import sast_jax
from sast_jax.data import sets
from sast_jax.data.layouts import class_folders
from sast_jax.errors import InputError
from sast_jax.runs import reloaded, run, settings

KINDS = list(event_files.WRITERS)


def events_of(rng, label, count=300, start=0):
    """Events of a class lie in its own rows, so that a network can learn it."""
    x, y, t, p = event_files.random_events(rng, count, start=start)
    return x, 10 * label + y % 8, t, p


def write(path: pathlib.Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def folder(root, each=8, kinds=("NPY",), splits=("train", "test"), classes=("a", "b", "c"), seed=0):
    """Recordings of each class and split, in formats that take turns."""
    rng, number = np.random.default_rng(seed), 0
    for split in splits:
        for label, name in enumerate(classes):
            for i in range(each):
                writer, ending = event_files.WRITERS[kinds[number % len(kinds)]]
                data = writer(*events_of(rng, label))
                write(root / split / name / f"user{i % 4}_{i:02d}{ending}", data)
                number += 1
    return root


def same_frames(one, other):
    for split in ("train", "test"):
        a, b = getattr(one, split), getattr(other, split)
        np.testing.assert_array_equal(a.packed_NxTxP, b.packed_NxTxP)
        np.testing.assert_array_equal(a.labels_N, b.labels_N)
        np.testing.assert_array_equal(a.events_NxC, b.events_NxC)
        np.testing.assert_array_equal(
            one.recorded[split].recordings.seeds_N, other.recorded[split].recordings.seeds_N
        )


def test_a_class_whose_name_is_no_text_is_shown_by_its_bytes(tmp_path):
    folder(tmp_path / "data", classes=("a", os.fsdecode(b"b\xff")))
    own = {"data.path": str(tmp_path / "data"), "data.sensor": (34, 34), "data.duration": 100}
    own |= {"epochs": 1, "batch_size": 8, "workdir": str(tmp_path / "run"), "hardware.draws": 0}
    done = run.run(settings.read(settings.config("recordings")).changed(own))
    assert done["class_names"] == ["a", "b\\xff"]
    assert "\\xff" in (tmp_path / "run" / "report.md").read_text()


def test_mixed_formats_give_the_frames_of_one(tmp_path):
    size = {"sensor": (34, 34), "duration": 100}
    mixed = sast_jax.recordings(folder(tmp_path / "mixed", 16, KINDS), **size)
    plain = sast_jax.recordings(folder(tmp_path / "plain", 16), **size)
    same_frames(mixed, plain)
    assert mixed.fingerprint == plain.fingerprint
    assert mixed.class_names == ("a", "b", "c")
    assert len(mixed.train.labels_N) == len(mixed.test.labels_N) == 48
    for kind in ("noise", "event_drop"):
        made = [next(s.recorded["test"].corrupted([kind], [3], 0))[2] for s in (mixed, plain)]
        np.testing.assert_array_equal(made[0].packed_NxTxP, made[1].packed_NxTxP)


def test_frames_are_those_of_the_published_layout(tmp_path):
    nmnist_files.dataset(tmp_path / "zip", 3)
    published = sets.load_nmnist("folder", tmp_path / "zip", time_bins=6)
    rng = np.random.default_rng(0)
    files = {}
    for split in ("Train", "Test"):
        for digit in range(10):
            for i in range(3):
                t, x, y, p = nmnist_files.random_events(rng, 300)
                data = nmnist_files.encode(t, x, 3 * digit + y % 4, p)
                files[f"{split}/{digit}/{10 * i + digit + 1:05d}.bin"] = data
    nmnist_files.write_tree(tmp_path / "tree", files)
    size = {"sensor": (34, 34), "duration": 310, "rebase": False, "time_bins": 6}
    own = sast_jax.recordings(tmp_path / "tree", **size)
    np.testing.assert_array_equal(own.train.packed_NxTxP, published.train.packed_NxTxP)
    np.testing.assert_array_equal(own.test.labels_N, published.test.labels_N)
    assert own.class_names == tuple(map(str, range(10)))


def test_sizes_come_from_the_recordings_and_can_be_set(tmp_path):
    rng = np.random.default_rng(1)
    for label in "ab":
        for i in range(10):
            x, y, t, p = event_files.random_events(rng, 300, 346, 260, 1_234_000, start=10**12)
            write(tmp_path / label / f"{i}.aedat4", event_files.aedat4(x, y, t, p, 346, 260))
    found = sast_jax.recordings(tmp_path)
    assert found.frame_shape == (29, 39, 2)  # 9 x 9 pixels of 260 x 346 become one
    assert "346 x 260 pixels, 1300 ms, in 10 frames of 39 x 29" in found.caveats[0]
    assert "split: 0.2 of each class, drawn with seed 0" in found.caveats[0]
    assert (len(found.train.labels_N), len(found.test.labels_N)) == (16, 4)
    assert sorted(found.test.labels_N.tolist()) == [0, 0, 1, 1]
    assert found.warnings == ()
    fine = sast_jax.recordings(tmp_path, side=346, duration=500, time_bins=4)
    assert fine.frame_shape == (260, 346, 2)
    assert fine.train.packed_NxTxP.shape[1] == 4
    windows = sast_jax.recordings(tmp_path, window=300, windows=3)
    assert len(windows.train.labels_N) == 3 * 16 and len(windows.train.truth_M) == 16
    # Every event of a recording is in one of its frames.
    assert int(fine.train.events_NxC.sum()) == 16 * 300


def test_a_stray_event_does_not_make_the_sensor_larger(tmp_path):
    root = folder(tmp_path, 8, splits=("",))
    x, y, t, p = events_of(np.random.default_rng(5), 2)
    x[3] = 20_000
    write(root / "c" / "stray.npy", event_files.npy_structured(x, y, t, p))
    found = sast_jax.recordings(root, test_share=0.0)
    assert found.frame_shape == (28, 34, 2)
    assert any("outside the sensor of 34x28, 1 in all" in line for line in found.warnings)
    rng = np.random.default_rng(6)
    for label in "ab":
        for i in range(10):
            x, y, t, p = event_files.random_events(rng, 400, 240, 180)
            if label == "a" and i == 3:
                x, y = y, x
            path = tmp_path / "other" / label / f"{i}.npy"
            write(path, event_files.npy_structured(x, y, t, p))
    found = sast_jax.recordings(tmp_path / "other", test_share=0.0)
    assert "240 x 180 pixels" in found.caveats[0]
    (line,) = found.warnings
    assert line.startswith("train: 1 of 20 recordings have events outside") and "swapped?" in line


def test_classes_persons_and_times_are_part_of_the_frames(tmp_path):
    root = folder(tmp_path / "a", 4)
    one = sast_jax.recordings(root)
    other = sast_jax.recordings(root, classes=("c", "b", "a"))
    np.testing.assert_array_equal(one.train.labels_N, 2 - other.train.labels_N)
    assert one.train.subjects_N is None
    known = sast_jax.recordings(root, person=r"user(\d)")
    assert known.train.subjects_N.tolist() == [0, 1, 2, 3] * 3
    rng = np.random.default_rng(1)
    for late, place in ((0, "b"), (60_000, "c")):
        for label in "ab":
            x, y, t, p = event_files.random_events(rng, 300, duration=40_000)
            for i in range(2):
                columns = x, (y + i) % 34, t + late, p
                path = tmp_path / place / label / f"{i}.npy"
                write(path, event_files.npy_structured(*columns))
        rng = np.random.default_rng(1)
    size = {"sensor": (34, 34), "duration": 100, "rebase": False, "test_share": 0.0}
    early, late = (sast_jax.recordings(tmp_path / place, **size) for place in "bc")
    assert (early.train.profile_TxC[:4] > 0).all() and (late.train.profile_TxC[:6] == 0).all()


def test_recordings_of_one_name_in_two_folders_have_seeds_of_their_own(tmp_path):
    rng = np.random.default_rng(1)
    for label in "ab":
        for person in ("u1", "u2"):
            write(tmp_path / label / person / "0.npy", event_files.npy(*events_of(rng, 1)))
    found = sast_jax.recordings(tmp_path, test_share=0.0)
    assert len(set(found.recorded["train"].recordings.seeds_N)) == 4


def test_splits_are_found_one_level_down_and_under_longer_names(tmp_path):
    one = sast_jax.recordings(folder(tmp_path / "outer" / "inner", 3))
    two = sast_jax.recordings(tmp_path / "outer")
    same_frames(one, two)
    (tmp_path / "outer" / "inner" / "train").rename(tmp_path / "outer" / "inner" / "Training")
    (tmp_path / "outer" / "inner" / "test").rename(tmp_path / "outer" / "inner" / "Testing")
    same_frames(one, sast_jax.recordings(tmp_path / "outer" / "inner"))
    folder(tmp_path / "alone", 3, splits=("",), classes=("a",))
    with pytest.raises(InputError, match="one class alone, 'a', which leaves nothing to tell"):
        sast_jax.recordings(tmp_path / "alone")


def test_names_of_files_need_not_be_text(tmp_path):
    root = folder(tmp_path, 3)
    odd = os.fsdecode(b"caf\xe9.npy")
    write(root / "train" / "a" / odd, event_files.npy(*events_of(np.random.default_rng(7), 0)))
    assert len(sast_jax.recordings(root).train.labels_N) == 10


def test_times_beyond_any_clock_are_refused_and_late_ones_fall_in_the_last_frame(tmp_path):
    root = folder(tmp_path, 3)
    x, y, t, p = events_of(np.random.default_rng(8), 0)
    t[-1] = 2**52
    write(root / "train" / "a" / "late.npy", event_files.npy_structured(x, y, t, p))
    found = sast_jax.recordings(root)
    assert any("pause for longer" in line for line in found.warnings)
    t[-1] = 2**60
    write(root / "train" / "a" / "late.npy", event_files.npy_structured(x, y, t, p))
    with pytest.raises(InputError, match=r"late\.npy: a time of 1\.15292e\+18 us is beyond"):
        sast_jax.recordings(root)


def test_a_share_follows_the_seed_and_the_persons(tmp_path):
    root = folder(tmp_path, 8, splits=("",))
    one, again, other = (sast_jax.recordings(root, seed=seed) for seed in (0, 0, 1))
    assert one.fingerprint == again.fingerprint != other.fingerprint
    half = sast_jax.recordings(root, test_share=0.5)
    assert (len(half.train.labels_N), len(half.test.labels_N)) == (12, 12)
    people = sast_jax.recordings(root, person=r"user(\d)", test_share=0.25)
    assert len(set(people.test.subjects_N)) == 1 and len(people.test.labels_N) == 6
    assert set(people.train.subjects_N).isdisjoint(people.test.subjects_N)
    assert "1 of 4 persons, drawn with seed 0" in people.caveats[1]


def test_a_list_names_the_test_recordings(tmp_path):
    root = folder(tmp_path / "data", 4, splits=("",))
    names = "\ufeffa/user0_00.npy\r\n\r\nb\\user1_01.npy\r\n"
    (tmp_path / "list.txt").write_text(names, encoding="utf-8")
    found = sast_jax.recordings(root, test_list=str(tmp_path / "list.txt"))
    assert found.test.labels_N.tolist() == [0, 1] and len(found.train.labels_N) == 10
    (tmp_path / "list.txt").write_text("a/user0_00.npy\na/none.npy\n")
    with pytest.raises(InputError, match=r"1 of its 2 lines name no recording, first a/none\.npy"):
        sast_jax.recordings(root, test_list=str(tmp_path / "list.txt"))


def test_recordings_that_both_splits_hold_are_refused_in_whatever_format(tmp_path):
    root = folder(tmp_path)
    rng = np.random.default_rng(0)
    shared = events_of(rng, 0)  # the first of train/a
    write(root / "test" / "c" / "other.raw", event_files.evt3(*shared))
    said = r"1 of 25 test .*test/c/other\.raw as .*train/a/user0_00\.npy; .*allow_overlap=True"
    with pytest.raises(InputError, match=said):
        sast_jax.recordings(root)
    (line,) = sast_jax.recordings(root, allow_overlap=True).warnings
    assert line.startswith("1 of 25 test recordings are training recordings")


def test_what_is_not_read_is_named(tmp_path):
    root = folder(tmp_path, 3)
    write(root / "train" / "a" / "picture.gif", b"GIF89a")
    write(root / "train" / "beside.npy", b"x")
    write(root / "labels.json", b"{}")
    write(root / "train" / "a" / "empty.bin", b"")
    write(root / "train" / "a" / "words.txt", b"a word\n")
    write(root / "train" / "b" / "header.raw", b"% evt 3.0\n% format EVT3\n% end\n")
    write(root / "train" / "b" / "none.npy", event_files.npy(*np.zeros((4, 0), int)))
    write(root / "val" / "a" / "1.npy", b"x")
    (root / "test" / "d").mkdir()
    write(root / "train" / "a" / "packed.raw.gz", b"\x1f\x8b" + bytes(20))
    beside, classes, *left = sast_jax.recordings(root).warnings
    assert beside.endswith("2 files there are not read, first train/beside.npy")
    assert classes.endswith("1 folders hold no recording, first test/d")
    for line, end in zip(
        left,
        (
            "3 files are left out, first train/a/empty.bin: no events",
            "1 files are left out, first train/a/packed.raw.gz: an archive (gzip); unpack it first",
            "2 files are left out, first train/a/picture.gif: text without rows of numbers",
        ),
        strict=True,
    ):
        assert line.endswith(end)
    write(root / "train" / "a" / "damaged.npy", b"no array")
    with pytest.raises(InputError, match=r"damaged\.npy: text without rows of numbers"):
        sast_jax.recordings(root)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sensor": (34,)}, "config.data.sensor=(34,) must be height and width"),
        ({"sensor": (0, 3)}, "config.data.sensor=0 must be a number from 1 to 65536"),
        ({"windows": 2}, "config.data.windows=2 must be 1 without a config.data.window"),
        ({"person": "user"}, "config.data.person='user' must hold a group"),
        ({"person": "(x"}, "config.data.person='(x' must be a regular expression"),
        ({"person": "user(x)?"}, "config.data.person='user(x)?' matches nothing in 'a/user0_00"),
        ({"person": "no(t)"}, "config.data.person='no(t)' matches nothing in 'a/user0_00.npy'"),
        ({"person": "(u)", "test_list": "x"}, "both split; leave one"),
        ({"test_list": "none.txt"}, "none.txt: cannot be read"),
        ({"duration": 5}, "config.data.time_bins=10 must be a number from 1 to 5"),
        ({"shift": 2}, "shift is no option; those are allow_overlap, bins"),
        ({"classes": ("a", "b")}, "the class 'c' is none of a, b; rename or remove its folder"),
        ({"test_share": 0.01}, "no recording to test on (0.01 of each class"),
        ({"unit": "hours"}, "config.data.unit='hours' must be s, ms, us or ns"),
        ({"size": 3}, "size is no option; those are"),
    ],
)
def test_what_a_user_can_get_wrong_is_named(options, message, tmp_path):
    root = folder(tmp_path, 4, splits=("",))
    with pytest.raises(InputError) as caught:
        found = sast_jax.recordings(root, **options)
        if found.test is None:
            raise InputError("no test split")
    assert message in str(caught.value)


def test_folders_that_hold_no_classes_are_named(tmp_path):
    with pytest.raises(InputError, match="no such folder; name one with a folder for each class"):
        sast_jax.recordings(tmp_path / "none")
    with pytest.raises(InputError, match="no recordings in folders; put those of a class into"):
        sast_jax.recordings(tmp_path)
    write(tmp_path / "a.raw", b"x")
    with pytest.raises(InputError, match=r"with its name \(there is a\.raw\)"):
        sast_jax.recordings(tmp_path)


def test_values_that_cannot_be_are_said(tmp_path):
    rng = np.random.default_rng(2)
    root = folder(tmp_path, 6, splits=("",))
    x, y, t, p = events_of(rng, 0)
    write(root / "a" / "swapped.npy", event_files.npy(x, y, t, p * 0))
    write(root / "a" / "late.npy", event_files.npy_structured(x, y, t + 5 * 10**6, p))
    x[0] = 40
    write(root / "b" / "wide.npy", event_files.npy_structured(x, y, t, p))
    size = {"sensor": (34, 34), "duration": 100, "test_share": 0.0}
    lines = sast_jax.recordings(root, **size).warnings
    assert any("one polarity alone, first" in line and "swapped.npy" in line for line in lines)
    assert any("outside the sensor of 34x34, 1 in all" in line for line in lines)
    assert not any("begin later" in line for line in lines)
    lines = sast_jax.recordings(root, **size, rebase=False).warnings
    assert any("begin later than 20 ms of the 100 ms" in line for line in lines)
    for label in "abc":
        for path in (root / label).iterdir():
            path.write_bytes(event_files.npy_structured(x // 2, y, t // 1000, p))
    lines = sast_jax.recordings(root, **size).warnings
    assert any("last less than 2 ms" in line and "in milliseconds?" in line for line in lines)


@pytest.mark.slow
def test_a_network_trains_on_them_and_is_evaluated_elsewhere(tmp_path):
    root = folder(tmp_path / "data", 12, KINDS)
    workdir = tmp_path / "run"
    flags = [
        f"--config.data.path={root}",
        "--config.data.sensor=34,34",
        "--config.epochs=8",
        "--config.batch_size=8",
        "--config.network.hidden=32,",
        "--config.network.gain=2.0",
        "--config.learning_rate=0.01",
        "--config.hardware.weight_bits=4,",
        "--config.hardware.draws=0",
        "--config.corruptions.kinds=noise",
    ]
    code, out, err = command("recordings", *flags, f"--config.workdir={workdir}")
    assert code == 0, err
    done = json.loads((workdir / "results.json").read_text())
    (entry,) = done["runs"]
    assert entry["soft_accuracy"] > 0.8
    assert done["class_names"] == ["a", "b", "c"]
    data = done["config"]["data"]
    assert (data["sensor"], data["side"], data["duration"]) == ([34, 34], 34, 100)
    assert data["classes"] == ["a", "b", "c"]
    assert "Own recordings of 3 classes" in (workdir / "report.md").read_text()
    # Elsewhere with another sensor and fewer classes, frames and classes stay those of the run.
    rng = np.random.default_rng(9)
    for i in range(6):
        data = event_files.dat(*events_of(rng, 2), 64, 64)
        write(tmp_path / "new" / "c" / f"{i}.dat", data)
    for i, path in enumerate(sorted((root / "train" / "c").iterdir())[:2]):
        write(tmp_path / "new" / "c" / f"same{i}{path.suffix}", path.read_bytes())
    file = tmp_path / "e.json"
    code, out, err = command(
        "evaluate", f"--checkpoint={workdir}", f"--data_path={tmp_path / 'new'}", f"--json={file}"
    )
    assert code == 0, err
    assert "8 test recordings" in out
    assert "recordings state sensors of 64x64 (6, first c/0.dat)" in out
    assert "where the frames are of 34x34" in out
    assert "warning: 2 of 8 recordings were trained on, first" in out
    assert json.loads(file.read_text())["soft_accuracy"] > 0.8
    write(tmp_path / "new" / "d" / "0.dat", event_files.dat(*events_of(rng, 1)))
    code, _, err = command("evaluate", f"--checkpoint={workdir}", f"--data_path={tmp_path / 'new'}")
    assert code == 2 and "the class 'd' is none of a, b, c" in err


def test_a_run_remembers_what_its_recordings_said(tmp_path):
    root = folder(tmp_path / "data", 6)
    quick = {"epochs": 1, "batch_size": 8, "network.hidden": (4,), "corruptions.kinds": ""}
    quick |= {"hardware.weight_bits": (), "hardware.draws": 0, "data.path": str(root)}
    given = settings.read(settings.config("recordings")).changed(quick)
    run.run(given.changed({"workdir": str(tmp_path / "run")}))
    found = reloaded.load(tmp_path / "run")
    assert found.settings.data.sensor == (28, 34)
    assert found.settings.data.classes == ("a", "b", "c")
    assert reloaded.training_set(found).packed_NxTxP.shape[0] == 18
    with pytest.raises(InputError, match=r"name the folder of your recordings: --config\.data"):
        run.run(given.changed({"data.path": ""}))


def test_frames_without_a_pixel_are_said(tmp_path):
    root = folder(tmp_path, 4)
    assert not sast_jax.recordings(root).warnings
    (train, test) = sast_jax.recordings(root, least=1000).warnings
    assert train.startswith("train: 12 recordings hold events, but no pixel of a frame has 1000")
    assert test.startswith("test: 12 ")


def test_a_window_longer_than_the_recordings_is_said(tmp_path):
    root = folder(tmp_path, 4)
    train, _ = sast_jax.recordings(root, window=1000, windows=2).warnings
    assert train.startswith("train: 12 of 12 recordings are shorter than the window of 1 s")


def test_persons_that_are_taken_for_classes_are_said(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("anna/left/1", "anna/right/2", "ben/left/3", "ben/right/4", "ben/right/5"):
        write(tmp_path / f"{name}.npy", event_files.npy(*events_of(rng, 0)))
    said = "the folders anna, ben are taken for classes; are those left, right in each?"
    found = sast_jax.recordings(tmp_path, test_share=0.5)
    assert any(line.endswith(said) for line in found.warnings)


def test_one_file_of_another_sensor_does_not_change_that_of_all(tmp_path):
    root, rng = folder(tmp_path, 12, ("DAT",), splits=("",)), np.random.default_rng(1)
    write(root / "a" / "hd.dat", event_files.dat(*events_of(rng, 0), 1280, 720))
    found = sast_jax.recordings(root)
    assert found.frame_shape == (34, 34, 2)
    (line,) = found.warnings
    assert "1280x720 (1, first a/hd.dat)" in line and "34x34 (" in line


def test_a_share_stays_where_it_is_when_recordings_come(tmp_path):
    def tested():
        test = sast_jax.recordings(tmp_path).recorded["test"].split
        return {name for name in test.names}

    folder(tmp_path, 20, splits=("",))
    before = tested()
    for label in "abc":
        rng = np.random.default_rng(ord(label))
        write(tmp_path / label / "later.npy", event_files.npy(*events_of(rng, 0)))
    after = tested()
    assert len(before) == len(after) == 12
    assert all(sum(name in after for name in before if f"/{c}/" in name) >= 3 for c in "abc")


def test_a_command_line_names_classes_with_commas():
    config = settings.config("recordings")
    config.data.classes = ("right, left",)  # as --config.data.classes=right,left gives them
    read = settings.read(config)
    assert read.data.classes == ("right", "left")
    kept = read.changed({"data.classes": ("a,b", "c")})  # names of folders
    assert settings.read(json.loads(json.dumps(kept.as_dict()))) == kept


def test_a_nir_file_says_how_frames_are_made_elsewhere(tmp_path, no_pages):
    root = folder(tmp_path / "data", 6)
    quick = {"epochs": 1, "batch_size": 8, "network.hidden": (4,), "corruptions.kinds": ""}
    quick |= {"hardware.weight_bits": (), "hardware.draws": 0, "data.path": str(root)}
    quick |= {"lif.reset": "zero", "workdir": str(tmp_path / "run")}
    run.run(settings.read(settings.config("recordings")).changed(quick))
    nir, file = tmp_path / "a.nir", tmp_path / "e.json"
    code, _, err = command("export", f"--checkpoint={tmp_path / 'run'}", f"--out={nir}")
    assert code == 0, err
    data = event_files.dat(*events_of(np.random.default_rng(4), 1), 64, 64)
    write(tmp_path / "new" / "b" / "0.dat", data)
    flags = f"--file={nir}", f"--data_path={tmp_path / 'new'}", f"--json={file}"
    code, _, err = command("evaluate_nir", *flags)
    assert code == 0, err
    assert json.loads(file.read_text())["recordings"] == 1


def test_many_files_are_read_by_several_processes(tmp_path):
    folder(tmp_path, 90, splits=("",))
    facts = class_folders.find(tmp_path).facts
    assert len(facts) == 270 and {fact["events"] for fact in facts} == {300}
