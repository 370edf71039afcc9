"""Several processes, on one machine or on many, that train a run together.

Each process runs the same command and reads the same recordings, and their devices train as those
of one process do. The first process alone evaluates, logs, prints and reports. All of them must
see the workdir, as on a shared disk.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from sast_jax.errors import InputError

Found = TypeVar("Found")
AUTO = "auto"


def join(coordinator: str, processes: int, process: int) -> None:
    """Makes this process one of several; before anything is computed.

    Args:
      coordinator: address of the first process, host:port; ``AUTO`` where JAX finds out by itself:
        SLURM, Open MPI, Kubernetes, Cloud TPU.
      processes: how many there are.
      process: the number of this one, from 0.

    Raises:
      InputError: the others are not found.
    """
    try:
        if coordinator == AUTO:
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(coordinator, processes, process)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"--coordinator={coordinator}: no processes to join ({reason})") from error
    if not is_first():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, as long as the process


def alone() -> bool:
    """Whether there are no other processes."""
    return jax.process_count() == 1


def is_first() -> bool:
    """Whether this process evaluates, logs and prints."""
    return jax.process_index() == 0


def first_decides(decide: Callable[[], bool]) -> bool:
    """What the first process decides; the others wait for it.

    Raises:
      InputError: in the first process whatever it raised; in the others that it did.
    """
    if alone():
        return decide()
    answer, failed = 0, None
    if is_first():
        try:
            answer = int(decide())
        except InputError as error:
            answer, failed = -1, error
    answer = int(multihost_utils.broadcast_one_to_all(jax.numpy.int32(answer)))
    if failed is not None:
        raise failed
    if answer < 0:
        raise InputError("the first process ended with an error; it says which")
    return bool(answer)


def any_says(yes: bool) -> bool:
    """Whether any process says yes; all of them ask together."""
    if alone():
        return yes
    return bool(multihost_utils.process_allgather(np.int32(yes)).any())


def first_then_others(function: Callable[[], Found]) -> Found:
    """Calls a function in the first process, then in the others, and returns in all at once."""
    found = []

    def called():
        found.append(function())
        return True

    first_decides(called)
    if not found:
        found.append(function())
    together("others")
    return found[0]


def together(name: str) -> None:
    """Waits until all processes have come to this place."""
    if not alone():
        multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def only_first(context: contextlib.AbstractContextManager) -> Iterator[None]:
    """A context of the first process; the others wait until it is entered."""
    with contextlib.ExitStack() as stack:
        first_decides(lambda: stack.enter_context(context) is None)
        yield
