"""The folder that a run writes to: which run it belongs to, and whether that is finished."""

import contextlib
import json
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

import filelock

from sast_jax import files
from sast_jax.data import cache, sets
from sast_jax.errors import InputError
from sast_jax.runs.settings import Settings, flat_fields

# Keys that do not change what a run computes; the fingerprint and "experiment" stand for the data.
_NOT_THE_RUN = (
    *("resume", "workdir", "batch_devices", "checkpoint_minutes", "brief"),
    *("data.name", "data.path", "data.source", "data.stream"),
    "data.allow_overlap",
)
LOCK, _OWNER = ".lock", ".owner"
ANOTHER = "name another --config.workdir"


def claim(settings: Settings, fingerprint: str) -> pathlib.Path:
    """The folder of this run, made if it is new.

    Raises:
      InputError: the folder holds another run, or this one unfinished and without ``resume``, or
        cannot be written.
    """
    experiment = settings.data.name
    whole = settings.as_dict() | {"experiment": experiment, "data_fingerprint": fingerprint}
    digest = cache.digest(identity(whole))[:12]
    workdir = files.place(settings.workdir or pathlib.Path("runs", experiment, digest))
    # A folder belongs to a run from the moment that it has a config.json. Two processes may both
    # come as far as this; the lock of held() lets one of them go on.
    identity_file = workdir / "config.json"
    if identity_file.exists():
        there = files.read_json(identity_file, dict)
        longer = _is_longer(there, whole)
        if longer and settings.resume:
            _lengthen(workdir, settings, there["epochs"], whole)
        else:
            compare(
                workdir, there, whole, "it goes on with --config.resume=True" if longer else ANOTHER
            )
        unfinished = finished(workdir) is None and (workdir / "checkpoints").exists()
        if unfinished and not settings.resume:
            with held(workdir):  # raises its own error if the run is being trained right now
                pass
            raise InputError(
                f"{workdir}: holds this run, unfinished; go on with --config.resume=True, remove "
                f"the folder, or {ANOTHER}"
            )
        return workdir
    for above in workdir.resolve().parents:
        if (above / "config.json").is_file() and (above / "checkpoints").is_dir():
            raise InputError(f"{workdir}: within the run {above}; {ANOTHER}")
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"{workdir}: is a file; name a folder with --config.workdir")
    if holds_anything(workdir):
        raise InputError(f"{workdir}: not empty and not a run of sast_jax; {ANOTHER}")
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        files.write(identity_file, json.dumps(whole, indent=2))
    except OSError as error:
        raise InputError(f"{workdir}: cannot be written ({error.strerror}); {ANOTHER}") from error
    return workdir


def _is_longer(there: dict, here: dict) -> bool:
    """Whether a run is that of a folder with more epochs, and all else the same."""
    there, here = identity(there), identity(here)
    before = there.get("epochs")
    longer = isinstance(before, int) and before < here["epochs"]
    return longer and there | {"epochs": 0} == here | {"epochs": 0}


def _lengthen(workdir, settings, epochs, whole) -> None:
    """Lets the folder of a run go on to more epochs; the results until here are renamed.

    Raises:
      InputError: a schedule depends on the number of epochs.
    """
    spread = settings.spread()
    if spread:
        listed = ", ".join(f"config.{key}={value}" for key, value in spread.items())
        raise InputError(
            f"{workdir}: has {epochs} epochs of this run, over which {listed} are spread, so that "
            f"a longer run differs from its first step on; {ANOTHER}, with "
            f"--config.initial={workdir} to start from its weights"
        )
    with held(workdir):
        results = workdir / "results.json"
        if results.exists():
            results.rename(workdir / f"results_{epochs}_epochs.json")
        files.write(workdir / "config.json", json.dumps(whole, indent=2))


def holds_anything(folder: pathlib.Path) -> bool:
    """Whether a folder holds more than a lock and files that a killed process left half written."""
    return folder.is_dir() and any(
        path.name not in (LOCK, _OWNER) and not files.is_left_over(path)
        for path in folder.iterdir()
    )


def identity(whole: dict) -> dict:
    """The settings, and the data, that change what is computed; by keys with dots."""
    # Through JSON, so that a tuple equals the list that a file has in its place.
    nest = flat(json.loads(json.dumps(whole)))
    before = _before(str(nest.get("data.name", nest.get("experiment"))))
    return {
        key: value
        for key, value in nest.items()
        if key not in _NOT_THE_RUN and not (key in before and value == before[key])
    }


