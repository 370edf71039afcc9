"""SHD's layout, and the simulated words that stand in for it."""

import json
import zipfile

import h5py
import numpy as np
import pytest
from commands import command
from test_tonic_sets import shd

from experiments.configs import shd as shd_config
from sast_jax.data import sets
from sast_jax.data.layouts import spoken_hdf5
from sast_jax.data.simulated import words
from sast_jax.errors import InputError
from sast_jax.runs import settings


def loaded(folder, **keys):
    return sets.ShdData(path=str(folder), source="folder", **keys).load()


def test_rows_are_read_as_hdf5_holds_them(tmp_path):
    shd(tmp_path)
    found = loaded(tmp_path, channels=700, time_bins=140)
    assert found.name.endswith("(48 train, 48 test)") and found.warnings == ()
    assert found.frame_shape == (1, 700, 2)
    with h5py.File(tmp_path / "SHD" / "shd_train.h5") as file:
        for i in (0, 17):
            times = np.rint(np.asarray(file["spikes/times"][i], float) * 1e6).astype(int)
            frames = np.zeros((140, 700, 2), np.uint8)
            frames[times // 10_000, file["spikes/units"][i], 1] = 1
            bits = np.unpackbits(found.train.packed_NxTxP[i], axis=-1, count=1400)
            np.testing.assert_array_equal(bits.reshape(140, 700, 2), frames)
        np.testing.assert_array_equal(found.train.labels_N, file["labels"])


def test_an_archive_gives_the_same(tmp_path):
    shd(tmp_path)
    for split in ("train", "test"):
        path = tmp_path / "SHD" / f"shd_{split}.h5"
        (tmp_path / "packed").mkdir(exist_ok=True)
        archive = tmp_path / "packed" / f"shd_{split}.h5.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.write(path, path.name)
    one, other = loaded(tmp_path), loaded(tmp_path / "packed")
    np.testing.assert_array_equal(one.train.packed_NxTxP, other.train.packed_NxTxP)
    (tmp_path / "packed" / "shd_train.h5.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"shd_train\.h5\.zip: not a whole HDF5 file"):
        loaded(tmp_path / "packed")


def test_what_is_wrong_with_the_file_is_named(tmp_path):
    shd(tmp_path)
    path = tmp_path / "SHD" / "shd_test.h5"
    with h5py.File(path, "r+") as file:
        file["spikes/units"][3] = np.array([1, 2], np.uint16)
    with pytest.raises(InputError, match=r"shd_test\.h5/3: times or channels that cannot be"):
        loaded(tmp_path)
    with h5py.File(path, "r+") as file:
        file["labels"][0] = 20
    with pytest.raises(InputError, match="a label 20, where SHD has 0 to 19"):
        loaded(tmp_path)
    with h5py.File(path, "w") as file:
        file["labels"] = [1]
    with pytest.raises(InputError, match="lacks spikes/times, spikes/units or labels"):
        loaded(tmp_path)


def test_splits_that_share_recordings_are_refused(tmp_path):
    shd(tmp_path)
    both = [h5py.File(tmp_path / "SHD" / f"shd_{s}.h5", "r+") for s in ("train", "test")]
    for key in ("spikes/times", "spikes/units"):
        both[1][key][5] = both[0][key][7]
    for file in both:
        file.close()
    with pytest.raises(InputError, match=r"1 of 48 test .*shd_test\.h5/5 as .*shd_train\.h5/7"):
        loaded(tmp_path)


def test_simulated_words_are_of_other_speakers_and_repeatable():
    one, again = (words.simulate("train", seed=0, limit=40) for _ in range(2))
    for a, b in zip(one.events(), again.events(), strict=True):
        np.testing.assert_array_equal(a.t_M, b.t_M)
        np.testing.assert_array_equal(a.x_M, b.x_M)
        assert a.x_M.max() < 700 and a.t_M.max() < spoken_hdf5.EXTENT.duration
        assert (np.diff(a.t_M)[np.diff(a.recording_M) == 0] >= 0).all()
    assert set(words.SPEAKERS["train"]).isdisjoint(words.SPEAKERS["test"])
    other = next(words.simulate("train", seed=1, limit=40).events())
    assert len(other.t_M) != len(next(one.events()).t_M)
    whole = words.simulate("test", seed=0)
    assert np.bincount(whole.labels_N).tolist() == [20] * 20


@pytest.mark.slow
def test_the_stand_in_says_so_and_trains(tmp_path):
    workdir = tmp_path / "run"
    code, out, err = command(
        "shd",
        f"--config.data.path={tmp_path / 'none'}",
        "--config.data.source=simulated",
        "--config.data.train_limit=400",
        "--config.data.test_limit=100",
        "--config.batch_size=32",
        "--config.epochs=4",
        "--config.data.time_bins=50",
        "--config.hardware.weight_bits=()",
        "--config.hardware.draws=0",
        "--config.corruptions.kinds=",
        f"--config.workdir={workdir}",
    )
    assert code == 0, err
    assert "Data: simulated SHD, no real recordings (400 train, 100 test)" in out
    done = json.loads((workdir / "results.json").read_text())
    assert done["runs"][0]["hard_accuracy"] > 0.3  # of 20 words, by speakers never heard
    assert "the accuracies are not SHD's" in (workdir / "report.md").read_text()


def test_the_config_has_the_published_settings():
    config = shd_config.get_config()
    read = settings.read(config)
    assert read.lif.decay == pytest.approx(np.exp(-1e-3 / 10e-3))
    assert read.lif.synapse_decay == pytest.approx(np.exp(-1e-3 / 5e-3))
    assert (read.network.hidden, read.data.time_bins, read.batch_size) == ((200,), 100, 256)
    config.data.channels = 30
    with pytest.raises(InputError, match=r"config\.data\.channels=30 must divide 700"):
        settings.read(config)
