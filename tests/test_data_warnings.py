"""Recordings that are shared, left out, elsewhere, or hold values that cannot be: all is said."""

import re
import shutil
import zipfile

import gesture_writing
import nmnist_files
import numpy as np
import pytest

from sast_jax.data import sets, survey
from sast_jax.data.recordings import Events
from sast_jax.errors import InputError

GESTURES = {"time_bins": 3, "window": 200_000, "windows_each": 2, "side": 16}


def nmnist(folder, **options):
    return sets.load_nmnist("folder", folder, time_bins=6, **options)


def gestures(folder, **options):
    return sets.load_dvs_gesture("folder", folder, **GESTURES, **options)


def nmnist_tree(folder, change=lambda t, x, y, p: (t, x, y, p), splits=("Train", "Test")):
    """Three recordings a digit, changed before they are written."""
    rng = np.random.default_rng(5)
    files = {}
    for split in splits:
        for number in range(30):
            columns = change(*nmnist_files.random_events(rng, 300))
            files[f"{split}/{number % 10}/{number + 1:05d}.bin"] = nmnist_files.encode(*columns)
    nmnist_files.write_tree(folder, files)
    return files


def test_sound_recordings_are_not_warned_of(tmp_path):
    nmnist_tree(tmp_path / "nmnist")
    assert nmnist(tmp_path / "nmnist").warnings == ()
    gesture_writing.dataset(tmp_path / "gestures", subjects=(1, 2))
    assert gestures(tmp_path / "gestures").warnings == ()


# Splits that share recordings


def test_a_copied_archive_is_refused_with_the_way_to_insist(tmp_path):
    nmnist_files.dataset(tmp_path, splits=["train"])
    with zipfile.ZipFile(tmp_path / "train.zip") as archive:
        content = {name.replace("Train", "Test"): archive.read(name) for name in archive.namelist()}
    nmnist_files.write_zip(tmp_path / "test.zip", content)
    said = (
        r"40 of 40 test recordings are training recordings as well, first .*test\.zip/Test/0/"
        r"00001\.bin as .*train\.zip/Train/0/00001\.bin; .*--config\.data\.allow_overlap=True"
    )
    with pytest.raises(InputError, match=said):
        nmnist(tmp_path)
    (warning,) = nmnist(tmp_path, allow_overlap=True).warnings
    assert warning.startswith("40 of 40 test recordings are training recordings as well")
    assert nmnist(tmp_path, splits=("test",)).warnings == ()


def test_a_part_that_is_shared_under_other_names_is_refused(tmp_path):
    files = nmnist_tree(tmp_path)
    nmnist_files.write_tree(tmp_path, {"Test/3/90000.bin": files["Train/7/00008.bin"]})
    with pytest.raises(InputError, match=r"1 of 31 test .*Test/3/90000\.bin as .*7/00008\.bin"):
        nmnist(tmp_path)


def test_an_archive_and_a_tree_are_compared(tmp_path):
    files = nmnist_tree(tmp_path, splits=("Train",))
    nmnist_files.write_zip(tmp_path / "test.zip", {"Test/0/1.bin": files["Train/0/00001.bin"]})
    with pytest.raises(InputError, match="1 of 1 test recordings"):
        nmnist(tmp_path)


def test_equal_checksums_are_not_yet_equal_recordings(tmp_path, monkeypatch):
    nmnist_tree(tmp_path)
    monkeypatch.setattr("zlib.crc32", lambda data: 1)
    assert not [line for line in nmnist(tmp_path).warnings if "training recordings" in line]


@pytest.mark.parametrize("archive", [True, False])
def test_gestures_that_both_splits_hold_are_refused(archive, tmp_path):
    written = gesture_writing.dataset(tmp_path, subjects=(1, 2))
    shared = gesture_writing.npy(written["ibmGestureTrain/user02_led/4.npy"])
    gesture_writing.write(tmp_path, {"ibmGestureTest/user29_led/4.npy": shared})
    if archive:
        for split in ("Train", "Test"):
            tree = tmp_path / f"ibmGesture{split}"
            names = {str(path.relative_to(tmp_path)): path for path in tree.rglob("*.npy")}
            content = {name: path.read_bytes() for name, path in names.items()}
            gesture_writing.write_archive(tmp_path / f"ibmGesture{split}.tar.gz", content)
            shutil.rmtree(tree)
    with pytest.raises(InputError, match=r"1 of 23 test .*user29_led/4\.npy as .*user02_led/4"):
        gestures(tmp_path)
    assert len(gestures(tmp_path, allow_overlap=True).warnings) == 1


