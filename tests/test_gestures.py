"""People's arms against geometry: what is the same for two gestures, and what is not."""

import numpy as np
import pytest

from sast_jax.data.simulated import people as people_lib

TIMES = np.arange(400) * 5e-3


def perform(label, seed=0, **changes):
    who = people_lib.person(np.random.default_rng(seed))._replace(**changes)
    return who, people_lib.joints(who, label, np.random.default_rng(seed + 100), TIMES)


def wrists(label, **changes):
    return np.moveaxis(perform(label, **changes)[1][:, :, 2], 1, 0)  # right, left


def occupied(points, size=2.0):
    """The squares that points come by."""
    return {tuple(square) for square in np.floor(points / size).astype(int)}


@pytest.mark.parametrize("label", range(11))
@pytest.mark.parametrize("seed", range(5))
def test_arms_keep_their_length_and_move_without_jumps(label, seed):
    who, joints_Sx2x4x2 = perform(label, seed)
    bones = np.linalg.norm(np.diff(joints_Sx2x4x2, axis=2), axis=-1)
    assert (bones[..., :2].sum(axis=-1) <= 1.01 * who.arm).all()
    np.testing.assert_allclose(bones[..., 2], 0.18 * who.arm, rtol=1e-6)
    if label not in (1, 2):  # whose elbow is where the wave needs it
        np.testing.assert_allclose(bones[..., :2], who.arm / 2, rtol=1e-6)
    steps = np.linalg.norm(np.diff(joints_Sx2x4x2, axis=0), axis=-1)
    assert steps.max() < 8  # pixels in 5 ms
    moves = np.ptp(joints_Sx2x4x2[:, :, 3], axis=0).max(axis=-1)
    assert moves.max() > 5


@pytest.mark.parametrize("label, arm", [(1, 0), (2, 1), (3, 0), (4, 0), (5, 1), (6, 1)])
def test_one_arm_moves_and_the_other_hangs(label, arm):
    _, joints = perform(label)
    moves = np.ptp(joints[:, :, 2], axis=0).max(axis=-1)
    assert moves[arm] > 5
    assert moves[1 - arm] == pytest.approx(0)


@pytest.mark.parametrize("label, turn", [(3, 1), (4, -1), (5, 1), (6, -1)])
def test_circles_turn_their_way_over_the_same_pixels(label, turn):
    arm = (label - 3) // 2
    who, joints = perform(label)
    x, y = (joints[:, arm, 2] - people_lib.shoulder(who, people_lib.SIDES[arm])).T
    angle = np.unwrap(np.arctan2(y, x))  # y points down, so it grows clockwise
    assert np.sign(np.diff(angle)).tolist() == [turn] * (len(x) - 1)
    np.testing.assert_allclose(np.hypot(x, y), who.arm, rtol=1e-6)
    other = wrists(label + turn)[arm]
    mine = occupied(joints[:, arm, 2])
    assert len(mine & occupied(other)) > 0.8 * len(mine)
    fastest = joints[np.abs(np.diff(angle)).argmax(), arm, 2]
    assert (fastest[0] - people_lib.shoulder(who, people_lib.SIDES[arm])[0]) * people_lib.SIDES[
        arm
    ] > 0


def test_clapping_and_drumming_share_their_strokes_but_not_their_time():
    clap, drum = wrists(0), wrists(8)
    for hand in range(2):
        both = occupied(clap[hand]), occupied(drum[hand])
        assert len(both[0] & both[1]) > 0.8 * len(both[0])
    heights = clap[:, :, 1]
    assert np.corrcoef(heights)[0, 1] == pytest.approx(1)
    assert np.corrcoef(drum[:, :, 1])[0, 1] < -0.6
    for hands, quick in ((clap, 1), (drum, -1)):
        velocity = np.diff(hands[:, :, 1], axis=1)  # down, and inwards
        ratio = velocity.max(axis=1) / -velocity.min(axis=1)
        assert (ratio**quick > 1.8).all()


def test_a_wave_is_quick_inwards():
    for label, side in ((1, -1), (2, 1)):
        velocity = side * np.diff(wrists(label)[(side + 1) // 2][:, 0])
        assert -velocity.min() > 1.8 * velocity.max()


def test_the_strumming_hand_is_the_persons_own():
    for hand in people_lib.SIDES:
        heights = np.ptp(wrists(9, hand=hand)[:, :, 1], axis=1)
        assert heights[(hand + 1) // 2] > 3 * heights[(1 - hand) // 2]


def test_people_differ_and_are_drawn_again_the_same():
    people = [people_lib.person(np.random.default_rng(seed)) for seed in (0, 0, 1)]
    for a, b in zip(people[0], people[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert people[0].arm != people[2].arm
