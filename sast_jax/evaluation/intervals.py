"""95 % intervals of proportions and means."""

from collections.abc import Sequence

import numpy as np
import scipy


def wilson(hits: int, trials: int) -> list[float]:
    """The 95 % score interval of a proportion (Wilson 1927), as [low, high]."""
    interval = scipy.stats.binomtest(hits, trials).proportion_ci(0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def student(values: Sequence[float]) -> tuple[float, list[float] | None]:
    """Mean over seeds and its 95 % interval by Student's t; no interval for a single value."""
    values_N = np.asarray(values, dtype=np.float64)
    mean = float(values_N.mean())
    if len(values_N) < 2:
        return mean, None
    half = float(scipy.stats.t.ppf(0.975, len(values_N) - 1) * scipy.stats.sem(values_N))
    return mean, [mean - half, mean + half]


def within(interval: Sequence[float] | None, low: float, high: float) -> list[float] | None:
    """An interval cut to the possible values: Student's can reach beyond 0 and 1."""
    if interval is None:
        return None
    return [max(interval[0], low), min(interval[1], high)]
