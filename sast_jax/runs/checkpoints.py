"""Checkpoints of a grid of runs, through Orbax.

A checkpoint holds the whole training state (parameters, optimizer state, step, random key) with its
leading run axis. A JSON record beside it says what is needed to build the networks again. The
newest two are kept: the newest is always whole, as Orbax writes it elsewhere and then renames it,
and the one before is there for files that are damaged later. The record is sealed with checksums
of the state and of itself, so that a bit that has turned over is seen.
"""

import contextlib
import json
import os
import pathlib
import re
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from sast_jax import processes
from sast_jax.errors import InputError
from sast_jax.training import epochs, sweeps

_TRIED = 3  # checkpoints, which are more than are kept
_STATE, _RECORD = "state_crc32", "record_crc32"
_CAUSE = re.compile(r"[^: ][^:]*(?= \[os_error_code=)")  # at the end of a line full of paths


class Checkpoints:
    """The checkpoints in one folder, numbered by the steps that were done.

    Args:
      folder: made by the first save.

    Raises:
      InputError: a checkpoint is damaged, and its owner is not known to the system.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder, self._damaged = pathlib.Path(folder).absolute(), list[int]()
        try:
            self._manager = ocp.CheckpointManager(
                self.folder,
                # The first save makes the folder, so that looking for one leaves no trace.
                options=ocp.CheckpointManagerOptions(max_to_keep=2, create=False),
                item_names=("state", "record"),
            )
        except KeyError as error:  # of the owner of a checkpoint without readable metadata
            raise InputError(
                f"{self.folder}: its newest checkpoint is damaged, and the owner of its files has "
                f"no name on this system ({error.args[0]}); remove that checkpoint, and the one "
                "before is taken"
            ) from error

    def latest(self) -> int | None:
        """The number of the newest checkpoint, or None if there is none."""
        return self._manager.latest_step()

    def save(self, number: int, state_R: Any, record: dict) -> None:
        """Saves in the background; the arrays are copied before this returns, so they may change.

        Args:
          number: larger than that of every checkpoint here.
          state_R: any tree of real arrays.
          record: values that JSON can hold.

        Raises:
          InputError: this one, or the one before, cannot be written.
        """
        sealed = _sealed(record, state_R)
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(state_R), record=ocp.args.JsonSave(sealed)
        )
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._manager.save(number, args=args)

    def restore(self, like_of: Callable[[dict], Any]) -> tuple[dict, Any]:
        """The newest checkpoint that can be read: its record, and its state on all devices.

        If a newer one cannot be read, a warning is printed.

        Args:
          like_of: record -> a tree with the structure, shapes and dtypes of the state.

        Raises:
          InputError: there is none that can be read.
        """
        known = [*self._steps(), *[-1] * _TRIED][:_TRIED]
        steps = [step for step in map(processes.broadcast, known) if step >= 0]
        if not steps:
            raise InputError(f"{self.folder}: no checkpoint here; train first, or name its workdir")
        failed = None
        for step in steps:
            try:
                abstract, record, checksum = self._in_all(self._described, step, like_of)
                state = self._in_all(self._state, step, abstract, checksum)
            except _UnreadableError as error:
                failed = failed or error
                continue
            if failed:
                print(f"warning: {failed}; {self.folder / str(step)} is taken instead")
            self._damaged = [newer for newer in steps if newer > step]
            return record, state
        self._manager.reload()
        if processes.alone() and self._steps()[:_TRIED] != steps:  # training has replaced them
            return self.restore(like_of)
        raise InputError(
            f"{failed}; it is damaged or of another version, so train again in another workdir"
        ) from failed

    def drop_newer(self) -> None:
        """Removes checkpoints that are newer than the one restored, as they are damaged."""
        for step in self._damaged:
            self._manager.delete(step)

    def _steps(self) -> list[int]:
        return sorted(self._manager.all_steps(), reverse=True)

    def _in_all(self, read, step, *given) -> Any:
        """What all processes read; where one cannot, none goes on, as the next step is of all."""
        found, own = None, None
        try:
            found = read(step, *given)
        except _UnreadableError as error:
            own = error
        if processes.any_says(own is not None):
            other = f"{self.folder / str(step)}: another process cannot read it"
            raise own or _UnreadableError(other)
        return found

    def _described(self, step, like_of) -> tuple[Any, dict, int | None]:
        """Shapes of a checkpoint's state, its record, and the state's checksum."""
        record, checksum = self._record(step)
        here = sweeps.everywhere()
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
            self._like(step, like_of, record, checksum is not None),
        )
        return abstract, record, checksum

    def _state(self, step, abstract, checksum) -> Any:
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        state = self._read(step, lambda: self._manager.restore(step, args=args)["state"])
        if checksum not in (None, _checksum(state)):
            raise _UnreadableError(f"{self.folder / str(step)}: its arrays are damaged")
        return state

    def _record(self, step) -> tuple[dict, int | None]:
        """The record of a checkpoint and the checksum of its state, None where it has no seal."""
        # Not through the manager, in which processes wait for each other.
        folder: Any = self.folder / str(step) / "record"
        record = self._read(step, lambda: dict(ocp.JsonCheckpointHandler().restore(folder)))
        seal = {key: record.pop(key, None) for key in (_STATE, _RECORD)}
        if all(checksum is None for checksum in seal.values()):
            return record, None
        if seal[_RECORD] != _crc(record | {_STATE: seal[_STATE]}):
            raise _UnreadableError(f"{self.folder / str(step)}: its record is damaged")
        return record, seal[_STATE]

    def _like(self, step, like_of, record, sealed):
        try:
            return like_of(record)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            if sealed:  # it is what was written, so the fault lies elsewhere
                raise
            raise _UnreadableError(
                f"{self.folder / str(step)}: its record cannot be used ({error})"
            ) from error

    def _read(self, step, read):
        try:
            return read()
        except Exception as error:  # what a damaged file raises differs from file to file
            raise _UnreadableError(
                f"{self.folder / str(step)}: cannot be read ({_reason(error)})"
            ) from error

    def close(self) -> None:
        """Waits for what is being saved.

        Raises:
          InputError: it cannot be written.
        """
        with self._writing():
            self._manager.close()

    @contextlib.contextmanager
    def _writing(self):
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:  # the storage library's are ValueError
            before = ". The one before is whole" if self.latest() is not None else ""
            raise InputError(
                f"{self.folder}: a checkpoint cannot be written ({_reason(error)}); "
                f"make room or name another folder{before}"
            ) from error


def contents(record: dict, state_R: Any, steps: int) -> Any:
    """What a checkpoint holds: the states of the runs, and within an epoch its progress as well.

    Args:
      record: of the checkpoint.
      state_R: what it holds at the end of an epoch.
      steps: of an epoch.
    """
    if not record.get("steps"):
        return state_R
    return state_R, epochs.no_progress(len(state_R.step), steps)


def _sealed(record, state_R) -> dict:
    """The record with the checksums of the state and of itself."""
    whole = json.loads(json.dumps(record)) | {_STATE: _checksum(state_R)}
    return whole | {_RECORD: _crc(whole)}


def _crc(record) -> int:
    return zlib.crc32(json.dumps(record, sort_keys=True).encode())


def _reason(error) -> str:
    """What the storage library says last: before it stand paths, and behind it what it read."""
    cause = _CAUSE.search(str(error))
    if cause:
        return cause[0]
    return str(error).partition("\n")[0].partition(" [tensorstore")[0].rpartition('": ')[2]


def _checksum(tree) -> int:
    """A number that changes with each bit of the arrays, on however many devices they lie."""
    found = 0
    for leaf in jax.tree.leaves(sweeps.here(tree)):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.ascontiguousarray(jax.random.key_data(leaf) if is_key else leaf)
        found = zlib.crc32(array.reshape(-1).view(np.uint8).data, found)
    return found


class _UnreadableError(Exception):
    """A checkpoint is damaged, or holds something else."""