@pytest.mark.parametrize("split, other", [("train", "test"), ("test", "train")])
def test_the_other_splits_recordings_are_refused(split, other, tmp_path):
    files = nmnist_tree(tmp_path / "tree")
    wrong = {n: data for n, data in files.items() if n.startswith(other.capitalize())}
    nmnist_files.write_zip(tmp_path / "zip" / f"{split}.zip", wrong)
    said = f"holds 30 recordings of the {other} split, first .*, and none of the {split} split"
    with pytest.raises(InputError, match=said):
        nmnist(tmp_path / "zip", splits=(split,))
    nested = {f"{split}/{name}": data for name, data in wrong.items()}
    nmnist_files.write_tree(tmp_path / "nested", nested)
    with pytest.raises(InputError, match=said):
        nmnist(tmp_path / "nested", splits=(split,))


def test_an_archive_of_the_other_gestures_is_refused(tmp_path):
    written = gesture_writing.dataset(tmp_path / "g", subjects=(1,))
    content = {n: gesture_writing.npy(rows) for n, rows in written.items() if "Train" in n}
    gesture_writing.write_archive(tmp_path / "ibmGestureTest.tar.gz", content)
    with pytest.raises(InputError, match="holds 11 gestures of the train split, first ibmGestureT"):
        gestures(tmp_path, splits=("test",))


def test_what_lies_beside_a_split_in_its_archive_is_named(tmp_path):
    files = nmnist_tree(tmp_path / "tree", splits=("Train",))
    content = files | {"extra/5/90000.bin": nmnist_files.encode([1], [1], [1], [1])}
    nmnist_files.write_zip(tmp_path / "train.zip", content)
    found = nmnist(tmp_path, splits=("train",))
    assert len(found.train.labels_N) == 30
    (warning,) = found.warnings
    assert warning.endswith("train.zip: 1 files there are not read, first extra/5/90000.bin")
    nmnist_files.write_tree(tmp_path / "tree", {"Train/train/5/90000.bin": b""})
    assert len(nmnist(tmp_path / "tree", splits=("train",)).train.labels_N) == 31


def test_what_lies_beside_a_folder_with_recordings_does_not_matter(tmp_path):
    nmnist_files.dataset(tmp_path)
    nmnist_files.write_tree(tmp_path, {"notes/test.zip": b"x", "old/Train/word/1.bin": b""})
    assert len(nmnist(tmp_path).train.labels_N) == 40


def test_copies_within_a_split_are_named(tmp_path):
    files = nmnist_tree(tmp_path)
    for name in ("00001 (1).bin", "00001 - Copy.bin"):
        nmnist_files.write_tree(tmp_path, {f"Train/0/{name}": files["Train/0/00001.bin"]})
    (warning,) = nmnist(tmp_path).warnings
    assert warning.startswith("train: 2 recordings are copies, first ")
    assert warning.endswith("Train/0/00001 (1).bin")  # the first by name


# Nothing is left out in silence


def test_links_are_followed_but_not_in_circles(tmp_path):
    files = nmnist_tree(tmp_path / "all")
    (tmp_path / "part").mkdir()
    for split in ("Train", "Test"):
        (tmp_path / "part" / split).mkdir()
        for digit in range(10):
            link = tmp_path / "part" / split / str(digit)
            link.symlink_to(tmp_path / "all" / split / str(digit))
    (tmp_path / "all" / "Train" / "0" / "again").symlink_to(tmp_path / "all" / "Train" / "0")
    for folder in ("part", "all"):
        found = nmnist(tmp_path / folder)
        assert len(found.train.labels_N) == len(files) // 2 and found.warnings == ()


def test_endings_and_names_count_in_any_case(tmp_path):
    files = nmnist_tree(tmp_path / "a")
    lower = {name.lower().replace(".bin", ".BIN"): data for name, data in files.items()}
    nmnist_files.write_tree(tmp_path / "b", lower)
    for split in ("Train", "Test"):
        own = {n: data for n, data in files.items() if n.startswith(split)}
        nmnist_files.write_zip(tmp_path / "c" / f"{split}.zip", own)
    for other in ("b", "c"):
        one, two = nmnist(tmp_path / "a"), nmnist(tmp_path / other)
        np.testing.assert_array_equal(one.train.packed_NxTxP, two.train.packed_NxTxP)
        assert two.warnings == ()
    gesture_writing.dataset(tmp_path / "g", subjects=(1,))
    path = tmp_path / "g" / "ibmGestureTrain" / "user01_led"
    (path / "3.npy").rename(path / "3.NPY")
    (tmp_path / "g" / "ibmGestureTest").rename(tmp_path / "g" / "ibmgesturetest")
    found = gestures(tmp_path / "g")
    assert (len(found.train.truth_M), len(found.test.truth_M), found.warnings) == (11, 11, ())


