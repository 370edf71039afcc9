"""What ``config.data`` asks for, as recordings."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from sast_jax.data import sources


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
