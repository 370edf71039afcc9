"""People who perform the gestures of DVS Gesture: where their joints are at every moment.

A person stands upright and faces the sensor. Positions are in pixels, x to the right and y down, so
the right arm is on the left; clockwise is as the sensor sees it. Nobody is modelled after a real
recording: all numbers are our choice.

Some classes are made so that only motion tells them apart, and a picture summed over time does not.
A circle covers the same pixels in both directions. Clapping and drumming follow the same strokes,
about two a second. Clapping hands move together and are quick inwards; drumming hands take turns
and are quick outwards. Over half a second, or a multiple of it, each hand fires alike in both. As
people stand anywhere in front of the sensor, one person's left arm may be where another's right arm
is. So a wave is quick inwards and slow outwards, and a circle is quick outside and slow in front of
the body.

Classes: Amir et al., A low power, fully event-based gesture recognition system, CVPR 2017.
"""

from typing import NamedTuple

import numpy as np

SIDES = (-1, 1)  # of the right and the left arm, on the x axis
STROKES = 2.0  # a second, of clapping and drumming
_QUICK = 0.3  # share of the time of a wave or stroke, of its quicker half


class Person(NamedTuple):
    """The body of a person and the way they move.

    Attributes:
      middle: of the shoulders (x, y), pixels.
      arm: length from shoulder to wrist, pixels.
      thickness: radius of an arm over its length.
      speed: repetitions a second.
      hand: side of the hand that strums: -1 for the right one.
      slant: of strokes against the horizontal, radians.
      reach: length of strokes and waves, relative to the usual one.
    """

    middle: np.ndarray
    arm: float
    thickness: float
    speed: float
    hand: int
    slant: float
    reach: float


def person(rng: np.random.Generator) -> Person:
    """Draws a person."""
    return Person(
        middle=np.array([rng.uniform(42, 86), rng.uniform(46, 58)]),
        arm=rng.uniform(29, 36),
        thickness=rng.uniform(0.075, 0.11),
        speed=rng.uniform(0.9, 1.6),
        hand=-1 if rng.random() < 0.8 else 1,
        slant=rng.uniform(0.5, 1.1),
        reach=rng.uniform(0.85, 1.15),
    )


def joints(who: Person, label: int, rng: np.random.Generator, times_S: np.ndarray) -> np.ndarray:
    """Shoulder, elbow, wrist and tip of the hand of both arms: (S, 2, 4, 2), right arm first.

    Args:
      who: the person.
      label: index of the gesture in ``tonic_gestures.CLASSES``.
      rng: of what differs from one performance to the next.
      times_S: seconds.
    """
    strokes = label in (0, 8)
    speed, spread = (STROKES, 0.03) if strokes else (who.speed, 0.15)
    phase_S = _phase(speed, spread, rng, times_S)
    wrists = [_resting(who, side, len(times_S)) for side in SIDES]
    elbows = [None, None]
    if label in (1, 2):
        arm = label - 1
        elbows[arm], wrists[arm] = _wave(who, SIDES[arm], phase_S, rng)
    elif label in (3, 4, 5, 6):
        arm, turn = (label - 3) // 2, 1 if label % 2 else -1
        wrists[arm] = _circle(who, SIDES[arm], turn, phase_S)
    elif label == 10:
        wrists = [_wandering(who, side, rng, times_S) for side in SIDES]
    else:
        both = {0: _stroke, 7: _roll, 8: _drum, 9: _strum}[label]
        hands = [who._replace(reach=who.reach * rng.uniform(0.8, 1.2)) for _ in SIDES]
        wrists = [both(hand, side, phase_S) for hand, side in zip(hands, SIDES, strict=True)]
    arms = [_arm(who, *arm) for arm in zip(SIDES, elbows, wrists, strict=True)]
    return np.stack(arms, axis=1)


def shoulder(who: Person, side: int) -> np.ndarray:
    """The shoulder of an arm, (x, y)."""
    return who.middle + who.arm * np.array([0.36 * side, 0.0])


def _phase(speed, spread, rng, times_S):
    """The phase of the repetitions, in turns, at each step; nobody keeps time exactly."""
    speed, start, slow = speed * rng.uniform(1 - spread, 1 + spread), rng.random(), rng.random()
    return start + speed * times_S + spread / 3 * np.sin(2 * np.pi * (0.4 * times_S + slow))


def _chest(who):
    return who.middle + who.arm * np.array([0.0, 0.55])


