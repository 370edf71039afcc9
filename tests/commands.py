"""Commands as a user runs them: fresh processes, and the weights that they end with."""

import pathlib
import subprocess
import sys
import time

import jax

from sast_jax.runs import build, settings
from sast_jax.runs.checkpoints import Checkpoints
from sast_jax.training import stepping

ROOT = pathlib.Path(__file__).parents[1]
SMALL = (  # the same epochs for all, so that they share what is compiled
    "--config.epochs=15",
    "--config.network.hidden=16,",
    "--config.data.time_bins=4",
    "--config.batch_size=8",
    "--config.learning_rate=0.01",
    "--config.hardware.weight_bits=8,",
    "--config.corruptions.kinds=",
    "--config.hardware.draws=0",
)


def start(module, *arguments, within=()):
    command = [*within, sys.executable, "-m", f"experiments.{module}", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def command(module, *arguments, within=(), timeout=600):
    process = start(module, *arguments, within=within)
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def wait_for_epochs(process, workdir):
    """Returns once a training that goes on has logged three epochs."""
    metrics = workdir / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not metrics.exists() or metrics.read_text().count("\n") < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def final_weights(workdir):
    """The last epoch of an N-MNIST run that is kept, and all that it has trained until then."""
    checkpoints = Checkpoints(workdir / "checkpoints")
    record = checkpoints.record()
    given = settings.read(record["config"])
    made = build.recipe(given, (34, 34, 2), 10, record["train_rows"])
    state = checkpoints.state(stepping.shapes(made, build.hyperparameters(given)))
    checkpoints.close()
    return record["epoch"], jax.tree.leaves((state.params, state.optimizer, state.step))
