"""Intervals against closed forms."""

import numpy as np
import pytest

from sast_jax.evaluation import intervals


@pytest.mark.parametrize("hits, trials", [(0, 10), (95, 100), (2350, 2400), (10, 10)])
def test_wilson_is_the_closed_form(hits, trials):
    z, p = 1.959963984540054, hits / trials
    centre = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    expected = [max(0, centre - half), min(1, centre + half)]
    np.testing.assert_allclose(intervals.wilson(hits, trials), expected, atol=1e-12)


def test_interval_over_seeds_is_students():
    mean, (low, high) = intervals.student([1.0, 2.0, 3.0])
    half = 4.302652729911275 * 1.0 / np.sqrt(3)  # t of 2 degrees of freedom, from a table
    np.testing.assert_allclose([mean, low, high], [2, 2 - half, 2 + half], rtol=1e-9)
    assert intervals.student([0.5]) == (0.5, None)
