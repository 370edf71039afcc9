"""Work on many files, on all cores and with a bar that shows how far it is."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sast_jax.errors import needed

_FEW = 256  # recordings that are not worth starting processes for


def mapped(function: Callable, work: Sequence[Any], what: str, few: int = _FEW) -> Iterator[Any]:
    """The results of a function for each piece of work, in order.

    Args:
      function: of a module, as processes other than this one have to find it.
      work: arguments, each of which can be sent to another process.
      what: what is being done, for the bar.
      few: pieces of work that are done in this process.
    """
    if len(work) < few:
        return map(function, work)
    # Its processes start anew, as JAX's threads do not survive a fork, and do not run the script
    # that the user started.
    joblib: Any = needed("joblib", "recordings")
    pool = joblib.Parallel(n_jobs=-1, return_as="generator")
    results = pool(joblib.delayed(function)(piece) for piece in work)
    tqdm: Any = needed("tqdm", "recordings")
    shown = sys.stderr.isatty()
    return iter(tqdm.tqdm(results, what, len(work), leave=False, disable=not shown))
