"""Thresholds that follow the number of events: a cure for recordings that have lost some."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data import packing, sparse
from sast_jax.fields import Checked, number

_LEAST = 0.05  # of a threshold, however few events there are


@dataclasses.dataclass(frozen=True)
class Following(Checked):
    r"""The first layer's threshold for a recording of n events:

    .. math:: \theta \min(1, n / n_0)^a

    A chip that counts the events of a recording, or of a window, can set it before it answers.
    Recordings with more events than :math:`n_0` keep the threshold: a higher one costs accuracy
    where events are added.

    Attributes:
      exponent: a.
      reference: n_0, ones of a recording's frames.
    """

    exponent: float = number(0.5, 0, math.inf, "exponent")
    reference: float = number(1.0, 0, math.inf, "ones of a recording's frames", above=True)

    @classmethod
    def of(cls, exponent: float, train: packing.Frames) -> "Following":
        """With the mean of the recordings that a network was trained on."""
        return cls(exponent, float(np.mean(sparse.fired(train.packed_NxTxP))))

    def factor(self, frames_TxBxHxWxC: jax.Array) -> jax.Array:
        """The factor on the threshold for each recording, (B,)."""
        axes = (0, *range(2, frames_TxBxHxWxC.ndim))
        share_B = frames_TxBxHxWxC.sum(axis=axes, dtype=jnp.float32) / self.reference
        return jnp.maximum(jnp.minimum(share_B, 1.0) ** self.exponent, _LEAST)
