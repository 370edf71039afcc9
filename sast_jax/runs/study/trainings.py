"""The trainings of a study: one after another here, or as tasks of a Dask cluster.

A training is a pure function of its settings: whichever worker takes it, and however often, the
result is the same. On a cluster the runs of a sweep are trainings of their own, and compute on a
CPU what the sweep computes. A worker that dies loses its task; another takes it, and goes on from
its checkpoint where it finds the folder.
"""

import contextlib
import io
import itertools
import logging
import os
import pathlib
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from tqdm import tqdm

from sast_jax import files
from sast_jax.errors import DivergedError, InputError, needed
from sast_jax.runs import build, programs, run
from sast_jax.runs.settings import SWEPT_KEYS, Settings
from sast_jax.training import passes
from sast_jax.training.recipe import SWEPT


class Result(NamedTuple):
    """What a training gives.

    Attributes:
      runs: as in ``results.json``.
      more: for each measure that was asked for, what it gives of each run.
    """

    runs: list[dict]
    more: tuple[list, ...]


Measure = Callable[[pathlib.Path], list]  # of a finished workdir: something of each run


class InTurn:
    """Trains in this process, one after another. A context, as :class:`OnCluster` is."""

    at_once = 1  # rows of a study

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def train(self, given: Settings, measures: Sequence[Measure] = (), urgency: int = 0) -> Result:
        """Trains and measures runs, or shows again what is finished.

        Args:
          given: settings of the runs.
          measures: what else to measure, such as :func:`sast_jax.runs.study.landscape.around`.
          urgency: of several calls at a time, those with a higher one are served first.

        Raises:
          DivergedError: no run is finite.
        """
        done, workdir = run.results_of(given, page=False)
        return Result(done["runs"], tuple(measure(workdir) for measure in measures))


