"""The planned comparisons are those of PROTOCOL.md, computed from the right answers."""

import numpy as np
import pytest

from experiments.assessment import planned
from experiments.assessment.measures import EIGHTH, MATCHED, PLAIN, REFERENCE
from experiments.assessment.methods import METHODS
from sast_jax import files
from sast_jax.evaluation import comparisons

SEVERITIES = (1, 3, 5)
S, M = 6, 400


def row(held_out=0.5, gradients=1.0, epochs=12, tuned=2.0):
    """A row whose chosen trial has this accuracy at mismatch 0.6 on the validation split."""
    trials = [
        {"settings": {"slope": slope}, "measured": [{"mismatch_0.6": value}] * 3}
        for slope, value in ((tuned, held_out), (9.0, 0.99))
    ]
    return {"gradients": gradients, "epochs": epochs, "tuned": {"slope": tuned}, "trials": trials}


def answers(shares, seed=0):
    """For each method and condition the right answers of S networks, with these shares."""
    rng = np.random.default_rng(seed)
    hardness_M = rng.random(M)  # recordings that are hard for one are hard for all
    noise_SxM = rng.normal(0, 0.02, (S, M))

    def right(share):
        own = noise_SxM + rng.normal(0, 0.02, (S, M))
        return (hardness_M + own < share).astype(np.float32)

    return {
        name: {condition: right(share) for condition, share in of_it.items()}
        for name, of_it in shares.items()
    }


def test_the_rival_is_chosen_on_the_validation_split_among_those_of_one_gradient():
    methods = {
        PLAIN: row(0.90),
        EIGHTH: row(0.95, gradients=1.125),
        "hard forward": row(0.92),
        "plain a sixth longer": row(0.93, epochs=14),
        MATCHED: row(0.97, epochs=24),
        "adversarial weights": row(0.98, gradients=3.0),
    }
    assert planned.best_of_one_gradient(methods) == "plain a sixth longer"
    (first, *_) = planned.comparisons_of(methods, SEVERITIES, "default")
    assert (first.number, first.first, first.second) == (1, EIGHTH, "plain a sixth longer")
    assert planned.best_of_one_gradient({PLAIN: row() | {"trials": []}}) is None
    assert planned.best_of_one_gradient({EIGHTH: row()}) is None


def test_every_comparison_of_the_protocol_is_made():
    found = planned.comparisons_of({name: row() for name in METHODS}, SEVERITIES, "default")
    assert [one.number for one in found] == [1, 2, 3, 3, 4, 4, 4, 4, 5, 5]
    assert {one.first for one in found} | {one.second for one in found} <= METHODS.keys()
    of_added = next(one for one in found if one.number == 2)
    assert len(of_added.conditions) == 6
    papers = planned.comparisons_of({name: row() for name in METHODS}, SEVERITIES, "paper")
    assert {one.number for one in papers} == {2, 4}
    assert planned.comparisons_of({REFERENCE: row()}, SEVERITIES, "default") == []


@pytest.mark.parametrize("gain, holds", [(0.2, True), (0.05, False)])
def test_what_must_hold_is_told_from_means_and_intervals(gain, holds):
    names = PLAIN, EIGHTH, planned.CURE
    lost = [f"event drop {level} hard" for level in SEVERITIES]
    shares = {name: dict.fromkeys([*lost, "as trained hard"], 0.6) for name in names}
    shares[planned.CURE] |= dict.fromkeys(lost, 0.6 + gain)
    right = answers(shares)
    methods = {name: row() for name in names}
    for name in names:
        for key in ("INT8 integer", *(f"event drop {level} integer" for level in SEVERITIES)):
            right[name] |= {key: right[name][lost[0]], f"following, {key}": right[name][lost[0]]}
        right[name]["weight mismatch 0.6 hard"] = right[name][lost[0]]
    found = {
        (outcome.comparison.number, outcome.comparison.what): outcome
        for outcome in planned.outcomes(methods, SEVERITIES, right, "default")
    }
    cure = found[3, "event drop"]
    mean_SxM = {name: np.mean([right[name][key] for key in lost], axis=0) for name in names}
    np.testing.assert_allclose(cure.mean, (mean_SxM[planned.CURE] - mean_SxM[EIGHTH]).mean())
    pooled = comparisons.pooled(
        {name: own.mean(axis=1) for name, own in mean_SxM.items()}, EIGHTH, planned=names
    )
    assert cure.over_seeds == pooled[planned.CURE].ci95
    assert cure.over_both[0] < cure.mean < cure.over_both[1]
    assert cure.holds == holds
    assert found[3, "hard spikes"].holds == (found[3, "hard spikes"].mean >= -0.002)
    same = found[4, "event drop, INT8"]
    assert (same.mean, same.over_both, same.holds) == (0, [0, 0], False)
    assert found[4, "INT8"].holds  # nothing lost, which need not be certain


def test_a_method_without_answers_is_left_out(tmp_path):
    methods = {name: row() for name in (PLAIN, REFERENCE, MATCHED)}
    right = answers({name: {"as trained hard": 0.5} for name in (REFERENCE, MATCHED)})
    folder = tmp_path / "default"
    assert planned.kept(folder, methods, SEVERITIES) == ""
    for name, own in right.items():
        (folder / planned.kept_rows.folder(name)).mkdir(parents=True)
        files.write_arrays(folder / planned.kept_rows.folder(name) / "deployment.npz", own)
    told = planned.kept(folder, methods, SEVERITIES)
    assert "SAST minus plain twice as long" in told and "SAST minus plain " not in told.replace(
        "plain twice", ""
    )
