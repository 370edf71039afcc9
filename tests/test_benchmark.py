"""The yardstick computes what the library computes, and the library keeps up with it."""

import itertools
import json
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark import device, reading, steps, yardstick
from sast_jax.data.layouts import nmnist_archives
from sast_jax.runs import timing
from sast_jax.training import stepping


def test_bare_step_and_library_end_with_the_same_weights():
    made, hyper, state = yardstick.library(16)
    batch = yardstick.Batch.random(5, 16)
    weights, moments = yardstick.bare_state(state.params)
    bare, *_, value = jax.jit(yardstick.bare_step)(
        weights, moments, 0, batch.inputs_TxBxI, batch.labels_B
    )
    step = jax.jit(stepping.train_step, static_argnums=0)
    new, (loss, _) = step(made, state, hyper, (batch.frames_TxBxHxWxC, batch.labels_B), None)
    np.testing.assert_allclose(loss, value, rtol=1e-5)
    ours, _ = yardstick.bare_state(new.params)
    moved = sum(float(jnp.abs(a[0] - b[0]).sum()) for a, b in zip(weights, bare, strict=True))
    apart = sum(float(jnp.abs(a[0] - b[0]).sum()) for a, b in zip(ours, bare, strict=True))
    assert apart < 1e-3 * moved


def test_ratios_are_taken_within_a_round():
    assert timing.against(np.array([2.0, 20, 200]), np.array([1.0, 10, 100])) == [2, 2, 2]
    seconds = timing.in_turns({"a": lambda: jnp.ones(3), "b": lambda: None}, 4)
    assert {name: values.shape for name, values in seconds.items()} == {"a": (4,), "b": (4,)}


@pytest.mark.slow
def test_a_step_is_as_fast_as_bare_jax_and_faster_with_lists():
    rows = steps.steps(20, 64)
    bare, ours, lists = "bare JAX", "sast_jax", "sast_jax, lists of pixels"
    seconds = steps.timed({name: rows[name] for name in (bare, ours, lists)}, 100)
    assert timing.against(seconds[ours], seconds[bare])[1] <= 1.05
    assert timing.against(seconds[lists], seconds[bare])[1] <= 1 / 1.15


def test_all_steps_begin_with_the_same_loss():
    rows = steps.steps(5, 8)
    ours = {name: row for name, row in rows.items() if name.startswith("sast_jax")}
    assert len(ours) == 9 and all(row.memory > 0 for row in ours.values())
    odd = ("1/8", "hard", "bfloat16")
    smooth = {row.loss for name, row in ours.items() if not any(word in name for word in odd)}
    assert abs(ours["sast_jax, products of bfloat16"].loss - rows["bare JAX"].loss) < 0.05
    np.testing.assert_allclose(list(smooth), rows["bare JAX"].loss, rtol=1e-5)
    hard = {name: row.loss for name, row in rows.items() if "hard spikes" in name}
    same = [loss for name, loss in hard.items() if not name.startswith("spyx")]
    np.testing.assert_allclose(same, ours["sast_jax, hard spikes"].loss, rtol=1e-5)
    assert {name.split(",")[0] for name in hard} >= {"SpikingJelly", "snnTorch", "spyx"}


def made_up(code):
    return device.Part(("-c", code), lambda folder, said, seconds: {"said": said.strip()})


def test_a_part_that_fails_on_a_device_takes_no_other_along(monkeypatch):
    clock = itertools.count(0, 30)
    monkeypatch.setattr(device.time, "monotonic", lambda: next(clock))
    broken = made_up("raise SystemExit('no such kernel')")._replace(found=lambda *_: 1 / 0)
    given = {"broken": broken, "whole": made_up("print(1)"), "late": made_up("print(2)")}
    assert dict(device.within(given, minutes=1.4)) == {
        "broken": {"error": "ended with 1: no such kernel\n"},
        "whole": {"said": "1"},
        "late": None,
    }
    hangs = made_up("import time; print('begun', flush=True); time.sleep(60)")
    clock = itertools.count(0, 57)
    (found,) = dict(device.within({"hangs": hangs}, minutes=1)).values()
    assert found is None
    assert device._of(hangs, 3.0) == {"error": "not done within 3 seconds: begun\n"}


