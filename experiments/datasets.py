"""What ``config.data`` asks for, as recordings."""

from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from sast_jax.data import packing, simulation, sources
from sast_jax.errors import InputError


def load_nmnist(data: ConfigDict, splits: Sequence[str] = ("train", "test")) -> sources.Source:
    """N-MNIST, real or simulated."""
    return sources.nmnist(
        data.source,
        data.path,
        time_bins=data.time_bins,
        train_limit=data.train_limit,
        test_limit=data.test_limit,
        seed=data.seed,
        splits=splits,
    )


LOADERS = {"nmnist": load_nmnist}  # by the name of the experiment


def hold_out(
    frames: packing.Frames, fraction: float, seed: int
) -> tuple[packing.Frames, packing.Frames | None]:
    """The recordings to train on, and a random fraction of them held out, or None.

    Raises:
      InputError: the fraction is too small for a recording, or leaves none to train on.
    """
    if not fraction:
        return frames, None
    count = round(fraction * len(frames.labels_N))
    if not 0 < count < len(frames.labels_N):
        raise InputError(
            f"config.data.validation={fraction} holds out {count} of {len(frames.labels_N)} "
            "recordings; change it, or set it to 0"
        )
    order = np.random.default_rng(seed).permutation(len(frames.labels_N))
    return frames.take(np.sort(order[count:])), frames.take(np.sort(order[:count]))


def chosen(source: sources.Source, split: str, above: int) -> np.ndarray:
    """Indices of the recordings of a split whose file number is above one; 0 takes all.

    Raises:
      InputError: there are none.
    """
    numbers_N = getattr(source, split).numbers_N
    indices = np.flatnonzero(numbers_N > above) if above else np.arange(len(numbers_N))
    if not len(indices):
        raise InputError(f"--above={above} leaves no recording; lower it")
    return indices


def warn(source: sources.Source, frames: packing.Frames, trained_on_simulated: bool) -> None:
    """Prints what is wrong with recordings to evaluate on, if anything is."""
    for line in source.warnings:
        print(f"warning: {line}")
    seen = int((frames.numbers_N <= simulation.LAST_FILE).sum())
    if trained_on_simulated and not source.simulated and seen:
        print(
            f"warning: the digits of N-MNIST's training files up to {simulation.LAST_FILE} were "
            f"trained on, and {seen} of these recordings have such numbers; unless they are of the "
            f"published test split, leave them out with --above={simulation.LAST_FILE}"
        )
