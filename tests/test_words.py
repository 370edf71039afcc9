"""Frames as words: the same frames, also after an augmentation, which moves words."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from sast_jax.data import augmentation
from sast_jax.data.words import Words
from sast_jax.training import epochs, stepping

pytestmark = pytest.mark.optimised

CASES = [(3, 2, jnp.uint8, 1), (4, 2, jnp.uint8, 1), (6, 2, jnp.uint16, 1), (12, 1, jnp.uint16, 1),
         (16, 2, jnp.uint32, 1), (20, 2, jnp.uint32, 2), (25, 3, jnp.uint32, 3)]  # fmt: skip


def recordings(T, C, H=7, W=5, N=70):
    """Random frames (N, T, H, W, C), and the same packed."""
    frames = (np.random.default_rng(T).random((N, T, H, W, C)) < 0.3).astype(np.uint8)
    return frames, jnp.asarray(np.packbits(frames.reshape(N, T, -1), axis=-1))


@pytest.mark.parametrize("T, C, dtype, K", CASES)
def test_words_hold_the_frames(T, C, dtype, K):
    frames, packed = recordings(T, C)
    words = Words.of(packed, frames.shape[2:])
    assert words.words.dtype == dtype and words.words.shape == (70, 7, 5, K)
    np.testing.assert_array_equal(words.time_first(), np.moveaxis(frames, 1, 0))
    some = words[jnp.array([3, 1])].time_first()
    assert some.dtype == jnp.uint8
    np.testing.assert_array_equal(some, np.moveaxis(frames[[3, 1]], 1, 0))


@pytest.mark.parametrize("T, C, dtype, K", CASES[2::3])
@pytest.mark.parametrize(
    "augment", [augmentation.Shift(2), augmentation.Affine(1.0, 20.0, 0.3)], ids=["shift", "affine"]
)
def test_an_augmentation_moves_words_as_it_moves_frames(augment, T, C, dtype, K):
    frames, packed = recordings(T, C)
    for seed in range(3):
        key = jax.random.key(seed)
        moved = Words.of(packed, frames.shape[2:]).moved(lambda x, key=key: augment(key, x))
        expected = jnp.moveaxis(augment(key, jnp.asarray(frames)), 1, 0)
        assert (expected != np.moveaxis(frames, 1, 0)).any()
        np.testing.assert_array_equal(moved.time_first(), expected)


class Noise:
    """An augmentation that sees whole frames."""

    def __call__(self, key, frames):
        return frames ^ jax.random.bernoulli(key, 0.1, frames.shape).astype(frames.dtype)


@pytest.mark.parametrize(
    "augment",
    [augmentation.Affine(1.0, 20.0, 0.3), pytest.param(Noise(), marks=pytest.mark.slow)],
)
def test_training_on_words_is_training_on_frames(augment):
    recipe, hyper_R = small.recipe(augment=augment), small.hyper(rhos=(0.3,))
    packed, labels = small.recordings()
    words, ends = Words.of(jnp.asarray(packed), small.SHAPE), []
    for given in (jnp.asarray(packed), words):
        state_R = stepping.initialise(recipe, hyper_R)
        state_R, metrics = epochs.train_epoch(recipe, state_R, hyper_R, given, labels, True)
        ends.append((state_R.params, metrics))
    for a, b in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_size_of_words_is_known_before_they_are_made():
    for T, C, _, _ in CASES:
        frames, packed = recordings(T, C)
        made = Words.of(packed, frames.shape[2:]).words
        assert Words.nbytes(packed.shape, frames.shape[2:]) == made.nbytes
