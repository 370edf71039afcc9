"""Corruptions of events, as a worse sensor, bus or scene would make them.

Each kind has five severities. Their levels cost the hard network of a data set's default settings,
which have no SAM, about 1, 3, 10, 25 and 50 points of accuracy, on recordings held out of its
training set. Each data set has its own levels; ``experiments.severities`` found them, and they are
rounded. For N-MNIST it used 1,600 real training files, denoised; polarity and skew cost at most 32
and 37 points there. For gestures it used five simulated people, as there were no real recordings;
polarity and jitter of times cost less than 25 points, so their last two levels stand for no number
of points.

Jitter or another speed can move events. Those moved before the beginning are lost. Those moved past
the end fall in the last frame, as late events always do; where recordings are cut into windows they
are lost.

What is drawn for a recording depends on the seed, the kind and the recording's name alone. It is
the same whatever else is corrupted with it.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sast_jax.data import recordings
from sast_jax.data.recordings import NMNIST, Events, Extent, Extents, Recordings

HOT_RATE = 100  # events of a hot pixel a second

Generators = Sequence[np.random.Generator]  # one for each recording


class Kind(NamedTuple):
    """A way to corrupt recordings.

    Attributes:
      level: what a level means, in words.
      most: the largest level that makes sense.
      apply: (events, level, generators, extent) -> events.
    """

    level: str
    most: float
    apply: Callable[[Events, float, Generators, Extent | Extents], Events]


def corrupt(
    events: Events,
    kind: str,
    level: float,
    seeds_N: np.ndarray,
    seed: int = 0,
    extent: Extent | Extents = NMNIST,
) -> Events:
    """Corrupts the events of N recordings.

    Args:
      events: of them.
      kind: a key of :data:`KINDS`.
      level: of the corruption, as the kind says.
      seeds_N: of the recordings.
      seed: of the draws.
      extent: of each recording.
    """
    # A generator for each recording, so that draws depend neither on the others nor on the chunks
    # they are read in.
    stream = recordings.seed(kind)
    generators = [np.random.default_rng((seed, stream, own)) for own in seeds_N]
    return KINDS[kind].apply(events, level, generators, extent)


def corrupted(data: Recordings, change: Callable[..., Events] | None) -> Recordings:
    """The same recordings, corrupted by a partial :func:`corrupt`; None leaves them as they are."""
    if change is None:
        return data

    def chunks() -> Iterator[Events]:
        for events, seeds in recordings.seeded(data):
            yield change(events, seeds_N=seeds, extent=data.extent)

    return data._replace(events=chunks)


def in_memory(data: Recordings) -> Recordings:
    """The same recordings; their events are decoded once and then kept in memory."""
    return data._replace(events=functools.cache(lambda: list(data.events())))


def _drop(events, share, generators, extent):
    return events.those(_of_events(events, generators, lambda g, n: g.random(n)) >= share)


def _jitter_time(events, deviation, generators, extent):
    late_M = _of_events(events, generators, lambda g, n: g.normal(0, deviation, n))
    t_M = np.rint(events.t_M + late_M).astype(events.t_M.dtype)
    return recordings.in_order(events._replace(t_M=t_M).those(t_M >= 0))


def _jitter_space(events, deviation, generators, extent):
    def moved(z_M):
        away_M = _of_events(events, generators, lambda g, n: g.normal(0, deviation, n))
        return np.rint(z_M + away_M).astype(np.int32)

    x_M, y_M = moved(events.x_M), moved(events.y_M)
    inside_M = (x_M >= 0) & (x_M < extent.width) & (y_M >= 0) & (y_M < extent.height)
    columns = {"x_M": x_M.astype(events.x_M.dtype), "y_M": y_M.astype(events.y_M.dtype)}
    return events._replace(**columns).those(inside_M)


def _flip(events, share, generators, extent):
    flipped_M = _of_events(events, generators, lambda g, n: g.random(n)) < share
    return events._replace(p_M=events.p_M ^ flipped_M.astype(events.p_M.dtype))


def _noise(events, rate, generators, extent):
    pixels = extent.height * extent.width
    mean_N = rate * pixels * _durations(extent, generators) * 1e-6
    each = zip(generators, mean_N, strict=True)
    drawn = [g.integers(pixels, size=g.poisson(mean)) for g, mean in each]
    return _with_events(events, drawn, generators, extent)


def _hot_pixels(events, share, generators, extent):
    def pixels(generator, duration):
        hot = _some_pixels(generator, share, extent)
        return np.repeat(hot, generator.poisson(HOT_RATE * duration * 1e-6, len(hot)))

    drawn = [*map(pixels, generators, _durations(extent, generators))]
    return _with_events(events, drawn, generators, extent)


def _dead_pixels(events, share, generators, extent):
    alive_NxP = np.ones((len(generators), extent.height * extent.width), bool)
    for alive_P, generator in zip(alive_NxP, generators, strict=True):
        alive_P[_some_pixels(generator, share, extent)] = False
    pixel_M = events.y_M.astype(np.int64) * extent.width + events.x_M
    return events.those(alive_NxP[events.recording_M, pixel_M])


def _occlude(events, side, generators, extent):
    side = round(side)
    ends = np.maximum((extent.width - side + 1, extent.height - side + 1), 1)
    corner_Nx2 = np.array([g.integers(ends) for g in generators])
    left_M, top_M = corner_Nx2[events.recording_M].T
    behind_M = (events.x_M >= left_M) & (events.x_M < left_M + side)
    behind_M &= (events.y_M >= top_M) & (events.y_M < top_M + side)
    return events.those(~behind_M)


def _interrupt(events, share, generators, extent):
    duration_N = _durations(extent, generators)
    each = zip(generators, duration_N, strict=True)
    start_N = np.array([g.uniform(0, (1 - share) * duration) for g, duration in each])
    since_M = events.t_M - start_N[events.recording_M]
    return events.those((since_M < 0) | (since_M >= share * duration_N[events.recording_M]))


def _skew(events, change, generators, extent):
    speed_N = np.array([(1 + change) ** g.choice((-1, 1)) for g in generators])
    t_M = np.rint(events.t_M * speed_N[events.recording_M]).astype(events.t_M.dtype)
    return events._replace(t_M=t_M)


def _of_events(events, generators, draw):
    """``draw(generator, n)`` for the n events of each recording, concatenated: (M,)."""
    counts_N = np.bincount(events.recording_M, minlength=len(generators))
    return np.concatenate([draw(g, n) for g, n in zip(generators, counts_N, strict=True)])


def _durations(extent, generators):
    return np.broadcast_to(extent.duration, len(generators))


def _some_pixels(generator, share, extent):
    pixels = extent.height * extent.width
    return generator.permutation(pixels)[: round(share * pixels)]


def _with_events(events, pixels, generators, extent):
    """The events, with more in these pixels at random times and of random polarity."""
    pixel_M = np.concatenate(pixels)
    each = list(zip(generators, map(len, pixels), _durations(extent, generators), strict=True))
    times = [g.integers(duration, size=count) for g, count, duration in each]
    signs = [g.integers(2, size=count) for g, count, _ in each]
    added = (
        np.repeat(np.arange(len(pixels)), [len(own) for own in pixels]),
        np.concatenate(times),
        pixel_M % extent.width,
        pixel_M // extent.width,
        np.concatenate(signs),
    )
    columns = {}
    for name, more in zip(recordings.COLUMNS, added, strict=True):
        own = getattr(events, name)
        columns[name] = np.concatenate((own, more.astype(own.dtype)))
    return recordings.in_order(events._replace(**columns))


KINDS = {
    "event_drop": Kind("share of the events lost", 1.0, _drop),
    "noise": Kind("events added, a pixel and second", 100.0, _noise),
    "hot_pixels": Kind(f"share of the pixels, {HOT_RATE} Hz", 1.0, _hot_pixels),
    "dead_pixels": Kind("share of the pixels", 1.0, _dead_pixels),
    "occlusion": Kind("side of a square, pixels", 128, _occlude),
    "spatial_jitter": Kind("standard deviation, pixels", 64.0, _jitter_space),
    "temporal_jitter": Kind("standard deviation, microseconds", 1e6, _jitter_time),
    "polarity": Kind("share of the events inverted", 0.5, _flip),
    "interruption": Kind("share of the time without events", 1.0, _interrupt),
    "skew": Kind("times stretched or shrunk by 1 +", 4.0, _skew),
}
# By kind: the levels of severities 1 to 5.
NMNIST_LEVELS = {
    "event_drop": (0.65, 0.77, 0.83, 0.87, 0.9),
    "noise": (0.9, 1.7, 2.9, 4.8, 9.5),
    "hot_pixels": (0.016, 0.034, 0.066, 0.12, 0.22),
    "dead_pixels": (0.33, 0.45, 0.59, 0.67, 0.73),
    "occlusion": (6, 8, 10, 13, 16),
    "spatial_jitter": (1.0, 1.3, 1.6, 2.1, 2.8),
    "temporal_jitter": (40e3, 55e3, 80e3, 120e3, 400e3),
    "polarity": (0.07, 0.13, 0.22, 0.39, 0.5),
    "interruption": (0.16, 0.23, 0.45, 0.72, 0.81),
    "skew": (0.3, 0.65, 1.5, 2.4, 4.0),
}
DVS_GESTURE_LEVELS = {
    "event_drop": (0.56, 0.65, 0.78, 0.87, 0.93),
    "noise": (0.41, 0.42, 0.44, 0.49, 0.6),
    "hot_pixels": (1e-4, 3.4e-4, 7e-4, 1.7e-3, 3.3e-3),
    "dead_pixels": (0.34, 0.63, 0.75, 0.87, 0.93),
    "occlusion": (19, 23, 36, 52, 62),
    "spatial_jitter": (2.4, 3.1, 5.2, 6.6, 9.9),
    "temporal_jitter": (33e3, 50e3, 97e3, 300e3, 1e6),
    "polarity": (0.1, 0.12, 0.45, 0.47, 0.5),
    "interruption": (0.03, 0.3, 0.6, 0.72, 0.87),
    "skew": (0.45, 0.74, 1.3, 1.5, 2.6),
}
