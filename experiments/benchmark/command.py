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
of 64 and 512, the default run on simulated digits, the grid, tests, the warp, and the kernels of
SpikingJelly; what does not fit in `--minutes` is left out, and said.
"""

import contextlib
import importlib.metadata
import json
import os
import pathlib
import tempfile

import jax
import numpy as np
import tabulate
from absl import flags

from experiments.benchmark import device, reading, steps
from sast_jax import files
from sast_jax.data import sets
from sast_jax.errors import InputError
from sast_jax.reports import pages
from sast_jax.runs import machine, timing

_DATA_PATH = flags.DEFINE_string("data_path", None, "folder with recordings to read")
_ROUNDS = flags.DEFINE_integer("rounds", 60, "turns of the step", lower_bound=3)
_TIME_BINS = flags.DEFINE_multi_integer("time_bins", [20], "steps of time", lower_bound=1)
_SIZE = flags.DEFINE_integer("batch_size", 64, "recordings of a batch", lower_bound=8)
_JSON = flags.DEFINE_string("json", None, "file to write the tables to")
_DEVICE = flags.DEFINE_bool("device", False, "measure what an accelerator has to show")
_MINUTES = flags.DEFINE_float("minutes", 8.0, "for --device", lower_bound=0.0)
PARTS = ("step", "warp", "reading", "stages", "grid")
_PART = flags.DEFINE_multi_enum("part", [], PARTS, "what to measure; all of it by default")

LIBRARIES = (
    *("flax", "numpy", "optax", "torch"),
    *("jaxpike", "snntorch", "spikingjelly", "spyx", "tonic"),
)


def main() -> None:
    file = files.asked_for(_JSON.value)
    if _DEVICE.value:  # whose memory the parts need
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    found: dict = {"environment": machine.environment() | _versions()}
    print(pages.listed(found["environment"]), flush=True)
    if _DEVICE.value and jax.default_backend() == "cpu":
        raise InputError(
            "--device: JAX finds no accelerator; install JAX for it, such as with "
            "pip install 'jax[cuda12]', or leave --device out"
        )
    parts = device.within(device.parts(), _MINUTES.value) if _DEVICE.value else _here()
    for name, part in parts:
        found[name] = part
        if file is not None:  # after each table, so that nothing is lost where time is short
            files.write(file, json.dumps(found, indent=2))
    known = {name: part for name, part in found.items() if part is not None}
    wrong = [name for name, part in known.items() if part.get("error") or part.get("failed")]
    if wrong:
        raise InputError(f"failed on this device: {', '.join(wrong)}; what they said is above")


def _versions() -> dict[str, str]:
    """Of the libraries that are installed."""
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _here():
    if _DATA_PATH.value is None:
        split = None
    else:  # first, as a wrong path would end it
        folder = files.place(_DATA_PATH.value)
        split = reading.split(folder)
    wanted = _PART.value or PARTS
    for time_bins in _TIME_BINS.value if "step" in wanted else ():
        name = f"step of {time_bins} x {_SIZE.value}"
        yield name, _table(name, steps.steps(time_bins, _SIZE.value), _ROUNDS.value)
    if "warp" in wanted:
        yield "warp", _table("warp", steps.warps(), 15)
    if split is not None and "reading" in wanted:
        with tempfile.TemporaryDirectory() as scratch:
            yield "reading", _table("reading", reading.rows(split, pathlib.Path(scratch)), 3)
    if split is not None and "stages" in wanted:
        yield "stages", _stages(sets.NmnistData(path=str(folder)))
    if "grid" in wanted:
        yield "grid", _table("grid", steps.grid(), 3)


def _table(name: str, rows: dict[str, steps.Row], rounds: int) -> dict:
    """Times rows in turns, prints them, and returns what JSON keeps of them."""
    seconds = steps.timed(rows, rounds)
    first, lines, kept = next(iter(rows)), [], {}
    for row, (_, memory, loss) in rows.items():
        low, middle, high = timing.against(seconds[row], seconds[first])
        own = {"ms": 1e3 * float(np.median(seconds[row])), "ratio": [low, middle, high]}
        kept[row] = own | {"memory": memory, "loss": loss}
        share = None
        if steps.FLOOR in rows:
            share = own["share_of_floor"] = timing.against(seconds[steps.FLOOR], seconds[row])[1]
        quartiles = f"{low:.3f}-{high:.3f}"
        megabytes = None if memory is None else memory / 1e6
        lines.append([row, own["ms"], f"{middle:.3f}", quartiles, share, megabytes, loss])
    heads = [name, "ms", "ratio to the first row", "quartiles", "floor over it"]
    heads += ["MB at the peak", "first loss"]
    shown = tabulate.tabulate(
        lines, heads, floatfmt=("", ".1f", "", "", ".2f", ".0f", ".4f"), missingval="-"
    )
    print(f"\n{shown}", flush=True)
    return kept


def _stages(data: sets.Data) -> dict[str, float]:
    seconds = reading.stages(data)
    print()
    print(tabulate.tabulate(seconds.items(), ["stage of a run", "s"], floatfmt=".2f"), flush=True)
    return seconds
