"""Paired differences against scipy's paired test and Holm's procedure by hand."""

import numpy as np
import pytest
import scipy.stats

from sast_jax.evaluation import comparisons


def test_mean_interval_and_test_are_those_of_pairs():
    rng = np.random.default_rng(0)
    seeds = rng.normal(size=6)
    ours, other = seeds + 1, seeds + rng.normal(0, 0.1, 6)
    found = comparisons.against({"SAST": ours.tolist(), "a": other.tolist()}, "SAST")["a"]
    assert found.n == 6
    assert found.mean == pytest.approx((other - ours).mean())
    test = scipy.stats.ttest_rel(other, ours)
    assert found.p == pytest.approx(test.pvalue)
    low, high = test.confidence_interval(0.95)
    assert found.ci95 == pytest.approx([low, high])
    assert found.sign == -1


def test_holms_correction_by_hand():
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "e": None}
    found = comparisons._holm({k: comparisons.Difference(5, 1.0, None, v) for k, v in p.items()})
    expected = {"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06, "e": None}
    for method, value in expected.items():
        assert found[method].p == (value if value is None else pytest.approx(value))
    assert [found[m].sign for m in "abcde"] == [1, 0, 0, 1, 0]


def test_many_equal_methods_are_rarely_called_different():
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(200):
        values = {str(i): rng.normal(size=5).tolist() for i in range(12)}
        wrong += any(d.sign for d in comparisons.against(values, "0").values())
    assert wrong < 25  # 0.05 of 200, and more than three of its deviations


def test_missing_seeds_and_no_scatter():
    values = {"SAST": [1.0, None, 1.0], "a": [None, 2.0, 2.0], "b": [2.0, 2.0, 2.0]}
    values |= {"c": [1.0, 1.0, 1.0], "d": [None] * 3, "e": [np.nan, 2.0, np.inf]}
    found = comparisons.against(values, "SAST")
    assert found["a"] == (1, 1.0, None, None)
    assert found["b"] == (2, 1.0, None, None)
    assert found["b"].sign == 0
    assert found["c"] == (2, 0.0, None, None)
    assert (found["d"].n, found["d"].mean) == (0, None)
    assert found["e"] == (0, None, None, None)


def test_rounding_is_no_scatter():
    counts = np.array([[360, 371], [361, 372]]) / 400  # one recording more each
    assert np.ptp(counts[1] - counts[0]) > 0
    found = comparisons.against({"SAST": counts[0].tolist(), "a": counts[1].tolist()}, "SAST")["a"]
    assert (found.ci95, found.p, found.sign) == (None, None, 0)
    near = {"SAST": [0.9, 0.8, 0.7], "a": [0.9 + 1e-16, 0.8 + 2e-16, 0.7 + 1e-16]}
    assert comparisons.against(near, "SAST")["a"].p is None


def test_a_planned_comparison_is_not_corrected():
    rng = np.random.default_rng(2)
    values = {str(i): rng.normal(size=5).tolist() for i in range(6)}
    alone = comparisons.against({k: values[k] for k in "01"}, "0")["1"]
    planned = comparisons.against(values, "0", planned=("1",))
    assert planned["1"] == alone
    assert comparisons.against(values, "0")["1"].p > alone.p
    rest = comparisons.against({k: v for k, v in values.items() if k != "1"}, "0")
    assert {k: planned[k] for k in "2345"} == rest