def test_two_archives_that_differ_in_case_alone_are_named(tmp_path):
    nmnist_files.dataset(tmp_path)
    (tmp_path / "train.zip").rename(tmp_path / "TRAIN.zip")
    shutil.copy(tmp_path / "TRAIN.zip", tmp_path / "Train.zip")
    with pytest.raises(InputError, match=r"holds TRAIN\.zip and Train\.zip; keep one of them"):
        nmnist(tmp_path)


def test_recordings_are_found_one_level_down(tmp_path):
    nmnist_tree(tmp_path / "N-MNIST")
    assert len(nmnist(tmp_path).train.labels_N) == 30
    nmnist_tree(tmp_path / "again")
    with pytest.raises(InputError, match=r"recordings lie in .*N-MNIST and .*again; name one"):
        nmnist(tmp_path)
    gesture_writing.dataset(tmp_path / "other" / "unpacked", subjects=(1,))
    assert len(gestures(tmp_path / "other").train.truth_M) == 11


def test_what_is_not_read_is_counted(tmp_path):
    nmnist_tree(tmp_path)
    others = {"Train/3/00007.npy": b"x", "Train/.DS_Store": b"x", "Train/README.md": b"x"}
    nmnist_files.write_tree(tmp_path, others | {"Train/3/00008.raw": b"x"})
    (warning,) = nmnist(tmp_path).warnings
    assert warning.endswith("Train: 2 files there are not read, first Train/3/00007.npy")
    nmnist_files.dataset(tmp_path, splits=["train"])
    (warning,) = nmnist(tmp_path).warnings
    assert warning.endswith("Train is not read, as train.zip lies beside it")
    gesture_writing.dataset(tmp_path / "g", subjects=(1,))
    gesture_writing.write(tmp_path / "g", {"ibmGestureTrain/subject9_led/3.npy": b"x"})
    (warning,) = gestures(tmp_path / "g").warnings
    assert "1 files there are not read, first ibmGestureTrain/subject9_led/3.npy" in warning


def test_classes_that_one_split_lacks_are_named(tmp_path):
    nmnist_tree(tmp_path)
    shutil.rmtree(tmp_path / "Train" / "4")
    (warning,) = nmnist(tmp_path).warnings
    assert warning == "train: no recording is of these classes of the test split: 4"


