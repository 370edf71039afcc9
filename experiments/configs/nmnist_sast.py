"""Sharpness-aware surrogate training: ``nmnist_robust.py`` with SAM, its ascent on an eighth.

python -m experiments.nmnist --config=experiments/configs/nmnist_sast.py
"""

from ml_collections import ConfigDict

from experiments.configs import nmnist_robust


def get_config() -> ConfigDict:
    config = nmnist_robust.get_config()
    config.rho = 0.4
    return config
