"""States come back bit for bit, and what is not a checkpoint is named."""

import collections
import gc
import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from sast_jax.errors import InputError
from sast_jax.runs import checkpoints
from sast_jax.runs.checkpoints import Checkpoints
from sast_jax.training import stepping


@pytest.fixture(autouse=True)
def _nothing_is_left():
    """Orbax's tasks that failed complain when they are collected: here, where that is harmless.

    Elsewhere Python 3.11's parser may be at work, which such a complaint ends in a SystemError.
    """
    yield
    gc.collect()


def raw(state):
    return [
        np.asarray(
            jax.random.key_data(leaf)
            if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            else leaf
        )
        for leaf in jax.tree.leaves(state)
    ]


def test_parameters_optimizer_step_and_key_come_back(tmp_path):
    hypers = small.hyper(seeds=(0, 3))
    state, _ = small.fit(small.recipe(), hypers)
    expected = raw(state)
    written = Checkpoints(tmp_path / "checkpoints")
    assert written.latest() is None
    written.save(1, state, {"epoch": 1})
    written.save(2, state, {"epoch": 2, "config": {"sweep": [0.1, 0.2]}})
    written.close()

    read = Checkpoints(tmp_path / "checkpoints")
    assert read.latest() == 2
    like = jax.eval_shape(lambda h: stepping.initialise(small.recipe(), h), hypers)
    record, restored = read.restore(lambda record: like)
    assert record == {"epoch": 2, "config": {"sweep": [0.1, 0.2]}}
    read.close()
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for a, b in zip(raw(restored), expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_a_folder_without_checkpoints_is_named_and_not_made(tmp_path):
    nothing = Checkpoints(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"nowhere: no checkpoint here"):
        nothing.restore(lambda record: {})
    nothing.close()
    assert not (tmp_path / "nowhere").exists()


_SAVE_ON_THE_SECOND_OF_TWO = """
import jax, small, sys
from sast_jax.runs import checkpoints
from sast_jax.runs.checkpoints import Checkpoints
from sast_jax.training import stepping
with jax.default_device(jax.devices()[1]):
    state = stepping.initialise(small.recipe(), small.hyper())
assert jax.tree.leaves(state.params)[0].devices() == {jax.devices()[1]}
written = Checkpoints(sys.argv[1])
written.save(1, state, {})
written.close()
"""


def test_a_checkpoint_of_another_machine_comes_back_on_this_one(tmp_path):
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    subprocess.run(
        [sys.executable, "-c", _SAVE_ON_THE_SECOND_OF_TWO, str(tmp_path)],
        env=os.environ | flags,
        cwd=pathlib.Path(__file__).parent,
        check=True,
    )
    read = Checkpoints(tmp_path)
    expected = stepping.initialise(small.recipe(), small.hyper())
    like = jax.eval_shape(lambda: expected)
    _, restored = read.restore(lambda record: like)
    read.close()
    for a, b in zip(raw(restored), raw(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("item", ["record", "state"])
@pytest.mark.parametrize("damage", [lambda data: b"\x00", lambda data: data[: len(data) // 2]])
def test_a_damaged_checkpoint_is_named(tmp_path, item, damage):
    written = Checkpoints(tmp_path)
    state = stepping.initialise(small.recipe(), small.hyper())
    written.save(4, state, {"epoch": 4})
    written.close()
    for path in (tmp_path / "4" / item).rglob("*"):
        if path.is_file():
            path.write_bytes(damage(path.read_bytes()))
    damaged = Checkpoints(tmp_path)
    with pytest.raises(InputError, match=r"/4: cannot be read"):
        damaged.restore(lambda record: jax.eval_shape(lambda: state))
    damaged.close()


def two_saved(folder):
    """Saves a state as checkpoints 4 and 5, and gives it."""
    written = Checkpoints(folder)
    state = stepping.initialise(small.recipe(), small.hyper())
    for number in (4, 5):
        written.save(number, state, {"epoch": number})
    written.close()
    return state


def test_a_damaged_checkpoint_of_an_owner_without_a_name_is_named(tmp_path, monkeypatch):
    state = two_saved(tmp_path)
    (tmp_path / "5" / "_CHECKPOINT_METADATA").write_bytes(b"")

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(
        InputError, match=r"damaged, and the owner .* not found: \d+\); remove that"
    ):
        Checkpoints(tmp_path)
    shutil.rmtree(tmp_path / "5")
    read = Checkpoints(tmp_path)
    assert read.restore(lambda record: jax.eval_shape(lambda: state))[0] == {"epoch": 4}
    read.close()


@pytest.mark.parametrize("item", ["record", "state"])
def test_the_checkpoint_before_a_damaged_one_is_taken(tmp_path, item, capsys):
    written = Checkpoints(tmp_path)
    states = [stepping.initialise(small.recipe(), small.hyper(seeds=(seed,))) for seed in (0, 1, 2)]
    for number, state in enumerate(states, start=4):
        written.save(number, state, {"epoch": number})
    written.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["5", "6"]  # two are kept
    files = [path for path in sorted((tmp_path / "6" / item).rglob("*")) if path.is_file()]
    for path in files:  # each file in turn
        whole = path.read_bytes()
        path.write_bytes(b"")
        read = Checkpoints(tmp_path)
        record, state = read.restore(lambda record: jax.eval_shape(lambda: states[0]))
        read.close()
        path.write_bytes(whole)
        told = capsys.readouterr().out
        assert record["epoch"] in (5, 6)
        assert (record["epoch"] == 5) == ("/6: cannot be read" in told and "/5 is taken" in told)
        for a, b in zip(raw(state), raw(states[record["epoch"] - 4]), strict=True):
            np.testing.assert_array_equal(a, b)
    shutil.rmtree(tmp_path / "6" / item)
    read = Checkpoints(tmp_path)
    assert read.restore(lambda record: jax.eval_shape(lambda: states[0]))[0] == {"epoch": 5}
    read.drop_newer()
    read.save(6, states[2], {"epoch": 6})
    read.close()
    again = Checkpoints(tmp_path)
    assert again.restore(lambda record: jax.eval_shape(lambda: states[0]))[0] == {"epoch": 6}
    again.close()


def test_a_bit_that_turned_over_is_seen(tmp_path, capsys):
    written = Checkpoints(tmp_path)
    states = [stepping.initialise(small.recipe(), small.hyper(seeds=(seed,))) for seed in (0, 1)]
    for number, state in enumerate(states, start=4):
        written.save(number, state, {"epoch": number, "seconds": [0.25]})
    written.close()
    rng, taken = np.random.default_rng(1), collections.Counter()
    paths = [path for path in sorted((tmp_path / "5").rglob("*")) if path.is_file()]
    of_arrays = max(paths, key=lambda path: path.stat().st_size)
    for path in [*paths, *[of_arrays] * 40]:
        whole = path.read_bytes()
        data = bytearray(whole)
        if not data:
            continue
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(data))
        read = Checkpoints(tmp_path)
        record, state = read.restore(lambda record: jax.eval_shape(lambda: states[0]))
        read.close()
        path.write_bytes(whole)
        told = capsys.readouterr().out
        assert record == {"epoch": record["epoch"], "seconds": [0.25]}
        assert (record["epoch"] == 4) == ("warning" in told), told
        assert len(told) < 3 * len(str(tmp_path)) + 300, told
        for a, b in zip(raw(state), raw(states[record["epoch"] - 4]), strict=True):
            np.testing.assert_array_equal(a, b)
        taken[record["epoch"]] += 1
    assert taken[4] > 10  # bits between the arrays change nothing


LEAVES = {
    "float": np.array([0.0, -1.5, np.nan], np.float32),
    "bfloat16": jnp.arange(3, dtype=jnp.bfloat16),
    "int8": np.arange(3, dtype=np.int8),
    "bool": np.array([True, False]),
    "uint32": np.array([0, 2**32 - 1], np.uint32),
    "0-d": np.int32(7),
    "empty": np.zeros((0, 3), np.float32),
    "stacked": np.arange(12, dtype=np.float32).reshape(3, 2, 2),
}


@pytest.mark.parametrize("name", LEAVES)
def test_a_checksum_changes_with_each_bit(name):
    leaf = np.asarray(LEAVES[name])
    whole = checkpoints._checksum({"a": leaf, "b": np.ones(2, np.float32)})
    assert whole == checkpoints._checksum({"a": jnp.asarray(leaf), "b": jnp.ones(2)})
    bits = 1 if leaf.dtype == bool else 8
    for at in range(leaf.nbytes):
        for bit in range(bits):
            data = bytearray(leaf.tobytes())
            data[at] ^= 1 << bit
            other = np.frombuffer(bytes(data), leaf.dtype).reshape(leaf.shape)
            assert checkpoints._checksum({"a": other, "b": np.ones(2, np.float32)}) != whole


def test_a_checksum_is_of_keys_and_wide_numbers_too():
    key, other = jax.random.key(1), jax.random.key(2)
    assert checkpoints._checksum(key) != checkpoints._checksum(other)
    with jax.enable_x64(True):
        wide = np.array([1.0, 2.0])
        near = np.nextafter(wide, 3)
        assert checkpoints._checksum(wide) != checkpoints._checksum(near)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 1},
        {"epoch": "5"},
        {"state_crc32": 0},
        {"record_crc32": 0},
        {"record_crc32": None},
        {"state_crc32": None, "record_crc32": 0},
    ],
    ids=str,
)
def test_a_record_that_was_changed_is_seen(tmp_path, change, capsys):
    state = two_saved(tmp_path)
    (file,) = [path for path in (tmp_path / "5" / "record").rglob("*") if b"epoch" in _bytes(path)]
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    read = Checkpoints(tmp_path)
    record, _ = read.restore(lambda record: jax.eval_shape(lambda: state))
    read.close()
    assert record == {"epoch": 4}
    assert "/5: its record is damaged; " in capsys.readouterr().out


def test_a_record_without_checksums_is_of_an_earlier_version_and_may_not_fit(tmp_path, capsys):
    state = two_saved(tmp_path)
    for number in (4, 5):
        found = [p for p in (tmp_path / f"{number}" / "record").rglob("*") if b"epoch" in _bytes(p)]
        found[0].write_text(json.dumps({"epoch": number} if number == 4 else {"epochs": number}))
    read = Checkpoints(tmp_path)

    def like_of(record):
        assert record["epoch"]  # or a KeyError, as a reader of records may raise
        return jax.eval_shape(lambda: state)

    assert read.restore(like_of)[0] == {"epoch": 4}
    read.close()
    assert "/5: its record cannot be used ('epoch'); " in capsys.readouterr().out


def _bytes(path):
    return path.read_bytes() if path.is_file() else b""


def test_a_state_of_other_shapes_is_refused(tmp_path):
    written = Checkpoints(tmp_path)
    written.save(1, stepping.initialise(small.recipe(), small.hyper()), {})
    written.close()
    other = stepping.initialise(small.recipe(), small.hyper(seeds=(0, 1)))
    read = Checkpoints(tmp_path)
    with pytest.raises(InputError, match=r"/1: cannot be read"):
        read.restore(lambda record: other)
    read.close()
