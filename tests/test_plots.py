"""What is drawn, read back from the figures."""

import numpy as np
from made_up_results import curve, entry, rows

from sast_jax.evaluation import intervals
from sast_jax.reports import plots, results
from sast_jax.reports.results import KINDS


def test_a_sweep_is_drawn_over_the_key_that_was_swept():
    runs = [
        entry(slope=slope, decay=decay, hard_accuracy=0.1 * slope)
        for slope in (1.0, 2.0, 3.0)
        for decay in (0.8, 0.9)
    ]
    left, right = plots.sweep(results.summarise(runs)).axes
    assert (left.get_xlabel(), right.get_xlabel()) == ("slope", "slope")
    labels = left.get_legend_handles_labels()[1]
    assert labels == ["soft, decay 0.8", "hard, decay 0.8", "soft, decay 0.9", "hard, decay 0.9"]
    hard = left.containers[1].lines[0]
    np.testing.assert_allclose(np.array(hard.get_xdata(), float), [1, 2, 3])
    np.testing.assert_allclose(np.array(hard.get_ydata(), float), [10, 20, 30])


def test_a_sweep_shows_the_validation_split_where_there_is_one():
    runs = [
        entry(rho=rho, **{f"validation_{kind}_accuracy": 0.01 * rho for kind in KINDS})
        | {"validation_transfer_gap": 0.0}
        for rho in (1.0, 2.0)
    ]
    left, right = plots.sweep(results.summarise(runs)).axes
    assert (left.get_ylabel(), right.get_ylabel()) == (
        "validation accuracy, %",
        "validation gap, points",
    )
    np.testing.assert_allclose(np.array(left.containers[1].lines[0].get_ydata(), float), [1, 2])


def test_neurons_that_spike_are_shown_in_their_order():
    spikes = np.zeros((3, 1000))
    spikes[1, 20:820:2] = 1
    shown = plots._active(spikes)
    assert len(shown) == len(set(shown)) == 64
    assert set(shown) <= set(range(20, 820, 2))
    assert (shown[0], shown[-1]) == (20, 818)
    np.testing.assert_array_equal(plots._active(spikes[:, :5]), range(5))
    assert len(plots._active(np.zeros((3, 100)))) == 64


def test_settings_of_a_sweep_have_a_colour_each():
    runs = [entry(rho=rho, seed=seed) for rho in (0.0, 0.4) for seed in (0, 1)]
    _, right = plots.curves([curve(e, 0.1, run) for run in runs for e in (1, 2)]).axes
    by_setting = {}
    for line in right.lines:
        kind, setting = line.get_label().split(" ", 1)
        by_setting.setdefault(setting, set()).add(line.get_color())
        assert line.get_linestyle() == {"soft": "--", "hard": "-"}[kind]
    assert {key: len(colours) for key, colours in by_setting.items()} == {"rho 0": 1, "rho 0.4": 1}
    assert by_setting["rho 0"] != by_setting["rho 0.4"]
    labels = [text.get_text() for text in right.get_legend().get_texts()]
    assert labels == ["soft rho 0", "hard rho 0", "soft rho 0.4", "hard rho 0.4"]
    (axis,) = plots.rates(runs).axes
    assert len(axis.get_legend().get_texts()) == 4


def test_colours_tell_the_polarities_apart():
    rises, falls = np.array([[2, 0, 0]]), np.array([[0, 2, 0]])
    rise, fall, nothing = plots._colours(rises, falls)[0]
    np.testing.assert_array_equal(rise, [0, 0, 1])
    np.testing.assert_array_equal(fall, [1, 0, 0])
    np.testing.assert_array_equal(nothing, [1, 1, 1])


def test_accuracy_by_step_is_drawn_from_the_first_step_on():
    (axis,) = plots.early([entry(hard_accuracy_by_step=[0.2, 0.5, 0.9])]).axes
    hard = axis.lines[KINDS.index("hard")]
    np.testing.assert_allclose(np.array(hard.get_xdata(), float), [1, 2, 3])
    np.testing.assert_allclose(np.array(hard.get_ydata(), float), [20, 50, 90])


def test_reliability_pools_the_runs_of_a_setting():
    other = entry(seed=1)
    other["hard_reliability"] = [
        {"count": 0, "confidence": None, "accuracy": None},
        {"count": 12, "confidence": 0.54, "accuracy": 0.25},
        {"count": 0, "confidence": None, "accuracy": None},
    ]
    (axis,) = plots.reliability([entry(), other]).axes
    (hard,) = (line for line in axis.lines if line.get_label() == "hard")
    np.testing.assert_allclose(np.array(hard.get_xdata(), float), [53, 90])
    np.testing.assert_allclose(np.array(hard.get_ydata(), float), [37.5, 100])
    intervals_of = axis.collections[KINDS.index("hard")].get_segments()
    assert [len(axis.collections), len(intervals_of)] == [len(KINDS), 2]
    (low, high), _ = (100 * np.array(intervals.wilson(h, n)) for h, n in ((6, 16), (12, 12)))
    np.testing.assert_allclose(intervals_of[0][:, 1], [low, high])


def test_conditions_of_hardware_are_drawn_from_the_network_as_trained():
    runs = [entry(hardware=rows(0.7))]
    widths, mismatch, dropped = plots.conditions(results.summarise(runs), "hardware").axes
    assert (widths.get_xlabel(), mismatch.get_xlabel()) == (
        "bits of a weight",
        "mismatch of weights",
    )
    for axis, network, levels, values in (
        (widths, "hard", [8, 2], [70, 60]),
        (widths, "integer", [8, 2], [60, 50]),
        (mismatch, "soft", [0, 0.3], [90, 80]),
        (mismatch, "hard", [0, 0.3], [80, 70]),
        (dropped, "integer", [0.1], [60]),
    ):
        (line,) = (line for line in axis.lines if line.get_label() == network)
        np.testing.assert_allclose(np.array(line.get_xdata(), float), levels)
        np.testing.assert_allclose(np.array(line.get_ydata(), float), values)
