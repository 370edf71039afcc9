"""Shifts against every shift there can be, deformations against NumPy and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from scipy import stats

from sast_jax.data import augmentation


def test_shifts_move_whole_recordings_and_lose_only_what_leaves():
    frames = jnp.asarray(np.random.default_rng(0).integers(0, 2, (50, 3, 8, 8, 2)), jnp.uint8)
    moved = np.asarray(augmentation.shift(jax.random.key(0), frames, 1))
    padded = np.pad(np.asarray(frames), ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
    offsets = set()
    for n in range(50):
        found = [
            (y, x)
            for y in range(3)
            for x in range(3)
            if (padded[n, :, y : y + 8, x : x + 8] == moved[n]).all()
        ]
        assert len(found) == 1
        offsets.add(found[0])
    assert len(offsets) == 9
    np.testing.assert_array_equal(augmentation.shift(jax.random.key(0), frames, 0), frames)


def test_affine_without_deformation_changes_nothing():
    frames = jnp.asarray(np.random.default_rng(0).integers(0, 2, (5, 3, 9, 7, 2)), jnp.uint8)
    same = augmentation.affine(jax.random.key(0), frames, 0.0, 0.0, 0.0)
    assert same.dtype == frames.dtype
    np.testing.assert_array_equal(same, frames)


@pytest.mark.parametrize(
    "pixels, degrees, zoom", [(2.0, 0.0, 0.0), (0.0, 20.0, 0.0), (0.0, 0.0, 0.3), (1.0, 10.0, 0.1)]
)
def test_affine_moves_a_blob_by_a_map_of_the_promised_size(pixels, degrees, zoom):
    """The map is recovered from where three blobs end up, and must lie within the limits."""
    corners = np.array([(10.0, 10.0), (10.0, 23.0), (23.0, 10.0), (23.0, 23.0)])
    y, x = np.mgrid[:34, :34]
    near = [((y - a) ** 2 + (x - b) ** 2 < 9) for a, b in corners]
    frames = np.zeros((40, 2, 34, 34, 4), np.uint8) + np.moveaxis(near, 0, -1).astype(np.uint8)
    moved = np.asarray(
        augmentation.affine(jax.random.key(1), jnp.asarray(frames), pixels, degrees, zoom)
    )
    np.testing.assert_array_equal(moved[:, 0], moved[:, 1])  # all steps of time alike
    found = []
    for n in range(40):
        weight = moved[n, 0].reshape(-1, 4).astype(float)
        grid = np.stack([y.ravel(), x.ravel()], axis=-1)
        centres = (weight.T @ grid) / weight.sum(axis=0)[:, None]
        design = np.hstack([corners - 16.5, np.ones((4, 1))])
        found.append(np.linalg.lstsq(design, centres - 16.5, rcond=None)[0])
    matrices, shifts = np.array(found)[:, :2], np.array(found)[:, 2]
    noise = 0.5  # of a blob's centre, in pixels, from taking the nearest pixel
    assert np.abs(shifts).max() <= pixels + noise
    stretch = np.linalg.svd(matrices, compute_uv=False)
    limit = (1 + zoom) * (1 + np.tan(np.deg2rad(degrees))) + 0.06
    assert stretch.max() <= limit
    turns = np.rad2deg(np.arctan2(matrices[:, 0, 1], matrices[:, 0, 0]))
    assert np.abs(turns).max() <= 2 * degrees + 4
    # And the limits are used.
    assert np.abs(shifts).max() >= 0.6 * pixels
    assert np.abs(turns).max() >= 0.6 * degrees
    assert np.abs(stretch - 1).max() >= 0.6 * zoom


def test_every_recording_has_a_draw_of_its_own():
    frames = jnp.asarray(np.random.default_rng(0).integers(0, 2, (1, 2, 34, 34, 2)), jnp.uint8)
    moved = np.asarray(augmentation.affine(jax.random.key(0), frames.repeat(8, 0), 1.0, 10.0, 0.1))
    assert len({one.tobytes() for one in moved}) == 8
    assert set(np.unique(moved)) <= {0, 1}


def test_values_of_the_functions_do_what_these_do():
    frames = jnp.asarray(np.random.default_rng(0).integers(0, 2, (5, 3, 9, 9, 2)), jnp.uint8)
    key = jax.random.key(3)
    pairs = (
        (augmentation.Shift(2)(key, frames), augmentation.shift(key, frames, 2)),
        (
            augmentation.Affine(1.0, 10.0, 0.1)(key, frames),
            augmentation.affine(key, frames, 1.0, 10.0, 0.1),
        ),
    )
    for found, expected in pairs:
        np.testing.assert_array_equal(found, expected)
        assert (found != frames).any()
    assert augmentation.Shift(2) == augmentation.Shift(2) != augmentation.Shift(1)
    assert hash(augmentation.Affine(1.0)) == hash(augmentation.Affine(pixels=1.0))


def test_events_are_lost_and_added_by_shares_of_each_recording():
    rng = np.random.default_rng(0)
    frames = (rng.random((10, 200, 12, 12, 2)) < 0.1).astype(np.uint8)
    frames[:, 100:] = rng.random((10, 100, 12, 12, 2)) < 0.3  # recordings of three times as many
    own = frames.sum(axis=(0, 2, 3, 4))
    lost = np.asarray(augmentation.events(jax.random.key(0), frames, 0.8, 0.0))
    assert lost.dtype == np.uint8 and (lost <= frames).all()
    share = 1 - lost.sum(axis=(0, 2, 3, 4)) / own
    assert share.max() < 0.85 and share.min() < 0.05
    assert abs(share.mean() - 0.4) < 0.05 and abs(share.std() - 0.8 / 12**0.5) < 0.03  # uniform
    added = np.asarray(augmentation.events(jax.random.key(0), frames, 0.0, 0.5))
    assert (added >= frames).all()
    # One in ten, or three in ten, of what is added falls where there is an event.
    density = np.where(np.arange(200) < 100, 0.1, 0.3)
    share = (added.sum(axis=(0, 2, 3, 4)) - own) / own / (1 - density)
    assert abs(share.mean() - 0.25) < 0.02 and abs(share.std() - 0.5 / 12**0.5) < 0.02
    where = (added - frames).sum(axis=(0, 1, 4))
    assert where.min() > 0.7 * where.mean()  # anywhere
    both = np.asarray(augmentation.events(jax.random.key(0), frames, 0.8, 0.5))
    assert (both < frames).any() and (both > frames).any()


def test_what_is_drawn_is_uniform_and_independent():
    size = 1 << 18
    keys = [jax.random.key(seed) for seed in (0, 1)]
    one, other = (np.asarray(augmentation._words(key, (size,))) / 2**32 for key in keys)
    assert stats.kstest(one, "uniform").pvalue > 1e-3
    fractions = (one * 2**16) % 1  # the lower half of the bits alone
    assert stats.kstest(fractions, "uniform").pvalue > 1e-3
    lags = (1, 2, 68, 2312, 64 * 2312)  # polarity, column, row, recording, step of time
    pairs = [(one[lag:], one[:-lag]) for lag in lags] + [(one, other)]
    for first, second in pairs:
        assert abs(np.corrcoef(first, second)[0, 1]) < 5 / len(first) ** 0.5
        both = np.sum((first < 0.1) & (second < 0.1))  # as events are drawn
        assert abs(both - 0.01 * len(first)) < 5 * (0.01 * len(first)) ** 0.5


@pytest.mark.parametrize("moved", [None, augmentation.Shift(1)])
def test_recordings_lose_events_after_they_are_moved(moved):
    given = augmentation.Then(moved, augmentation.Events(1.0))
    assert bool(given.moves_pixels) == bool(moved)
    key = jax.random.key(3)
    frames = jnp.asarray(np.random.default_rng(0).integers(0, 2, (4, 3, 6, 6, 2)), jnp.uint8)
    found, alone = given(key, frames), moved(key, frames) if moved else frames
    assert (found <= alone).all() and (found < alone).any()
    hyper_R = small.hyper((0,), (0.0,))
    ends = [
        small.fit(small.recipe(augment=augment), hyper_R, 1, False)[0].params["Dense_0"]["kernel"]
        for augment in (moved, given, lambda key, frames: given(key, frames))
    ]
    assert (ends[0] != ends[1]).any()
    np.testing.assert_array_equal(ends[1], ends[2])  # of words and of frames
