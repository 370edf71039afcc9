"""Several processes, on one machine or on many, that train a run together.

Each process runs the same command on the same recordings, of which it decodes a share, and their
devices train as those of one process do. The first process alone evaluates, logs, prints and
reports. All of them must see the workdir, as on a shared disk.
"""

import concurrent.futures
import contextlib
import io
import json
import os
import pathlib
import secrets
import sys
import time
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
_PATIENCE = 20  # seconds until a file must be seen


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

    Connecting gives up after half a minute, so processes meet before they read files; later waits
    are longer.
    """
    barrier("begin")
    if not is_first():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, as long as the process


def agree(values: Mapping[str, Any], what: str, way_out: str) -> None:
    """Compares values that JSON can hold with those of the others; all of them ask together.

    Args:
      values: by name.
      what: they are, and the way out where they differ, for the message.

    Raises:
      InputError: they differ; it names the first that does.
    """
    if alone():
        return
    text = json.dumps(values, sort_keys=True).encode()
    own = zlib.crc32(text) >> 1  # as 32 bits have a sign
    if not any_says(broadcast(own) != own):
        return
    sent = all_gather(lambda: {"text": np.frombuffer(text, np.uint8)})
    each = [json.loads(one["text"].tobytes()) for one in sent]
    for key in sorted(set().union(*each)):
        found = {json.dumps(one.get(key)) for one in each}
        if len(found) > 1:
            told = " and ".join(sorted(found))
            raise InputError(f"the processes differ in {what}, {key}: {told}; {way_out}")
    raise InputError(f"the processes differ in {what}; {way_out}")


def share(folder: pathlib.Path) -> None:
    """Makes sure that all processes see the same folder, which is there; all of them call it.

    Raises:
      InputError: they do not.
    """
    if alone():
        return
    file, number = folder / ".shared", broadcast(secrets.randbits(31))
    if is_first():
        file.write_text(str(number))
    barrier("written")
    seen = False
    for _ in range(_PATIENCE):  # as a network disk may show a file late
        seen = file.exists() and file.read_text() == str(number)
        if seen:
            break
        time.sleep(1)
    wrong = any_says(not seen)
    if is_first():
        file.unlink()
    if wrong:
        raise InputError(
            f"{folder}: the processes do not see the same folder; name a --config.workdir on a "
            "disk that they share"
        )


def first_works(work: Callable[[], Found], folder: pathlib.Path) -> Found | None:
    """Does what takes long in the first process; the others look for its end on the disk.

    Waiting among processes ends after half an hour, and this may take longer.

    Args:
      work: what is done.
      folder: that all of them see, where the first leaves a mark at its end.

    Returns:
      What came of it in the first process, and None in the others.

    Raises:
      InputError: in the others that the first failed, which raises whatever it was.
    """
    if alone():
        return work()
    done: concurrent.futures.Future[Found] = concurrent.futures.Future()
    mark = folder / ".ended"
    if is_first():
        mark.unlink(missing_ok=True)
    barrier("begun")
    if is_first():
        try:
            done.set_result(work())
        except Exception as error:  # whatever it is, the others wait
            done.set_exception(error)
        mark.touch()
    while not mark.exists():
        time.sleep(1)

    def ended():
        done.result()  # raises what the work did
        return True

    try:
        first_decides(ended)
    finally:
        if is_first():
            mark.unlink()
    return done.result() if is_first() else None


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
    answer = broadcast(answer)
    if failed is not None:
        raise failed
    if answer < 0:
        raise InputError("the first process ended with an error; it says which")
    return bool(answer)


def broadcast(number: int) -> int:
    """The first process's number, of 32 bits; all of them ask together."""
    if alone():
        return number
    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def all_min(number: int) -> int:
    """The least number, of 32 bits, of any process; all of them ask together."""
    if alone():
        return number
    return int(multihost_utils.process_allgather(np.int32(number)).min())


def any_says(yes: bool) -> bool:
    """Whether any process says yes; all of them ask together."""
    return all_min(int(not yes)) == 0


def own_share(count: int) -> np.ndarray:
    """The indices of ``count`` things that are this process's to work on; next to one another."""
    return np.array_split(np.arange(count), jax.process_count())[jax.process_index()]


def all_gather(make: Callable[[], Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
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
    barrier("others")
    return found[0]


def barrier(name: str) -> None:
    """Waits until all processes have come to this place."""
    if not alone():
        multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def only_first(context: contextlib.AbstractContextManager) -> Iterator[None]:
    """A context of the first process; the others wait until it is entered."""
    with contextlib.ExitStack() as stack:
        first_decides(lambda: stack.enter_context(context) is None)
        yield
