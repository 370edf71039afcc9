"""Compares simulated recordings with the real ones of the same digits: counts, polarity, time.

    python -m experiments.likeness --data_path=FOLDER

FOLDER holds raw N-MNIST recordings; the train split's files up to 1000 are used, and the digits
they show are simulated. Prints the constants of ``sast_jax/data/simulated/likeness.py`` and the
comparison.
"""

import jax
import numpy as np
from absl import flags

from experiments import cli
from sast_jax import files
from sast_jax.data import packing, recordings, sets
from sast_jax.data.layouts import nmnist_archives
from sast_jax.data.simulated import digits, likeness
from sast_jax.errors import InputError

_DATA_PATH = flags.DEFINE_string("data_path", sets.NMNIST.path, "folder with raw recordings")
_BINS = 31  # of 10 ms


def main() -> None:
    folder = files.place(_DATA_PATH.value)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name one with raw recordings of N-MNIST")
    split = nmnist_archives.find_split(folder, "train")
    numbers_N = np.empty(0) if split is None or split.numbers_N is None else split.numbers_N
    chosen = np.flatnonzero((numbers_N > 0) & (numbers_N <= 1000))
    if split is None or len(chosen) != 1000:
        raise InputError(f"{folder}: training recordings 1 to 1000 are not all there")

    def frames(data):
        return packing.pack(data, time_bins=_BINS, duration=recordings.DURATION)

    real = frames(nmnist_archives.select(split, chosen))
    described = likeness.describe(real)
    print(f"{len(chosen)} real recordings from {folder}")
    print(f"REAL_EVENTS = ({described['events']:.1f}, {described['events_std']:.1f})")
    print(f"REAL_FALLING = {described['falling']:.4f}")
    print("REAL_PROFILE_31x2 =", np.round(real.profile_TxC, 1).tolist())
    labels, numbers = split.labels_N[chosen], numbers_N[chosen]
    images = digits.digits_of_files(labels, numbers)
    simulated = digits.record(jax.random.key(0), images, labels, numbers)
    print(likeness.compare(likeness.describe(frames(simulated)), described))


if __name__ == "__main__":
    cli.run(main)
