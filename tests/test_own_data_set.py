"""A data set of one's own: a class and a line of registration, and everything else follows."""

import dataclasses
import json

import numpy as np
import pytest

from sast_jax.data import corruptions, packing, recordings, sets
from sast_jax.data.sets.loading import Recorded, Source
from sast_jax.errors import InputError
from sast_jax.fields import number
from sast_jax.runs import reloaded, run, settings
from sast_jax.runs.settings import Settings

SIDE = 10


@dataclasses.dataclass(frozen=True)
class Blobs(sets.Data):
    """Two classes of events, in the upper and in the lower half of a small sensor."""

    name = "blobs"
    shaping = ("time_bins", "events")

    time_bins: int = number(4, 1, 100, "frames of a recording")
    events: int = number(40, 1, 1000, "events of a recording")

    @property
    def extent(self):
        return recordings.Extent(SIDE, SIDE, 20_000)

    def load(self, splits=("train", "test")):
        recorded = {split: self._recorded(split) for split in splits}
        frames = {split: where.frames() for split, where in recorded.items()}
        return Source(
            "blobs", False, "blobs 1", (SIDE, SIDE, 2), ("up", "down"), 1, frames.get("train"),
            frames.get("test"), recorded, (), (),
        )  # fmt: skip

    def _recorded(self, split):
        rng = np.random.default_rng(("train", "test").index(split))
        labels = np.arange(32) % 2
        M = self.events

        def events():
            recording = np.repeat(np.arange(32), M)
            t = np.sort(rng.integers(0, 20_000, (32, M)), axis=1).ravel()
            x, p = rng.integers(0, SIDE, 32 * M), rng.integers(0, 2, 32 * M)
            y = rng.integers(0, SIDE // 2, 32 * M) + SIDE // 2 * labels[recording]
            yield recordings.Events(recording, t, x, y, p, np.zeros(32, bool))

        data = recordings.Recordings(
            labels.astype(np.int32), np.full(32, -1), np.arange(32), events, self.extent
        )

        def pack(data, change):
            worse = data if change is None else corruptions.corrupted(data, change)
            return packing.pack(worse, time_bins=self.time_bins, duration=20_000)

        key = {"blobs": split, **self.framing()}
        return Recorded(data, key, pack, corruptions.NMNIST_LEVELS)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(sets.SETS, "blobs", Blobs)


def test_it_trains_reports_and_loads_again(registered, tmp_path):
    quick = {"epochs": 8, "batch_size": 8, "network.hidden": (16,), "learning_rate": 1e-2}
    quick |= {"data.shift": 0, "data.rotation": 0.0, "data.zoom": 0.0, "network.gain": 2.0}
    quick |= {"hardware.weight_bits": (4,), "hardware.draws": 0, "corruptions.kinds": "noise"}
    given = settings.read(settings.config("blobs")).changed(quick)
    done = run.run(given.changed({"workdir": str(tmp_path / "run"), "rho": 0.1}))
    (entry,) = done["runs"]
    assert entry["soft_accuracy"] > 0.9 and done["experiment"] == "blobs"
    assert [row["kind"] for row in entry["corruptions"]] == ["noise"]
    assert done["config"]["data"]["events"] == 40
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    assert written["experiment"] == "blobs"
    assert (tmp_path / "run" / "report.html").exists()
    found = reloaded.load(tmp_path / "run")
    assert isinstance(found.settings.data, Blobs)
    assert found.trained.model.frame_shape == (SIDE, SIDE, 2)


@dataclasses.dataclass(frozen=True)
class Alike(sets.NmnistData):
    """A data set with no key that N-MNIST has not."""

    name = "alike"


def test_a_set_without_a_key_of_its_own_stays_itself(monkeypatch):
    monkeypatch.setitem(sets.SETS, "alike", Alike)
    config = settings.config("alike")
    assert config.data.name == "alike"
    assert isinstance(settings.read(config).data, Alike)
    nest = json.loads(json.dumps(settings.read(config).as_dict()))
    assert settings.read(nest) == settings.read(config)
    assert type(settings.read(settings.config("nmnist")).data) is sets.NmnistData
    with pytest.raises(InputError, match=r"experiments\.configs\.nmnist"):
        settings.read(config, "nmnist")
    del nest["data"]["name"]  # as older versions wrote it: the record says which set it is
    assert isinstance(settings.read(nest, "alike").data, Alike)
    assert type(settings.read(nest, "nmnist").data) is sets.NmnistData
    with pytest.raises(InputError, match=r"config\.data\.name is missing"):
        settings.read(nest)
    nest["data"]["name"] = "nmnits"
    with pytest.raises(InputError, match=r"config\.data\.name='nmnits' must be one of 'nmnist'"):
        settings.read(nest)


def test_what_corruptions_need_is_asked_for_before_training(registered, tmp_path, monkeypatch):
    load = Blobs.load
    monkeypatch.setattr(Blobs, "load", lambda *given: load(*given)._replace(recorded={}))
    quick = {"epochs": 1, "batch_size": 8, "network.hidden": (4,), "data.shift": 0}
    quick |= {"hardware.weight_bits": (), "hardware.draws": 0, "workdir": str(tmp_path / "run")}
    given = settings.read(settings.config("blobs")).changed(quick)
    with pytest.raises(InputError, match=r"blobs: Source\.recorded has no 'test', which corrupt"):
        run.run(given)
    assert not (tmp_path / "run").exists()
    done = run.run(given.changed({"corruptions.kinds": ""}))
    assert done["runs"][0]["corruptions"] == []


def test_its_keys_are_checked_like_the_others(registered):
    own = Settings(data=Blobs())
    for changes, message in (
        ({"data.events": 0}, "config.data.events=0 must be a number from 1 to 1000"),
        ({"data.shift": SIDE}, f"config.data.shift={SIDE} must be a number from 0 to {SIDE - 1}"),
        ({"data.time_bins": 21}, "config.data.time_bins=21 must be a number from 1 to 20"),
    ):
        with pytest.raises(InputError, match=message):
            own.changed(changes)
    assert settings.read(settings.config("blobs")) == own
