"""The leaky integrate-and-fire (LIF) neuron.

    u_t = decay * u_{t-1} * (1 - s_{t-1}) + I_t          reset to zero, gated by the last spike
    u_t = decay * (u_{t-1} - threshold * s_{t-1}) + I_t  reset by subtraction
    s_t = spike(u_t - threshold)

with u_0 = 0 and s_0 = 0.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.errors import InputError
from sast_jax.snn import spikes
from sast_jax.snn.neurons import Cell, Neuron


class State(NamedTuple):
    """Membrane potential and last spike of a layer, both of the layer's shape."""

    potential: jax.Array
    spike: jax.Array


@dataclasses.dataclass(frozen=True)
class Reset:
    """What a spike leaves of the potential. Equal by value.

    A reset of your own overrides :meth:`after`. Integer networks, NIR and the theory know only the
    two resets of this module and refuse any other by name.
    """

    def after(self, u: jax.Array, s: jax.Array, threshold: jax.typing.ArrayLike) -> jax.Array:
        """The potential u after a spike s, in floating point or in integers."""
        raise NotImplementedError

    def left(
        self,
        decay: jax.typing.ArrayLike,
        u: jax.Array,
        s: jax.Array,
        threshold: jax.typing.ArrayLike,
    ) -> jax.Array:
        """What is left of the potential one step later."""
        return decay * self.after(u, s, threshold)

    @property
    def subtracts(self) -> bool:
        """Whether a spike subtracts a threshold, or resets to zero; InputError for other resets."""
        raise InputError(f"the reset {type(self).__name__} is none of ToZero and BySubtraction")


@dataclasses.dataclass(frozen=True)
class ToZero(Reset):
    """The potential is gated to zero by the last spike."""

    subtracts = False

    def after(self, u, s, threshold):
        return u * (1 - s)

    def left(self, decay, u, s, threshold):
        # Multiplied from left to right, like the equation. decay * after(...) rounds otherwise, and
        # training would not repeat the last bits of earlier runs.
        return decay * u * (1 - s)


@dataclasses.dataclass(frozen=True)
class BySubtraction(Reset):
    """The potential loses one threshold for each spike."""

    subtracts = True

    def after(self, u, s, threshold):
        return u - threshold * s


RESETS = {"zero": ToZero(), "subtract": BySubtraction()}


@dataclasses.dataclass(frozen=True)
class Resetting(Neuron):
    """A neuron whose potential a spike resets.

    Attributes:
      threshold, spike: as of every neuron.
      reset: what a spike leaves of the potential.
    """

    reset: Reset = ToZero()

    def require_zero_reset(self) -> None:
        """Raises InputError for a reset that NIR cannot say."""
        if self.reset != ToZero():
            raise self._refusal(f"no node in NIR with the reset {type(self.reset).__name__}")


@dataclasses.dataclass(frozen=True)
class LIF(Resetting):
    """The leaky integrate-and-fire neuron of the module docstring.

    Attributes:
      threshold, spike, reset: as of every neuron that resets.
    """

    def rest(self, like: jax.Array) -> State:
        zeros = jnp.zeros_like(like)
        return State(zeros, zeros)

    def step(self, state, current, decay, spike):
        potential = self.reset.left(decay, state.potential, state.spike, self.threshold) + current
        spikes_ = spike(potential - self.threshold)
        return State(potential, spikes_), spikes_

    def integer(self, chip: Any, decay: float) -> Any:
        if self.reset not in RESETS.values():
            raise self._refusal(f"no integer form with the reset {type(self.reset).__name__}")
        return chip.lif(decay, self.reset)

    def nir(self, decay, dt, shape, parameterisation):
        """The node LIF: tau dv/dt = (v_leak - v) + r I, a spike above v_threshold, then v_reset.

        In steps of dt, with tau = dt / (1 - decay) and v_leak = v_reset = 0, that is
        v = decay v + (1 - decay) r I. A: r = tau / dt, weights as they are. B: r = 1, weights and
        biases divided by 1 - decay.
        """
        self.require_zero_reset()
        import nir

        # NIR's neuron gains 1 - decay from its input in a step, and the one here gains all of it.
        leak = leak_of_nir(decay)
        gain, divisor = {"A": (1 / leak, 1.0), "B": (1.0, leak)}[parameterisation]
        node = nir.LIF(
            tau=np.full(shape, dt / leak),
            r=np.full(shape, gain),
            v_leak=np.zeros(shape),
            v_reset=np.zeros(shape),
            v_threshold=np.full(shape, float(self.threshold)),
        )
        return node, divisor

    @classmethod
    def from_nir(cls, node, dt):
        import nir

        if not isinstance(node, nir.LIF):
            raise TypeError("not a node LIF")
        require_zeros(node)
        tau, resistance, threshold = uniform(node, ("tau", "r", "v_threshold"))
        leak = dt / tau
        require_leaks(leak)
        return cls(threshold), 1 - leak, resistance * leak

    def theory(self, decay, slope) -> "Smooth":
        if self.reset not in RESETS.values():
            raise self._refusal(f"no bounds in the theory with {type(self.reset).__name__}")
        return Smooth(self.reset, self.spike, slope, decay, self.threshold)


def leak_of_nir(decay: float) -> float:
    """1 - decay; raises InputError where it has no time constant."""
    if not 0 <= decay < 1:
        raise InputError(
            f"a decay of {decay:g} has no time constant in NIR; train with one below 1"
        )
    return 1 - decay


def require_zeros(node: Any) -> None:
    """Raises ValueError unless a node of NIR leaks and resets to zero."""
    if node.v_leak.any() or node.v_reset.any():
        raise ValueError("do not leak and reset to zero")


def uniform(node: Any, names: Sequence[str]) -> list[float]:
    """The values that all neurons of a NIR node share; ValueError where neurons differ."""
    values = [np.unique(getattr(node, name)) for name in names]
    if any(len(x) > 1 for x in values):
        raise ValueError("differ from each other")
    if not np.isfinite(values).all():
        raise ValueError("have numbers that are not finite")
    return [float(x[0]) for x in values]


def require_leaks(*leaks: float) -> None:
    """Raises ValueError unless leaks of a step are above 0 and at most 1."""
    if not all(0 < leak <= 1 for leak in leaks):
        raise ValueError("have no decay from 0 to 1")


class Smooth(NamedTuple):
    """A smooth LIF neuron, or all neurons of a network, in the form that the theory bounds.

    Attributes:
      reset: to zero or by subtraction.
      spike: the family of the smooth spike.
      slope, decay, threshold: of the neuron.
    """

    reset: Reset
    spike: spikes.Family
    slope: float
    decay: float
    threshold: float

    def cell(self) -> Cell:
        """The cell of this neuron."""
        return LIF(self.threshold, self.spike, self.reset).smooth(self.decay, self.slope)

    @property
    def subtracts(self) -> bool:
        """Whether a spike subtracts a threshold, or resets to zero."""
        return self.reset.subtracts

    @property
    def steepest(self) -> float:
        """The largest derivative of its spike."""
        return self.spike.shape.first * self.slope
