"""Default run on the Spiking Heidelberg Digits: a hidden layer of synaptic neurons, minutes.

python -m experiments.shd --config.rho=0.4

From the tutorial of the data set's authors (SpyTorch, Tutorial 4): 100 bins over 1.4 s, 200 hidden
neurons, time constants of 10 ms for the membrane and 5 ms for the synapse at steps of 1 ms, reset
by subtraction, batches of 256. Theirs is recurrent, on all 700 channels and for 200 epochs. Our
choice: the channels merged to 140, no recurrence, Adam, its learning rate, the number of epochs
and the readout.
"""

import math

from ml_collections import ConfigDict

from sast_jax.runs import settings


def get_config() -> ConfigDict:
    config = settings.config("shd")
    config.epochs = 30
    config.batch_size = 256
    config.learning_rate = 5e-3
    config.readout = "current"
    config.readout_scale = 1.0
    config.lif.neuron = "synaptic"
    config.lif.decay = math.exp(-1 / 10)
    config.lif.synapse_decay = math.exp(-1 / 5)
    config.network.hidden = (200,)
    return config
