"""A checkpoint from before settings were fields: it loads, goes on and ends as it would have then.

``checkpoint_before_settings.tar.xz`` is a run of 16 epochs after its eighth, written at commit
87827ea on the recordings of ``nmnist_files.dataset(per_class=6)``. The numbers below are those with
which that commit ended the run, on one core.
"""

import json
import pathlib
import tarfile

import nmnist_files
import numpy as np
import pytest

from sast_jax.errors import InputError
from sast_jax.evaluation import swap
from sast_jax.runs import reloaded, run, settings

ENDED = {
    "soft_accuracy": 0.55,
    "hard_accuracy": 32 / 60,
    "soft_nll": 1.9357257042919378,
    "hard_nll": 1.7551214450542643,
    "soft_rate": 0.15490990290418266,
    "hard_rate": 0.15855013673038532,
    "synops": 4109.933333333333,
}
INT4 = (0.5, 34 / 60, 0.5)  # soft, hard and integer accuracy


@pytest.fixture
def older(tmp_path, monkeypatch):
    """The folder of the run, whose settings name its data as ``data``."""
    monkeypatch.chdir(tmp_path)
    nmnist_files.dataset(tmp_path / "data", per_class=6)
    archive = pathlib.Path(__file__).with_name("checkpoint_before_settings.tar.xz")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path / "run"


def test_it_evaluates_to_what_its_log_says(older):
    found = reloaded.load(older)
    assert found.settings.lif.neuron == "lif"  # a key that it lacks
    test = found.settings.data.load(("test",)).test
    (measured,) = swap.soft_and_hard(found.trained, test)
    logged = [json.loads(line) for line in (older / "metrics.jsonl").read_text().splitlines()][-1]
    assert logged["epoch"] == found.record["epoch"] == 8
    for key in ("soft_accuracy", "hard_accuracy", "soft_confusion", "hard_confusion"):
        assert measured[key] == logged[key], key
    for key in ("soft_nll", "hard_nll", "soft_rate", "hard_rate"):
        np.testing.assert_allclose(measured[key], logged[key], rtol=1e-5, err_msg=key)


def test_it_goes_on_to_the_same_end(older, no_pages):
    config = json.loads((older / "config.json").read_text())
    for key in ("experiment", "data_fingerprint"):
        del config[key]
    done, workdir = run.results_of(settings.read(config))
    assert workdir == pathlib.Path("run")
    assert len((older / "metrics.jsonl").read_text().splitlines()) == 16
    (ended,) = done["runs"]
    for key, value in ENDED.items():
        np.testing.assert_allclose(ended[key], value, rtol=1e-4, err_msg=key)
    (row,) = ended["hardware"]
    found = [row[f"{name}_accuracy"] for name in ("soft", "hard", "integer")]
    np.testing.assert_allclose(found, INT4)


def test_a_key_that_nobody_knows_is_refused_by_name(older):
    record = next(older.glob("checkpoints/8/record/metadata"))
    record.write_text(record.read_text().replace('"rho"', '"rhow"', 1))
    with pytest.raises(InputError, match=r"config\.rhow is not known"):
        reloaded.load(older)
