"""Training that is stopped, wherever in an epoch, ends with the bits of training that is not."""

import itertools
import json
import shutil
import signal
import subprocess
import sys

import jax
import jobs
import nmnist_files
import numpy as np
import pytest
import small
from commands import SMALL, command, final_weights, start, wait_for_epochs
from test_killed import read, without_times

from sast_jax.data import streaming
from sast_jax.errors import InputError
from sast_jax.runs import interrupts, reloaded, workdirs
from sast_jax.runs.checkpoints import Checkpoints
from sast_jax.training import passes, stepping
from sast_jax.training.gradients import Sharpness


def raw(tree):
    leaves = jax.tree.leaves(tree)
    keys = [jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves]
    return [
        np.asarray(jax.random.key_data(leaf) if key else leaf)
        for leaf, key in zip(leaves, keys, strict=True)
    ]


def blocks(made, hyper_R, streamed, pause, state_R=None, begin=0, **begun):
    state_R = stepping.initialise(made, hyper_R) if state_R is None else state_R
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "PAUSE", pause)
        patch.setattr(passes, "FIRST_STEPS", 1)
        patch.setattr(streaming, "CHUNK_BYTES", 2 if pause < 1 else 10**9)
        yield from passes.blocks(made, hyper_R, small.frames(), streamed, state_R, begin, **begun)


