"""Times whole runs: from recordings in archives to a network that is trained and evaluated.

    python -m experiments.benchmark.whole --data_path=FOLDER

runs `experiments.nmnist` on train.zip and test.zip in FOLDER twice, with an empty cache and once
more, and the same training with SpikingJelly on frames that tonic makes, where both are installed:
an MLP 2312-256-256-10, 20 steps of time, 8 epochs, batches of 64, Adam, hard spikes, no
augmentation and no SAM. Leave the machine otherwise idle.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import tabulate
from absl import flags

from experiments import cli
from experiments.benchmark import reading
from experiments.benchmark.spikingjelly_run import EPOCHS, SIZE, TIME_BINS
from sast_jax import files
from sast_jax.errors import InputError

_DATA_PATH = flags.DEFINE_string("data_path", None, "folder with recordings", required=True)

_OTHERS = ("spikingjelly", "tonic", "torch")
OURS = {  # of nmnist_robust
    "forward": "hard",
    "slope": 4,
    "slope_end": 4,
    "schedule": "constant",
    "lif.reset": "zero",
    "batch_size": SIZE,
    "epochs": EPOCHS,
    "data.time_bins": TIME_BINS,
    "data.shift": 0,
    "data.rotation": 0,
    "data.zoom": 0,
    "hardware.weight_bits": "()",
    "hardware.draws": 0,
    "corruptions.kinds": "",
    "brief": True,  # the other run writes no report
}


def main() -> None:
    folder = files.place(_DATA_PATH.value).resolve()
    reading.split(folder)  # raises its own error if there are no recordings
    rows, missing = [], [one for one in _OTHERS if importlib.util.find_spec(one) is None]
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("sast_jax, first run", "sast_jax, second run"):
            workdir = pathlib.Path(scratch, name)
            keys = OURS | {"data.path": folder, "workdir": workdir}
            command = ["experiments.nmnist", "--config=nmnist_robust"]
            command += [f"--config.{k}={v}" for k, v in keys.items()]
            seconds = _seconds(command, SAST_CACHE=str(pathlib.Path(scratch, "cache")))
            (run,) = json.loads((workdir / "results.json").read_text())["runs"]
            rows.append([name, seconds, run["train_seconds"], run["hard_accuracy"]])
        if not missing:
            file = pathlib.Path(scratch, "peer.json")
            seconds = _seconds(["experiments.benchmark.spikingjelly_run", str(folder), str(file)])
            found = json.loads(file.read_text())
            rows.append(["SpikingJelly and tonic", seconds, found["training"], found["accuracy"]])
    print(tabulate.tabulate(rows, ["run", "s", "of which training", "accuracy"], floatfmt=".4g"))
    if missing:
        print(f"SpikingJelly's run is left out, as these are not installed: {', '.join(missing)}")


def _seconds(command: list[str], **environment: str) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *command], env=os.environ | environment, stdout=subprocess.DEVNULL
    )
    if done.returncode:
        raise InputError(f"{command[0]} ended with {done.returncode}; what it said is above")
    return time.perf_counter() - started


if __name__ == "__main__":
    cli.run(main)
