"""Grids in chunks, and over eight simulated devices, equal their runs one after another."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import nmnist_files
import numpy as np
import pytest
import small
from commands import SMALL, command

from sast_jax.errors import InputError
from sast_jax.evaluation import swap
from sast_jax.training import epochs, passes, stepping, sweeps

SEEDS, RHOS = (0, 1, 2, 0, 1, 2, 0, 1, 2), (0.1, 0.1, 0.1, 0.3, 0.3, 0.3, 0.5, 0.5, 0.5)


def close(a, b):
    np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("at_once", [None, 1, 2, 4, 9])
def test_every_run_is_computed_once_however_many_at_once(monkeypatch, backend, at_once):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    tree_R = {"a": jnp.arange(5.0), "key": jax.vmap(jax.random.key)(jnp.arange(5))}
    made = sweeps.over_runs(
        lambda run: (run["a"] ** 2, jax.random.key_data(run["key"])), tree_R, at_once
    )
    close(made[0], np.arange(5.0) ** 2)
    np.testing.assert_array_equal(made[1], jax.random.key_data(tree_R["key"]))


EIGHT_RUNS = SEEDS[:8], RHOS[:8]


def epoch(at_once):
    made, hyper_R = small.recipe(), small.hyper(*EIGHT_RUNS)
    state_R = stepping.shapes(made, hyper_R)
    lowered = epochs.train_epoch.lower(made, state_R, hyper_R, *small.recordings(), True, at_once)
    return lowered.compile()


def test_chunks_take_less_memory_and_train_the_same(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    hyper_R = small.hyper(*EIGHT_RUNS)
    memory, params = {}, {}
    for at_once in (8, 2):
        program = epoch(at_once)
        memory[at_once] = program.memory_analysis().temp_size_in_bytes
        state_R = stepping.initialise(small.recipe(), hyper_R)
        params[at_once] = program(state_R, hyper_R, *small.recordings())[0].params
    assert memory[2] < 0.75 * memory[8]
    monkeypatch.undo()
    alone, _ = small.fit(small.recipe(), hyper_R, epochs=1)
    for together in params.values():
        jax.tree.map(close, together, alone.params)


def test_a_grid_too_large_for_the_device_is_trained_in_chunks(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    made, hyper_R = small.recipe(), small.hyper(*EIGHT_RUNS)
    arguments = stepping.initialise(made, hyper_R), hyper_R, *small.recordings()

    def temporary(room):
        monkeypatch.setattr(passes, "device_memory", lambda: room)
        return (
            passes.compile_in_chunks(epochs.train_epoch, made, arguments, True)
            .memory_analysis()
            .temp_size_in_bytes
        )

    needed = temporary(None)
    assert temporary(10**9) == needed
    half = temporary(needed)
    assert temporary(half) < half < 0.8 * needed
    with pytest.raises(
        InputError, match=rf"grows with the {small.T} steps .* at most 0 of them, or"
    ):
        temporary(1)


PROGRAM = """
import sys
import jax, numpy as np
sys.path.insert(0, {tests!r})
import small
from sast_jax.evaluation import swap

assert jax.device_count() == 8
trained = small.trained(small.recipe(), small.hyper({seeds}, {rhos}))
hard = [run["hard_accuracy"] for run in swap.soft_and_hard(trained, small.frames())]
np.savez({file!r}, *jax.tree.leaves(trained.params), hard=hard)
"""
EIGHT = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}


def test_eight_devices_share_the_runs(tmp_path):
    file = str(tmp_path / "found.npz")
    tests = os.path.dirname(__file__)
    program = PROGRAM.format(tests=tests, file=file, seeds=SEEDS, rhos=RHOS)
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | EIGHT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower()
    trained = small.trained(small.recipe(), small.hyper(SEEDS, RHOS))
    found = np.load(file)
    for i, leaf in enumerate(jax.tree.leaves(trained.params)):
        close(found[f"arr_{i}"], leaf)
    expected = swap.soft_and_hard(trained, small.frames())
    assert found["hard"].tolist() == [run["hard_accuracy"] for run in expected]


@pytest.mark.slow
def test_a_sweep_on_eight_devices_goes_on_from_its_checkpoint(tmp_path):
    nmnist_files.dataset(tmp_path / "data")
    arguments = (
        *SMALL,
        f"--config.data.path={tmp_path / 'data'}",
        f"--config.workdir={tmp_path / 'run'}",
        "--config.sweep.rho=0.1,0.3",
        "--config.epochs=1",
        "--config.hardware.weight_bits=()",
        "--config.network.gain=3",  # after one epoch no output is silent, which would be a warning
        "--config.resume=True",
    )
    written = []
    for _ in range(2):
        code, out, err = command(
            "nmnist", *arguments, within=("env", *map("=".join, EIGHT.items()))
        )
        assert code == 0, err
        assert "warning" not in out
        written.append(json.loads((tmp_path / "run" / "results.json").read_text()))
        (tmp_path / "run" / "results.json").unlink()  # as if it had been cut off before the end
    assert written[0] == written[1]
    assert written[0]["environment"]["devices"] == 8
    code, out, err = command("nmnist", *arguments)  # and on one device
    assert code == 0, err
    assert "warning: resumed on another machine" in out
