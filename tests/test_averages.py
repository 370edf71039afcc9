"""Averaged weights: the mean of the papers' rules, and what is evaluated."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
import small

from sast_jax.training import stepping
from sast_jax.training.averages import Averaged, Averages, averaged_params
from sast_jax.training.batches import Shuffled
from sast_jax.training.epochs import train_epoch
from sast_jax.training.gradients import Ahead, Sharpness
from sast_jax.training.optimizers import Adam, Constant
from sast_jax.training.trained import Trained


def walk(averages, steps=20):
    """The weights after each step on random gradients, and the mean that is kept then."""
    optimizer = Averaged(Adam(Constant()), averages)(0.1, steps)
    rng, weights = np.random.default_rng(0), {"a": np.ones(3, np.float32)}
    state, walked, means = optimizer.init(weights), [], []
    for _ in range(steps):
        gradient = {"a": rng.normal(size=3).astype(np.float32)}
        updates, state = optimizer.update(gradient, state, weights)
        weights = optax.apply_updates(weights, updates)
        walked.append(np.asarray(weights["a"]))
        means.append(np.asarray(averaged_params(state, weights)["a"]))
    return np.array(walked), np.array(means)


def test_all_weights_after_the_start_count_the_same():
    walked, means = walk(Averages(start=0.25))
    np.testing.assert_array_equal(means[:5], walked[:5])
    for step in range(5, 20):
        np.testing.assert_allclose(means[step], walked[5 : step + 1].mean(axis=0), rtol=1e-5)


def test_an_exponential_mean_forgets():
    walked, means = walk(Averages(start=0.0, decay=0.8))
    expected = walked[0]
    for step in range(1, 20):
        kept = min(0.8, step / (step + 1))  # a plain mean until five steps are averaged
        expected = kept * expected + (1 - kept) * walked[step]
        np.testing.assert_allclose(means[step], expected, rtol=1e-5)


@pytest.mark.parametrize("sharpness", [Sharpness(), Ahead()], ids=["SAM", "momentum-SAM"])
def test_the_mean_of_the_weights_is_evaluated(sharpness):
    plain = small.recipe(batches=Shuffled(small.B, 1), epochs=5, sharpness=sharpness)
    averaged = Averaged(plain.optimizer, Averages(start=0.0))
    hyper_R, walked = small.hyper((0, 1), (0.1, 0.2)), []
    for recipe in (plain, dataclasses.replace(plain, optimizer=averaged)):
        state_R = stepping.initialise(recipe, hyper_R)
        walked.append([])
        for _ in range(recipe.epochs):  # of one step each
            state_R, _ = train_epoch(recipe, state_R, hyper_R, *small.recordings(), True)
            leaves = jax.tree.leaves(Trained.of(recipe, state_R, hyper_R).params)
            walked[-1].append([np.array(leaf) for leaf in leaves])  # states are donated
    for *steps, mean in zip(*walked[0], walked[1][-1], strict=True):
        np.testing.assert_allclose(mean, np.mean(steps, axis=0), rtol=1e-3, atol=1e-5)
        assert np.abs(mean - steps[-1]).max() > 1e-4
