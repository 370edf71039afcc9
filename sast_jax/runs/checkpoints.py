"""Checkpoints of a grid of runs, through Orbax.

A checkpoint holds the whole training state (parameters, optimizer state, step, random key) with its
leading run axis. A JSON record beside it says what is needed to build the networks again. The
newest two are kept: the newest is always whole, as Orbax writes it elsewhere and then renames it,
and the one before is there for files that are damaged later.
"""

import contextlib
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any

import jax
import orbax.checkpoint as ocp

from sast_jax.errors import InputError
from sast_jax.training import epochs, sweeps

_CAUSE = re.compile(r"[^: ][^:]*(?= \[os_error_code=)")  # at the end of a line full of paths


class Checkpoints:
    """The checkpoints in one folder, numbered by the steps that were done.

    Args:
      folder: made by the first save.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder, self._restored = pathlib.Path(folder).absolute(), -1
        self._manager = ocp.CheckpointManager(
            self.folder,
            # The first save makes the folder, so that looking for a checkpoint leaves no trace.
            options=ocp.CheckpointManagerOptions(max_to_keep=2, create=False),
            item_names=("state", "record"),
        )

    def latest(self) -> int | None:
        """The number of the newest checkpoint, or None if there is none."""
        return self._manager.latest_step()

    def save(self, number: int, state_R: Any, record: dict) -> None:
        """Saves in the background; the arrays are copied before this returns, so they may change.

        Args:
          number: larger than that of every checkpoint here.
          state_R: any tree of arrays.
          record: values that JSON can hold.

        Raises:
          InputError: this one, or the one before, cannot be written.
        """
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(state_R), record=ocp.args.JsonSave(record)
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
        here = sweeps.everywhere()
        steps = self._steps()
        if not steps:
            raise InputError(f"{self.folder}: no checkpoint here; train first, or name its workdir")
        failed = None
        for step in steps:
            try:
                record = self._item(step, record=ocp.args.JsonRestore())
                abstract = jax.tree.map(
                    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
                    like_of(record),
                )
                state = self._item(step, state=ocp.args.StandardRestore(abstract))
            except _UnreadableError as error:
                failed = failed or error
                continue
            if failed:
                print(f"warning: {failed}; {self.folder / str(step)} is taken instead")
            self._restored = step
            return record, state
        self._manager.reload()
        if self._steps() != steps:  # a training run has replaced them since
            return self.restore(like_of)
        raise InputError(
            f"{failed}; it is damaged or of another version, so train again in another workdir"
        ) from failed

    def drop_newer(self) -> None:
        """Removes checkpoints that are newer than the one restored, as they are damaged."""
        for step in self._steps():
            if step > self._restored:
                self._manager.delete(step)

    def _steps(self) -> list[int]:
        return sorted(self._manager.all_steps(), reverse=True)

    def _item(self, step, **item):
        try:
            (found,) = self._manager.restore(step, args=ocp.args.Composite(**item)).values()
        except Exception as error:  # what a damaged file raises differs from file to file
            reason = str(error).partition("\n")[0]
            raise _UnreadableError(
                f"{self.folder / str(step)}: cannot be read ({reason})"
            ) from error
        return found

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
            cause = _CAUSE.search(str(error))
            before = ". The one before is whole" if self.latest() is not None else ""
            raise InputError(
                f"{self.folder}: a checkpoint cannot be written ({cause[0] if cause else error}); "
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


class _UnreadableError(Exception):
    """A checkpoint is damaged, or holds something else."""