def test_tests_that_fail_or_do_not_run_are_told(tmp_path):
    (tmp_path / "test_odd.py").write_text("def test_odd(): assert False")
    for name, expected in (("tables", []), (tmp_path / "test_odd", ["test_odd"])):
        part = device.tests("tables")
        if expected:
            part = part._replace(arguments=(*part.arguments[:-1], f"{name}.py"))
        found = device._of(part, 100.0)
        assert [line.partition("::")[2].partition(" ")[0] for line in found["failed"]] == expected
    (line,) = device._of(device.tests("nowhere"), 100.0)["failed"]
    assert "not found" in line


def test_the_time_of_a_whole_run_is_kept(tmp_path):
    run = {"train_seconds": 1.0, "soft_accuracy": 0.5, "hard_accuracy": 0.4, "more": 0}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text(json.dumps({"runs": [run]}))
    code = "import sys, time, shutil; time.sleep(0.5); shutil.copytree(*sys.argv[1:])"
    given = ("-c", code, str(tmp_path / "run"), "{}/run")
    part = device.parts()["the default run"]._replace(arguments=given)
    found = device._of(part, 100.0)
    assert found.pop("whole_seconds") >= 0.5
    assert found == {key: run[key] for key in ("train_seconds", "soft_accuracy", "hard_accuracy")}


@pytest.mark.slow
def test_a_table_is_read_as_it_was_written():
    found = device._of(device.table("warp", "warp"), 100.0)
    assert found.keys() == {"no warp", "warp of words", "warp of bytes"}


@pytest.mark.slow
def test_reading_takes_little_of_what_tonic_takes(real_data, tmp_path):
    rows = reading.rows(reading.split(real_data / "nmnist_8class"), tmp_path)
    seconds = steps.timed(rows, 3)
    tonic = seconds["tonic, unpacked files"]
    assert timing.against(seconds["sast_jax"], tonic)[1] <= 0.6
    assert np.median(seconds["its cache"]) < 1


# Not ru_maxrss, which begins at what the process that started this one takes.
_PACK_ALL = r"""
import pathlib, re, sys
from sast_jax.data.sets import load_nmnist
source = load_nmnist("folder", sys.argv[1], time_bins=20)
assert source.train.packed_NxTxP.shape == (60_000, 20, 289)
assert source.test.packed_NxTxP.shape == (10_000, 20, 289)
status = pathlib.Path("/proc/self/status").read_text()
print(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
"""


@pytest.mark.slow
def test_archives_of_the_official_size_are_packed_in_2_gb_of_memory(real_data, tmp_path):
    split = nmnist_archives.find_split(real_data / "nmnist_small", "train")
    contents = list(split.read(range(len(split.names))))
    for name, size in (("train", 60_000), ("test", 10_000)):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for i in range(size):
                member = f"{name.capitalize()}/{i % 10}/{i + 1:05d}.bin"
                archive.writestr(member, contents[i % len(contents)])
    command = [sys.executable, "-c", _PACK_ALL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 2e9


def test_the_floor_is_the_products_of_the_step_and_adam():
    _, _, state = yardstick.library()
    weights, moments = yardstick.bare_state(state.params)
    x = jnp.ones((5, 16, *np.shape(weights[0][0])[:1]))
    products, (stepped, (first, _), _) = yardstick.floor(weights, moments, x)
    shapes = [kernel.shape for kernel, _ in weights]
    assert [product.shape for product in products] == [(80, n) for n, _ in shapes[1:]]
    assert [kernel.shape for kernel, _ in stepped] == shapes
    assert all((moment != 0).all() for moment, _ in first)
