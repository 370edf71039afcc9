"""Decoding against tonic's reader and against what was written, and each way a file can be bad."""

import hashlib
import io
import os

import nmnist_files as files
import numpy as np
import pytest
import tonic.io
from hypothesis import given, settings, strategies as st

from sast_jax.data.layouts import nmnist_archives
from sast_jax.errors import InputError

DTYPE = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])


def tonic_reads(raw: bytes):
    return tonic.io.read_mnist_file(io.BytesIO(raw), dtype=DTYPE, is_stream=True)


def assert_equals_tonic(raws):
    events = nmnist_archives.decode(raws, [str(i) for i in range(len(raws))])
    theirs = [tonic_reads(raw) for raw in raws]
    for name, ours in (("t", events.t_M), ("x", events.x_M), ("y", events.y_M), ("p", events.p_M)):
        np.testing.assert_array_equal(ours, np.concatenate([events[name] for events in theirs]))
    lengths = [len(events) for events in theirs]
    np.testing.assert_array_equal(events.recording_M, np.repeat(np.arange(len(raws)), lengths))
    return events


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_decoding_equals_tonic_with_overflow_markers_and_empty_recordings(counts, seed):
    rng = np.random.default_rng(seed)
    written = [files.random_events(rng, count) for count in counts]
    events = assert_equals_tonic([files.encode(*w) for w in written])
    np.testing.assert_array_equal(events.t_M, np.concatenate([w[0] for w in written]))


def test_markers_of_one_recording_do_not_reach_the_next():
    late = files.encode([100_000], [1], [2], [0])
    early = files.encode([5], [3], [4], [1])
    events = nmnist_archives.decode([late, early], ["late", "early"])
    assert events.t_M.tolist() == [100_000, 5]


def test_real_recordings_equal_tonic(real_data):
    split = nmnist_archives.find_split(real_data / "nmnist_small", "train")
    raws = list(split.read(range(50)))
    events = assert_equals_tonic(raws)
    assert 100_000 < len(events.t_M) < 300_000
    assert not events.unsorted_N.any()


def test_time_running_backwards_is_sorted_and_counted():
    forward = files.encode([1, 2], [0, 1], [0, 0], [0, 0])
    backward = files.encode([9, 3, 5], [7, 8, 9], [0, 0, 0], [1, 0, 1])
    events = nmnist_archives.decode([backward, forward], ["b", "f"])
    assert events.unsorted_N.tolist() == [True, False]
    assert events.t_M.tolist() == [3, 5, 9, 1, 2]
    assert events.x_M.tolist() == [8, 9, 7, 0, 1]
    assert events.recording_M.tolist() == [0, 0, 0, 1, 1]


def test_archive_and_tree_read_the_same(tmp_path):
    rng = np.random.default_rng(0)
    content = {
        f"Train/{digit}/{number:05d}.bin": files.encode(*files.random_events(rng))
        for digit, number in ((5, 1), (0, 2), (4, 3))
    }
    files.write_zip(tmp_path / "zip" / "train.zip", content)
    files.write_tree(tmp_path / "tree", content)
    archive = nmnist_archives.find_split(tmp_path / "zip", "train")
    tree = nmnist_archives.find_split(tmp_path / "tree", "train")
    for split in (archive, tree):
        assert split.labels_N.tolist() == [0, 4, 5]
        assert split.numbers_N.tolist() == [2, 3, 1]
        assert list(split.read([2, 0])) == [
            content["Train/5/00001.bin"],
            content["Train/0/00002.bin"],
        ]
    assert nmnist_archives.find_split(tmp_path / "tree", "test") is None


def test_fingerprint_follows_content(tmp_path):
    raw = files.encode([1], [2], [3], [0])
    prints = set()
    for i, content in enumerate((raw, raw + raw, raw)):
        files.write_zip(tmp_path / str(i) / "train.zip", {"Train/1/1.bin": content})
        prints.add(nmnist_archives.find_split(tmp_path / str(i), "train").fingerprint)
    assert len(prints) == 2


def test_a_trees_fingerprint_is_of_names_sizes_and_times(tmp_path):
    files.write_tree(tmp_path, {"Train/1/2.bin": b"abcde", "Train/0/1.bin": b""})
    for path in tmp_path.glob("Train/*/*.bin"):
        os.utime(path, ns=(1, 10**18))
    lines = f"0/1.bin 0 {10**18}\n1/2.bin 5 {10**18}\n"  # caches and runs on disk go by them
    found = nmnist_archives.find_split(tmp_path, "train").fingerprint
    assert found == hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\0" * 7, "7 bytes is no multiple of 5"),
        (files.encode([1, 2], [3, 34], [4, 5], [0, 0]), "x=34, y=5 lies outside the 34x34"),
        (files.encode([1], [0], [200], [0]), "y=200"),
    ],
    ids=["length", "x", "y"],
)
def test_bad_recordings_are_named(raw, message):
    with pytest.raises(InputError, match=message) as error:
        nmnist_archives.decode([files.encode([1], [1], [1], [1]), raw], ["good.bin", "bad.bin"])
    assert str(error.value).startswith("bad.bin: ")
    assert "\n" not in str(error.value)


def test_truncated_and_damaged_archives_are_named(tmp_path):
    files.dataset(tmp_path, splits=["train"])
    path = tmp_path / "train.zip"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"train\.zip: not a whole zip archive"):
        nmnist_archives.find_split(tmp_path, "train")
    directory = whole.index(b"PK\x01\x02")  # of the archive, an entry a recording
    newer = whole[: directory + 6] + b"\xeb" + whole[directory + 7 :]  # a version nobody reads
    path.write_bytes(newer)
    with pytest.raises(InputError, match=r"train\.zip: not a whole zip archive"):
        nmnist_archives.find_split(tmp_path, "train")
    path.write_bytes(whole[:100] + b"\xff" * 50 + whole[150:])
    split = nmnist_archives.find_split(tmp_path, "train")
    with pytest.raises(InputError, match="damaged in the archive"):
        list(split.read(range(len(split.names))))


def test_folders_that_are_no_digit_or_hold_nothing(tmp_path):
    files.write_tree(tmp_path / "a", {"Train/ten/1.bin": b""})
    with pytest.raises(InputError, match="'ten' is no digit"):
        nmnist_archives.find_split(tmp_path / "a", "train")
    (tmp_path / "b" / "Test").mkdir(parents=True)
    with pytest.raises(InputError, match="no recordings"):
        nmnist_archives.find_split(tmp_path / "b", "test")
    files.write_zip(tmp_path / "c" / "test.zip", {"readme.txt": b""})
    with pytest.raises(InputError, match="no recordings"):
        nmnist_archives.find_split(tmp_path / "c", "test")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    files.write_tree(tmp_path, {"Train/3/00001.bin": b"", "Train/4/00002.bin": b""})
    scandir = os.scandir

    def closed(path):  # permissions do not stop root, under which tests may run
        if str(path).endswith("/4"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(InputError, match=r"cannot read .*Train/4: Permission denied"):
        nmnist_archives.find_split(tmp_path, "train")


def test_an_archive_that_is_gone_when_it_is_read_is_named(tmp_path):
    files.dataset(tmp_path)
    split = nmnist_archives.find_split(tmp_path, "train")
    (tmp_path / "train.zip").unlink()
    with pytest.raises(InputError, match=r"train\.zip: damaged in the archive"):
        next(split.read([0]))
