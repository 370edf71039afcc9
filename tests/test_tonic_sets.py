"""Published sets through tonic: what it gives of files in each set's format is trained on."""

import event_files
import h5py
import nmnist_files
import numpy as np
import pytest
import tonic.datasets

import sast_jax
from sast_jax.data.layouts import tonic_sets
from sast_jax.errors import InputError
from sast_jax.runs import run, settings


@pytest.fixture(autouse=True)
def _anew():
    tonic_sets._opened.cache_clear()


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def shd(root, each=12, classes=4, name="SHD", splits=("train", "test"), fewer=0):
    """In SHD's layout: times in seconds and channels of recordings of different lengths."""
    rng = np.random.default_rng(0)
    folder = root / name
    folder.mkdir(parents=True)
    for split in splits:
        (folder / f"{name.lower()}_{split}.h5.zip").write_bytes(b"")
        with h5py.File(folder / f"{name.lower()}_{split}.h5", "w") as file:
            N = (each - fewer * (split == "test")) * classes
            labels = np.arange(N) % classes
            times = file.create_dataset("spikes/times", (N,), h5py.vlen_dtype(np.float16))
            units = file.create_dataset("spikes/units", (N,), h5py.vlen_dtype(np.uint16))
            for i, label in enumerate(labels):
                count = int(rng.integers(150, 250))
                times[i] = np.sort(rng.random(count)).astype(np.float16)
                units[i] = (rng.integers(0, 175, count) + 175 * label).astype(np.uint16)
            file["labels"] = labels
            file["extra/keys"] = np.array([f"word {k}" for k in range(classes)], dtype="S8")
            file["extra/speaker"] = rng.integers(0, 3, N)


def cifar10dvs(root, monkeypatch):
    rng = np.random.default_rng(1)
    monkeypatch.setattr(tonic.datasets.CIFAR10DVS, "_check_exists", lambda self: True)
    for name in tonic.datasets.CIFAR10DVS.classes:
        for i in range(5):
            events = event_files.random_events(rng, 200, 128, 128, start=16 * 10**14)
            write(
                root / "CIFAR10DVS" / name / f"cifar10_{name}_{i}.aedat4",
                event_files.aedat4(*events, 128, 128),
            )


def ncaltech101(root, monkeypatch):
    rng = np.random.default_rng(2)
    monkeypatch.setattr(tonic.datasets.NCALTECH101, "_check_exists", lambda self: True)
    for name in ("accordion", "airplanes", "BACKGROUND_Google"):
        for i in range(5):
            t, x, y, p = nmnist_files.random_events(rng)
            path = root / "NCALTECH101" / "Caltech101" / name / f"image_{i:04d}.bin"
            write(path, nmnist_files.encode(t, x, y, p))


def asldvs(root, monkeypatch):
    rng = np.random.default_rng(3)
    monkeypatch.setattr(tonic.datasets.ASLDVS, "_check_exists", lambda self: True)
    for letter in "abc":
        for i in range(5):
            events = event_files.random_events(rng, 200, 240, 180)
            write(root / "ASLDVS" / letter / f"{letter}_{i:04d}.mat", event_files.mat(*events))


def pokerdvs(root, monkeypatch):
    rng = np.random.default_rng(4)
    for split in ("train", "test"):
        write(root / "POKERDVS" / f"pips_{split}.tar.gz", b"x")
        for suit in ("cl", "he", "di", "sp"):
            for i in range(5):
                x, y, t, p = event_files.random_events(rng, 200, 35, 35)
                rows = np.stack([t, x, y, p], axis=1)
                path = root / "POKERDVS" / f"pips_{split}" / suit / f"{i}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, rows)


def dvslip(root, monkeypatch):
    rng = np.random.default_rng(5)
    for split in ("train", "test"):
        for word in tonic.datasets.DVSLip.classes[:10]:
            for i in range(10):
                x, y, t, p = event_files.random_events(rng, 100, 128, 128)
                kind = np.dtype([("t", "<i4"), ("x", "u1"), ("y", "u1"), ("p", "u1")])
                rows = np.zeros(len(t), kind)
                rows["t"], rows["x"], rows["y"], rows["p"] = t, x, y, p
                path = root / "DVSLip" / "DVS-Lip" / split / word / f"{i}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, rows)


SETS = {
    "SHD": (lambda root, _: shd(root, fewer=4), (1, 140)),
    "SSC": (lambda root, _: shd(root, name="SSC"), (1, 140)),
    "CIFAR10DVS": (cifar10dvs, (32, 32)),
    "NCALTECH101": (ncaltech101, (34, 34)),
    "ASLDVS": (asldvs, (30, 40)),
    "POKERDVS": (pokerdvs, (35, 35)),
    "DVSLip": (dvslip, (32, 32)),
}


