"""Default run on DVS Gesture: a convolutional network on 32x32 pixels, minutes on two cores.

python -m experiments.dvs_gesture --config.rho=0.4
"""

from ml_collections import ConfigDict

from experiments.configs import nmnist


def get_config() -> ConfigDict:
    config = nmnist.get_config()
    config.rho = 0.4
    config.epochs = 25
    config.batch_size = 32
    config.learning_rate = 4e-3
    config.readout = "current"
    config.readout_scale = 1.0
    config.network.channels = (16, 32)
    config.network.hidden = (64,)
    config.network.gain = 2.0
    config.data.path = "data/dvs_gesture"  # holds what experiments.download puts there, or IBM's
    config.data.time_bins = 16
    config.data.bins = "time"  # equal bins of "time", or of as many "events" each
    config.data.window = 1000  # milliseconds that a recording is cut to; 0: the whole, stretched
    config.data.windows = 2  # of a recording, evenly spread; they answer together
    config.data.side = 32  # pixels of a row and a column that the sensor's 128 become
    config.data.least = 2  # events that make such a pixel 1
    config.data.shift = 1
    config.data.rotation = 0.0
    config.data.zoom = 0.0
    return config
