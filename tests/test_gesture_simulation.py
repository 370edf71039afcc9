"""Simulated gestures: the same for a seed, of people that no other split has, told by motion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.configs import dvs_gesture
from sast_jax.data import packing, recordings, sets, windows
from sast_jax.data.simulated import performances
from sast_jax.data.simulated.performances import LIGHTS, SUBJECTS
from sast_jax.evaluation import intervals, swap
from sast_jax.runs import build, settings
from sast_jax.training import stepping
from sast_jax.training.epochs import train_epoch
from sast_jax.training.trained import Trained

pytestmark = pytest.mark.optimised

KEY = jax.random.key(0)


def test_splits_have_the_published_people_and_every_class_evenly():
    train, test = (performances.simulate(split, seed=0) for split in ("train", "test"))
    assert set(train.subjects_N) == set(range(1, 24))
    assert set(test.subjects_N) == set(range(24, 30))
    for data, people in ((train, 23), (test, 6)):
        assert np.bincount(data.labels_N).tolist() == [people * len(LIGHTS)] * 11
        assert len(set(data.numbers_N.tolist())) == len(data.labels_N)


def test_deterministic_for_a_seed_and_different_for_another():
    def first(seed):
        data = performances.simulate("test", seed=seed, limit=10)
        (events,) = data.events()
        return data, events

    (data, events), (_, again), (_, other) = first(0), first(0), first(1)
    for column, same in zip(events, again, strict=True):
        np.testing.assert_array_equal(column, same)
    assert len(other.t_M) != len(events.t_M)
    assert len(events.unsorted_N) == len(data.labels_N) == 10
    for column, ordered in zip(events, recordings.in_order(events), strict=True):
        np.testing.assert_array_equal(column, ordered)
    assert events.x_M.max() > 64  # the sensor has 128 pixels in a row


def watched(joints_SxBx2x4x2, **changes):
    B = joints_SxBx2x4x2.shape[1]
    given = {"middle_Bx2": [[64.0, 50.0]] * B, "arm_B": [34.0] * B, "radius_B": [3.0] * B}
    given |= {"room_B": [0.0] * B} | changes
    given = {name: jnp.array(value) for name, value in given.items()}
    return np.asarray(performances.watch(KEY, jnp.asarray(joints_SxBx2x4x2), **given))


def sweeping():
    """A right arm that moves to the right, level, at 0.5 pixels a step, in front of nobody."""
    steps = 100
    joints = np.zeros((steps, 1, 2, 4, 2), np.float32)
    joints[..., 1] = 20 + 10 * np.arange(4)[None, None, None]  # upright
    joints[:, :, 0, :, 0] = 10 + 0.5 * np.arange(steps)[:, None, None]
    joints[:, :, 1] += 300  # off the sensor
    return joints


def test_brightness_rises_in_front_of_a_moving_arm_and_falls_behind_it():
    signs = watched(sweeping(), middle_Bx2=[[400.0, 400.0]])[:, 0]
    for step in (40, 80):
        x = 10 + 0.5 * step
        around = signs[step - 3 : step + 4, 25:35].sum(axis=(0, 1))
        assert around[round(x) + 1 : round(x) + 5].sum() > 10
        assert around[round(x) - 5 : round(x) - 1].sum() < -10
    still = watched(sweeping()[:1].repeat(100, axis=0), middle_Bx2=[[400.0, 400.0]])
    noise = performances.SENSOR.noise * 100 * performances.STEP * 1e-6
    assert np.abs(still).mean(axis=(0, 2, 3)) * 100 == pytest.approx(noise, rel=0.05)


def test_a_lighter_room_has_less_contrast():
    far = {"middle_Bx2": [[400.0, 400.0]] * 2}
    signs = watched(sweeping().repeat(2, axis=1), room_B=[0.0, 0.35], **far)
    dark, light = np.abs(signs).sum(axis=(0, 2, 3))
    assert light < 0.9 * dark


def some(labels):
    """Recordings of these classes by everybody in one light: frames (N, T, 32, 32, 2), labels."""
    chosen = [(s, k, "led") for split in SUBJECTS.values() for s in split for k in labels]
    N = len(chosen)
    data = recordings.Recordings(
        np.array([k for _, k, _ in chosen]), np.arange(N), np.arange(N),
        lambda: performances._events(0, chosen), performances.EXTENT,
        np.array([s for s, *_ in chosen]),
    )  # fmt: skip
    cut = windows.cut(data, window=2_000_000, count=1, shrink=4)
    frames = packing.pack(cut, time_bins=32, duration=2_000_000, least=2)
    bits = np.unpackbits(frames.packed_NxTxP, axis=-1).reshape(N, 32, 32, 32, 2)
    return bits.astype(np.float64), frames


def motion(bits_NxTxHxWxC):
    """Where brightness rises beside where it falls: motion to the right and down (N, T, H, W)."""
    fall, rise = bits_NxTxHxWxC[..., 0], bits_NxTxHxWxC[..., 1]
    right = np.roll(rise, -2, axis=3) * fall - np.roll(fall, -2, axis=3) * rise
    down = np.roll(rise, -2, axis=2) * fall - np.roll(fall, -2, axis=2) * rise
    return right, down


def turning(bits):
    """How much motion runs clockwise around the middle of all events."""
    right, down = motion(bits)
    density = bits.sum(axis=(1, 4))
    y, x = np.mgrid[:32, :32]
    x0, y0 = ((density * z).sum(axis=(1, 2)) / density.sum(axis=(1, 2)) for z in (x, y))
    away_x, away_y = x[None] - x0[:, None, None], y[None] - y0[:, None, None]
    return (away_x[:, None] * down - away_y[:, None] * right).sum(axis=(1, 2, 3))


def together(bits):
    """How much the halves to the left and right of the middle of all events move alike."""
    _, down = motion(bits)
    density = bits.sum(axis=(1, 2, 4))
    x0 = (density * np.arange(32)).sum(axis=1) / density.sum(axis=1)
    left = np.arange(32)[None] < x0[:, None]
    a, b = ((down.sum(axis=2) * half[:, None]).sum(axis=2) for half in (left, ~left))
    return (a * b).sum(axis=1)


def from_a_picture(bits, frames, classes):
    """Accuracy of ridge regression on pictures summed over time, of people it has not seen."""
    picture = np.log1p(bits.sum(axis=1)).reshape(len(bits), -1)
    picture -= picture.mean(axis=0)
    target = np.where(frames.labels_N == classes[0], 1.0, -1.0)
    hits = []
    for fold in range(5):
        unseen = frames.subjects_N % 5 == fold
        gram = picture[~unseen] @ picture[~unseen].T
        weights = np.linalg.solve(gram + 100 * np.eye(len(gram)), target[~unseen])
        answer = picture[unseen] @ picture[~unseen].T @ weights
        hits += ((answer > 0) == (target[unseen] > 0)).tolist()
    return np.mean(hits)


@pytest.mark.parametrize("classes, told_by", [((3, 4), turning), ((0, 8), together)])
def test_motion_tells_apart_what_a_picture_does_not(classes, told_by):
    bits, frames = some(classes)
    value = told_by(bits)
    first = frames.labels_N == classes[0]
    by_motion = ((value > 0) == first).mean()
    by_motion = max(by_motion, 1 - by_motion)
    assert by_motion > 0.95
    assert from_a_picture(bits, frames, classes) < by_motion - 0.2


PAIRS = {  # classes that only motion should tell apart
    "clockwise or not": ({3, 5}, {4, 6}),
    "right or left": ({1, 3, 4}, {2, 5, 6}),
    "clapping or drumming": ({0}, {8}),
}


def trained_on(frames, test, epochs=15, seeds=5):
    """What default networks, trained without SAM on frames, predict of other ones: (R, M)."""
    config = dvs_gesture.get_config()
    config.update(rho=0.0, epochs=epochs)
    config.sweep.seeds = seeds
    given = settings.read(config)
    recipe = build.recipe(given, (32, 32, 2), 11, len(frames.labels_N))
    hyper_R = build.hyperparameters(given)
    state_R = stepping.initialise(recipe, hyper_R)
    arrays = jnp.asarray(frames.packed_NxTxP), jnp.asarray(frames.labels_N)
    for _ in range(epochs):
        state_R, _ = train_epoch(recipe, state_R, hyper_R, *arrays, False)
    models = Trained.of(recipe, state_R, hyper_R)
    answers = swap.answer(swap.soft, models, test.packed_NxTxP)
    return test.vote(answers.scores_BxK).argmax(axis=-1)


def without_order(frames):
    """Each pixel keeps its sum over time: it is 1 in as many frames as before, the last ones."""
    bits = np.unpackbits(frames.packed_NxTxP, axis=-1)
    return frames._replace(packed_NxTxP=np.packbits(np.sort(bits, axis=1), axis=-1))


@pytest.mark.slow
def test_a_network_that_sees_the_sum_over_time_alone_is_worse():
    source = sets.GestureData(source="simulated").load()
    splits = source.train, source.test
    seen = trained_on(*splits), trained_on(*map(without_order, splits))
    truth = source.test.truth_M
    for name, sides in PAIRS.items():
        of_it = [np.isin(truth, list(side)) for side in sides]
        shares = []
        for predicted in seen:
            both = zip(of_it, sides, strict=True)
            right = [np.isin(predicted[:, m], list(side)) for m, side in both]
            shares.append(100 * np.concatenate(right, axis=1).mean(axis=1))
        gain, (low, _) = intervals.student(shares[0] - shares[1])
        print(f"{name}: {[intervals.student(share) for share in shares]}, gain {gain:.1f}")
        assert gain > 10 and low > 0, name
