"""The neurons that a command line can name: one line each."""

from sast_jax.adaptive import Adaptive
from sast_jax.lif import LIF
from sast_jax.synaptic import Synaptic

NEURONS = {
    "lif": LIF,
    "synaptic": Synaptic,
    "adaptive": Adaptive,
}
