"""The response of a network, and how class scores are read from it."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sast_jax.fields import Checked, number


class Response(NamedTuple):
    """Response of a network: of each layer the spikes and currents (T, B, ...), the end states."""

    spikes: tuple[jax.Array, ...]
    currents: tuple[jax.Array, ...]
    states: tuple[Any, ...]

    @property
    def current_TxBxK(self) -> jax.Array:
        """The input current of the last layer."""
        return self.currents[-1]


@dataclasses.dataclass(frozen=True)
class Readout(Checked):
    """Reads class scores: a factor times the time-mean of some evidence. Equal by value.

    Attributes:
      scale: the factor.
    """

    scale: float = number(10.0, 0, math.inf, "factor on the class scores", above=True)

    def evidence(self, response: Response) -> jax.Array:
        """What is averaged over time for each class, (T, B, K)."""
        raise NotImplementedError(f"{type(self).__name__} defines no evidence")

    def __call__(self, response: Response) -> jax.Array:
        """Class scores (B, K)."""
        return self.scale * self.evidence(response).mean(axis=0)

    def after_each_step(self, response: Response) -> jax.Array:
        """Class scores (T, B, K) if the recording had ended after each step."""
        # Integer networks spike in int8, in which a running sum would overflow.
        evidence_TxBxK = self.evidence(response).astype(jnp.float32)
        steps_T = jnp.arange(1.0, len(evidence_TxBxK) + 1)
        return self.scale * jnp.cumsum(evidence_TxBxK, axis=0) / steps_T[:, None, None]


@dataclasses.dataclass(frozen=True)
class MeanSpikes(Readout):
    """Reads the time-mean of the output layer's spikes times ``scale``."""

    def evidence(self, response):
        return response.spikes[-1]


@dataclasses.dataclass(frozen=True)
class MeanCurrent(Readout):
    """Reads the time-mean of the output layer's input current times ``scale``."""

    def evidence(self, response):
        return response.current_TxBxK


READOUTS = {"spikes": MeanSpikes, "current": MeanCurrent}


def firing_rates(response: Response) -> jax.Array:
    """Mean spike of each layer over steps and neurons, per recording: (B, layers)."""
    return jnp.stack([s.mean(axis=(0, *range(2, s.ndim))) for s in response.spikes], axis=-1)
