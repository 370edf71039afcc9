"""The neurons that ``config.lif.neuron`` can name, one line each."""

from sast_jax.snn.adaptive import Adaptive
from sast_jax.snn.lif import LIF
from sast_jax.snn.synaptic import Synaptic

NEURONS = {
    "lif": LIF,
    "synaptic": Synaptic,
    "adaptive": Adaptive,
}
