"""Thresholds and temperatures chosen on held-out recordings, and on no other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from sast_jax.evaluation import calibration, confidence, swap
from sast_jax.training.trained import Trained


@pytest.fixture(scope="module")
def trained():
    hypers = small.hyper(seeds=(0, 1), slope=1.0, slope_end=1.0)
    return small.trained(small.recipe(), hypers)


def gained(trained, gain):
    """One run with a gain on its first layer."""
    first = jax.tree.map(lambda w: gain * w, trained.params["Dense_0"])
    return Trained(trained.recipe, trained.params | {"Dense_0": first}, trained.hyper)


def halves():
    frames = small.frames()
    return frames.take(np.arange(0, small.N, 2)), frames.take(np.arange(1, small.N, 2))


def hard_accuracy(trained, frames, factors=None):
    """Of one run."""
    packed = jnp.asarray(frames.packed_NxTxP)
    if factors is None:
        answers = swap.answer(swap.hard, leading(trained), packed)
    else:
        answers = swap.answer(calibration.scaled, leading((trained, factors)), packed)
    return (answers.scores_BxK[0].argmax(axis=-1) == frames.labels_N).mean()


def leading(tree):
    """The same with a run axis of one."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree)


def test_factors_of_one_are_the_swap(trained):
    args = trained[0], small.frames()
    assert hard_accuracy(*args, np.ones(2, np.float32)) == hard_accuracy(*args)


def test_a_factor_is_the_inverse_of_a_gain(trained):
    by_gain = hard_accuracy(gained(trained[0], 2), small.frames())
    halved = np.array([0.5, 1.0], np.float32)
    assert hard_accuracy(trained[0], small.frames(), halved) == by_gain


def test_what_is_tried_is_the_network_with_those_factors(trained):
    packed, other = small.frames().packed_NxTxP, calibration.FACTORS[4]
    for layer in (0, 1):
        factors = np.full(2, other, np.float32)
        one = leading((trained[0], factors))
        scores = swap.answer(calibration.Tried(layer), one, packed)[0]
        assert scores.shape == (small.N, len(calibration.FACTORS), small.K)
        for f in (0, 8, 16):
            factors[layer] = calibration.FACTORS[f]
            scaled = calibration.scaled, leading((trained[0], factors))
            expected = swap.answer(*scaled, packed).scores_BxK[0]
            np.testing.assert_allclose(scores[:, f], expected, rtol=1e-6)


def test_thresholds_that_were_changed_are_found_again(trained):
    """A network whose first layer is too weak by 1.7 gets a threshold lower by about as much."""
    weak = gained(trained[0], 1 / 1.7)
    held_out, _ = halves()
    factors = calibration.threshold_factors(weak, held_out)
    before = hard_accuracy(weak, held_out)
    after = hard_accuracy(weak, held_out, factors)
    assert after > before
    assert factors[0] < 0.85
    assert after >= hard_accuracy(trained[0], held_out) - 0.05


def searched(one, held_out, sweeps):
    """Factors of the search, by trying each of them on the whole network."""
    factors = np.ones(2, np.float32)
    for layer in [0, 1] * sweeps:
        found = []
        for f in calibration.FACTORS:
            factors[layer] = f
            found.append(hard_accuracy(one, held_out, factors.copy()))
        best = [f for f, hits in zip(calibration.FACTORS, found, strict=True) if hits == max(found)]
        factors[layer] = min(best, key=lambda f: abs(np.log(f)))
    return factors.tolist()


def test_the_search_passes_over_the_layers_twice(trained):
    held_out, _ = halves()
    networks = [gained(trained[0], gain) for gain in (3.0, 4.0, 0.25)]
    twice = [searched(one, held_out, 2) for one in networks]
    assert [calibration.threshold_factors(one, held_out).tolist() for one in networks] == twice
    assert twice != [searched(one, held_out, 1) for one in networks]


def test_only_the_held_out_recordings_choose(trained):
    held_out, test = halves()
    other = test._replace(labels_N=(test.labels_N + 1) % small.K)
    first = calibration.after_training(trained, held_out, test)
    second = calibration.after_training(trained, held_out, other)
    for one, same in zip(first, second, strict=True):
        for key in ("threshold_factors", "soft_temperature", "hard_temperature"):
            assert one[key] == same[key]
        assert one["calibrated_hard_accuracy"] != same["calibrated_hard_accuracy"]
    swapped = calibration.after_training(trained, test, held_out)
    assert [e["hard_temperature"] for e in swapped] != [e["hard_temperature"] for e in first]


def test_what_is_measured_is_the_calibrated_network(trained):
    held_out, test = halves()
    for r, entry in enumerate(calibration.after_training(trained, held_out, test)):
        factors = np.array(entry["threshold_factors"], np.float32)
        accuracy = hard_accuracy(trained[r], test, factors)
        assert entry["calibrated_hard_accuracy"] == accuracy
        low, high = entry["calibrated_hard_accuracy_ci95"]
        assert low <= accuracy <= high
        answers = swap.answer(swap.soft, trained[r : r + 1], jnp.asarray(test.packed_NxTxP))
        scores = answers.scores_BxK[0]
        expected = confidence.calibration_of(scores / entry["soft_temperature"], test.labels_N)
        assert entry["soft_ece_scaled"] == pytest.approx(expected["ece"])
        assert entry["soft_nll_scaled"] == pytest.approx(expected["nll"])


def test_windows_are_calibrated_by_their_mean_scores(trained):
    """Factors and temperature of mean scores, of which those of first windows are none."""
    frames, truth = small.windows(), small.windows().labels_N[: small.N // 2]
    (entry, _) = calibration.after_training(trained, frames, frames)

    def scores(model, network):
        answers = swap.answer(model, network, frames.packed_NxTxP)
        return np.asarray(answers.scores_BxK[0])

    soft = scores(swap.soft, trained[:1])
    temperature = confidence.temperature(small.voted(soft), truth)
    assert entry["soft_temperature"] == pytest.approx(temperature)
    assert confidence.temperature(soft[: small.N // 2], truth) != pytest.approx(temperature)

    def accuracy(vote, factors_L):
        factors_L = jnp.asarray(factors_L, jnp.float32)
        found = scores(calibration.scaled, leading((trained[0], factors_L)))
        return (vote(found).argmax(axis=-1) == truth).mean()

    factors_L = entry["threshold_factors"]
    assert entry["calibrated_hard_accuracy"] == accuracy(small.voted, factors_L)
    assert accuracy(small.voted, factors_L) != accuracy(lambda s: s[: small.N // 2], factors_L)
    others = [accuracy(small.voted, (factors_L[0], f)) for f in calibration.FACTORS]
    assert entry["calibrated_hard_accuracy"] == max(others)


def test_a_run_of_nan_has_nothing(trained):
    spoiled = jax.tree.map(lambda leaf: leaf.at[1].set(jnp.nan), trained.params)
    spoiled = Trained(trained.recipe, spoiled, trained.hyper)
    good, bad = calibration.after_training(spoiled, *halves())
    assert set(good) == set(bad)
    assert set(bad.values()) == {None}
    assert None not in good.values()
