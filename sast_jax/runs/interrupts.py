"""SIGTERM, by which clusters end a process: a training saves its state first."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

STOPPED = 143  # exit code of a process that SIGTERM ends
SAID = "the same command goes on where it was; a training run needs --config.resume=True beside it"

_waiting, _asked = 0, False


class StoppedError(Exception):
    """Training has saved its state and ends, as SIGTERM asked for."""


def install() -> None:
    """Handles SIGTERM from now on; only in the main thread.

    Outside of :func:`deferred` it ends the process at once: files are put in place in one step, so
    nothing that was written is lost.
    """
    signal.signal(signal.SIGTERM, _terminated)


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """A context in which SIGTERM only notes that it came; gives a function that says whether.

    If nothing is raised for it within the context, the process ends with the context.
    """
    global _waiting
    _waiting += 1
    try:
        yield lambda: _asked
    finally:
        _waiting -= 1
    if _asked and not _waiting:
        _terminated()


def _terminated(*_):
    global _asked
    if _waiting and not _asked:
        _asked = True
        return
    print(f"\nerror: stopped by SIGTERM; {SAID}", file=sys.stderr, flush=True)
    # Threads of JAX and Orbax that are torn down in the middle crash or complain.
    os._exit(STOPPED)
