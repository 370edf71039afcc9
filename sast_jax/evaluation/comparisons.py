"""Paired differences between methods over seeds, with intervals and tests that are corrected."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy

from sast_jax.evaluation import intervals

_ROUNDING = 1e-9  # of the values compared: a scatter below this share is rounding


class Difference(NamedTuple):
    """A method minus the reference, seed by seed.

    Attributes:
      n: pairs of seeds in which both are finite.
      mean: of the differences; None without a pair.
      ci95: Student's interval of the mean; None where nothing is known of the scatter: fewer than
        two pairs, or all differences equal.
      p: of the paired t-test, corrected by Holm's method unless it was planned; None with ``ci95``.
    """

    n: int
    mean: float | None
    ci95: list[float] | None
    p: float | None

    @property
    def sign(self) -> int:
        """Sign of the mean if p is below 0.05, else 0."""
        return 0 if self.p is None or self.p >= 0.05 else int(np.sign(self.mean))


def against(
    values: Mapping[str, Sequence[float | None]], reference: str, planned: Sequence[str] = ()
) -> dict[str, Difference]:
    """Compares each method with the reference.

    Seeds share initial weights and the order of the recordings, so they are paired.

    Args:
      values: for each method a value a seed, in the same order of seeds; None, or a number
        that is not finite, where there is none.
      reference: one of the methods.
      planned: methods chosen for comparison beforehand. Each of them is tested on its own, and the
        correction is over all others.

    Returns:
      A difference for each other method.

    Reference: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal
    of Statistics 6, 1979.
    """
    found = {}
    for method, own in values.items():
        if method == reference:
            continue
        pairs = np.array([*zip(own, values[reference], strict=True)], float)  # None becomes NaN
        found[method] = _paired(pairs[np.isfinite(pairs).all(axis=1)])
    rest = {method: d for method, d in found.items() if method not in planned}
    return found | _holm(rest)


def _paired(pairs_Nx2) -> Difference:
    if not len(pairs_Nx2):
        return Difference(0, None, None, None)
    each = pairs_Nx2[:, 0] - pairs_Nx2[:, 1]
    mean, interval = intervals.student(each)
    if interval is None or np.ptp(each) <= _ROUNDING * np.abs(pairs_Nx2).max():
        return Difference(len(each), mean, None, None)
    return Difference(len(each), mean, interval, float(scipy.stats.ttest_1samp(each, 0).pvalue))


def _holm(found):
    # Holm: the k-th smallest p times the number of tests not smaller, and never below the p before.
    tested = sorted((d.p, method) for method, d in found.items() if d.p is not None)
    corrected, highest = {}, 0.0
    for rank, (p, method) in enumerate(tested):
        highest = max(highest, min(1.0, p * (len(tested) - rank)))
        corrected[method] = highest
    return {method: d._replace(p=corrected.get(method)) for method, d in found.items()}
