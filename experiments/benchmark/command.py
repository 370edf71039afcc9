"""Times a training step against bare JAX, its floor and other libraries; SAM, a warp, a grid, I/O.

    python -m experiments.benchmark --data_path=FOLDER

All rows of a table are measured in turns in one process, and only their ratios mean something. The
step is that of an MLP 2312-256-256-10 over 20 steps of time with a batch of 64, in which one pixel
in twenty fires; it does not wait for its batch. Its floor are its matrix products and Adam. Other
libraries are timed where they are installed (docs/benchmark.md). A warp shifts, turns and stretches
recordings of 6 steps as a run with SAM does (``nmnist_sast.py``). The grid trains the MLP with five
radii and five seeds, and its times include compiling. FOLDER holds recordings in N-MNIST's layout;
without one, reading and the stages of a run are not measured. Leave the machine otherwise idle.

`--device` measures what an accelerator has to show: steps of 20 and 100 steps of time with batches
of 64 and 512, the grid, a run with SAM on simulated digits, and tests; what does not fit in
`--minutes` is left out, and said.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tabulate
from absl import flags

from experiments.benchmark import reading, steps
from experiments.configs import nmnist_sast
from sast_jax import files
from sast_jax.data import sets
from sast_jax.reports import pages
from sast_jax.runs import machine, run, settings, timing

_DATA_PATH = flags.DEFINE_string("data_path", None, "folder with recordings to read")
_ROUNDS = flags.DEFINE_integer("rounds", 60, "turns of the step", lower_bound=3)
_TIME_BINS = flags.DEFINE_multi_integer("time_bins", [20], "steps of time", lower_bound=1)
_SIZE = flags.DEFINE_integer("batch_size", 64, "recordings of a batch", lower_bound=8)
_JSON = flags.DEFINE_string("json", None, "file to write the tables to")
_DEVICE = flags.DEFINE_bool("device", False, "measure what an accelerator has to show")
_MINUTES = flags.DEFINE_float("minutes", 8.0, "for --device, about", lower_bound=0.0)

TESTS = ("training", "epochs", "sweeps", "sam", "words", "sparse", "streaming", "lif", "evaluation")


def main() -> None:
    file = files.asked_for(_JSON.value)
    found: dict = {"environment": machine.environment()}
    print(pages.listed(found["environment"]), flush=True)
    for name, part in (_on_a_device if _DEVICE.value else _here)():
        found[name] = part
        if file is not None:  # after each table, so that nothing is lost where time is short
            files.write(file, json.dumps(found, indent=2))


def _here():
    if _DATA_PATH.value is None:
        split = None
    else:  # first, as a wrong path would end it
        folder = files.place(_DATA_PATH.value)
        split = reading.split(folder)
    for time_bins in _TIME_BINS.value:
        rows = steps.steps(time_bins, _SIZE.value)
        yield _table(f"step of {time_bins} x {_SIZE.value}", rows, _ROUNDS.value)
    yield _table("warp", steps.warps(), 15)
    if split is not None:
        with tempfile.TemporaryDirectory() as scratch:
            yield _table("reading", reading.rows(split, pathlib.Path(scratch)), 3)
        yield _stages(sets.NmnistData(path=str(folder)))
    yield _table("grid", steps.grid(), 3)


def _on_a_device():
    ends = time.monotonic() + 60 * _MINUTES.value
    parts: dict[str, Callable[..., tuple[str, Any]]] = {
        f"step of {time_bins} x {size}": lambda name, time_bins=time_bins, size=size: _table(
            name, steps.steps(time_bins, size), 20
        )
        for time_bins in (20, 100)
        for size in (64, 512)
    }
    parts |= {
        "grid": lambda name: _table(name, steps.grid(), 3),
        "run with SAM": _run_with_sam,
        "warp": lambda name: _table(name, steps.warps(), 15),
        "tests": lambda name: _tests(name, ends - time.monotonic()),
    }
    for name, part in parts.items():
        if time.monotonic() > ends - 30:
            print(f"{name}: left out, for want of time", flush=True)
            yield name, None
        else:
            yield part(name)


def _table(name: str, rows: dict[str, steps.Row], rounds: int) -> tuple[str, dict]:
    """Times rows in turns, prints them, and returns what JSON keeps of them."""
    seconds = steps.timed(rows, rounds)
    first, lines, kept = next(iter(rows)), [], {}
    for row, (_, memory, loss) in rows.items():
        low, middle, high = timing.against(seconds[row], seconds[first])
        own = {"ms": 1e3 * float(np.median(seconds[row])), "ratio": [low, middle, high]}
        kept[row] = own | {"memory": memory, "loss": loss}
        quartiles = f"{low:.3f}-{high:.3f}"
        megabytes = None if memory is None else memory / 1e6
        lines.append([row, own["ms"], f"{middle:.3f}", quartiles, megabytes, loss])
    heads = [name, "ms", "ratio to the first row", "quartiles", "MB at the peak", "first loss"]
    shown = tabulate.tabulate(
        lines, heads, floatfmt=("", ".1f", "", "", ".0f", ".4f"), missingval="-"
    )
    print(f"\n{shown}", flush=True)
    return name, kept


def _stages(data: sets.Data) -> tuple[str, dict]:
    seconds = reading.stages(data)
    print()
    print(tabulate.tabulate(seconds.items(), ["stage of a run", "s"], floatfmt=".2f"), flush=True)
    return "stages", seconds


def _run_with_sam(name: str) -> tuple[str, dict]:
    """A run with SAM (``nmnist_sast.py``) on simulated digits: its seconds and what came of it."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        changes = {"data.source": "simulated", "workdir": f"{scratch}/run"}
        given = settings.read(nmnist_sast.get_config()).changed(changes)
        done, _ = run.results_of(given, page=False)
    (own,) = done["runs"]
    found = {key: own[key] for key in ("train_seconds", "soft_accuracy", "hard_accuracy")}
    found |= {"seconds": time.perf_counter() - started, "data": done["data"]}
    print(f"\n{name}: {found}", flush=True)
    return name, found


def _tests(name: str, seconds: float) -> tuple[str, str]:
    """The last line that pytest prints for the tests of training."""
    folder = pathlib.Path(__file__).parents[2]
    chosen = [str(folder / "tests" / f"test_{own}.py") for own in TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", *chosen]
    # This process holds most of the device's memory already.
    own = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, cwd=folder, env=own
        )
        last = (done.stdout + done.stderr).strip().splitlines()[-1]
    except subprocess.TimeoutExpired:
        last = f"not done within {seconds:.0f} seconds"
    print(f"\n{name}: {last}", flush=True)
    return name, last
