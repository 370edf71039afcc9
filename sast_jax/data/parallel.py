"""Work on many files, on all cores and with a bar that shows how far it is."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sast_jax.errors import needed

_FEW = 256  # recordings that are not worth starting processes for


def mapped(
    function: Callable, work: Sequence[Any], what: str, few: int = _FEW, at_once: int = 128
) -> Iterator[Any]:
    """The results of a function for each piece of work, in order.

    Args:
      function: of a module, as processes other than this one have to find it.
      work: arguments, each of which can be sent to another process.
      what: what is being done, for the bar.
      few: with fewer pieces of work than this, all are done in this process.
      at_once: pieces for each core whose results may be in memory together.
    """
    if len(work) < few:
        return map(function, work)
    joblib: Any = needed("joblib", "recordings")
    tqdm: Any = needed("tqdm", "recordings")
    return _spread(joblib, tqdm.tqdm, function, work, what, at_once)


def _spread(joblib, tqdm, function, work, what, at_once) -> Iterator[Any]:
    size = at_once * joblib.cpu_count()
    bar = tqdm(desc=what, total=len(work), leave=False, disable=not sys.stderr.isatty())
    # joblib's processes start anew, as JAX's threads do not survive a fork, and do not run the
    # script that the user started. Its generators do not wait for who takes the results.
    with bar, joblib.Parallel(n_jobs=-1) as pool:
        for start in range(0, len(work), size):
            part = work[start : start + size]
            yield from pool(joblib.delayed(function)(piece) for piece in part)
            bar.update(len(part))
