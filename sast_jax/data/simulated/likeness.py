"""How close simulated recordings come to real ones: event counts, polarity, time profile."""

import numpy as np

from sast_jax.data import packing

# Measured on the raw recordings of N-MNIST training files 1-1000 by ``python -m
# experiments.likeness``: mean and standard deviation of the events of a recording, share of events
# at which brightness fell (p = 1), and mean events per 10 ms, rising then falling.
REAL_EVENTS = (4133.2, 1153.5)
REAL_FALLING = 0.4983
REAL_PROFILE_31x2 = np.array(
    [
        (8.5, 8.2),
        (35.9, 29.5),
        (77.5, 76.5),
        (126.2, 121.5),
        (149.8, 147.4),
        (155.7, 150.7),
        (120.3, 120.9),
        (51.1, 56.7),
        (12.4, 17.6),
        (9.3, 13.1),
        (14.6, 18.1),
        (23.3, 27.0),
        (55.6, 52.5),
        (99.0, 93.0),
        (126.2, 117.4),
        (128.6, 124.7),
        (116.5, 112.9),
        (60.9, 64.5),
        (22.1, 25.6),
        (18.0, 19.8),
        (26.3, 27.7),
        (13.5, 16.0),
        (7.4, 12.5),
        (80.7, 79.8),
        (117.0, 111.7),
        (129.9, 122.5),
        (123.2, 118.2),
        (81.4, 81.7),
        (56.5, 59.3),
        (23.6, 26.2),
        (3.0, 6.2),
    ]
)


def describe(frames: packing.Frames) -> dict:
    """Event statistics of a set: ``events``, ``events_std``, ``falling`` and ``profile`` (T, 2)."""
    events_N = frames.events_NxC.sum(axis=1)
    return {
        "events": float(events_N.mean()),
        "events_std": float(events_N.std()),
        "falling": float(frames.events_NxC[:, 1].sum() / max(events_N.sum(), 1)),
        "profile": frames.profile_TxC.tolist(),
    }


def real() -> dict:
    """The statistics of the reference recordings, as :func:`describe` returns them for 31 bins."""
    mean, deviation = REAL_EVENTS
    return {
        "events": mean,
        "events_std": deviation,
        "falling": REAL_FALLING,
        "profile": REAL_PROFILE_31x2.tolist(),
    }


def profile_distance(simulated_TxC: np.ndarray, real_SxC: np.ndarray) -> float:
    """Largest difference of the two cumulative time profiles, of either polarity, 0..1.

    Profiles may differ in their number of equal bins; the edges of the coarser one are compared.
    """
    coarse = min(len(simulated_TxC), len(real_SxC))
    edges = np.linspace(0, 1, coarse + 1)

    def cumulative(profile):
        steps = np.vstack([np.zeros((1, profile.shape[1])), np.cumsum(profile, axis=0)])
        share = steps / np.maximum(steps[-1], 1e-9)
        at = np.linspace(0, 1, len(share))
        return np.stack([np.interp(edges, at, column) for column in share.T])

    return float(np.abs(cumulative(simulated_TxC) - cumulative(real_SxC)).max())


def compare(simulated: dict, reference: dict) -> str:
    """One sentence on how close simulated recordings come to the reference."""
    distance = profile_distance(np.array(simulated["profile"]), np.array(reference["profile"]))
    return (
        f"Simulated recordings have {simulated['events']:.0f} events on average (standard "
        f"deviation {simulated['events_std']:.0f}) where real ones have {reference['events']:.0f} "
        f"({reference['events_std']:.0f}); {100 * simulated['falling']:.1f} % of them are falls of "
        f"brightness (real: {100 * reference['falling']:.1f} %); their cumulative time profiles "
        f"differ by at most {100 * distance:.1f} % of the events."
    )
