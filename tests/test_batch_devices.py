"""Devices that share the batches of a run compute, but for rounding, what one of them computes."""

import os
import subprocess
import sys

import numpy as np
import pytest

from sast_jax.training import sweeps

PROGRAM = """
import sys
import jax, numpy as np, optax
sys.path.insert(0, {tests!r})
import small
from sast_jax.data import augmentation, streaming
from sast_jax.training import controls, epochs, passes, stepping, sweeps
from sast_jax.training.gradients import Ahead, Grouped, Sharpness

def accumulating(learning_rate, steps):
    return optax.MultiSteps(optax.adam(learning_rate), 2).gradient_transformation()

CASES = {{
    "SAM": {{"augment": augmentation.Affine(1.0, 10.0, 0.1)}},
    "SAM of two runs": {{}},
    "a part": {{"sharpness": Sharpness(part=2)}},
    "a part as large as devices are many": {{"sharpness": Sharpness(part=4)}},
    "independent": {{"sharpness": Sharpness(independent=True)}},
    "groups": {{"sharpness": Grouped(groups=4)}},
    "ahead": {{"sharpness": Ahead()}},
    "noise": {{
        "controls": (controls.StochasticNeurons(noise=0.1), controls.WeightNoise(0.1))
    }},
    "accumulation": {{"optimizer": accumulating}},
}}
found = {{}}
for name in {names}:
    changes = CASES[name]
    for runs in (2,) if name == "SAM of two runs" else (1,):
        recipe = small.recipe(epochs=1, **changes)
        hyper_R = small.hyper(range(runs), (0.1, 0.2)[:runs])
        for streamed in (False, True):
            if streamed and "SAM" not in name:
                continue
            start_R = stepping.initialise(recipe, hyper_R)
            blocks = passes.blocks(recipe, hyper_R, small.frames(), streamed, start_R, 0)
            (ended,) = passes.by_epoch(blocks)
            leaves = jax.tree.leaves((ended[0].params, ended[1].loss))
            case = f"{{name}} {{runs}} {{streamed}}"
            found |= {{f"{{case}} {{i}}": leaf for i, leaf in enumerate(leaves)}}
if jax.device_count() > 1:
    recipe, hyper_R = small.recipe(epochs=1), small.hyper()
    state_R = stepping.initialise(recipe, hyper_R)
    order = epochs.epoch_order(recipe, state_R, small.N, True)
    (batches, *_) = streaming.chunks(small.recordings(), order, 100)
    each = sweeps.devices_of_a_run(1, recipe.batches.size)
    given = state_R, hyper_R, batches
    program = passes.compile_in_chunks(epochs.train_chunk, recipe, given, True, each)
    assert "all-reduce" in program.as_text()
    packed = program.input_shardings[0][2].descent[0]
    shape = batches.descent[0].shape
    assert packed.shard_shape(shape)[2] * jax.device_count() == shape[2]  # each has its part
np.savez({file!r}, devices=jax.device_count(), **found)
"""


def trained(tmp_path, devices, names):
    file = str(tmp_path / f"{devices}.npz")
    program = PROGRAM.format(tests=os.path.dirname(__file__), file=file, names=names)
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | flags, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with np.load(file) as found:
        return dict(found)


@pytest.mark.parametrize(
    "names",
    [
        ("SAM",),
        pytest.param(
            ("groups", "SAM of two runs", "a part", "a part as large as devices are many",
             "independent", "ahead", "noise",
             "accumulation"),
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_eight_devices_that_share_batches_equal_one(tmp_path, names):
    alone, together = (trained(tmp_path, devices, names) for devices in (1, 8))
    assert (alone.pop("devices"), together.pop("devices")) == (1, 8)
    assert alone.keys() == together.keys() and len(alone) >= 5 * len(names)
    for name, values in alone.items():
        np.testing.assert_allclose(together[name], values, atol=2e-5, err_msg=name)


@pytest.mark.parametrize(
    "devices, runs, batch, most, expected",
    [
        (1, 3, 64, 0, 1), (8, 1, 64, 0, 8), (8, 1, 12, 0, 4), (8, 2, 64, 0, 4), (8, 8, 64, 0, 1),
        (8, 25, 64, 0, 1), (8, 5, 64, 0, 1), (8, 3, 64, 0, 2), (8, 1, 64, 2, 2), (8, 1, 7, 0, 1),
        (6, 1, 64, 0, 2), (8, 1, 64, 3, 2),
    ],
)  # fmt: skip
def test_as_many_devices_share_a_batch_as_runs_leave_over(
    monkeypatch, devices, runs, batch, most, expected
):
    monkeypatch.setattr("jax.device_count", lambda: devices)
    assert sweeps.devices_of_a_run(runs, batch, most) == expected
