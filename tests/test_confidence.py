"""Confidence by hand, by loops and by laws."""

import numpy as np
import optax
import pytest
import scipy.special

from sast_jax.evaluation import confidence


def random_scores(rng, count=5000, classes=4, temperature=1.0):
    """Scores whose softmax at this temperature is the law that the labels were drawn from."""
    scores = 2 * rng.normal(size=(count, classes))
    law = scipy.special.softmax(scores, axis=-1)
    labels = np.array([rng.choice(classes, p=p) for p in law])
    return (temperature * scores).astype(np.float32), labels


def test_four_answers_by_hand():
    half, most = np.log([[0.5, 0.3, 0.2]]), np.log([[0.05, 0.9, 0.05]])
    scores = np.concatenate([half, half, most, most]) + 3  # which softmax does not see
    found = confidence.calibration_of(scores, np.array([0, 1, 1, 1]))
    assert found["nll"] == pytest.approx(-(np.log(0.5) + np.log(0.3) + 2 * np.log(0.9)) / 4)
    squares = [0.25 + 0.09 + 0.04, 0.25 + 0.49 + 0.04, *[0.01 + 2 * 0.05**2] * 2]
    assert found["brier"] == pytest.approx(np.mean(squares))
    assert found["ece"] == pytest.approx((2 * 0.0 + 2 * 0.1) / 4)  # half right, all right
    filled = {i: b for i, b in enumerate(found["reliability"]) if b["count"]}
    assert filled.keys() == {7, 13}
    assert filled[7]["accuracy"] == 0.5 and filled[7]["confidence"] == pytest.approx(0.5)
    assert filled[13]["accuracy"] == 1 and filled[13]["confidence"] == pytest.approx(0.9)


def test_bins_against_a_loop_and_nll_against_optax():
    scores, labels = random_scores(np.random.default_rng(0), count=400)
    found = confidence.calibration_of(scores, labels)
    p = scipy.special.softmax(scores.astype(float), axis=-1)
    error = 0.0
    for low in range(15):
        inside = (p.max(axis=1) >= low / 15) & (p.max(axis=1) < (low + 1) / 15)
        if inside.any():
            right = (p.argmax(axis=1) == labels)[inside].mean()
            error += inside.mean() * abs(right - p.max(axis=1)[inside].mean())
    assert found["ece"] == pytest.approx(error)
    loss = optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()
    assert found["nll"] == pytest.approx(float(loss), rel=1e-5)


def test_a_calibrated_network_has_no_error_and_an_overconfident_one_has():
    rng = np.random.default_rng(1)
    assert confidence.calibration_of(*random_scores(rng))["ece"] < 0.02
    assert confidence.calibration_of(*random_scores(rng, temperature=4))["ece"] > 0.1


def test_certain_answers_fall_in_the_last_bin():
    found = confidence.calibration_of(np.array([[1e4, 0.0], [0.0, 1e4]]), np.array([0, 0]))
    assert found["reliability"][-1] == {"count": 2, "confidence": 1.0, "accuracy": 0.5}
    assert found["ece"] == pytest.approx(0.5)
    assert np.isfinite(found["nll"])


def test_scores_that_tie_have_no_temperature():
    assert confidence.temperature(np.full((5, 3), 0.7), np.array([0, 1, 2, 0, 1])) == 1.0


@pytest.mark.parametrize("factor", [0.2, 1.0, 5.0])
def test_temperature_undoes_a_factor(factor):
    scores, labels = random_scores(np.random.default_rng(2), temperature=factor)
    found = confidence.temperature(scores, labels)
    assert found == pytest.approx(factor, rel=0.1)
    before, after = (confidence.calibration_of(s, labels) for s in (scores, scores / found))
    assert after["nll"] <= before["nll"] + 1e-9
