"""Paired differences between methods over seeds, with intervals and tests that are corrected."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from sast_jax import intervals


class Difference(NamedTuple):
    """A method minus the reference, seed by seed.

    Attributes:
      n: pairs of seeds in which both are finite.
      mean: of the differences; None without a pair.
      ci95: Student's interval of the mean; None with fewer than two pairs.
      p: of the paired t-test, corrected by Holm's method over all methods compared; None where
        there is no test.
    """

    n: int
    mean: float | None
    ci95: list[float] | None
    p: float | None

    @property
    def sign(self) -> int:
        """1 or -1 where the corrected test is below 0.05, else 0."""
        return 0 if self.p is None or self.p >= 0.05 else int(np.sign(self.mean))


def against(values: Mapping[str, Sequence[float | None]], reference: str) -> dict[str, Difference]:
    """Compares each method with the reference.

    Seeds share initial weights and the order of the recordings, so they are paired.

    Args:
      values: for each method a value a seed, in the same order of seeds; None where there is none.
      reference: one of the methods.

    Returns:
      A difference for each other method.

    Reference: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal
    of Statistics 6, 1979.
    """
    found = {}
    for method, own in values.items():
        if method == reference:
            continue
        pairs = [
            a - b
            for a, b in zip(own, values[reference], strict=True)
            if a is not None and b is not None
        ]
        mean, interval = intervals.student(pairs) if pairs else (None, None)
        found[method] = Difference(len(pairs), mean, interval, _paired(pairs))
    return _holm(found)


def _paired(differences) -> float | None:
    if len(differences) < 2:
        return None
    if np.ptp(differences) == 0:  # no scatter: the t statistic is 0 / 0, or infinite
        return 1.0 if differences[0] == 0 else 0.0
    return float(scipy.stats.ttest_1samp(differences, 0).pvalue)


def _holm(found):
    tested = sorted((d.p, method) for method, d in found.items() if d.p is not None)
    corrected, highest = {}, 0.0
    for rank, (p, method) in enumerate(tested):
        highest = max(highest, min(1.0, p * (len(tested) - rank)))
        corrected[method] = highest
    return {method: d._replace(p=corrected.get(method)) for method, d in found.items()}
