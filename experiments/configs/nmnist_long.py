"""The default recipe with a wider network, more epochs and deformed training recordings.

python -m experiments.nmnist --config=experiments/configs/nmnist_long.py
"""

from ml_collections import ConfigDict

from experiments.configs import nmnist


def get_config() -> ConfigDict:
    config = nmnist.get_config()
    config.epochs = 60
    config.network.hidden = (512, 256)
    config.data.time_bins = 6
    config.data.rotation = 10.0
    config.data.zoom = 0.1
    return config
