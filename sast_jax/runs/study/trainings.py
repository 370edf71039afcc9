"""The trainings of a study: one after another here, or as tasks of a Dask cluster.

A training is a pure function of its settings: whichever worker takes it, and however often, the
result is the same. On a cluster the runs of a sweep are trainings of their own, and compute on a
CPU what the sweep computes. A worker that dies loses its task; another takes it, and goes on from
its checkpoint where it finds the folder.
"""

import contextlib
import io
import os
import pathlib
import re
import threading
from typing import Any, NamedTuple

from tqdm import tqdm

from sast_jax.errors import DivergedError, InputError, needed
from sast_jax.runs import build, programs, run
from sast_jax.runs.settings import SWEPT_KEYS, Settings
from sast_jax.runs.study import landscape
from sast_jax.training.recipe import SWEPT


class Result(NamedTuple):
    """What a training gives.

    Attributes:
      runs: as in ``results.json``.
      around: the loss around them, from :func:`sast_jax.runs.study.landscape.around`; empty if that
        was not asked for.
    """

    runs: list[dict]
    around: list[dict]


class InTurn:
    """Trains in this process, one after another."""

    at_once = 1  # rows of a study

    def train(self, given: Settings, around: bool = False) -> Result:
        """Trains and measures runs, or shows again what is finished.

        Args:
          given: settings of the runs.
          around: measure the loss around them too.

        Raises:
          DivergedError: no run is finite.
        """
        done, workdir = run.results_of(given)
        return Result(done["runs"], landscape.around(workdir) if around else [])


class OnCluster:
    """Trains on a Dask cluster, each run as a task.

    Args:
      scheduler: ``local:N`` for N processes on this machine, each on a core of its own, or the
        address of a scheduler, such as ``tcp://host:8786``.

    Raises:
      InputError: there is no such scheduler, or Dask is not installed.
    """

    at_once = 1000  # rows of a study: they wait for their tasks, which the cluster puts in order

    def __init__(self, scheduler: str):
        distributed: Any = needed("distributed", "cluster")
        local = re.fullmatch(r"local:([1-9]\d*)", scheduler)
        if not local and "://" not in scheduler:
            raise InputError(
                f"--scheduler={scheduler} must be local:N, such as local:2, or the address of a "
                "Dask scheduler, such as tcp://host:8786"
            )
        try:
            if local:
                workers = int(local[1])
                cluster = distributed.LocalCluster(
                    n_workers=workers, threads_per_worker=1, dashboard_address=None, memory_limit=0
                )
                self._client = distributed.Client(cluster)
                self._client.register_plugin(_pin(distributed))
            else:
                self._client = distributed.Client(scheduler, timeout=10)
        except OSError as error:
            raise InputError(f"--scheduler={scheduler}: no scheduler answers there") from error
        self._lock, self._warned = threading.Lock(), set()
        self._bar = tqdm(total=0, desc="trainings", unit="training")

    def train(self, given: Settings, around: bool = False) -> Result:
        """The same as :meth:`InTurn.train`; may be called from several threads."""
        singles = alone(given)
        with self._lock:
            self._bar.total += len(singles)
            self._bar.refresh()
        futures = [self._client.submit(_task, one, around, pure=False) for one in singles]
        runs, near = [], []
        for future in futures:
            own, own_near, said = future.result()
            runs += own
            near += own_near
            with self._lock:
                self._bar.update()
                for line in said:
                    if line not in self._warned:
                        self._warned.add(line)
                        self._bar.write(line)
        if all(one["diverged"] for one in runs):
            raise DivergedError(f"{given.workdir}: no run is finite")
        return Result(runs, near)


def of(scheduler: str) -> InTurn | OnCluster:
    """How a study trains, by the flag ``--scheduler``; empty for one after another."""
    return OnCluster(scheduler) if scheduler else InTurn()


def alone(given: Settings) -> list[Settings]:
    """The runs of a sweep as settings of their own, in its order, in folders below its own."""
    runs, folder = build.grid(given), pathlib.Path(given.workdir).expanduser().absolute()
    found, nothing = [], {f"sweep.{name}": () for name in SWEPT} | {"sweep.seeds": 1}
    for number, one in enumerate(runs):
        values = {SWEPT_KEYS.get(name, name): one[name] for name in SWEPT}
        changes = nothing | values | {"seed": one["seed"], "workdir": str(folder / f"run{number}")}
        if given.sweep.slope:  # slope_end keeps its ratio to slope
            changes["slope_end"] = one["slope"] * (given.slope_end / given.slope)
        found.append(given.changed(changes))
    return found


def _task(given: Settings, around: bool) -> tuple[list[dict], list[dict], list[str]]:
    """One training on a worker: its runs, the loss around them, and its warnings."""
    programs.keep()
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        done, workdir = run.results_of(given, to_the_end=True, page=False)
        near = landscape.around(workdir) if around else []
    return done["runs"], near, [x for x in said.getvalue().splitlines() if x.startswith("warning")]


def _pin(distributed):
    """A plugin that keeps each worker on a core of its own, with the threads it starts."""

    class Pinned(distributed.WorkerPlugin):
        def setup(self, worker):
            if hasattr(os, "sched_setaffinity"):  # not on every system
                cores = sorted(os.sched_getaffinity(0))
                os.sched_setaffinity(0, {cores[int(worker.name) % len(cores)]})

    return Pinned()
