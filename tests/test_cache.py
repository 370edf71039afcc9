"""A cache that never serves what it should not."""

import nmnist_files
import numpy as np
import pytest

from sast_jax.data import cache, packing, recordings
from sast_jax.data.layouts import nmnist_archives


@pytest.fixture
def make(tmp_path):
    """Packs six recordings and remembers how often it did."""
    nmnist_files.dataset(tmp_path, per_class=3)
    split = nmnist_archives.find_split(tmp_path, "train")

    def make():
        make.calls += 1
        return packing.pack(
            nmnist_archives.select(split, np.arange(6)), time_bins=4, duration=recordings.DURATION
        )

    make.calls = 0
    return make


def test_the_same_is_served_and_another_key_or_damage_noticed(tmp_path, make):
    first = cache.frames(tmp_path / "c", {"a": 1}, make)
    again = cache.frames(tmp_path / "c", {"a": 1}, make)
    assert make.calls == 1
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    cache.frames(tmp_path / "c", {"a": 2}, make)
    assert make.calls == 2
    for damage in (
        lambda data: data[: len(data) // 2],
        lambda data: data[:900] + b"!" + data[901:],
    ):
        for path in (tmp_path / "c").glob("*.npz"):
            path.write_bytes(damage(path.read_bytes()))
        repaired = cache.frames(tmp_path / "c", {"a": 1}, make)
        np.testing.assert_array_equal(repaired.packed_NxTxP, first.packed_NxTxP)
    assert make.calls == 4
    assert not [p for p in (tmp_path / "c").iterdir() if p.suffix != ".npz"]


def test_a_folder_that_cannot_be_written_warns_and_still_answers(tmp_path, make):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="no cache kept"):
        frames = cache.frames(tmp_path / "file" / "c", {}, make)
    assert len(frames.labels_N) == 6