class OnCluster:
    """Trains on a Dask cluster, each run as a task. A context, which ends processes of its own.

    Args:
      scheduler: ``local:N`` for N processes on this machine, each with one core of it, or the
        address of a scheduler, such as ``tcp://host:8786``.
      fingerprint: of the recordings, which must be those that workers find.

    Raises:
      InputError: there is no such scheduler, Dask is not installed, or processes of this machine
        would share an accelerator.
    """

    def __init__(self, scheduler: str, fingerprint: str):
        distributed: Any = needed("distributed", "cluster")
        # Rows of a study wait for their tasks, of which each has several. Few rows are ended one
        # after another; a cluster of unknown size gets all.
        self.at_once = 1000
        local = re.fullmatch(r"local:([1-9]\d*)", scheduler)
        if not local and "://" not in scheduler:
            raise InputError(
                f"--scheduler={scheduler} must be local:N, such as local:2, or the address of a "
                "Dask scheduler, such as tcp://host:8786"
            )
        if local and jax.default_backend() != "cpu":
            raise InputError(
                f"--scheduler={scheduler}: several processes cannot share this accelerator; leave "
                "it out, or start a Dask cluster with a device for each worker"
            )
        self._ended = contextlib.ExitStack()
        try:
            if local:
                self.at_once = int(local[1]) + 1
                cluster = distributed.LocalCluster(
                    n_workers=int(local[1]),
                    threads_per_worker=1,
                    dashboard_address=None,
                    memory_limit=0,
                    silence_logs=logging.CRITICAL,  # what fails is raised here; the rest is noise
                )
                scheduler = self._ended.enter_context(cluster)
            client = distributed.Client(scheduler, timeout=10)
        except (OSError, ValueError) as error:  # a ValueError for what is no address
            self._ended.close()
            raise InputError(f"--scheduler={scheduler}: no scheduler answers there") from error
        self._client = self._ended.enter_context(client)
        if local:
            self._client.register_plugin(_pin(distributed))
        elif not self._client.scheduler_info()["workers"]:
            print("the cluster has no workers yet; waiting for them", flush=True)
        self._killed = distributed.KilledWorker
        self._fingerprint, self._lock = fingerprint, threading.Lock()
        self._warned: set[str] = set()
        self._bar = self._ended.enter_context(tqdm(total=0, desc="trainings", unit="training"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ended.close()

    def train(self, given: Settings, measures: Sequence[Measure] = (), urgency: int = 0) -> Result:
        """The same as :meth:`InTurn.train`; may be called from several threads."""
        singles = alone(given)
        with self._lock:
            self._bar.total += len(singles)
            self._bar.refresh()
        futures = [
            self._client.submit(_task, one, measures, pure=False, priority=urgency)
            for one in singles
        ]
        runs: list[dict] = []
        more: tuple[list, ...] = tuple([] for _ in measures)
        for future in futures:
            try:
                fingerprint, own, own_more, said = future.result()
            except self._killed as error:
                raise InputError(f"{given.workdir}: it ended several workers ({error})") from error
            if fingerprint != self._fingerprint:
                raise InputError(
                    f"{given.workdir}: a worker found other recordings than this process; name a "
                    "folder that all of them see, from the root on"
                )
            runs += own
            for found, own_found in zip(more, own_more, strict=True):
                found += own_found
            with self._lock:
                self._bar.update()
                for line in said:
                    if line not in self._warned:
                        self._warned.add(line)
                        self._bar.write(line)
        if all(one["diverged"] for one in runs):
            raise DivergedError(f"{given.workdir}: no run is finite")
        return Result(runs, more)


def of(scheduler: str, fingerprint: str) -> InTurn | OnCluster:
    """How a study trains, by the flag ``--scheduler``; empty for one after another."""
    return OnCluster(scheduler, fingerprint) if scheduler else InTurn()


def alone(given: Settings) -> list[Settings]:
    """The runs of a sweep as settings of their own, in its order, in folders beside its own."""
    runs, folder = build.grid(given), files.place(given.workdir).absolute()
    found, nothing = [], {f"sweep.{name}": () for name in SWEPT} | {"sweep.seeds": 1}
    for number, one in enumerate(runs):
        values = {SWEPT_KEYS.get(name, name): one[name] for name in SWEPT}
        changes = nothing | values | {"seed": one["seed"], "workdir": f"{folder}_run{number}"}
        if given.sweep.slope:  # slope_end keeps its ratio to slope
            changes["slope_end"] = one["slope"] * (given.slope_end / given.slope)
        found.append(given.changed(changes))
    return found


_ONE = threading.Lock()  # of a worker with several threads, which share what is printed
_DONE, _FORGOTTEN = itertools.count(1), 16  # trainings, after which a worker forgets its programs


def _task(
    given: Settings, measures: Sequence[Measure]
) -> tuple[str, list[dict], list[list], list[str]]:
    """One training on a worker: fingerprint of its recordings, runs, measures, warnings."""
    said = io.StringIO()
    with (
        _ONE,
        warnings.catch_warnings(record=True) as warned,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        programs.keep()
        done, workdir = run.results_of(given, to_the_end=True, page=False)
        more = [measure(workdir) for measure in measures]
        if next(_DONE) % _FORGOTTEN == 0:
            passes.forget_programs()  # which a process can hold only so many of
    lines = [line for line in said.getvalue().splitlines() if line.startswith("warning")]
    lines += [f"warning: {one.message}" for one in warned]
    config = files.read_json(workdir / "config.json", dict)
    return config["data_fingerprint"], done["runs"], more, lines


def _pin(distributed):
    """A plugin that keeps each worker on a core of its own, with the threads it starts."""

    class Pinned(distributed.WorkerPlugin):  # type: ignore[name-defined]
        def setup(self, worker):
            if hasattr(os, "sched_setaffinity"):  # not on every system
                cores = sorted(os.sched_getaffinity(0))
                os.sched_setaffinity(0, {cores[int(worker.name) % len(cores)]})

    return Pinned()
