"""What an accelerator has to show, part by part, within minutes; a part that fails is reported."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from experiments.benchmark import steps

TESTS = ("training", "epochs", "sweeps", "sam", "words", "sparse", "streaming", "lif", "evaluation")
KERNELS = ("torch", "triton", "cuda")  # of SpikingJelly, which takes one in a process
_ROOT = pathlib.Path(__file__).parents[2]
_SPARE = 30  # seconds without which no part begins

Part = Callable[[float], Any]  # seconds that are left -> what JSON keeps


def within(parts: dict[str, Part], minutes: float) -> Iterator[tuple[str, Any]]:
    """The parts one after another, until the minutes are over.

    Yields:
      The name of each part and what it gives; for one that failed a dict with ``error`` alone, and
      None for one that was left out.
    """
    ends = time.monotonic() + 60 * minutes
    for name, part in parts.items():
        left = ends - time.monotonic()
        if left < _SPARE:
            print(f"\n{name}: left out, for want of time", flush=True)
            yield name, None
            continue
        try:
            yield name, part(left)
        except Exception as error:  # whatever it is, the parts after it are worth as much
            print(f"\n{name}: failed ({error!r})", flush=True)
            yield name, {"error": repr(error)}


def parts(table: Callable[[str, dict[str, steps.Row], int], Any]) -> dict[str, Part]:
    """All parts, those that matter most first.

    Args:
      table: (name, rows, rounds) -> what JSON keeps of rows that are timed in turns.
    """
    found: dict[str, Part] = {}
    for time_bins in (20, 100):
        for size in (64, 512):
            name = f"step of {time_bins} x {size}"
            found[name] = _step(name, time_bins, size, table)
    found["the default run"] = default_run
    found["grid"] = lambda left: table("grid", steps.grid(), 3)
    found["tests"] = tests
    found["warp"] = lambda left: table("warp", steps.warps(), 15)
    return found | {f"SpikingJelly's kernel: {kernel}": _of_kernel(kernel) for kernel in KERNELS}


def _step(name, time_bins, size, table) -> Part:
    return lambda left: table(name, steps.steps(time_bins, size), 20)


def default_run(left: float) -> dict:
    """The command that a new user starts, on simulated digits: its seconds and what came of it."""
    with tempfile.TemporaryDirectory() as scratch:
        keys = {"data.source": "simulated", "workdir": f"{scratch}/run", "brief": True}
        command = ["experiments.nmnist", *(f"--config.{k}={v}" for k, v in keys.items())]
        started = time.perf_counter()
        done = _python(command, left)
        seconds = time.perf_counter() - started
        results = pathlib.Path(scratch, "run", "results.json")
        if not results.exists():
            return _said("the default run", {"error": done})
        (own,) = json.loads(results.read_text())["runs"]
    found = {key: own[key] for key in ("train_seconds", "soft_accuracy", "hard_accuracy")}
    return _said("the default run", found | {"seconds": seconds})


def tests(left: float) -> dict:
    """Which of the tests of training fail on this device, and the last line of pytest."""
    chosen = [str(_ROOT / "tests" / f"test_{name}.py") for name in TESTS]
    command = ["pytest", "-q", "-m", "not slow", "-rf", *chosen]
    # Else products are rounded more coarsely on some devices than the tests allow for.
    lines = _python(command, left, JAX_DEFAULT_MATMUL_PRECISION="highest").splitlines()
    failed = [line for line in lines if line.startswith("FAILED")]
    return _said("tests", {"failed": failed, "last": lines[-1] if lines else ""})


def _of_kernel(kernel: str) -> Part:
    def part(left):
        with tempfile.TemporaryDirectory() as scratch:
            file = pathlib.Path(scratch, "step.json")
            command = ["experiments.benchmark", "--steps_only", "--rounds=20", f"--json={file}"]
            said = _python(command, left, SJ_LIF_CUDA_IMPLEMENTATION=kernel)
            if not file.exists():
                return _said(kernel, {"error": said})
            rows = json.loads(file.read_text())["step of 20 x 64"]
        kept = {name: row for name, row in rows.items() if "SpikingJelly" in name}
        return _said(f"SpikingJelly's kernel: {kernel}", kept)

    return part


def _python(arguments: Sequence[str], left: float, **environment: str) -> str:
    """What a module of Python says, or that it was not done in time."""
    # This process holds most of the device's memory already.
    own = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            capture_output=True,
            text=True,
            timeout=left,
            cwd=_ROOT,
            env=os.environ | own | environment,
        )
    except subprocess.TimeoutExpired:
        return f"not done within {left:.0f} seconds"
    return (done.stdout + done.stderr).strip()


def _said(name: str, found: dict) -> dict:
    print(f"\n{name}: {found}", flush=True)
    return found
