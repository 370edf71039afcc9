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


def test_a_pooled_variance_is_that_of_two_factors():
    rng = np.random.default_rng(2)
    seeds = rng.normal(size=5)
    values = {name: 10 + shift + seeds + rng.normal(0, 0.1, 5)
              for name, shift in (("SAST", 0.0), ("a", 0.3), ("b", 0.0), ("c", -0.2))}  # fmt: skip
    found = comparisons.pooled({k: v.tolist() for k, v in values.items()}, "SAST", planned=("a",))
    table = np.array(list(values.values()))
    residuals = table - table.mean(1)[:, None] - table.mean(0)[None] + table.mean()
    error = np.sqrt(2 * (residuals**2).sum() / 12 / 5)
    for name in "abc":
        mean = (values[name] - values["SAST"]).mean()
        assert found[name].mean == pytest.approx(mean)
        reach = scipy.stats.t.ppf(0.975, 12) * error
        assert found[name].ci95 == pytest.approx([mean - reach, mean + reach])
    alone = 2 * scipy.stats.t.sf(abs(found["a"].mean) / error, 12)
    assert found["a"].p == pytest.approx(alone)
    rest = {name: 2 * scipy.stats.t.sf(abs(found[name].mean) / error, 12) for name in "bc"}
    assert min(found["b"].p, found["c"].p) == pytest.approx(2 * min(rest.values()))


def test_unstable_methods_stay_out_of_the_pool():
    rng = np.random.default_rng(3)
    values = {name: (0.9 + rng.normal(0, 0.01, 6)).tolist() for name in ("SAST", "a", "b")}
    wild = values | {"c": [0.9, 0.9, 0.9, 0.9, 0.9, 0.2], "d": [0.9, None, 0.9, 0.91, 0.9, 0.9]}
    found, without = (comparisons.pooled(v, "SAST", planned=list(v)) for v in (wild, values))
    for name in "ab":
        assert found[name] == without[name]
    alone = comparisons.against(wild, "SAST", planned=list(wild))
    assert all(found[name] == alone[name] for name in "cd")
    two = {name: values[name] for name in ("SAST", "a")}
    assert comparisons.pooled(two, "SAST") == comparisons.against(two, "SAST")


def test_the_bootstrap_is_over_seeds_and_recordings():
    rng = np.random.default_rng(4)
    hard_M = rng.random(400) < 0.2  # recordings that the second method fails on
    first = np.ones((8, 400))
    low, high = comparisons.over_recordings(first, np.tile(~hard_M, (8, 1)), draws=2000)
    share = hard_M.mean()
    error = 1.96 * np.sqrt(share * (1 - share) / 400)
    assert (low, high) == (
        pytest.approx(share - error, abs=0.01),
        pytest.approx(share + error, abs=0.01),
    )
    by_seed = np.repeat(rng.random(8)[:, None], 400, axis=1)
    low, high = comparisons.over_recordings(first, by_seed, draws=2000)
    mean, error = 1 - by_seed.mean(), 1.96 * by_seed[:, 0].std() / np.sqrt(8)
    assert (low, high) == (
        pytest.approx(mean - error, abs=0.04),
        pytest.approx(mean + error, abs=0.04),
    )