def _before(data_set: str) -> dict:
    """Keys of later versions, with the value that reproduces runs made before they existed."""
    # A key with such a value is left out of an identity, so that folders of that time are still
    # those of the same run.
    if data_set not in sets.SETS:
        return {}
    fields = flat_fields(Settings(data=sets.SETS[data_set]()))
    values = {key: field.metadata["before"] for key, field, _ in fields}
    known = {key: value for key, value in values.items() if value is not None}
    return json.loads(json.dumps(known))


def compare(workdir: pathlib.Path, there: dict, here: dict, way: str = ANOTHER) -> None:
    """Compares the ``config.json`` of a folder with the run that is to use it.

    Raises:
      InputError: they compute different things; ``way`` is the way out.
    """
    there, here = identity(there), identity(here)
    fingerprints = {found.pop("data_fingerprint", None) for found in (there, here)}
    if told := difference(there, here):
        raise InputError(f"{workdir}: holds another run ({told}); {way}")
    if len(fingerprints) > 1:
        raise InputError(
            f"{workdir}: holds a run on other recordings (their names, sizes or times "
            f"differ); {ANOTHER}"
        )


def difference(there: dict, here: dict) -> str:
    """The keys whose values differ, with both, of the first three; "" if there are none."""
    keys = dict.fromkeys([*here, *there])
    found = [key for key in keys if there.get(key, keys) != here.get(key, keys)]
    told = [f"{key} is {there.get(key)!r} there and {here.get(key)!r} here" for key in found]
    more = [f"{len(told) - 3} more differ"] if len(told) > 3 else []
    return ", ".join(told[:3] + more)


def flat(nest: Any, prefix: str = "") -> dict:
    """Nested dicts as one, by keys with dots."""
    if not isinstance(nest, dict) or not nest:
        return {prefix: nest} if prefix else {}
    return {
        k: v
        for key, part in nest.items()
        for k, v in flat(part, f"{prefix}.{key}".strip(".")).items()
    }


def is_gone(workdir: pathlib.Path) -> bool:
    """Whether the folder of a run was taken away, or emptied."""
    return not (workdir / "config.json").exists()


def finished(workdir: pathlib.Path) -> dict | None:
    """The results of the run, or None if it has not ended."""
    path = workdir / "results.json"
    if not path.exists():
        return None
    done = files.read_json(path, dict)
    if not all(done.get(k) for k in ("config", "runs", "summary")):
        raise InputError(f"{path}: not the results of a run; remove it or its folder")
    return done


@contextlib.contextmanager
def held(workdir: pathlib.Path) -> Iterator[None]:
    """Keeps a second process out of the folder of a run or a study; clears what killed ones left.

    Raises:
      InputError: another process is at it, or the disk has no locks.
    """
    with locked(workdir, "this run", "--config.workdir"):
        for path in filter(files.is_left_over, workdir.iterdir()):
            path.unlink()
        yield


@contextlib.contextmanager
def locked(folder: pathlib.Path, what: str, flag: str) -> Iterator[None]:
    """Keeps a second process out of a folder.

    Args:
      folder: is there.
      what: this process does in it, for the line that another one ends with.
      flag: names the folder on the command line.

    Raises:
      InputError: another process is at it, or the disk has no locks.
    """
    if reason := _no_lock(folder / LOCK):
        raise InputError(
            f"{folder}: cannot be locked ({reason}), as some network disks and all read-only ones "
            f"cannot; name a {flag} on another disk"
        )
    # The system takes the lock from a process that dies, so a file that is left blocks nobody.
    lock, owner = filelock.FileLock(folder / LOCK), folder / _OWNER
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        who = owner.read_text() if owner.exists() else "another process is at it"
        raise InputError(f"{folder}: {who}; wait for it, or name another {flag}") from error
    try:
        files.write(owner, f"process {os.getpid()} on {socket.gethostname()} is at {what}")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _no_lock(path: pathlib.Path) -> str | None:
    """Why a file cannot be locked at all; None if it can, or somebody holds it."""
    try:
        import fcntl  # not on every system
    except ImportError:
        return None
    try:
        with open(path, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError as error:
        return error.strerror
    return None


def trim_metrics(workdir: pathlib.Path, epochs: int) -> list[int]:
    """Drops what was logged after the checkpoint, as those epochs are done again.

    Returns:
      Epochs up to the checkpoint that the log lacks.
    """
    path = workdir / "metrics.jsonl"
    # A last line without its end was cut off while it was written.
    try:
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        logged = [(files.parsed(line)["epoch"], line) for line in lines if line.endswith("\n")]
        kept = [(epoch, line) for epoch, line in logged if epoch <= epochs]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: damaged ({error}); remove it, and training goes on without what it logged"
        ) from error
    files.write(path, "".join(line for _, line in kept))
    return sorted(set(range(1, epochs + 1)) - {epoch for epoch, _ in kept})
