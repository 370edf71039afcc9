"""Conditions of hardware against the same by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from sast_jax.data import packing
from sast_jax.evaluation import intervals, swap
from sast_jax.hardware import bench as bench_lib, formats, integers, models, operations
from sast_jax.hardware.bench import Conditions
from sast_jax.hardware.formats import Chip
from sast_jax.snn import networks, variation
from sast_jax.snn.connections import Full

CHIP = Chip()
KINDS = ("weights", "thresholds", "leaks", "dead", "dropped", "spurious")


def calibration():
    return small.frames().take(np.arange(20, small.N))


@pytest.fixture(scope="module")
def trained():
    return small.trained(small.recipe(), small.hyper(seeds=(0, 1)), epochs=8)


@pytest.fixture(scope="module")
def rows(trained):
    levels = tuple((kind, 0.3) for kind in KINDS)
    return tried(trained, Conditions((8, 2), levels, draws=3), calibration())


def tried(trained, conditions, calibrated=None, chip=CHIP):
    benches_R = bench_lib.benches(trained, chip, calibrated)
    return bench_lib.trials(benches_R, small.frames(), conditions)


def test_a_row_for_each_condition_of_each_run(rows):
    names = ["INT8", "INT2", "weight mismatch 0.3", "threshold mismatch 0.3", "leak mismatch 0.3"]
    names += ["dead neurons 0.3", "dropped spikes 0.3", "spurious spikes 0.3"]
    assert [[row["condition"] for row in run] for run in rows] == [names, names]
    for row in rows[0]:
        has_integers = row["kind"] in ("weight_bits", *bench_lib.FAULTS)
        assert (row["integer_accuracy"] is not None) == has_integers
        for name in ("soft", "hard", "integer")[: 2 + has_integers]:
            low, high = row[f"{name}_accuracy_ci95"]
            assert 0 <= low <= row[f"{name}_accuracy"] <= high <= 1


def test_a_width_is_the_rounded_network_and_the_integer_one(trained, rows):
    for one, run in zip(trained, rows, strict=True):
        network = one.connections()
        grams = formats.grams(one, network, CHIP, calibration())
        for row in run[:2]:
            chip = dataclasses.replace(CHIP, weight_bits=row["level"])
            kernels = formats.kernels(network, chip, grams)
            neurons, layers = formats.to_integers(one, network, chip, kernels)
            params = one.params | {
                f"Dense_{i}": {
                    "kernel": layer.connection.kernel.astype(jnp.float32) * layer.scale[None],
                    "bias": one.params[f"Dense_{i}"]["bias"],
                }
                for i, layer in enumerate(layers)
            }
            rounded = dataclasses.replace(one, params=params)
            rounded_R = jax.tree.map(lambda leaf: leaf[None], rounded)
            for name, model in (("soft", swap.soft), ("hard", swap.hard)):
                answers = swap.answer(model, rounded_R, small.frames().packed_NxTxP)
                scores = answers.scores_BxK[0]
                hits = int((scores.argmax(-1) == small.frames().labels_N).sum())
                assert row[f"{name}_accuracy"] == hits / small.N
                assert row[f"{name}_accuracy_ci95"] == intervals.wilson(hits, small.N)
            x = jnp.moveaxis(packing.unpack(small.recordings()[0], small.SHAPE), 1, 0)
            response, clipped = integers.response_of(layers, neurons, x)
            answers = np.asarray(response.spikes[-1], int).sum(axis=0).argmax(axis=-1)
            assert row["integer_accuracy"] == (answers == small.frames().labels_N).mean()
            np.testing.assert_allclose(row["clipped"], np.mean(clipped, axis=0), rtol=1e-6)
            ints = [layer.connection for layer in layers]
            acs = operations.count(ints, x, response.spikes).acs_BxL.sum(axis=-1)
            np.testing.assert_allclose(row["synops"], acs.mean(), rtol=1e-6)
            bits = 8 * row["weight_bytes"] - 32 * (16 + 3)
            assert bits == row["level"] * (72 * 16 + 16 * 3)


def test_a_variation_is_the_mean_over_its_devices(trained, rows):
    one, model = trained[0], trained.model
    x = jnp.moveaxis(packing.unpack(small.recordings()[0], small.SHAPE), 1, 0).astype(jnp.float32)

    @jax.jit
    def answers(key):
        device = variation.draw(
            key,
            variation.Variation(thresholds=0.3),
            one.connections(),
            [(model.neuron, one.hyper.decay)] * len(one.connections()),
            x,
        )
        return model.readout(device(lambda neuron, decay: neuron.hard(decay))).argmax(axis=-1)

    keys = jax.random.split(jax.random.fold_in(jax.random.key(0), one.hyper.seed), 3)
    accuracies = [float((answers(key) == small.frames().labels_N).mean()) for key in keys]
    row = rows[0][3]
    assert row["kind"] == "thresholds"
    mean, interval = intervals.student(accuracies)
    np.testing.assert_allclose(row["hard_accuracy"], mean, rtol=1e-6)
    expected = intervals.within(interval, 0, 1)
    np.testing.assert_allclose(row["hard_accuracy_ci95"], expected, rtol=1e-6)


def test_windows_answer_with_their_mean_scores_and_cost_their_sum(trained):
    frames, truth = small.windows(), small.windows().labels_N[: small.N // 2]
    (bench,) = bench_lib.benches(trained[:1], CHIP, None)
    keys_D = jax.random.split(jax.random.key(1), 2)
    rows = [bench.width(8, frames), bench.corruption("noise", 1, frames)]
    rows.append(bench.variation("dead", 0.4, keys_D, frames))
    neurons, layers = formats.to_integers(bench.tried, bench.network, CHIP, bench._kernels(CHIP))
    floats = bench.network, bench.tried.hyper

    def answers(model, *network):
        one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], network)
        return swap.answer(model, one, frames.packed_NxTxP)

    def accuracy(scores_NxK, vote=small.voted):
        return (vote(scores_NxK).argmax(axis=-1) == truth).mean()

    found = answers(models.OnChip(trained.model, neurons), None, None, layers)
    for row in rows[:2]:
        assert row["integer_accuracy"] == accuracy(found.scores_BxK[0])
        both = found.acs_BxL[0].sum(axis=-1)
        assert row["synops"] == (both[: small.N // 2] + both[small.N // 2 :]).mean()
    float_scores = answers(models.Device(trained.model), None, None, *floats)
    for name, own in float_scores._asdict().items():
        assert rows[1][f"{name}_accuracy"] == accuracy(own.scores_BxK[0])
        assert accuracy(own.scores_BxK[0], lambda s: s[: small.N // 2]) != accuracy(
            own.scores_BxK[0]
        )
    each = [
        answers(models.Device(trained.model), key, variation.Variation(dead=0.4), *floats)
        for key in keys_D
    ]
    for name in ("soft", "hard"):
        scores = [getattr(both, name).scores_BxK[0] for both in each]
        assert rows[2][f"{name}_accuracy"] == pytest.approx(np.mean([*map(accuracy, scores)]))


def test_integer_networks_meet_the_same_faults(trained, rows):
    """With eight bits, the integer network under faults is nearly the hard one under them."""
    for run in rows:
        for row in run[-3:]:
            assert abs(row["integer_accuracy"] - row["hard_accuracy"]) < 0.1
    assert any(row["hard_accuracy"] < 0.9 for run in rows for row in run[-3:])


def test_other_seeds_meet_other_devices(trained, rows):
    twice = jax.tree.map(lambda leaf: leaf[jnp.array([0, 0])], trained)
    twice = dataclasses.replace(twice, hyper=twice.hyper._replace(seed=trained.hyper.seed))
    conditions = Conditions((), (("thresholds", 0.3), ("dead", 0.6)), draws=3)
    one, other = tried(twice, conditions)
    assert one[0]["hard_accuracy"] == rows[0][3]["hard_accuracy"]
    assert other[1]["hard_accuracy_ci95"] != one[1]["hard_accuracy_ci95"]


def test_a_run_of_nan_has_no_rows_and_a_narrow_word_is_said(trained):
    params_R = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), trained.params)
    conditions = Conditions((8,))
    bad, good = tried(dataclasses.replace(trained, params=params_R), conditions)
    assert bad == [] and len(good) == 1
    narrow = dataclasses.replace(CHIP, membrane_bits=4)
    (row,), _ = tried(trained, conditions, chip=narrow)
    assert "a membrane of 4 bits cannot hold 16 times the threshold" in row["error"]
    assert row["integer_accuracy"] is None
    (wide,), _ = tried(trained, conditions)
    assert row["hard_accuracy"] == wide["hard_accuracy"]
    assert "error" not in wide


def test_scales_are_chosen_as_the_chip_says():
    rng = np.random.default_rng(0)
    kernel = jnp.asarray(rng.normal(size=(200, 2)) * [0.1, 1.0], jnp.float32)
    network = [Full(kernel, jnp.zeros(2))]

    def scale(name):
        chip = Chip(weight_bits=3, scale=name)
        return np.asarray(formats.kernels(network, chip)[0].scale)

    np.testing.assert_allclose(scale("max"), abs(np.asarray(kernel)).max(axis=0) / 3, rtol=1e-6)
    assert (scale("error") < scale("max")).all()


def test_calibration_counts():
    """Inputs that never fire must not count for the scale of the weights."""
    kernel = jnp.concatenate([jnp.full((36, 1), 0.1), jnp.full((36, 1), 5.0)])
    network = [Full(kernel, jnp.zeros(1))]
    one = small.untrained(small.recipe(network=networks.MLP((1,))), small.hyper())[0]
    bits = np.repeat([1, 0], 36)[None, None].repeat(4, axis=1).repeat(40, axis=0)
    data = small.frames()._replace(packed_NxTxP=np.packbits(bits.astype(np.uint8), axis=-1))
    grams = formats.grams(one, network, Chip(), data)  # in batches of which the last is smaller
    np.testing.assert_allclose(grams[0][:36, :36], 1, rtol=1e-6)
    assert not grams[0][36:].any()
    chip = Chip(weight_bits=2)
    with_it, without = (formats.kernels(network, chip, g)[0].scale for g in (grams, None))
    assert with_it < 1 < without


def test_corrupted_recordings_meet_all_three_networks(trained):
    benches_R = bench_lib.benches(trained, CHIP, calibration())
    clean, silent = small.frames(), small.frames()
    silent = silent._replace(packed_NxTxP=np.zeros_like(silent.packed_NxTxP))
    rows_R = bench_lib.corruptions(benches_R, [("noise", 1, clean), ("event_drop", 5, silent)])
    expected = swap.soft_and_hard(trained, clean)
    for run, (same, nothing), (width,) in zip(
        expected, rows_R, bench_lib.trials(benches_R, clean, Conditions((8,))), strict=True
    ):
        assert (same["condition"], same["kind"], same["level"]) == ("noise 1", "noise", 1)
        for kind in ("soft", "hard"):
            assert same[f"{kind}_accuracy"] == run[f"{kind}_accuracy"]
            assert same[f"{kind}_accuracy_ci95"] == run[f"{kind}_accuracy_ci95"]
        for key in ("integer_accuracy", "clipped", "synops"):
            assert same[key] == width[key]
        assert nothing["hard_accuracy"] < same["hard_accuracy"]
        assert nothing["synops"] == 0
