"""Two convolutional layers of stride 2, for the highest hard accuracy in minutes.

    python -m experiments.nmnist --config=experiments/configs/nmnist_conv.py

The scores are the output layer's mean current: with ten spiking outputs directly behind the maps,
some outputs fall silent in training and never come back.
"""

from ml_collections import ConfigDict

from experiments.configs import nmnist_sast


def get_config() -> ConfigDict:
    config = nmnist_sast.get_config()
    config.epochs = 40
    config.learning_rate = 4e-3
    config.readout = "current"
    config.readout_scale = 1.0
    config.network.channels = (16, 48)
    config.network.hidden = ()
    config.network.gain = 3.0
    return config
