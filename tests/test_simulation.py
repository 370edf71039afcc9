"""The simulated sensor against closed forms, and simulated recordings against real ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sast_jax.data import packing, recordings
from sast_jax.data.layouts import nmnist_archives
from sast_jax.data.simulated import digits, likeness

IDEAL = digits.Sensor(
    rising=0.2, falling=0.3, mismatch=0.0, background=0.2, blur=0.3,
    time_constant=1e-3, refractory=0.0, refractory_spread=0.0, noise=1e-9,
)  # fmt: skip
KEY = jax.random.key(0)


def binned(data, time_bins):
    return packing.pack(data, time_bins=time_bins, duration=recordings.DURATION)


def edge():
    """A white half plane on the right of the image."""
    image = np.zeros((1, 28, 28), np.float32)
    image[:, :, 14:] = 1
    return jnp.asarray(image)


def moving_left(steps=200, pixels=6.0):
    x = 3 + pixels * (1 - np.linspace(0, 1, steps))
    return jnp.asarray(np.stack([x, np.full(steps, 3.0)], axis=1), jnp.float32)


def test_nothing_moves_nothing_fires():
    path = jnp.full((50, 2), 3.0)
    assert not digits.events(KEY, edge(), IDEAL, path).any()


def test_an_edge_that_passes_fires_once_per_threshold_crossed():
    signs = np.asarray(digits.events(KEY, edge(), IDEAL, moving_left()))[:, 0]
    row, column = 16, 20 - 3  # crossed by the edge, far from the image's border
    contrast = np.log((1 + IDEAL.background) / IDEAL.background)
    assert (signs[:, row, column] >= 0).all()
    # Each event resets to the value seen, which passes the threshold by up to one step's change.
    count = signs[:, row, column].sum()
    assert contrast / IDEAL.rising / 1.5 < count <= contrast / IDEAL.rising
    backwards = np.asarray(digits.events(KEY, edge(), IDEAL, moving_left()[::-1]))[:, 0]
    count = -backwards[:, row, column].sum()
    assert contrast / IDEAL.falling / 1.5 < count <= contrast / IDEAL.falling


def test_refractory_period_separates_the_events_of_a_pixel():
    sensor = IDEAL._replace(rising=0.02, refractory=5.0)
    signs = np.asarray(digits.events(KEY, edge(), sensor, moving_left()))[:, 0]
    times = np.flatnonzero(signs[:, 16, 17])
    assert len(times) > 3
    assert np.diff(times).min() >= 5


def test_noise_has_its_rate_and_both_signs():
    sensor = IDEAL._replace(noise=1.0)
    dark = jnp.zeros((40, 28, 28))
    signs = np.asarray(digits.events(KEY, dark, sensor, jnp.full((310, 2), 3.0)))
    # At most one noise event a pixel: 1 - exp(-rate * duration).
    assert np.abs(signs).sum(axis=0).mean() == pytest.approx(1 - np.exp(-0.31), abs=0.01)
    assert (signs > 0).sum() == pytest.approx((signs < 0).sum(), rel=0.05)


def test_view_keeps_the_light_and_moves_it_by_subpixels():
    view = np.asarray(digits._view(jnp.array([3.0, 3.5]), 34, 0.5))
    inside = view[:, 8:26]
    np.testing.assert_allclose(inside.sum(axis=-1), 1, atol=1e-5)
    centres = inside @ np.arange(28)
    np.testing.assert_allclose(centres[0] - centres[1], 0.5, atol=1e-4)


def test_splits_share_no_digit_and_have_every_class_evenly():
    train, test = digits.digits("train"), digits.digits("test")
    assert not set(train[2]) & set(test[2])
    assert np.bincount(train[1]).tolist() == [400] * 10
    assert np.bincount(test[1]).tolist() == [100] * 10


@pytest.mark.slow
def test_deterministic_for_a_seed_and_different_for_another():
    def make(seed):
        return binned(digits.simulate("test", seed=seed, limit=60), 5)

    first, again, other = make(0), make(0), make(1)
    np.testing.assert_array_equal(first.packed_NxTxP, again.packed_NxTxP)
    assert (first.packed_NxTxP != other.packed_NxTxP).any()
    assert len(first.labels_N) == 60


@pytest.mark.parametrize("time_bins", [1, 6, 310])
def test_frames_counts_and_profile_are_the_events_binned(time_bins):
    images, labels, numbers = (column[:50] for column in digits.digits("test"))
    frames = binned(digits.record(KEY, images, labels, numbers), time_bins)
    key, path = jax.random.fold_in(KEY, 0), jnp.asarray(digits.path(), jnp.float32)
    signs_SxBxHxW = digits.events(key, jnp.asarray(images), digits.SENSOR, path)
    expected_BxTxHxWxC = np.zeros((50, time_bins, 34, 34, 2), int)
    for step, signs in enumerate(np.asarray(signs_SxBxHxW)):
        here = expected_BxTxHxWxC[:, (2 * step + 1) * time_bins // (2 * len(signs_SxBxHxW))]
        here += np.stack([signs > 0, signs < 0], axis=-1)
    bits = packing.unpack(jnp.asarray(frames.packed_NxTxP), (34, 34, 2))
    np.testing.assert_array_equal(bits, expected_BxTxHxWxC > 0)
    np.testing.assert_array_equal(frames.events_NxC, expected_BxTxHxWxC.sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(frames.profile_TxC, expected_BxTxHxWxC.sum(axis=(2, 3)).mean(axis=0))


def test_events_come_in_order_and_the_same_each_time():
    images, labels, numbers = (column[:70] for column in digits.digits("test"))
    data = digits.record(KEY, images, labels, numbers)  # more than a chunk, and a part of one
    chunks = list(data.events())
    assert sum(len(chunk.unsorted_N) for chunk in chunks) == 70
    for chunk, again in zip(chunks, data.events(), strict=True):
        for column, same, ordered in zip(chunk, again, recordings.in_order(chunk), strict=True):
            np.testing.assert_array_equal(column, same)
            np.testing.assert_array_equal(column, ordered)
    assert len(set(data.seeds_N.tolist())) == 70


def test_profile_distance_knows_equal_shifted_and_coarser_profiles():
    flat = np.ones((20, 2))
    assert likeness.profile_distance(flat, np.ones((10, 2))) == pytest.approx(0)
    early = np.zeros((10, 2))
    early[:5] = 1
    assert likeness.profile_distance(early, np.ones((10, 2))) == pytest.approx(0.5)


@pytest.fixture(scope="module")
def paired(real_data):
    """The first 200 real recordings, and simulations of the digits they show; 31 bins."""
    split = nmnist_archives.find_split(real_data / "nmnist_small", "train")
    images = digits.digits_of_files(split.labels_N, split.numbers_N)
    chosen = np.argsort(split.numbers_N)[:200]
    real = binned(nmnist_archives.select(split, chosen), 31)
    args = images[chosen], real.labels_N, real.numbers_N
    return real, binned(digits.record(KEY, *args), 31)


def test_simulated_events_are_as_many_and_as_timed_as_real_ones(paired):
    real, simulated = (likeness.describe(frames) for frames in paired)
    assert simulated["events"] == pytest.approx(real["events"], rel=0.05)
    assert simulated["falling"] == pytest.approx(real["falling"], abs=0.02)
    distance = likeness.profile_distance(*(frames.profile_TxC for frames in paired))
    assert distance < 0.04


def test_simulated_recordings_resemble_the_real_one_of_the_same_digit_most(paired):
    """Over space, time (three saccades) and polarity: which real recording is each most like?"""

    def vectors(frames):
        bits = packing.unpack(jnp.asarray(frames.packed_NxTxP), (34, 34, 2))
        thirds = [np.asarray(bits[:, part]).sum(axis=1) for part in np.array_split(range(31), 3)]
        flat = np.stack(thirds, axis=1).reshape(len(bits), -1).astype(float)
        flat -= flat.mean(axis=1, keepdims=True)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    real, simulated = map(vectors, paired)
    likeness_NxN = simulated @ real.T
    assert np.diag(likeness_NxN).mean() > 0.75
    assert (likeness_NxN.argmax(axis=1) == np.arange(200)).mean() > 0.97
    packed = jnp.asarray(paired[1].packed_NxTxP)
    bits = np.asarray(packing.unpack(packed, (34, 34, 2)))[..., ::-1]
    inverted = paired[1]._replace(packed_NxTxP=np.packbits(bits.reshape(200, 31, -1), axis=-1))
    assert np.diag(vectors(inverted) @ real.T).mean() < 0.6


def test_reference_statistics_are_those_of_the_real_recordings(real_data):
    split = nmnist_archives.find_split(real_data / "nmnist_small", "train")
    all_of_it = np.arange(len(split.names))
    frames = binned(nmnist_archives.select(split, all_of_it), 31)
    measured, stored = likeness.describe(frames), likeness.real()
    for key in ("events", "events_std", "falling"):
        assert measured[key] == pytest.approx(stored[key], rel=1e-3)
    np.testing.assert_allclose(measured["profile"], stored["profile"], atol=0.06)
