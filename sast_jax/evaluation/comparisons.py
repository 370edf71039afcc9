"""Paired differences between methods over seeds, with intervals and tests that are corrected."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy

from sast_jax.evaluation import intervals

WILD = 3.0  # times the median scatter over seeds: more is a scatter of another kind
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
        if self.mean is None or self.p is None or not self.p < 0.05:  # nor where it is NaN
            return 0
        return int(np.sign(self.mean))


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


def pooled(
    values: Mapping[str, Sequence[float | None]], reference: str, planned: Sequence[str] = ()
) -> dict[str, Difference]:
    """The same comparisons with one variance for all methods, which few seeds know better.

    The variance is that of the residuals of a two-way layout, method and seed. A method with a seed
    without a number, or with a standard deviation over seeds of more than ``WILD`` times the
    median over methods, has a scatter of its own kind: it is left out of the variance, and compared
    as in :func:`against`.

    Args:
      values, reference, planned: as there.

    Returns:
      A difference for each other method. Without three sound methods, the reference one of them,
      those of :func:`against`.
    """
    table = {method: np.array(own, float) for method, own in values.items()}  # None becomes NaN
    finite = {method: own for method, own in table.items() if np.isfinite(own).all()}
    usual = np.median([own.std() for own in finite.values()]) if finite else 0.0
    sound = {method: own for method, own in finite.items() if own.std() <= WILD * usual}
    found = against(values, reference, planned=list(values))  # none of them corrected yet
    if reference in sound and len(sound) > 2 and len(sound[reference]) > 1:
        values_MxS = np.stack(list(sound.values()))
        M, S = values_MxS.shape
        fitted = (
            values_MxS.mean(axis=1, keepdims=True) + values_MxS.mean(axis=0) - values_MxS.mean()
        )
        freedom = (M - 1) * (S - 1)
        error = math.sqrt(2 * ((values_MxS - fitted) ** 2).sum() / freedom / S)
        if error > _ROUNDING * np.abs(values_MxS).max():
            reach = error * scipy.stats.t.ppf(0.975, freedom)
            for method, own in sound.items():
                if method != reference:
                    mean = float((own - sound[reference]).mean())
                    p = float(2 * scipy.stats.t.sf(abs(mean) / error, freedom))
                    found[method] = Difference(S, mean, [mean - reach, mean + reach], p)
    rest = {method: d for method, d in found.items() if method not in planned}
    return found | _holm(rest)


def over_recordings(
    first_SxM: np.ndarray, second_SxM: np.ndarray, draws: int = 10_000, seed: int = 0
) -> list[float]:
    """A 95 % interval of the mean difference of two methods, over seeds and recordings.

    Seeds and recordings are drawn with replacement, each on its own and the same for both methods
    (a crossed bootstrap), and the ends are percentiles.

    Args:
      first_SxM, second_SxM: which of M recordings the networks of S seeds answer right, 0..1; the
        seeds and the recordings of both are the same ones.
      draws: bootstrap samples.
      seed: of the draws.

    Reference: Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007; it is
    conservative.
    """
    each_SxM = np.asarray(first_SxM, float) - np.asarray(second_SxM, float)
    S, M = each_SxM.shape
    rng = np.random.default_rng(seed)
    seeds_DxS = rng.multinomial(S, np.full(S, 1 / S), draws) / S
    means = np.empty(draws)
    for d in range(draws):  # a draw at a time, as all at once would take draws * M numbers
        counts_M = np.bincount(rng.integers(0, M, M), minlength=M) / M
        means[d] = seeds_DxS[d] @ each_SxM @ counts_M
    return np.quantile(means, (0.025, 0.975)).tolist()


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
