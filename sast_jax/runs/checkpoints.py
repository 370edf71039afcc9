"""Checkpoints of a grid of runs, through Orbax.

A checkpoint holds the whole training state (parameters, optimizer state, step, random key) with its
leading run axis. A JSON record beside it says what is needed to build the networks again. A new
checkpoint replaces the one before. The newest is always whole: Orbax writes it elsewhere and then
renames it.
"""

import contextlib
import os
import pathlib
import re
from typing import Any

import jax
import orbax.checkpoint as ocp

from sast_jax.errors import InputError
from sast_jax.training import sweeps

_CAUSE = re.compile(r"[^: ][^:]*(?= \[os_error_code=)")  # at the end of a line full of paths


class Checkpoints:
    """The checkpoints in one folder, numbered by the epochs that were done.

    Args:
      folder: made by the first save.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = pathlib.Path(folder).absolute()
        self._manager = ocp.CheckpointManager(
            self.folder,
            # The first save makes the folder, so that looking for a checkpoint leaves no trace.
            options=ocp.CheckpointManagerOptions(max_to_keep=1, create=False),
            item_names=("state", "record"),
        )

    def latest(self) -> int | None:
        """Epochs done at the newest checkpoint, or None if there is none."""
        return self._manager.latest_step()

    def save(self, epoch: int, state_R: Any, record: dict) -> None:
        """Saves in the background; the arrays are copied before this returns, so they may change.

        Raises:
          InputError: this one, or the one before, cannot be written.
        """
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(state_R), record=ocp.args.JsonSave(record)
        )
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._manager.save(epoch, args=args)

    def record(self) -> dict:
        """The JSON record of the newest checkpoint."""
        restored = self._restore(record=ocp.args.JsonRestore())
        return restored["record"]

    def state(self, like: Any) -> Any:
        """The newest state, with the structure, shapes and dtypes of ``like``, on all devices."""
        here = sweeps.everywhere()
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), like
        )
        return self._restore(state=ocp.args.StandardRestore(abstract))["state"]

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
            raise InputError(
                f"{self.folder}: a checkpoint cannot be written ({cause[0] if cause else error}); "
                "make room or name another folder. The one before is whole"
            ) from error

    def _restore(self, **items):
        epoch = self.latest()
        if epoch is None:
            raise InputError(f"{self.folder}: no checkpoint here; train first, or name its workdir")
        try:
            return self._manager.restore(epoch, args=ocp.args.Composite(**items))
        except Exception as error:  # what a damaged file raises differs from file to file
            # A training run may have replaced it with a newer one since latest() looked.
            self._manager.reload()
            if self.latest() != epoch:
                return self._restore(**items)
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"{self.folder / str(epoch)}: cannot be read ({reason}); it is damaged or of "
                "another version, so train again in another workdir"
            ) from error
