"""Gradient norms of single recordings: how the smooth loss depends on weights and input."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from sast_jax.data import packing
from sast_jax.training.trained import Trained

_BATCH = 8  # recordings at once, as each has a gradient of the size of the weights


class Norms(NamedTuple):
    """The l2 norms of each recording's two gradients of its loss."""

    parameters_N: jax.Array
    input_N: jax.Array


@jax.jit
def gradient_norms(trained: Trained, packed_NxTxP: jax.Array, labels_N: jax.Array) -> Norms:
    """Per-sample gradient norms of one run's network with its smooth spike.

    Args:
      trained: one run.
      packed_NxTxP, labels_N: recordings; see :class:`sast_jax.data.packing.Frames`.
    """
    cell, model = trained.soft_cell(), trained.model

    def loss(params, frames_TxHxWxC, label):
        scores = model.readout(model.respond(params, cell, frames_TxHxWxC[:, None]))
        return optax.softmax_cross_entropy_with_integer_labels(scores[0], label)

    def one(recording):
        packed_TxP, label = recording
        frames = packing.unpack(packed_TxP, model.known_shape).astype(jnp.float32)
        gradients = jax.grad(loss, argnums=(0, 1))(trained.params, frames, label)
        return Norms(*(optax.tree.norm(gradient) for gradient in gradients))

    return jax.lax.map(one, (packed_NxTxP, labels_N), batch_size=_BATCH)
