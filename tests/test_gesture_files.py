"""Gestures as tonic keeps them come back event for event, from a tree and from an archive."""

import functools
import hashlib
import os

import gesture_writing as files
import numpy as np
import numpy.lib.recfunctions  # which tonic takes for granted
import pytest
import tonic

from sast_jax.data.layouts import tonic_gestures
from sast_jax.data.layouts.split import Split
from sast_jax.errors import InputError


def rows_of(split, indices=None):
    everything = range(len(split.names)) if indices is None else indices
    return list(split.read(everything))


@pytest.fixture
def written(tmp_path):
    """The same gestures as a tree and as an archive, whose order is another one."""
    content = files.dataset(tmp_path / "tree", subjects=(7, 2), labels=(0, 10, 3), splits=["Train"])
    names = [list(content)[i] for i in (5, 0, 1, 4, 2, 3)]
    encoded = {name: files.npy(content[name]) for name in names}
    other = {"ibmGestureTrain/readme.txt": b"?", "ibmGestureTrain/user07_led/._0.npy": b"?"}
    files.write_archive(tmp_path / "archive" / "ibmGestureTrain.tar.gz", other | encoded)
    return tmp_path, content


@pytest.mark.parametrize("kind", ["tree", "archive"])
def test_events_labels_and_subjects_come_back(written, kind):
    folder, content = written
    split = tonic_gestures.find_split(folder / kind, "train")
    assert tonic_gestures.find_split(folder / kind, "test") is None
    assert len(split.names) == len(content) == 6
    for i, rows in enumerate(rows_of(split)):
        name = split.names[i][split.names[i].index("ibmGestureTrain/") :].replace(".tar.gz/", "/")
        name = name[name.rindex("ibmGestureTrain/") :]
        expected = content[name] * np.array([1, 1, 1, 1000])
        np.testing.assert_array_equal(rows, expected)
        assert f"user{split.subjects_N[i]:02d}_led/{split.labels_N[i]}.npy" in name
    few = rows_of(split, [1, 4])
    np.testing.assert_array_equal(few[1], rows_of(split)[4])
    data = tonic_gestures.select(split, np.array([1, 4]), chunk=1)
    first, second = data.events()
    for events, rows in zip((first, second), few, strict=True):
        columns = (events.x_M, events.y_M, events.p_M, events.t_M)
        np.testing.assert_array_equal(np.stack(columns, axis=1), rows)
    assert data.subjects_N.tolist() == split.subjects_N[[1, 4]].tolist()
    assert data.labels_N.tolist() == split.labels_N[[1, 4]].tolist()


def test_tonic_reads_the_same_files_the_same(tmp_path):
    place = tmp_path / "DVSGesture"
    content = files.dataset(place, subjects=range(1, 11), splits=["Train"])
    encoded = {name: files.npy(rows) for name, rows in content.items()}
    files.write_archive(place / "ibmGestureTrain.tar.gz", encoded)
    theirs = tonic.datasets.DVSGesture(str(tmp_path), train=True)
    ours = tonic_gestures.find_split(place, "train")
    assert len(theirs) == len(ours.names) == 110
    known = dict(zip(ours.names, rows_of(ours), strict=True))
    labels = dict(zip(ours.names, ours.labels_N, strict=True))
    subjects = dict(zip(ours.names, ours.subjects_N, strict=True))
    for i in range(0, 110, 7):
        events, target = theirs[i]
        name = theirs.data[i].replace("ibmGestureTrain/", "ibmGestureTrain.tar.gz/ibmGestureTrain/")
        assert (labels[name], subjects[name]) == (target, theirs.users[i])
        for column, field in enumerate("xypt"):
            np.testing.assert_array_equal(known[name][:, column], events[field])


KINDS = [bool, np.uint8, np.uint16, np.int32, np.int64, np.float16, np.float32, np.float64]


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_any_numbers_are_read(kind):
    rows = files.random_rows(np.random.default_rng(0)).astype(kind)
    found = tonic_gestures.decode(files.npy(rows), "a")
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, rows.astype(int) * np.array([1, 1, 1, 1000]))


