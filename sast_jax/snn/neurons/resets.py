"""What a spike leaves of the membrane potential."""

import dataclasses

import jax

from sast_jax.errors import InputError
from sast_jax.fields import instance
from sast_jax.snn.neurons.base import Neuron


@dataclasses.dataclass(frozen=True)
class Reset:
    """What a spike leaves of the potential. Equal by value.

    A reset of your own overrides :meth:`after`. Integer networks, NIR and the theory know only the
    two resets of this module and refuse any other by name.
    """

    def after(self, u: jax.Array, s: jax.Array, threshold: jax.typing.ArrayLike) -> jax.Array:
        """The potential u after a spike s, in floating point or in integers."""
        raise NotImplementedError(f"{type(self).__name__} defines no after")

    def left(
        self,
        decay: jax.Array | float,
        u: jax.Array,
        s: jax.Array,
        threshold: jax.typing.ArrayLike,
    ) -> jax.Array:
        """What is left of the potential one step later."""
        return decay * self.after(u, s, threshold)

    @property
    def subtracts(self) -> bool:
        """Whether a spike subtracts a threshold, or resets to zero; InputError for other resets."""
        raise InputError(f"the reset {type(self).__name__} is neither ToZero nor BySubtraction")


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

    def __post_init__(self):
        super().__post_init__()
        instance(Reset, reset=self.reset)

    def require_zero_reset(self) -> None:
        """Raises InputError for a reset that NIR cannot say."""
        if self.reset != ToZero():
            raise self._refusal(f"no node in NIR with the reset {type(self.reset).__name__}")
