"""Which recordings a run gets, and that it is told which."""

import nmnist_files as files
import numpy as np
import pytest

from sast_jax.data import sets
from sast_jax.errors import InputError


def test_auto_reads_the_folder_and_simulates_only_for_the_default_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="elsewhere: no recordings"):
        sets.load_nmnist("auto", "elsewhere", time_bins=2)
    simulated = sets.load_nmnist(
        "auto", sets.NMNIST.path, time_bins=2, train_limit=20, test_limit=10
    )
    assert simulated.simulated
    assert simulated.name == "simulated N-MNIST, no real recordings (20 train, 10 test)"
    files.dataset(tmp_path / sets.NMNIST.path)
    real = sets.load_nmnist("auto", sets.NMNIST.path, time_bins=2)
    assert not real.simulated
    assert real.name == "N-MNIST, recordings from data/nmnist (40 train, 40 test)"


def test_what_lies_where_recordings_should_be_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / sets.NMNIST.path
    limits = {"time_bins": 2, "train_limit": 2, "test_limit": 2}

    def warnings(source="auto"):
        made = sets.load_nmnist(source, sets.NMNIST.path, **limits)
        assert made.simulated
        return made.warnings

    assert warnings() == ()
    folder.mkdir(parents=True)
    assert warnings() == ()
    (folder / ".lock").touch()
    assert warnings() == ()
    (folder / "train.zip.part").write_bytes(b"half")
    said = "recordings are simulated: data/nmnist holds "
    wanted = ", but not train.zip or Train/ or test.zip or Test/"
    assert warnings() == (f"{said}train.zip.part{wanted}",)
    for name in ("a", "b", "c", "d"):
        (folder / name).mkdir()
    assert warnings() == (f"{said}a, b, c and 2 more{wanted}",)
    assert warnings("simulated") == ()


def test_tonics_own_folder_is_found(tmp_path):
    files.dataset(tmp_path / "NMNIST")
    for source in ("tonic", "folder"):
        assert len(sets.load_nmnist(source, tmp_path, time_bins=2).train.labels_N) == 40
    with pytest.raises(InputError, match=r"empty: no recordings there; name a .* train\.zip or"):
        sets.load_nmnist("tonic", tmp_path / "empty", time_bins=2)


def test_limits_draw_a_part_that_follows_the_seed(tmp_path):
    files.dataset(tmp_path, per_class=6)

    def numbers(**options):
        part = sets.load_nmnist("folder", tmp_path, time_bins=2, **options)
        return part.train.numbers_N.tolist(), part.test.numbers_N.tolist()

    everything, tests = numbers()
    part, same_tests = numbers(train_limit=20)
    assert same_tests == tests
    assert len(part) == 20
    assert set(part) < set(everything)
    assert numbers(train_limit=20)[0] == part
    assert numbers(train_limit=20, seed=1)[0] != part
    assert numbers(train_limit=1000)[0] == everything


def test_a_split_that_is_not_asked_for_is_not_read(tmp_path):
    files.dataset(tmp_path)
    (tmp_path / "train.zip").write_bytes(b"half")
    source = sets.load_nmnist("folder", tmp_path, time_bins=2, splits=("test",))
    assert source.train is None
    assert len(source.test.labels_N) == 40
    with pytest.raises(InputError, match=r"train\.zip"):
        sets.load_nmnist("folder", tmp_path, time_bins=2)


def test_empty_and_backward_recordings_are_kept_and_told(tmp_path):
    late = files.encode([5000], [1], [1], [0]) + files.encode([10], [2], [2], [1])
    files.write_tree(tmp_path, {"Test/3/00001.bin": b"", "Test/4/00002.bin": late})
    source = sets.load_nmnist("folder", tmp_path, time_bins=2)
    assert source.train is None
    empty, backward = source.warnings
    assert empty == f"test: 1 empty recordings are kept, first {tmp_path}/Test/3/00001.bin"
    assert backward == "test: 1 recordings ran backwards in time; sorted"
    np.testing.assert_array_equal(source.test.events_NxC.sum(axis=1), [0, 2])


def test_a_test_split_of_ones_own_is_told(tmp_path):
    files.dataset(tmp_path / "whole")
    assert sets.load_nmnist("folder", tmp_path / "whole", time_bins=2).caveats == ()
    one = files.encode([10], [2], [2], [1])
    some = {f"Test/{label}/{label + 9996:05}.bin": one for label in range(8)}
    files.write_tree(tmp_path / "part", some)
    absent, foreign = sets.load_nmnist("folder", tmp_path / "part", time_bins=2).caveats
    assert absent == "No test recording is of these classes: 8, 9."
    assert foreign == (
        "The test split is not N-MNIST's own: 3 of its recordings have numbers above 10000, "
        "which only the training split has there."
    )


def test_a_changed_recording_is_read_anew(tmp_path):
    one = files.encode([10], [2], [2], [1])
    files.write_tree(tmp_path, {"Test/3/00001.bin": one})
    first = sets.load_nmnist("folder", tmp_path, time_bins=2)
    files.write_tree(tmp_path, {"Test/3/00001.bin": one + files.encode([20], [3], [3], [1])})
    second = sets.load_nmnist("folder", tmp_path, time_bins=2)
    assert first.fingerprint != second.fingerprint
    assert second.test.events_NxC.sum() == 2