@pytest.mark.parametrize("name", SETS)
def test_every_set_gives_what_tonic_gives(name, tmp_path, monkeypatch):
    write_set, shape = SETS[name]
    write_set(tmp_path, monkeypatch)
    found = tonic_sets.find(name, tmp_path)
    index = 0
    for split, arguments in tonic_sets._splits(name).items():
        theirs = getattr(tonic.datasets, name)(save_to=str(tmp_path), **arguments)
        for i in tonic_sets._files(theirs, tmp_path):
            events, target = theirs[i]
            ours, item = found.read(found.sources[index]), found.items[index]
            events = events.ravel()
            np.testing.assert_array_equal(ours.t_M, events["t"].astype(np.int64))
            np.testing.assert_array_equal(ours.x_M, events["x"])
            if "y" in events.dtype.names:
                np.testing.assert_array_equal(ours.y_M, events["y"])
            np.testing.assert_array_equal(ours.p_M, events["p"])
            named = target if isinstance(target, str) else found.classes[int(target)]
            assert (item.split, item.label) == (split, named)
            index += 1
    assert index == len(found.items)
    made = sast_jax.recordings(tmp_path, tonic=name)
    assert made.frame_shape == (*shape, 2)
    assert made.name.startswith(f"{name} by tonic, recordings from {tmp_path}")
    unused = ("its split 'valid' is not used; hold out a share with config.data.validation",)
    assert made.warnings == (unused if name == "SSC" else ())
    assert int(made.train.events_NxC.sum()) + int(made.test.events_NxC.sum()) == sum(
        fact["events"] for fact in found.facts
    )


def test_a_line_of_channels_trains_with_the_synaptic_neuron(tmp_path, no_pages):
    shd(tmp_path)
    quick = {"epochs": 12, "batch_size": 8, "network.hidden": (32,), "network.gain": 2.0}
    quick |= {"learning_rate": 0.01, "hardware.weight_bits": (), "hardware.draws": 0}
    quick |= {"corruptions.kinds": "", "lif.neuron": "synaptic", "data.tonic": "SHD"}
    quick |= {"data.path": str(tmp_path), "workdir": str(tmp_path / "run")}
    done = run.run(settings.read(settings.config("recordings")).changed(quick))
    assert done["data"].startswith("SHD by tonic, recordings from")
    assert done["class_names"] == ["word 0", "word 1", "word 2", "word 3"]
    assert done["runs"][0]["soft_accuracy"] > 0.8


def test_sets_without_a_split_are_split_by_a_share(tmp_path, monkeypatch):
    cifar10dvs(tmp_path, monkeypatch)
    made = sast_jax.recordings(tmp_path, tonic="CIFAR10DVS", test_share=0.4)
    assert np.bincount(made.test.labels_N).tolist() == [2] * 10
    assert made.class_names[0] == "airplane" and made.class_names[9] == "truck"


def test_what_is_not_there_or_does_not_fit_is_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"config\.data\.tonic='CIFAR' must be one of ASLDVS"):
        sast_jax.recordings(tmp_path, tonic="CIFAR")

    def refused(self):
        raise OSError("no route to host")

    monkeypatch.setattr(tonic.datasets.CIFAR10DVS, "download", refused)
    said = r"CIFAR10DVS: .* cannot be fetched \(no route to host\); fetch it by hand from https"
    with pytest.raises(InputError, match=said):
        sast_jax.recordings(tmp_path, tonic="CIFAR10DVS")
    with pytest.raises(InputError, match=r"DVSLip: DVSLip is not there as tonic keeps it"):
        sast_jax.recordings(tmp_path, tonic="DVSLip")
    cifar10dvs(tmp_path, monkeypatch)
    monkeypatch.setattr(tonic.datasets.CIFAR10DVS, "__getitem__", lambda self, index: (1, 2, 3))
    with pytest.raises(InputError, match="gives no events and a class"):
        sast_jax.recordings(tmp_path, tonic="CIFAR10DVS")


def test_a_damaged_recording_of_a_set_is_named(tmp_path, monkeypatch):
    pokerdvs(tmp_path, monkeypatch)
    cifar10dvs(tmp_path, monkeypatch)
    write(tmp_path / "CIFAR10DVS" / "cat" / "cifar10_cat_0.aedat4", b"#!AER-DAT4.0\r\n")
    with pytest.raises(InputError, match=r"CIFAR10DVS: .*cat_0\.aedat4 cannot be read \(.*fetch"):
        sast_jax.recordings(tmp_path, tonic="CIFAR10DVS")