@pytest.mark.parametrize("name", ["468j46mzdv-1.zip", "DvsGesture.tar.gz", "a/b/user1.aedat"])
def test_a_default_folder_with_something_to_unpack_is_not_simulated(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind, load in (("nmnist", sets.load_nmnist), ("dvs_gesture", sets.load_dvs_gesture)):
        nmnist_files.write_tree(tmp_path / "data" / kind, {name: b"packed"})
        with pytest.raises(InputError, match=f"no recordings found; there is {name}") as caught:
            load("auto", f"data/{kind}", time_bins=2)
        unpacked = "which may have to be unpacked" in str(caught.value)
        assert unpacked == (not name.endswith(".aedat"))


@pytest.mark.parametrize("flag, method, said", [(1, 8, "encrypted"), (0, 9, "packed by Deflate64")])
def test_archives_that_python_cannot_unpack_are_not_called_damaged(flag, method, said, tmp_path):
    nmnist_files.dataset(tmp_path, splits=["train"])
    path = tmp_path / "train.zip"
    whole = bytearray(path.read_bytes())
    at = whole.index(b"PK\x01\x02")
    whole[at + 8] |= flag
    whole[at + 10] = method
    path.write_bytes(bytes(whole))
    with pytest.raises(InputError, match=f"{said}, which cannot be read in place; unpack the"):
        nmnist(tmp_path, splits=("train",))


# Values that cannot be

TIMES = {
    "late": (lambda t: t + 5_000_000, "begin later than 62 ms .*since the recorder was started"),
    "epoch": (lambda t: t + 16 * 10**14, "begin later than 62 ms .*since 1970"),
    "seconds": (lambda t: t // 10**6 + (t > 150_000), "have all their events in one of 6|seconds"),
    "milliseconds": (lambda t: t // 1000, "last less than 6.2 ms.*in milliseconds"),
    "nanoseconds": (lambda t: t * 1000, "last more than 387.5 ms.*in nanoseconds"),
    "still": (lambda t: t * 0, "have all their events at one time; is the clock missing"),
    "jump": (lambda t: t + 2**16 * (t > 150_000), "pause for longer .*did the clock jump"),
    "past": (lambda t: t * 4 // 3, "last more than|end later than"),
}


@pytest.mark.parametrize("kind", TIMES)
def test_times_that_cannot_be_are_said(kind):
    rng = np.random.default_rng(0)
    change, said = TIMES[kind]
    t = change(np.sort(rng.integers(0, 300_000, (4, 300)), axis=1).astype(np.int64))
    p = rng.integers(0, 2, 1200)
    recording, zeros = np.repeat(np.arange(4), 300), np.zeros(1200, int)
    events = Events(recording, t.ravel(), zeros, zeros, p, np.zeros(4, bool))
    expected = survey.Expected(34, 34, 310_000, 6)
    lines = survey.warnings(survey.of_events(events), list("abcd"), expected)
    (line,) = [line for line in lines if line.startswith("4 of 4 recordings ")][:1]
    assert re.search(said, line)
    assert line.endswith(", first a")


def test_times_that_cannot_be_are_in_the_warnings_each_time(tmp_path):
    nmnist_tree(tmp_path, lambda t, x, y, p: (t + 5_000_000, x, y, p))
    for _ in "read", "cached":
        train, test = nmnist(tmp_path).warnings
        assert train.startswith("train: 30 of 30 recordings begin later than 62 ms of the 310 ms")
        assert train.endswith("Train/0/00001.bin") and test.startswith("test: 30 of 30")


def test_gestures_in_seconds_are_said(tmp_path):
    written = gesture_writing.dataset(tmp_path, subjects=(1,))
    seconds = {n: gesture_writing.npy(r * np.array([1, 1, 1, 1e-3])) for n, r in written.items()}
    gesture_writing.write(tmp_path, seconds)
    train, _ = gestures(tmp_path).warnings
    assert train.startswith(
        "train: 11 of 11 recordings last less than 120 ms, where 6 s are expected"
    )


def test_one_polarity_alone_is_said(tmp_path):
    nmnist_tree(tmp_path, lambda t, x, y, p: (t, x, y, p * 0))
    train, _ = nmnist(tmp_path).warnings
    assert train.startswith("train: 30 of 30 recordings have events of one polarity alone")


@pytest.mark.parametrize(
    "x, y, cause",
    [(34, 3, "counted from 1"), (3, 200, "another sensor, of 34x201 pixels or more")],
)
def test_a_few_events_outside_the_sensor_are_left_out_and_said(x, y, cause, tmp_path):
    def change(t, xs, ys, p):
        xs[5], ys[5] = x, y
        return t, xs, ys, p

    nmnist_tree(tmp_path, change)
    found = nmnist(tmp_path)
    assert found.train.events_NxC.sum() == 30 * 299
    assert found.warnings[0].startswith(
        "train: 30 of 30 recordings have events outside the sensor of 34x34, 30 in all, which are "
    )
    assert cause in found.warnings[0]


def test_swapped_pixels_are_told_from_another_sensor():
    assert survey.elsewhere(170, 230, 180, 240) != survey.elsewhere(170, 230, 240, 180)
    assert survey.elsewhere(170, 230, 180, 240) == "are x and y swapped?"


def test_recordings_of_another_sensor_are_refused(tmp_path):
    nmnist_tree(tmp_path, lambda t, x, y, p: (t, x + 100, y, p))
    with pytest.raises(InputError, match=r"lies outside the 34x34 sensor and 299 others; .*not N-"):
        nmnist(tmp_path)
    written = gesture_writing.dataset(tmp_path / "g", subjects=(1,))
    wide = {n: gesture_writing.npy(r + np.array([200, 0, 0, 0])) for n, r in written.items()}
    gesture_writing.write(tmp_path / "g", wide)
    with pytest.raises(InputError, match=r"0\.npy: .* lies outside the 128x128 sensor"):
        gestures(tmp_path / "g")
