"""Which gestures a run gets, in whichever format they are, and how people are held out."""

import gesture_writing as files
import numpy as np
import pytest

from experiments.assessment import command, methods
from experiments.configs import (
    assessment as assessment_config,
    dvs_gesture,
    dvs_gesture_paper,
    nmnist,
)
from sast_jax.data import corruptions, packing, sets
from sast_jax.data.sets import selection
from sast_jax.errors import InputError
from sast_jax.runs import build, settings

pytestmark = pytest.mark.optimised

FRAMES = {"time_bins": 3, "window": 200_000, "windows_each": 2, "side": 16}


def archives(folder, written):
    for split in ("Train", "Test"):
        part = {name: files.npy(rows) for name, rows in written.items() if split in name}
        files.write_archive(folder / f"ibmGesture{split}.tar.gz", part)


def originals(folder, written):
    """The same gestures, one after another in a recording of each person."""
    for split in ("Train", "Test"):
        names = [name for name in written if split in name]
        recordings = {}
        for name in names:
            recordings.setdefault(name.split("/")[1], []).append(name)
        content = {
            f"trials_to_{split.lower()}.txt": "\n".join(f"{r}{split}.aedat" for r in recordings)
        }
        for recording, parts in recordings.items():
            labels, whole = files.CSV, []
            for i, name in enumerate(parts):
                start = 10**6 * (i + 1)
                whole.append(written[name] * np.array([1, 1, 1, 1000]) + np.array([0, 0, 0, start]))
                label = int(name.split("/")[2][:-4]) + 1
                labels += f"{label},{start},{start + 10**6}\n"
            content[f"{recording}{split}_labels.csv"] = labels
            content[f"{recording}{split}.aedat"] = files.aedat(np.concatenate(whole))
        encoded = {n: c if isinstance(c, bytes) else c.encode() for n, c in content.items()}
        files.write(folder / "DvsGesture", encoded)


@pytest.fixture
def written(tmp_path):
    return files.dataset(tmp_path / "tree", subjects=(5, 8), labels=(2, 7))


@pytest.mark.parametrize("kind", [archives, originals])
def test_all_formats_give_the_same_frames(tmp_path, written, kind):
    tree = sets.load_dvs_gesture("folder", tmp_path / "tree", **FRAMES)
    assert tree.name == f"DVS Gesture, recordings from {tmp_path / 'tree'} (4 train, 4 test)"
    assert (tree.frame_shape, tree.classes, tree.simulated) == ((16, 16, 2), 11, False)
    kind(tmp_path / "other", written)
    other = sets.load_dvs_gesture("folder", tmp_path / "other", **FRAMES)
    for split in ("train", "test"):
        a, b = getattr(tree, split), getattr(other, split)
        order = [np.lexsort((f.labels_N, f.subjects_N)) for f in (a, b)]
        assert a.labels_N[order[0]].tolist() == [2, 2, 7, 7] * 2
        for field in ("packed_NxTxP", "labels_N", "subjects_N", "events_NxC"):
            x, y = getattr(a, field)[order[0]], getattr(b, field)[order[1]]
            np.testing.assert_array_equal(x, y)
        assert a.events_NxC.sum() > 300