def test_times_may_lie_between_milliseconds():
    rows = tonic_gestures.decode(files.npy(np.array([[1, 2, 0, 0.25], [3, 4, 1, 7.0009]])), "a")
    assert rows.tolist() == [[1, 2, 0, 250], [3, 4, 1, 7000]]


def test_an_empty_gesture_and_times_that_run_backwards_are_kept():
    assert tonic_gestures.decode(files.npy(np.zeros((0, 4))), "a").shape == (0, 4)
    late = np.array([[1, 2, 0, 9], [3, 4, 1, 5]])
    split = Split(
        ("a", "b"),
        np.array([0, 1]),
        "",
        lambda _: iter([late, late[::-1]]),
        lambda: np.array([1, 2]),
        subjects_N=np.array([1, 1]),
    )
    (events,) = tonic_gestures.select(split, np.arange(2)).events()
    assert events.unsorted_N.tolist() == [True, False]
    assert events.t_M.tolist() == [5, 9, 5, 9]
    assert events.x_M.tolist() == [3, 1, 3, 1]


WHOLE = files.npy(files.random_rows(np.random.default_rng(0)))
BAD = {
    "cut off": (WHOLE[:-9], "not a whole array"),
    "only a header": (WHOLE[:40], "not a whole array"),
    "no array": (b"hello", "not a whole array"),
    "no zip": (b"PK\x03\x04" + WHOLE, "not a whole array"),
    "a long header": (WHOLE[:8] + b"\xff\xff" + b" " * 2**16, "not a whole array"),
    "objects": (files.npy(np.array([[1, 2, 0, 3]], object)), "not a whole array"),
    "words": (files.npy(np.array([["a", "b", "c", "d"]])), "not an array of numbers"),
    "three columns": (files.npy(np.zeros((5, 3))), r"shape \(5, 3\)"),
    "one row": (files.npy(np.zeros(4)), r"shape \(4,\)"),
    "no numbers": (files.npy(np.full((2, 4), np.nan)), "not finite"),
    "no end": (files.npy(np.full((2, 4), np.inf)), "not finite"),
    "far too large": (files.npy(np.array([[1, 1, 0, 1e300]])), "larger than an hour"),
    "far too large a place": (files.npy(np.array([[1e300, 1, 0, 5]])), "larger than an hour"),
    "more than an hour": (files.npy(np.array([[1, 1, 0, 3_600_001]])), "larger than an hour"),
    "the largest": (files.npy(np.full((1, 4), 2**64 - 1, np.uint64)), "larger than an hour"),
    "another polarity": (files.npy(np.array([[1, 1, -1, 5]])), "polarity -1"),
    "between places": (files.npy(np.array([[1, 1, 0, 5], [-0.9, 2, 1, 9]])), "x=-0.9, y=2.0"),
    "between polarities": (files.npy(np.array([[1, 1, 1.5, 5]])), "polarity 1.5"),
    "just before the start": (files.npy(np.array([[1, 1, 1, -0.0005]])), "at -1 microseconds"),
    "before the start": (files.npy(np.array([[1, 1, 1, -5]])), "at -5000 microseconds"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("data, message", BAD.values(), ids=BAD)
def test_bad_arrays_are_named_in_one_line(data, message):
    with pytest.raises(InputError, match=message) as error:
        tonic_gestures.decode(data, "bad.npy")
    assert str(error.value).startswith("bad.npy: ")
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore")  # NumPy's and Python's own, of odd headers
def test_a_damaged_header_is_named_in_one_line():
    flips = [1 << bit for bit in range(8)]
    for i, whole in enumerate(WHOLE[:128]):
        for byte in (0, 9, 10, 255, *b"'(),:0<L\\{}", *(whole ^ flip for flip in flips)):
            try:
                tonic_gestures.decode(WHOLE[:i] + bytes([byte]) + WHOLE[i + 1 :], "bad.npy")
            except InputError as error:
                assert str(error).startswith("bad.npy: ")
                assert "\n" not in str(error)


def test_objects_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return functools.partial(open, str(tmp_path / "sprung"), "w"), ()

    data = files.npy(np.array([[Trap()] * 4], object))
    with pytest.raises(InputError, match="not a whole array"):
        tonic_gestures.decode(data, "a")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("keep", [0, 5, 0.3, 0.7, 0.99])
def test_a_truncated_archive_is_named(written, keep):
    folder, _ = written
    path = folder / "archive" / "ibmGestureTrain.tar.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(InputError, match=r"ibmGestureTrain\.tar\.gz.*(cut off|no gestures)"):
        tonic_gestures.find_split(folder / "archive", "train")


def test_an_archive_damaged_in_the_middle_is_named(written):
    folder, _ = written
    path = folder / "archive" / "ibmGestureTrain.tar.gz"
    whole = path.read_bytes()
    split = tonic_gestures.find_split(folder / "archive", "train")
    middle = len(whole) // 2
    path.write_bytes(
        whole[:middle] + bytes(255 - b for b in whole[middle : middle + 40]) + whole[middle + 40 :]
    )
    # What is read before the checksum may be nonsense already.
    with pytest.raises(InputError, match=r"ibmGestureTrain\.tar\.gz.*(damaged|fetch it again)"):
        rows_of(split)


@pytest.mark.parametrize("indices", [[0], [0, 1], range(6)], ids=len)
def test_a_gesture_that_only_the_checksum_gives_away_is_named(tmp_path, indices):
    content = files.dataset(tmp_path / "tree", subjects=(7, 2), labels=(0, 10, 3), splits=["Train"])
    path = tmp_path / "ibmGestureTrain.tar.gz"
    encoded = {name: files.npy(rows) for name, rows in content.items()}
    files.write_archive(path, encoded, compresslevel=0)
    split = tonic_gestures.find_split(tmp_path, "train")
    first = next(iter(encoded.values()))
    whole = path.read_bytes()
    at = whole.index(first) + 128  # the first event's x
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    data = tonic_gestures.select(split, np.array(indices), chunk=2)
    with pytest.raises(InputError, match=r"ibmGestureTrain\.tar\.gz.*damaged here \(CRC"):
        list(data.events())


@pytest.mark.parametrize("label", ["11", "99", "wave", "-1"])
def test_a_label_out_of_range_is_named(tmp_path, label):
    files.write(tmp_path, {f"ibmGestureTest/user01_led/{label}.npy": WHOLE})
    with pytest.raises(InputError, match=f"{label}.npy: '{label}' is no class 0-10"):
        tonic_gestures.find_split(tmp_path, "test")


def test_a_label_longer_than_numbers_are_is_named(tmp_path):
    name = f"ibmGestureTest/user01_led/{'1' * 5000}.npy"
    files.write_archive(tmp_path / "ibmGestureTest.tar.gz", {name: WHOLE})
    with pytest.raises(InputError, match=r"'1+' is no class 0-10"):
        tonic_gestures.find_split(tmp_path, "test")


def test_folders_without_gestures_are_named(tmp_path):
    files.write(tmp_path, {"ibmGestureTest/somebody/1.npy": WHOLE})
    with pytest.raises(InputError, match="no gestures; they should be at ibmGestureTest/user"):
        tonic_gestures.find_split(tmp_path, "test")


def test_the_fingerprint_follows_the_content(written):
    folder, content = written
    path = folder / "archive" / "ibmGestureTrain.tar.gz"
    first = tonic_gestures.find_split(folder / "archive", "train").fingerprint
    assert tonic_gestures.find_split(folder / "archive", "train").fingerprint == first
    encoded = {name: files.npy(rows[:-1]) for name, rows in content.items()}
    files.write_archive(path, encoded)
    assert tonic_gestures.find_split(folder / "archive", "train").fingerprint != first


def test_a_trees_fingerprint_is_of_names_sizes_and_times(tmp_path):
    files.write(tmp_path, {f"ibmGestureTrain/user01_led/{label}.npy": WHOLE for label in (3, 0)})
    lines = ""  # caches and runs on disk go by them
    for label in (0, 3):
        os.utime(tmp_path / f"ibmGestureTrain/user01_led/{label}.npy", ns=(1, 10**18 + label))
        lines += f"user01_led/{label}.npy {len(WHOLE)} {10**18 + label}\n"
    found = tonic_gestures.find_split(tmp_path, "train").fingerprint
    assert found == hashlib.sha256(lines.encode()).hexdigest()
