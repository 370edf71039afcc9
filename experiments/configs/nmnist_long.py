"""``nmnist_sast.py`` with a wider network and more epochs.

python -m experiments.nmnist --config=experiments/configs/nmnist_long.py
"""

from ml_collections import ConfigDict

from experiments.configs import nmnist_sast


def get_config() -> ConfigDict:
    config = nmnist_sast.get_config()
    config.epochs = 60
    config.network.hidden = (512, 256)
    return config
