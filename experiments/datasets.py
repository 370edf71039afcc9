"""What ``config.data`` asks for, as recordings."""

from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from experiments.configs import dvs_gesture, nmnist
from sast_jax.data import packing, simulation, sources
from sast_jax.errors import InputError


def load_nmnist(data: ConfigDict, splits: Sequence[str] = ("train", "test")) -> sources.Source:
    """N-MNIST, real or simulated."""
    return sources.nmnist(data.source, data.path, **_shared(data, splits))


def load_dvs_gesture(data: ConfigDict, splits: Sequence[str] = ("train", "test")) -> sources.Source:
    """DVS Gesture, real or simulated."""
    return sources.dvs_gesture(
        data.source,
        data.path,
        bins=data.bins,
        least=data.least,
        window=1000 * data.window,
        windows_each=data.windows,
        side=data.side,
        **_shared(data, splits),
    )


def _shared(data, splits) -> dict:
    """What every data set is asked for."""
    keys = ("time_bins", "train_limit", "test_limit", "seed")
    return {key: data[key] for key in keys} | {"splits": splits}


# By the name of the experiment.
LOADERS = {"nmnist": load_nmnist, "dvs_gesture": load_dvs_gesture}
CONFIGS = {"nmnist": nmnist.get_config, "dvs_gesture": dvs_gesture.get_config}


def load(name: str, data: ConfigDict, splits: Sequence[str] = ("train", "test")) -> sources.Source:
    """The recordings of an experiment.

    Raises:
      InputError: the config is another experiment's, or recordings are missing or damaged.
    """
    if set(CONFIGS[name]().data) != set(data):
        raise InputError(
            f"the config is not one of this experiment; it starts from experiments.configs.{name}"
        )
    return LOADERS[name](data, splits)


def framing(data: ConfigDict) -> dict:
    """What of ``config.data`` shapes the frames of a recording."""
    keys = ("time_bins", "bins", "window", "windows", "side", "least")
    return {key: data[key] for key in keys if key in data}


def experiment(config: ConfigDict) -> str:
    """The experiment whose keys a config has: only gestures are cut into windows."""
    return "dvs_gesture" if "window" in config.get("data", {}) else "nmnist"


def hold_out(
    frames: packing.Frames, fraction: float, seed: int
) -> tuple[packing.Frames, packing.Frames | None]:
    """The recordings to train on, and a random fraction of them held out, or None.

    Where persons are seen, it is a fraction of the persons, none of whom is in both.

    Raises:
      InputError: the fraction is too small for a recording, or leaves none to train on.
    """
    if not fraction:
        return frames, None
    held_out_N = held_out(frames, fraction, seed)
    return frames.take(np.flatnonzero(~held_out_N)), frames.take(np.flatnonzero(held_out_N))


def held_out(frames: packing.Frames, fraction: float, seed: int) -> np.ndarray:
    """Which rows of the frames :func:`hold_out` holds out: (N,), bool."""
    alone = frames.subjects_N is None
    group_N = np.arange(len(frames.labels_N)) if alone else frames.subjects_N
    groups = np.unique(group_N)
    count = round(fraction * len(groups))
    if not 0 < count < len(groups):
        raise InputError(
            f"config.data.validation={fraction} holds out {count} of {len(groups)} "
            f"{'recordings' if alone else 'persons'}; change it, or set it to 0"
        )
    return np.isin(group_N, np.random.default_rng(seed).permutation(groups)[:count])


def chosen(source: sources.Source, split: str, above: int) -> np.ndarray:
    """Indices of the recordings of a split whose file number is above one; 0 takes all.

    Raises:
      InputError: there are none, or they are gestures, whose files have no numbers.
    """
    frames = getattr(source, split)
    numbers_N = frames.numbers_N
    if above and frames.subjects_N is not None:
        raise InputError(f"--above={above}: files of gestures have no numbers; leave it out")
    indices = np.flatnonzero(numbers_N > above) if above else np.arange(len(numbers_N))
    if not len(indices):
        raise InputError(f"--above={above} leaves no recording; lower it")
    return indices


def warn(source: sources.Source, frames: packing.Frames, trained_on_simulated: bool) -> None:
    """Prints what is wrong with recordings to evaluate on, if anything is."""
    for line in source.warnings:
        print(f"warning: {line}")
    seen = int((frames.numbers_N <= simulation.LAST_FILE).sum())
    digits = frames.subjects_N is None
    if trained_on_simulated and not source.simulated and digits and seen:
        print(
            f"warning: the digits of N-MNIST's training files up to {simulation.LAST_FILE} were "
            f"trained on, and {seen} of these recordings have such numbers; unless they are of the "
            f"published test split, leave them out with --above={simulation.LAST_FILE}"
        )
