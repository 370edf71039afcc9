"""Spiking neurons. A kind that ``config.lif.neuron`` can name has a line in :data:`NEURONS`."""

from sast_jax.snn.neurons.adaptive import Adaptive
from sast_jax.snn.neurons.base import Cell, Neuron, Stochastic, integrate, potentials
from sast_jax.snn.neurons.lif import LIF, Smooth
from sast_jax.snn.neurons.resets import RESETS, BySubtraction, Reset, Resetting, ToZero
from sast_jax.snn.neurons.synaptic import Synaptic

__all__ = [
    "LIF",
    "NEURONS",
    "RESETS",
    "Adaptive",
    "BySubtraction",
    "Cell",
    "Neuron",
    "Reset",
    "Resetting",
    "Smooth",
    "Stochastic",
    "Synaptic",
    "ToZero",
    "integrate",
    "potentials",
]

NEURONS = {
    "lif": LIF,
    "synaptic": Synaptic,
    "adaptive": Adaptive,
}