@pytest.mark.optimised
@pytest.mark.parametrize("streamed", [False, True])
def test_blocks_of_any_length_train_the_same(streamed):
    made = small.recipe(epochs=2, sharpness=Sharpness(part=3))
    hyper_R, S = small.hyper((0, 1, 2), (0.0, 0.2, 0.3)), made.batches.steps
    *_, whole = blocks(made, hyper_R, streamed, 1e9)
    short = []
    for block in blocks(made, hyper_R, streamed, 0.0):
        copied = jax.tree.map(np.array, (block.progress_R, raw(block.state_R)))
        short.append((block.epoch, block.steps, block.metrics, *copied))
    assert [entry[:2] for entry in short] == list(itertools.product(range(2), range(1, S + 1)))
    assert [entry[2] is not None for entry in short] == [steps == S for _, steps, *_ in short]
    for a, b in zip(short[-1][-1], raw(whole.state_R), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(short[-1][2], whole.metrics, strict=True):
        np.testing.assert_array_equal(a, b)
    for leaf in jax.tree.leaves(short[2][3]):  # three steps are done, and no more
        assert leaf[:, :3].any() and not leaf[:, 3:].any()


@pytest.mark.optimised
@pytest.mark.parametrize("streamed", [False, True])
def test_training_goes_on_in_the_middle_of_an_epoch(streamed):
    made = small.recipe(epochs=2)
    hyper_R = small.hyper((0, 1), (0.0, 0.2))
    *_, whole = blocks(made, hyper_R, streamed, 1e9)
    for block in blocks(made, hyper_R, streamed, 0.0):
        if (block.epoch, block.steps) == (1, 3):
            break
    begun = {"begin": 1, "steps": 3, "progress_R": jax.tree.map(np.array, block.progress_R)}
    *_, ended = blocks(made, hyper_R, streamed, 1e9, block.state_R, **begun)
    for a, b in zip(raw(ended.state_R), raw(whole.state_R), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(ended.metrics, whole.metrics, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_block_takes_as_long_as_asked():
    pace = passes._Pace()
    assert pace.end(0, 1000) == passes.FIRST_STEPS
    pace.took(passes.FIRST_STEPS * passes.PAUSE / 100)  # a hundredth of the pause a step
    assert pace.end(16, 1000) == 116
    assert pace.end(950, 1000) == 1000
    pace.took(1e9)
    assert pace.end(0, 1000) == 1  # never nothing


@pytest.fixture
def every_step(monkeypatch):
    """Stops after so many blocks, each of which has one step."""
    monkeypatch.setattr(passes, "FIRST_STEPS", 1)
    monkeypatch.setattr(passes, "PAUSE", 0.0)
    counted = itertools.count(1)

    def stop_after(count):
        monkeypatch.setattr(interrupts, "_asked", False)
        own = passes.blocks

        def counting(*given):
            for block in own(*given):
                if next(counted) % count == 0:
                    signal.raise_signal(signal.SIGTERM)
                yield block

        monkeypatch.setattr(passes, "blocks", counting)

    before = signal.getsignal(signal.SIGTERM)
    interrupts.install()
    yield stop_after
    signal.signal(signal.SIGTERM, before)


@pytest.mark.optimised
def test_a_stopped_run_ends_with_the_same_numbers(tmp_path, every_step, no_pages):
    nmnist_files.dataset(tmp_path / "data")
    sweep = {"sweep.rho": (0.0, 0.2), "resume": True}
    expected = jobs.train(jobs.settings(tmp_path, **sweep, workdir=str(tmp_path / "whole")))
    given = jobs.settings(tmp_path, **sweep)
    every_step(7)  # of 5 steps an epoch: within epochs, and once at the end of one
    stops = 0
    while True:
        interrupts._asked = False
        try:
            found = jobs.train(given)
            break
        except interrupts.StoppedError as error:
            stops += 1
            assert f"{tmp_path / 'run'}: stopped by SIGTERM, and saved, at epoch" in str(error)
            names = sorted(int(path.name) for path in (tmp_path / "run/checkpoints").iterdir())
            assert names[-1] == stops * 7 and len(names) <= 2
    assert stops == 2
    for key in ("runs", "summary"):
        assert without_times(found[key]) == without_times(expected[key])
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("run", "whole")]
    ours, theirs = ([without_times(json.loads(line)) for line in log.splitlines()] for log in logs)
    assert ours == theirs


def test_a_checkpoint_is_kept_every_so_many_minutes(tmp_path, every_step, monkeypatch, no_pages):
    nmnist_files.dataset(tmp_path / "data")
    saved, save = [], Checkpoints.save
    monkeypatch.setattr(
        Checkpoints,
        "save",
        lambda self, number, *rest: saved.append(number) or save(self, number, *rest),
    )
    for minutes, expected in ((1e-9, range(11)), (10.0, (0, 5, 10)), (0.0, (0, 5, 10))):
        saved.clear()
        workdir = str(tmp_path / f"run{minutes}")
        jobs.train(jobs.settings(tmp_path, epochs=2, checkpoint_minutes=minutes, workdir=workdir))
        assert saved == list(expected)


def test_an_evaluation_takes_weights_from_within_an_epoch(tmp_path, every_step, no_pages):
    nmnist_files.dataset(tmp_path / "data")
    every_step(7)
    with pytest.raises(interrupts.StoppedError):
        jobs.train(jobs.settings(tmp_path))
    found = reloaded.load(tmp_path / "run")
    assert (found.record["epoch"], found.record["steps"]) == (1, 2)
    assert np.isfinite(jax.tree.leaves(found.trained.params)[0]).all()


def test_sigterm_ends_a_command_and_the_same_goes_on(tmp_path):
    nmnist_files.dataset(tmp_path / "data", per_class=8)
    flags = *SMALL, "--config.resume=True", f"--config.data.path={tmp_path / 'data'}"
    whole, cut = (f"--config.workdir={tmp_path / name}" for name in ("whole", "cut"))
    process = start("nmnist", *flags, cut)
    wait_for_epochs(process, tmp_path / "cut")
    process.send_signal(signal.SIGTERM)
    *_, err = process.communicate(timeout=60)
    assert process.returncode == 143
    last = err.strip().splitlines()[-1]
    assert last.startswith(f"error: {tmp_path / 'cut'}: stopped by SIGTERM, and saved, at epoch")
    assert last.endswith("a training run needs --config.resume=True beside it")
    assert not (tmp_path / "cut" / "results.json").exists()
    for workdir in (cut, whole):
        code, _, err = command("nmnist", *flags, workdir)
        assert code == 0, err
    found, expected = (read(tmp_path / name / "results.json") for name in ("cut", "whole"))
    assert found["runs"] == expected["runs"]
    for a, b in zip(
        final_weights(tmp_path / "cut")[1], final_weights(tmp_path / "whole")[1], strict=True
    ):
        np.testing.assert_array_equal(a, b)


OUTSIDE = """
import signal, sys
from sast_jax.runs import interrupts
interrupts.install()
with interrupts.deferred() as asked:
    if sys.argv[1] == "noted":  # as in the evaluation of the last epoch
        signal.raise_signal(signal.SIGTERM)
        assert asked()
    print("saved", flush=True)
if sys.argv[1] == "outside":
    signal.raise_signal(signal.SIGTERM)
print("never", flush=True)
"""


@pytest.mark.parametrize("when", ["noted", "outside"])
def test_sigterm_is_not_forgotten_after_training(when):
    done = subprocess.run([sys.executable, "-c", OUTSIDE, when], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (143, "saved\n")
    assert done.stderr.startswith("\nerror: stopped by SIGTERM; the same command goes on")


SAME = {"schedule": "constant", "slope_end": 2.0, "sam.warmup": 0.0, "resume": True}


@pytest.mark.optimised
def test_a_finished_run_goes_on_with_more_epochs(tmp_path, no_pages):
    nmnist_files.dataset(tmp_path / "data")
    expected = jobs.train(
        jobs.settings(tmp_path, **SAME, epochs=4, workdir=str(tmp_path / "whole"))
    )
    short = jobs.train(jobs.settings(tmp_path, **SAME, epochs=2))
    longer = jobs.settings(tmp_path, **SAME, epochs=4)
    with pytest.raises(InputError, match=r"\(epochs is 2 there and 4 here\); it goes on with"):
        jobs.train(longer.changed({"resume": False}))
    with pytest.raises(InputError, match="holds another run"):
        jobs.train(longer.changed({"seed": 3}))
    found = jobs.train(longer)
    assert without_times(found["runs"]) == without_times(expected["runs"])
    kept = json.loads((tmp_path / "run" / "results_2_epochs.json").read_text())
    assert kept == json.loads(json.dumps(short))
    with pytest.raises(InputError, match=r"\(epochs is 4 there and 2 here\); name another"):
        jobs.train(jobs.settings(tmp_path, **SAME, epochs=2))


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"schedule": "cosine"}, "config.schedule=cosine"),
        ({"slope_end": 4.0}, "config.slope_end=4.0"),
        ({"sam.warmup": 0.5}, "config.sam.warmup=0.5"),
        ({"sam.start": 0.5}, "config.sam.start=0.5"),
        ({"average.start": 0.5}, "config.average.start=0.5"),
        ({"sam.warmup": 0.5, "rho": 0.0}, None),
        ({"average.start": 0.0}, None),
    ],
)
def test_schedules_that_are_spread_over_the_run_are_named(tmp_path, changes, told):
    made = jobs.settings(tmp_path, **SAME | changes)
    assert [f"config.{key}={value}" for key, value in made.spread().items()] == (
        [told] if told else []
    )
    workdirs.claim(made.changed({"epochs": 2}), "x")
    if told is None:
        workdirs.claim(made, "x")
    else:
        with pytest.raises(InputError, match=f"over which {told} are spread.*--config.initial="):
            workdirs.claim(made, "x")


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_a_workdir_that_is_taken_away_ends_training(left, tmp_path, monkeypatch, no_pages):
    nmnist_files.dataset(tmp_path / "data")
    own = passes.blocks

    def losing(*given):
        for block in own(*given):
            if block.epoch == 1:
                shutil.rmtree(tmp_path / "run", ignore_errors=True)  # a save may be at it
                if left != "nothing":
                    (tmp_path / "run").mkdir(exist_ok=True)
            yield block

    monkeypatch.setattr(passes, "blocks", losing)
    with pytest.raises(InputError, match="run: gone, or emptied, while its run was being trained"):
        jobs.train(jobs.settings(tmp_path, epochs=4))
