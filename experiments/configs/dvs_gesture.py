"""Default run on DVS Gesture: a convolutional network on 32x32 pixels, minutes on two cores.

python -m experiments.dvs_gesture --config.rho=0.4
"""

from ml_collections import ConfigDict

from sast_jax.runs import settings


def get_config() -> ConfigDict:
    config = settings.config("dvs_gesture")
    config.epochs = 25
    config.batch_size = 32
    config.learning_rate = 4e-3
    config.readout = "current"
    config.readout_scale = 1.0
    config.network.channels = (16, 32)
    config.network.hidden = (64,)
    config.network.gain = 2.0
    return config
