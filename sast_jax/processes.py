"""Several processes, on one machine or on many, that train a run together.

Each process runs the same command on the same recordings, of which it decodes a share, and their
devices train as those of one process do. The first process alone evaluates, logs, prints and
reports. All of them must see the workdir, as on a shared disk.
"""

import contextlib
import io
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from sast_jax import files
from sast_jax.errors import InputError

Found = TypeVar("Found")
AUTO = "auto"
_BLOCK = 2**22  # bytes that each process sends at once


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


def begin() -> None:
    """Meets the others, once they have joined, and silences all but the first.

    Connecting gives up where one comes half a minute later than the other, as after reading files;
    once they are connected they may.
    """
    together("begin")
    if not is_first():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, as long as the process


def agree(value: Any, what: str) -> None:
    """Compares a value that JSON can hold with those of the others; all of them ask together.

    Raises:
      InputError: they differ.
    """
    if alone():
        return
    own = zlib.crc32(json.dumps(value, sort_keys=True).encode()) >> 1  # as 32 bits have a sign
    if any_says(of_first(own) != own):
        raise InputError(f"the processes differ in {what}; start each with the same command")


def alone() -> bool:
    """Whether there are no other processes."""
    # One that has not joined others need not start JAX to know.
    return not jax.distributed.is_initialized() or jax.process_count() == 1


def count() -> int:
    """How many processes there are."""
    return jax.process_count()


def is_first() -> bool:
    """Whether this process evaluates, logs and prints."""
    return jax.process_index() == 0


def first_decides(decide: Callable[[], bool]) -> bool:
    """What the first process decides; the others wait for it.

    Raises:
      InputError: in the others that the first failed, which raises whatever it was.
    """
    if alone():
        return decide()
    answer, failed = 0, None
    if is_first():
        try:
            answer = int(decide())
        except Exception as error:  # whatever it is, the others wait
            answer, failed = -1, error
    answer = of_first(answer)
    if failed is not None:
        raise failed
    if answer < 0:
        raise InputError("the first process ended with an error; it says which")
    return bool(answer)


def of_first(number: int) -> int:
    """The first process's number, of 32 bits; all of them ask together."""
    if alone():
        return number
    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def least(number: int) -> int:
    """The least number, of 32 bits, of any process; all of them ask together."""
    if alone():
        return number
    return int(multihost_utils.process_allgather(np.int32(number)).min())


def any_says(yes: bool) -> bool:
    """Whether any process says yes; all of them ask together."""
    return least(int(not yes)) == 0


def own_share(count: int) -> np.ndarray:
    """The indices of ``count`` things that are this process's to work on; next to one another."""
    return np.array_split(np.arange(count), jax.process_count())[jax.process_index()]


def everyones(make: Callable[[], Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """The arrays that each process makes, in the order of the processes, in all of them.

    Raises:
      InputError: in the others that a process could not make them, which raises whatever it was.
    """
    own, failed = b"", None
    try:
        own = files.packed(make())
    except Exception as error:  # whatever it is, the others wait
        failed = error
    if any_says(failed is not None):
        raise failed or InputError("another process ended with an error; it says which")
    # Sizes in blocks and a rest, as 64 bits are not at hand.
    sizes = multihost_utils.process_allgather(np.array(divmod(len(own), _BLOCK), np.int32))
    lengths = [int(blocks) * _BLOCK + int(rest) for blocks, rest in sizes.reshape(-1, 2)]
    size, everyone = min(_BLOCK, max(lengths)), [bytearray() for _ in lengths]
    for start in range(0, max(lengths), size):
        block = np.zeros(size, np.uint8)
        piece = np.frombuffer(own[start : start + size], np.uint8)
        block[: len(piece)] = piece
        sent = multihost_utils.process_allgather(block).reshape(-1, size)
        for collected, part in zip(everyone, sent, strict=True):
            collected += part.tobytes()
    whole = (bytes(each[:length]) for each, length in zip(everyone, lengths, strict=True))
    return [files.unpacked(io.BytesIO(each)) for each in whole]


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
