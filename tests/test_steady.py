"""A sweep that is stopped and resumed again and again holds memory, open files and disk steady.

SAST_PLOT=steady.png python -m pytest -m slow tests/test_steady.py

draws what it measured.
"""

import ctypes
import gc
import itertools
import os
import signal

import jobs
import matplotlib.figure
import nmnist_files
import numpy as np
import psutil
import pytest

from sast_jax.runs import interrupts
from sast_jax.training import passes

RESUMPTIONS, WARM = 100, 20  # by then all is compiled and loaded
SWEEP = {"sweep.rho": (0.0, 0.1, 0.2), "sweep.seeds": 10, "resume": True, "epochs": 21}


def measured(folder) -> tuple[float, int, float]:
    """Megabytes of memory, open files, megabytes on disk."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps for later is not held
    process = psutil.Process()
    disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return process.memory_info().rss / 1e6, process.num_fds(), disk / 1e6


def draw(file, rows):
    figure = matplotlib.figure.Figure(figsize=(10, 3), layout="constrained")
    names = ("memory, MB", "open files", "disk, MB")
    for axis, name, values in zip(figure.subplots(1, 3), names, rows.T, strict=True):
        axis.plot(values)
        axis.set(xlabel="resumptions", ylabel=name, ylim=(0, 1.1 * values.max()))
    figure.savefig(file, dpi=110)


@pytest.mark.slow
def test_a_hundred_resumptions_hold_memory_files_and_disk_steady(tmp_path, monkeypatch, no_pages):
    nmnist_files.dataset(tmp_path / "data")
    monkeypatch.setattr(passes, "FIRST_STEPS", 1)
    monkeypatch.setattr(passes, "PAUSE", 0.0)
    before, own = signal.getsignal(signal.SIGTERM), passes.blocks

    def stopping(*given):
        for count, block in enumerate(own(*given), start=1):
            if count == 1:  # of 5 steps an epoch
                signal.raise_signal(signal.SIGTERM)
            yield block

    monkeypatch.setattr(passes, "blocks", stopping)
    interrupts.install()
    rows = []
    try:
        for number in itertools.count():
            interrupts._asked = False
            try:
                jobs.train(jobs.settings(tmp_path, **SWEEP))
                break
            except interrupts.StoppedError:
                rows.append(measured(tmp_path / "run"))
                assert number < 120
    finally:
        signal.signal(signal.SIGTERM, before)
        interrupts._asked = False
    assert len(rows) >= RESUMPTIONS
    rows = np.array(rows)
    if "SAST_PLOT" in os.environ:
        draw(os.environ["SAST_PLOT"], rows)
    warm = rows[WARM:]
    growth = (warm[-5:].mean(axis=0) - warm[:5].mean(axis=0)) / warm[:5].mean(axis=0)
    assert growth[0] < 0.05, f"memory grew by {growth[0]:.0%}"
    assert growth[1] < 0.05, f"open files grew by {growth[1]:.0%}"
    # The log grows by a line an epoch and run; checkpoints do not.
    assert growth[2] < 0.5, f"disk grew by {growth[2]:.0%}"