def test_the_same_again_comes_from_the_cache_and_other_frames_do_not(
    tmp_path, written, monkeypatch
):
    first = sets.load_dvs_gesture("folder", tmp_path / "tree", **FRAMES)
    other = sets.load_dvs_gesture("folder", tmp_path / "tree", **FRAMES | {"bins": "events"})
    assert (first.train.packed_NxTxP != other.train.packed_NxTxP).any()
    monkeypatch.setattr(packing, "pack", None)
    again = sets.load_dvs_gesture("folder", tmp_path / "tree", **FRAMES)
    for a, b in zip(first.train, again.train, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(TypeError):
        sets.load_dvs_gesture("folder", tmp_path / "tree", **FRAMES | {"least": 2})


def test_tonics_folder_is_found_and_an_empty_one_is_named(tmp_path, written):
    (tmp_path / "tree").rename(tmp_path / "DVSGesture")
    assert len(sets.load_dvs_gesture("tonic", tmp_path, **FRAMES).test.truth_M) == 4
    wanted = r"Train\.tar\.gz, ibmGestureTrain/ or trials_to_train\.txt.*--dataset=dvs_gesture"
    with pytest.raises(InputError, match=wanted):
        sets.load_dvs_gesture("auto", tmp_path / "empty", **FRAMES)


def test_what_is_wrong_with_the_recordings_is_said(tmp_path, written):
    assert sets.load_dvs_gesture("folder", tmp_path / "tree", **FRAMES).warnings == ()
    originals(tmp_path / "other", written)
    folder = tmp_path / "other" / "DvsGesture"
    (folder / "user25_ledTest.aedat").unlink()
    with (folder / "trials_to_train.txt").open("a") as file:
        file.write("\nuser40_led.aedat\nuser41_led.aedat\n")
    first, second = sets.load_dvs_gesture("folder", tmp_path / "other", **FRAMES).warnings
    assert first.endswith(
        "trials_to_train.txt: recordings of the list that are missing: 2, first user40_led.aedat"
    )
    assert second.endswith(
        "trials_to_test.txt: recordings of the list that are missing: 1, first user25_ledTest.aedat"
    )
    for label in (1, 4):  # two gestures by a person of the training split, one of them empty
        rows = files.random_rows(np.random.default_rng(label), count=60 if label == 1 else 0)
        name = f"ibmGestureTest/user05_led/{label}.npy"
        files.write(tmp_path / "tree", {name: files.npy(rows)})
    empty, shared, absent = sets.load_dvs_gesture("folder", tmp_path / "tree", **FRAMES).warnings
    assert "test: 2 empty windows are kept, first " in empty and empty.endswith("user05_led/4.npy")
    assert shared == "persons in both splits, which should be apart: 1, first user 5"
    assert absent == (
        "train: no recording is of these classes of the test split: right hand wave, "
        "right arm counter-clockwise"
    )


def test_auto_simulates_for_the_default_folder_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    limits = {"train_limit": 12, "test_limit": 4}
    made = sets.load_dvs_gesture("auto", "data/dvs_gesture", **FRAMES, **limits)
    assert made.name == "simulated DVS Gesture, no real recordings (12 train, 4 test)"
    assert made.simulated
    people, simulated = made.caveats
    assert people.startswith(f"The test recordings are of {len(set(made.test.subjects_N))} people.")
    assert "not DVS Gesture's" in simulated
    assert made.train.packed_NxTxP.shape == (24, 3, 64)
    assert set(made.train.subjects_N).isdisjoint(made.test.subjects_N)


def test_auto_simulates_nothing_where_the_default_folder_holds_recordings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    limits = {"train_limit": 2, "test_limit": 2}
    files.write(tmp_path / "data" / "dvs_gesture", {"DvsGesture.tar.gz": b"IBM's own"})
    unpack = r"there is DvsGesture\.tar\.gz, which may have to be unpacked; name a folder"
    with pytest.raises(InputError, match=unpack):
        sets.load_dvs_gesture("auto", "data/dvs_gesture", **FRAMES, **limits)
    files.write(tmp_path / "data" / "dvs_gesture", {"trials_to_train.txt": b"user01_led.aedat\n"})
    missing = r"trials_to_train\.txt: none of its 1 recordings is there, first user01_led\.aedat"
    with pytest.raises(InputError, match=missing):
        sets.load_dvs_gesture("auto", "data/dvs_gesture", **FRAMES, **limits)
    files.write(tmp_path / "data" / "dvs_gesture", {"trials_to_train.txt": b""})
    with pytest.raises(InputError, match="none of its 0 recordings is there; fetch them"):
        sets.load_dvs_gesture("auto", "data/dvs_gesture", **FRAMES, **limits)


def test_people_are_held_out_with_all_that_is_theirs(tmp_path):
    files.dataset(tmp_path, subjects=(1, 2, 3, 9), labels=(0, 1, 2))
    source = sets.load_dvs_gesture("folder", tmp_path, **FRAMES)
    train, held_out = selection.hold_out(source.train, 0.25, 0)
    assert len(set(held_out.subjects_N)) == 1
    assert len(held_out.labels_N) == 6
    assert len(train.labels_N) == 18
    assert set(train.subjects_N).isdisjoint(held_out.subjects_N)
    people = {selection.hold_out(source.train, 0.25, seed)[1].subjects_N[0] for seed in range(9)}
    assert len(people) > 1
    with pytest.raises(InputError, match="holds out 0 of 4 persons"):
        selection.hold_out(source.train, 0.1, 0)


def test_gestures_have_no_file_numbers_to_be_above(tmp_path, written):
    source = sets.load_dvs_gesture("folder", tmp_path / "tree", **FRAMES)
    assert selection.chosen(source, "test", 0).tolist() == list(range(8))
    with pytest.raises(InputError, match="--above=3: files of gestures have no numbers"):
        selection.chosen(source, "test", 3)


def test_corrupted_gestures_are_windows_of_the_same_frames(tmp_path, written):
    source = sets.load_dvs_gesture("folder", tmp_path / "tree", **FRAMES)
    found = list(source.recorded["test"].corrupted(list(corruptions.KINDS), (3,), 0))
    assert [kind for kind, *_ in found] == list(corruptions.KINDS)
    clean = source.test
    for kind, _, frames in found:
        assert frames.packed_NxTxP.shape == clean.packed_NxTxP.shape, kind
        if kind != "occlusion":  # a square that need not hide any of so few events
            assert (frames.packed_NxTxP != clean.packed_NxTxP).any(), kind
        assert frames.subjects_N.tolist() == clean.subjects_N.tolist()
    noisy = dict((kind, frames) for kind, _, frames in found)["noise"]
    added = (noisy.events_NxC - clean.events_NxC).sum(axis=1)
    rate = corruptions.DVS_GESTURE_LEVELS["noise"][2]
    expected = rate * 128 * 128 * 0.2  # pixels of the sensor, seconds
    assert added.mean() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("module", [dvs_gesture, dvs_gesture_paper])
def test_configs_are_sound(module):
    settings.read(module.get_config())


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("window", -1, "config.data.window=-1"),
        ("windows", 0, "config.data.windows=0"),
        ("side", 48, "config.data.side=48 must be 4 or more pixels that divide 128"),
        ("bins", "both", "config.data.bins='both' must be one of 'time', 'events'"),
        ("least", 0, "config.data.least=0"),
    ],
)
def test_impossible_frames_are_refused(key, value, message):
    config = dvs_gesture.get_config()
    config.data[key] = value
    with pytest.raises(InputError, match=message):
        settings.read(config)