def _points(who, origin, x_S, y_S):
    """Points at distances from another one, in arm lengths: (S, 2)."""
    return origin + who.arm * np.stack(np.broadcast_arrays(x_S, y_S), axis=-1)


def _resting(who, side, steps):
    return _points(who, shoulder(who, side), np.full(steps, 0.08 * side), 0.97)


def _wave(who, side, phase_S, rng):
    elbow = _points(who, shoulder(who, side), np.full(len(phase_S), 0.3 * side), 0.35)
    angle_S = rng.uniform(-0.2, 0.2) + 0.6 * who.reach * side * _swing(phase_S, _QUICK)
    return elbow, _points(who, elbow, 0.5 * np.sin(angle_S), -0.5 * np.cos(angle_S))


def _swing(phase_S, inward):
    """From 1 (outside) to -1 and back; the way inwards takes this share of the time."""
    turn_S = phase_S % 1
    there_S, back_S = turn_S / inward, (turn_S - inward) / (1 - inward)
    return np.where(there_S < 1, np.cos(np.pi * there_S), -np.cos(np.pi * back_S))


def _circle(who, side, turn, phase_S):
    angle_S = 2 * np.pi * phase_S
    # The added sine makes the angle advance fastest where the hand is outside.
    outside = 0 if side > 0 else np.pi
    angle_S = angle_S + 0.5 * np.sin(angle_S - outside)
    # With a turn of -1 it runs backwards, outside where it was outside.
    return _points(who, shoulder(who, side), np.cos(angle_S), turn * np.sin(angle_S))


def _stroke(who, side, phase_S, inward=_QUICK):
    """Down and inwards to the middle of the chest, and back."""
    away_S = 0.45 * who.reach * (0.5 + 0.5 * _swing(phase_S, inward))
    x_S = side * (0.28 + away_S * np.cos(who.slant))
    return _points(who, _chest(who), x_S, 0.1 - away_S * np.sin(who.slant))


def _drum(who, side, phase_S):
    return _stroke(who, side, phase_S + side / 4, 1 - _QUICK)


def _roll(who, side, phase_S):
    angle_S = 2 * np.pi * (phase_S + side / 4)
    return _points(who, _chest(who), 0.05 * side + 0.1 * np.cos(angle_S), 0.22 * np.sin(angle_S))


def _strum(who, side, phase_S):
    stroke_S = np.sin(2 * np.pi * phase_S)
    if side == who.hand:
        return _points(who, _chest(who), 0.08 * side + 0.08 * stroke_S, 0.3 + 0.28 * stroke_S)
    slide_S = 0.08 * np.sin(np.pi * phase_S)
    return _points(who, shoulder(who, side), side * (0.5 + slide_S), 0.35 - 0.5 * slide_S)


def _wandering(who, side, rng, times_S):
    """A hand that wanders along a path that does not close: the class "other"."""
    centre_2 = rng.uniform((0.0, 0.35), (0.5, 0.6))
    frequency_2x2, phase_2x2 = rng.uniform(0.4, 2.0, (2, 2)), rng.random((2, 2))
    turns_2x2xS = frequency_2x2[..., None] * times_S + phase_2x2[..., None]
    away_2xS = (rng.uniform(0.06, 0.16, (2, 2, 1)) * np.sin(2 * np.pi * turns_2x2xS)).sum(axis=1)
    x_S, y_S = centre_2[:, None] + away_2xS
    return _points(who, shoulder(who, side), side * x_S, y_S)


def _arm(who, side, elbow, wrist):
    """The joints (S, 4, 2) of an arm; its elbow bends outwards unless it is given."""
    start = np.broadcast_to(shoulder(who, side), wrist.shape)
    along = wrist - start
    distance = np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)
    along = along * np.minimum(1, who.arm / distance)  # no farther than the arm is long
    wrist = start + along
    if elbow is None:
        # Upper arm and forearm are each half an arm long, so the elbow lies off the middle of the
        # line from shoulder to wrist, by the third side of a right triangle.
        across = side * np.stack([along[..., 1], -along[..., 0]], axis=-1)
        length = np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
        bend = np.sqrt(np.maximum((who.arm / 2) ** 2 - (length / 2) ** 2, 0))
        elbow = start + along / 2 + bend * across / length
    forearm = wrist - elbow
    forearm = forearm / np.maximum(np.linalg.norm(forearm, axis=-1, keepdims=True), 1e-9)
    return np.stack([start, elbow, wrist, wrist + 0.18 * who.arm * forearm], axis=1)
