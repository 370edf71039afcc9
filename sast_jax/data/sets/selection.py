"""Which recordings of a data set a run or a command takes."""

import numpy as np

from sast_jax.data import packing
from sast_jax.data.sets import loading
from sast_jax.data.simulated import digits as digits_lib
from sast_jax.errors import InputError


def hold_out(
    frames: packing.Frames, fraction: float, seed: int
) -> tuple[packing.Frames, packing.Frames | None]:
    """Splits recordings into those to train on and a random fraction held out (None for none).

    If the recordings show people, the fraction is of the people, and nobody is in both parts.

    Raises:
      InputError: the fraction is too small for a recording, or leaves none to train on.
    """
    if not fraction:
        return frames, None
    held_out_N = held_out(frames, fraction, seed)
    return frames.take(np.flatnonzero(~held_out_N)), frames.take(np.flatnonzero(held_out_N))


def held_out(frames: packing.Frames, fraction: float, seed: int) -> np.ndarray:
    """Which rows of the frames :func:`hold_out` holds out: (N,), bool."""
    people_N = frames.subjects_N
    group_N = frames.recordings_N if people_N is None else people_N
    groups = np.unique(group_N)
    count = round(fraction * len(groups))
    if not 0 < count < len(groups):
        raise InputError(
            f"config.data.validation={fraction} holds out {count} of {len(groups)} "
            f"{'recordings' if people_N is None else 'persons'}; change it, or set it to 0"
        )
    return np.isin(group_N, np.random.default_rng(seed).permutation(groups)[:count])


def chosen(source: loading.Source, split: str, above: int) -> np.ndarray:
    """Indices of a split's recordings with file numbers above ``above``; 0 takes all.

    Raises:
      InputError: there are none, or they are gestures, which have no file numbers.
    """
    frames = source.frames(split)
    numbers_N = frames.numbers_N
    if above and frames.subjects_N is not None:
        raise InputError(f"--above={above}: files of gestures have no numbers; leave it out")
    indices = np.flatnonzero(numbers_N > above) if above else np.arange(len(numbers_N))
    if not len(indices):
        raise InputError(f"--above={above} leaves no recording; lower it")
    return indices


def warn(source: loading.Source, frames: packing.Frames, trained_on_simulated: bool) -> None:
    """Prints the warnings about recordings to evaluate on."""
    for line in source.warnings:
        print(f"warning: {line}")
    seen = int((frames.numbers_N <= digits_lib.LAST_FILE).sum())
    digits = frames.subjects_N is None
    if trained_on_simulated and not source.simulated and digits and seen:
        print(
            f"warning: the digits of N-MNIST's training files up to {digits_lib.LAST_FILE} were "
            f"trained on, and {seen} of these recordings have such numbers; unless they are of the "
            f"published test split, leave them out with --above={digits_lib.LAST_FILE}"
        )
