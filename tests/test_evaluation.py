"""Accuracies, rates and intervals against NumPy and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from sast_jax.data import packing
from sast_jax.evaluation import confidence, swap
from sast_jax.snn import connections, neurons, spikes
from sast_jax.training.trained import Trained


@pytest.mark.parametrize(
    ("batch_size", "block"), [(small.N, 10**9), (16, 10**9), (7, 1000), (1000, 10**9)]
)
def test_batches_and_blocks_answer_as_one_batch(batch_size, block, monkeypatch):
    monkeypatch.setattr(swap, "BLOCK_BYTES", block)
    monkeypatch.setattr(swap.packing, "at_once", lambda packed, most: batch_size)
    made, hypers = small.recipe(), small.hyper(seeds=(0, 1), slope=2.0, slope_end=8.0, decay=0.7)
    trained = small.untrained(made, hypers)
    data = small.frames()
    packed = data.packed_NxTxP
    assert packed[0].nbytes * 14 <= 1000 < packed[0].nbytes * small.N  # two batches of 7
    unpacked = jnp.moveaxis(packing.unpack(packed, small.SHAPE), 1, 0).astype(jnp.float32)
    both = swap.answer(swap.both, trained, packed)
    for model, of_both, spike in (
        # The slope that training ends with.
        (swap.soft, both.soft, spikes.sigmoid(8.0)),
        (swap.hard, both.hard, spikes.heaviside),
    ):
        outcome = swap.answer(model, trained, packed)
        np.testing.assert_allclose(outcome.scores_BxK, of_both.scores_BxK, atol=1e-5)
        np.testing.assert_allclose(outcome.rates_BxL, of_both.rates_BxL, atol=1e-6)
        for run in range(2):
            network = trained[run].connections()
            cell = neurons.Cell(neurons.LIF(1.0), 0.7, spike)
            response = connections.respond(network, [cell] * 2, unpacked)
            scores = 10 * np.asarray(response.spikes[-1]).mean(axis=0)
            rates = np.stack([np.asarray(s).mean(axis=(0, 2)) for s in response.spikes], axis=-1)
            np.testing.assert_allclose(outcome.scores_BxK[run], scores, atol=1e-5)
            np.testing.assert_allclose(outcome.rates_BxL[run], rates, atol=1e-6)
            for t in range(small.T):  # as if the recording had ended there
                until = 10 * np.asarray(response.spikes[-1])[: t + 1].mean(axis=0)
                answered = np.take_along_axis(until, outcome.early_BxT[run, :, t, None], axis=-1)
                np.testing.assert_allclose(answered[:, 0], until.max(axis=-1), atol=1e-5)


def test_soft_minus_hard_is_the_gap_and_keys_are_complete():
    hypers = small.hyper(seeds=(0, 1))
    trained = small.trained(small.recipe(), hypers, epochs=6)
    runs = swap.soft_and_hard(trained, small.frames())
    assert len(runs) == 2
    for run in runs:
        assert run["transfer_gap"] == run["soft_accuracy"] - run["hard_accuracy"]
        assert run["soft_accuracy"] > 0.9
        assert run["recordings"] == small.N
        low, high = run["hard_accuracy_ci95"]
        assert low < run["hard_accuracy"] <= high
        assert np.sum(run["soft_confusion"]) == small.N
        assert len(run["soft_rates"]) == 2


def test_windows_answer_with_their_mean_scores():
    hypers, frames = small.hyper(), small.windows()
    trained = small.trained(small.recipe(), hypers, epochs=2)
    (run,) = swap.soft_and_hard(trained, frames)
    assert run["recordings"] == small.N // 2
    truth = frames.labels_N[: small.N // 2]
    for prefix, model in (("soft_", swap.soft), ("hard_", swap.hard)):
        answers = swap.answer(model, trained, frames.packed_NxTxP)
        scores = small.voted(answers.scores_BxK[0])
        confusion = np.zeros((small.K, small.K), int)
        np.add.at(confusion, (truth, scores.argmax(axis=-1)), 1)
        assert run[f"{prefix}confusion"] == confusion.tolist()
        assert run[f"{prefix}accuracy"] == np.trace(confusion) / len(truth)
        expected = confidence.calibration_of(scores, truth)
        assert run[f"{prefix}nll"] == pytest.approx(expected["nll"], rel=1e-9)
        early = (answers.early_BxT[0] == frames.labels_N[:, None]).mean(axis=0)
        assert run[f"{prefix}accuracy_by_step"] == early.tolist()
        first = answers.scores_BxK[0, : small.N // 2]
        assert (first.argmax(axis=-1) != scores.argmax(axis=-1)).any()


def inverted(key, frames):
    return 1 - frames


def test_what_is_evaluated_is_never_augmented():
    hypers = small.hyper()
    plain, augmenting = (
        swap.answer(
            swap.soft,
            small.untrained(small.recipe(augment=augment), hypers),
            small.recordings()[0],
        )
        for augment in (None, inverted)
    )
    np.testing.assert_array_equal(plain.scores_BxK, augmenting.scores_BxK)


def test_measure_counts_by_hand():
    scores = np.array([[1, 0, 0], [0, 0, 0], [0, 2, 2], [0, 0, 5]], np.float32)
    rates = np.array([[0.5, 0.1], [0.5, 0.0], [0.1, 0.2], [0.1, 0.3]], np.float32)
    early = np.array([[0, 1], [0, 0], [2, 2], [0, 2]])
    answers = swap.Outcome(scores, rates, early)
    measured = swap.summary_of(answers, np.array([0, 0, 2, 2]))
    assert measured["accuracy_by_step"] == [0.75, 0.75]
    assert measured["accuracy"] == 0.75  # the silent one falls to class 0, the tie to class 1
    assert measured["ties"] == 0.5
    assert measured["silent"] == 0.25
    assert measured["confusion"] == [[2, 0, 0], [0, 0, 0], [0, 1, 1]]
    np.testing.assert_allclose(measured["rates"], [0.3, 0.15], rtol=1e-6)
    np.testing.assert_allclose(measured["rate"], 0.225, rtol=1e-6)


def test_a_network_of_nan_has_no_accuracy():
    hypers = small.hyper(seeds=(0, 1))
    trained = small.untrained(small.recipe(), hypers)
    spoiled = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), trained.params)
    spoiled = Trained(trained.recipe, spoiled, hypers)
    assert spoiled.finite().tolist() == [False, True]
    bad, good = swap.soft_and_hard(spoiled, small.frames())
    for key in ("soft_accuracy", "hard_accuracy", "transfer_gap", "hard_confusion"):
        assert bad[key] is None
    assert bad["soft_rates"] == [None, None]
    assert 0 <= good["soft_accuracy"] <= 1
    assert bad.keys() == good.keys()


def test_the_swap_changes_the_spike_and_nothing_else():
    made = small.recipe(neuron=neurons.LIF(0.5))
    trained = Trained(made, None, small.run_of(small.hyper(decay=0.7), 0))
    current = jax.random.normal(jax.random.key(0), (4, 3))
    steep = neurons.Cell(neurons.LIF(0.5), 0.7, spikes.sigmoid(1e6))
    np.testing.assert_allclose(
        neurons.integrate(trained.hard_cell(), current)[1],
        neurons.integrate(steep, current)[1],
        atol=1e-3,
    )
    soft, hard = trained.soft_cell(), trained.hard_cell()
    assert soft.neuron is hard.neuron is made.model.neuron
    assert soft.decay is hard.decay is trained.hyper.decay
    assert hard.spike is spikes.heaviside
