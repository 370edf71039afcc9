"""The summary over seeds by hand, and JSON that any reader takes."""

import json

import numpy as np
from made_up_results import collected, diverged, run

from sast_jax.reports import results, tables


def test_a_row_for_each_setting_with_mean_deviation_and_interval():
    runs = [run(0.0, 0, 0.6), run(0.0, 1, 0.7), run(0.4, 0, 0.8), run(0.4, 1, 0.9)]
    without, with_sam = results.summarise(runs)
    assert (without["rho"], without["n"], with_sam["rho"], with_sam["n"]) == (0.0, 2, 0.4, 2)
    np.testing.assert_allclose(with_sam["hard_accuracy_mean"], 0.85)
    np.testing.assert_allclose(with_sam["hard_accuracy_std"], np.std([0.8, 0.9], ddof=1))
    half = 12.706204736432095 * 0.05  # t of 1 degree of freedom, times the error of the mean
    # 0.85 + half is more than any accuracy.
    np.testing.assert_allclose(with_sam["hard_accuracy_ci95"], [0.85 - half, 1])
    np.testing.assert_allclose(with_sam["transfer_gap_ci95"], [0.05 - half, 0.05 + half])


def test_validation_is_summarised_where_there_is_one():
    (row,) = results.summarise([run(0.4, 0, 0.8)])
    assert "validation_hard_accuracy_mean" not in row
    held_out = {f"validation_{kind}_accuracy": 0.6 for kind in ("soft", "hard")}
    held_out |= {f"{key}_ci95": [0.5, 0.7] for key in held_out}
    runs = [run(0.4, seed, 0.8, **held_out) for seed in (0, 1)]
    (row,) = results.summarise(runs)
    assert row["validation_hard_accuracy_mean"] == 0.6
    assert "60.00 [50.00, 70.00]" in tables.runs(collected(runs))


def test_a_condition_has_no_mean_where_a_run_lacks_the_network():
    keys = {"condition": "INT4", "kind": "weight_bits", "level": 4, "integer_accuracy_ci95": None}
    keys |= {f"{kind}_accuracy_ci95": [0.7, 0.9] for kind in ("soft", "hard")}
    rows = [
        [keys | {"soft_accuracy": 0.9, "hard_accuracy": 0.8, "integer_accuracy": value}]
        for value in (0.7, None)
    ]
    runs = [run(0.4, seed, 0.8, hardware=own) for seed, own in enumerate(rows)]
    (summary,) = results.summarise(runs)
    (row,) = summary["hardware"]
    assert (row["n"], row["hard_accuracy_mean"], row["integer_accuracy_mean"]) == (2, 0.8, None)


def test_a_diverged_run_is_counted_and_left_out_of_the_mean():
    (row,) = results.summarise([run(0.4, 0, 0.8), diverged()])
    assert (row["n"], row["diverged"]) == (1, 1)
    assert row["hard_accuracy_mean"] == 0.8
    assert row["hard_accuracy_ci95"] is None


def test_numbers_that_are_not_finite_become_null():
    done = collected([run(0.4, 0, 0.8, train_accuracy=float("nan"))])
    text = json.dumps(done, allow_nan=False)
    assert json.loads(text)["runs"][0]["train_accuracy"] is None
    assert results.finite({"a": [float("inf"), (1.0, "x")]}) == {"a": [None, [1.0, "x"]]}


def test_runs_that_hardly_answer_are_remarked_on():
    sound = {f"{kind}_confusion": [[4, 0], [1, 5]] for kind in ("soft", "hard")}
    silent = sound | {"hard_ties": 0.75, "hard_silent": 0.7}
    one_answer = sound | {"hard_confusion": [[4, 0], [6, 0]], "hard_ties": 1.0}
    nothing = {"soft_confusion": None, "hard_confusion": None}
    one_class = sound | {f"{kind}_confusion": [[4, 0], [0, 0]] for kind in ("soft", "hard")}
    runs = [run(0.0, 0, 0.9, **sound), run(0.0, 1, 1.0, **one_class), run(0.4, 0, 0.5, **silent)]
    runs += [run(0.4, 1, 0.4, **one_answer), diverged() | nothing]
    assert results.remarks(runs) == [
        "rho 0.4, seed 0: 70.0 % of the recordings leave the output silent with hard spikes; "
        "lower rho from 0.4 (0 trains without SAM), or train longer.",
        "rho 0.4, seed 1: collapsed, hard spikes answer every recording with 0; "
        "lower rho from 0.4 (0 trains without SAM), or train longer.",
        "rho 0.4, seed 1: the loss became infinite or no number; "
        "lower learning_rate from 0.001 or rho from 0.4.",
    ]


def test_reasons_for_no_integer_network_are_told_once():
    sound = {f"{kind}_confusion": [[4, 0], [1, 5]] for kind in ("soft", "hard")}
    rows = [{"kind": "weight_bits", "error": "too many"}, {"kind": "weights"}]
    runs = [run(0.0, seed, 0.9, hardware=rows, **sound) for seed in (0, 1)]
    runs[1]["corruptions"] = [{"kind": "noise", "error": "too many"}, {"error": "none at all"}]
    assert results.remarks(runs) == [
        "no integer network: too many",
        "no integer network: none at all",
    ]


def test_the_table_shows_each_run_and_the_mean():
    text = tables.runs(collected([run(0.4, 0, 0.8), run(0.4, 1, 0.9)]))
    assert "80.00 [70.00, 90.00]" in text
    assert "mean of 2" in text
    assert "85.00 [" in text


def test_the_table_shows_a_diverged_run_as_such():
    text = tables.runs(collected([diverged()]))
    assert "diverged" in text
    assert "None" not in text
    assert "0.8" not in text