@pytest.mark.parametrize(
    "key, most, others",
    [
        ("time_bins", 1000, {}),
        ("time_bins", 200, {"window": 200}),
        ("time_bins", 6000, {"window": 0, "windows": 1}),
        ("shift", 31, {}),
        ("shift", 127, {"side": 128}),
    ],
)
def test_bins_and_shifts_go_as_far_as_the_window_and_the_side(key, most, others):
    config = dvs_gesture.get_config()
    config.data.update(others | {key: most})
    settings.read(config)
    config.data[key] = most + 1
    wanted = rf"config\.data\.{key}={most + 1} must be a number from \d to {most}"
    with pytest.raises(InputError, match=wanted):
        settings.read(config)


def test_several_windows_of_a_whole_recording_are_refused():
    config = dvs_gesture.get_config()
    config.data.window = 0
    with pytest.raises(InputError, match=r"data\.windows=2 must be 1"):
        settings.read(config)


def test_a_config_of_the_other_experiment_is_refused():
    with pytest.raises(InputError, match=r"configs\.dvs_gesture"):
        settings.read(nmnist.get_config(), "dvs_gesture")
    with pytest.raises(InputError, match=r"configs\.nmnist"):
        settings.read(dvs_gesture.get_config(), "nmnist")


@pytest.mark.parametrize("regime", methods.REGIMES)
def test_the_assessment_takes_gestures(regime):
    config = assessment_config.get_config()
    config.dataset = "dvs_gesture"
    for method in methods.METHODS.values():
        if regime in method.values:
            made = command.untuned(config, regime, method)
            build.recipe(made, (32, 32, 2), 11, 1000)
            assert made.data.path == "data/dvs_gesture"
            assert made.network.channels
