"""Commands as a user runs them: fresh processes, and the weights that they end with."""

import atexit
import functools
import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile
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


def start(module, *arguments, within=(), **options):
    command = [*within, sys.executable, "-m", f"experiments.{module}", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, **options)


def command(module, *arguments, within=(), timeout=600):
    """Exit code and output of a command, in a process of its own that is forked from a warm one."""
    if within:
        process = start(module, *arguments, within=within)
        out, err = process.communicate(timeout=timeout)
        return process.returncode, out, err
    with tempfile.TemporaryDirectory() as scratch:
        out, err = pathlib.Path(scratch, "out"), pathlib.Path(scratch, "err")
        request = {"module": f"experiments.{module}", "arguments": arguments, "cwd": str(ROOT)}
        request |= {"environment": dict(os.environ), "out": str(out), "err": str(err)}
        code = _forked(request, timeout)
        return code, out.read_text(), err.read_text()


@functools.cache
def _server():
    """Started once a test process, and ended with it."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "forkserver.py")],
        stdin=pipe,
        stdout=pipe,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    atexit.register(process.kill)
    assert process.stdout.readline() == "ready\n"
    return process


def _forked(request, timeout):
    server = _server()
    print(json.dumps(request), file=server.stdin, flush=True)
    ready, *_ = select.select([server.stdout], [], [], timeout)
    assert ready, f"no end of {request['module']} {request['arguments']}"
    return json.loads(server.stdout.readline())


def kill(process):
    assert process.poll() is None
    process.kill()
    process.communicate()  # which closes its pipes


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

    def like_of(record):
        given = settings.read(record["config"])
        made = build.recipe(given, (34, 34, 2), 10, record["train_rows"])
        return stepping.shapes(made, build.hyperparameters(given))

    record, state = checkpoints.restore(like_of)
    checkpoints.close()
    return record["epoch"], jax.tree.leaves((state.params, state.optimizer, state.step))
