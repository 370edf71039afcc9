"""Simulated spoken words: spikes of a made-up cochlea with 700 channels, in place of SHD.

A word is a row of sounds; a sound is three bands of channels, as formants are, that glide from
sound to sound, and some end in a hiss over high channels. Speakers differ in the length of their
vocal tract, which moves all bands, in tempo and in voice. A recording is drawn once more in tempo
and loudness. No real recording was at hand to compare with: this is a test bed, not a likeness.
"""

from collections.abc import Iterator

import numpy as np

from sast_jax.data import recordings
from sast_jax.data.layouts import spoken_hdf5
from sast_jax.data.layouts.spoken_hdf5 import CHANNELS, CLASSES, EXTENT

RISES = 1  # all spikes are of one polarity
SPEAKERS = {"train": range(10), "test": range(10, 12)}
TAKES = 10  # recordings of a word by a speaker
_SOUNDS = 4  # of a word
_BANDS = 3
_WIDTH = 12.0  # channels, standard deviation of a band
_RATE = 2500.0  # spikes a second of a band
_HISS = 1500.0
_NOISE = 120.0  # spikes a second anywhere
_STEP = 1000  # microseconds
_CHUNK = 128  # recordings made at once


def settings() -> dict:
    """All that shapes a simulated recording besides its speaker, word, take and seed."""
    return {
        "version": 1,  # raise it when recordings would come out otherwise
        "bands": (_SOUNDS, _BANDS, _WIDTH, _RATE, _HISS, _NOISE, _STEP),
        "takes": TAKES,
        "numpy": np.__version__,
    }


def simulate(split: str, *, seed: int, limit: int = 0) -> recordings.Recordings:
    """Simulates a split, one recording a speaker, word and take.

    Args:
      split: "train" or "test".
      seed: of words, speakers and recordings.
      limit: number of recordings, drawn at random; 0 makes all.
    """
    everything = [
        (speaker, label, take)
        for speaker in SPEAKERS[split]
        for label in range(len(CLASSES))
        for take in range(TAKES)
    ]
    order = np.random.default_rng(seed).permutation(len(everything))[: limit or None]
    chosen = [everything[i] for i in np.sort(order)]

    def events() -> Iterator[recordings.Events]:
        for start in range(0, len(chosen), _CHUNK):
            part = chosen[start : start + _CHUNK]
            names = [f"simulated {' '.join(map(str, one))}" for one in part]
            yield spoken_hdf5.joined([_spikes(seed, *one) for one in part], names)

    return recordings.Recordings(
        labels_N=np.array([label for _, label, _ in chosen], np.int32),
        numbers_N=np.full(len(chosen), -1),
        seeds_N=np.array([recordings.seed(" ".join(map(str, one))) for one in chosen]),
        events=events,
        extent=EXTENT,
    )


def _word(seed, label) -> tuple[np.ndarray, np.ndarray, float]:
    """Channels of the bands at each sound (S, 3), lengths of the sounds, loudness of a hiss."""
    rng = np.random.default_rng((seed, 1, label))
    bands = np.sort(rng.uniform(0.08, 0.85, (_SOUNDS, _BANDS)), axis=1) * CHANNELS
    return bands, rng.uniform(0.08, 0.2, _SOUNDS), float(rng.random() < 0.4)


def _spikes(seed, speaker, label, take) -> np.ndarray:
    """Rows (M, 2) of microseconds and channels, sorted by time."""
    bands, lengths, hiss = _word(seed, label)
    who = np.random.default_rng((seed, 2, speaker))
    tract, tempo, voice = who.normal(1, 0.06), who.normal(1, 0.12), who.uniform(0.6, 1.2, _BANDS)
    rng = np.random.default_rng((seed, 3, speaker, label, take))
    lengths = lengths * max(tempo * rng.normal(1, 0.08), 0.4)
    loud = voice * np.exp(rng.normal(0, 0.2))
    onset = rng.uniform(0.02, 0.12)
    ends = onset + np.concatenate([[0], np.cumsum(lengths)])
    times_S = np.arange(EXTENT.duration // _STEP) * _STEP * 1e-6
    spoken_S = (times_S >= ends[0]) & (times_S < ends[-1])
    middles = (ends[:-1] + ends[1:]) / 2
    found = []
    for band in range(_BANDS):
        centre_S = np.interp(times_S, middles, bands[:, band]) * tract
        found.append(_drawn(rng, times_S, spoken_S * loud[band] * _RATE, centre_S, _WIDTH))
    hissing_S = (times_S >= ends[-2]) & (times_S < ends[-1]) & bool(hiss)
    high_S = np.full(len(times_S), 0.92 * CHANNELS)
    found.append(_drawn(rng, times_S, hissing_S * _HISS, high_S, 3 * _WIDTH))
    count = rng.poisson(_NOISE * EXTENT.duration * 1e-6)
    times = rng.integers(0, EXTENT.duration, count)
    found.append(np.stack([times, rng.integers(0, CHANNELS, count)], axis=1))
    rows = np.concatenate(found)
    rows = rows[(rows[:, 1] >= 0) & (rows[:, 1] < CHANNELS)]
    return rows[np.argsort(rows[:, 0], kind="stable")]


def _drawn(rng, times_S, rate_S, centre_S, width) -> np.ndarray:
    """Spikes at rates a second around channels that move."""
    step_M = np.repeat(np.arange(len(times_S)), rng.poisson(rate_S * _STEP * 1e-6))
    t_M = step_M * _STEP + rng.integers(0, _STEP, len(step_M))
    x_M = np.rint(rng.normal(centre_S[step_M], width)).astype(np.int64)
    return np.stack([t_M, x_M], axis=1)
