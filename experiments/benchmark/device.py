"""What an accelerator has to show, part by part, within minutes.

Each part is a process of its own: it has the device's memory for itself, it ends in time, and if it
fails, the others go on.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

TESTS = ("training", "epochs", "sweeps", "sam", "words", "sparse", "streaming", "lif", "evaluation")
KERNELS = ("torch", "triton", "cuda")  # of SpikingJelly, which takes one in a process
_ROOT = pathlib.Path(__file__).parents[2]
_BRIEF = ("--config.brief=True", "--config.workdir={}/run")
_SPARE = 20  # seconds without which no part begins
_LAST = 4000  # characters that are kept of what a part says
# torch multiplies in float32; JAX would take fewer bits on some devices.
_FLOAT32 = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}


class Part(NamedTuple):
    """A command, and what JSON keeps of it.

    Attributes:
      arguments: of Python, in which ``{}`` stands for a folder of its own.
      found: (that folder, what the command said, the seconds it took) -> what is kept; raises
        whatever it raises where the command did not do its work.
      environment: variables.
    """

    arguments: tuple[str, ...]
    found: Callable[[pathlib.Path, str, float], dict]
    environment: Mapping[str, str] = types.MappingProxyType({})


def within(chosen: dict[str, Part], minutes: float) -> Iterator[tuple[str, dict | None]]:
    """What the parts find, one after another, until the minutes are over.

    Yields:
      The name of each part and what JSON keeps; for one that failed or was not done in time a dict
      with ``error`` alone, and None for one that was left out.
    """
    ends = time.monotonic() + 60 * minutes
    for name, part in chosen.items():
        left = ends - time.monotonic()
        found = None if left < _SPARE else _of(part, left)
        said = "left out, for want of time" if found is None else json.dumps(found)
        print(f"\n{name}: {said}", flush=True)
        yield name, found


def _of(part: Part, left: float) -> dict:
    with tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        try:
            done = subprocess.run(
                [sys.executable, *(word.format(scratch) for word in part.arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=left,
                cwd=_ROOT,
                env=os.environ | {key: v.format(scratch) for key, v in part.environment.items()},
            )
        except subprocess.TimeoutExpired as error:
            said = (error.stdout or b"").decode(errors="replace")[-_LAST:]
            return {"error": f"not done within {left:.0f} seconds: {said}"}
        try:
            return part.found(pathlib.Path(scratch), done.stdout, time.perf_counter() - began)
        except Exception:  # whatever is missing of what it should have left
            return {"error": f"ended with {done.returncode}: {done.stdout[-_LAST:]}"}


def parts() -> dict[str, Part]:
    """All parts, those that matter most first."""
    made = _steps((20, 64), (20, 512), (100, 64))
    made["the default run"] = Part(
        ("-m", "experiments.nmnist", "--config.data.source=simulated", *_BRIEF),
        _of_a_run,
        # As at a new user's, whose programs are not compiled yet.
        {"SAST_CACHE": "{}/cache", "JAX_COMPILATION_CACHE_DIR": "{}/programs"},
    )
    made["tests"] = tests(*TESTS)
    made |= {"grid": table("grid", "grid")} | _steps((100, 512)) | {"warp": table("warp", "warp")}
    if importlib.util.find_spec("spikingjelly"):
        for kernel in KERNELS:
            own = table("step", "step of 20 x 64", 20, 64, SJ_LIF_CUDA_IMPLEMENTATION=kernel)
            made[f"SpikingJelly, kernel {kernel}"] = own._replace(found=_spikingjelly)
    return made


def _steps(*sizes) -> dict[str, Part]:
    names = {f"step of {time_bins} x {size}": (time_bins, size) for time_bins, size in sizes}
    return {name: table("step", name, *of_it) for name, of_it in names.items()}


def table(part: str, name: str, time_bins: int = 20, size: int = 64, **environment: str) -> Part:
    """A table of the benchmark, by the part and the name that it has there."""
    given = f"--part={part}", f"--time_bins={time_bins}", f"--batch_size={size}"
    command = ("-m", "experiments.benchmark", *given, "--rounds=20", "--json={}/table")
    return Part(command, lambda folder, *_: _table(folder)[name], _FLOAT32 | environment)


def tests(*names: str) -> Part:
    """Which tests fail on this device, and the last line of pytest."""
    files = (str(_ROOT / "tests" / f"test_{name}.py") for name in names)
    command = ("-m", "pytest", "-q", "-m", "not slow", "-rfE", *files)
    return Part(command, lambda folder, said, seconds: _tested(said), _FLOAT32)


def _table(folder):
    return json.loads((folder / "table").read_text())


def _spikingjelly(folder, *_) -> dict:
    (row,) = (v for k, v in _table(folder)["step of 20 x 64"].items() if "SpikingJelly" in k)
    return row


def _of_a_run(folder, said, seconds) -> dict:
    (own,) = json.loads((folder / "run" / "results.json").read_text())["runs"]
    kept = {key: own[key] for key in ("train_seconds", "soft_accuracy", "hard_accuracy")}
    return kept | {"whole_seconds": seconds}


def _tested(said) -> dict:
    lines = said.strip().splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    last = lines[-1]
    if not failed and " passed" not in last:
        raise ValueError(last)
    return {"failed": failed, "last": last}
