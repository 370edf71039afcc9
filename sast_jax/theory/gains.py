"""Gains of Jacobians: how much a smooth network stretches small differences of its input."""

import jax
import jax.numpy as jnp

from sast_jax.data import packing
from sast_jax.snn import neurons
from sast_jax.snn.connections import Connection
from sast_jax.training.trained import Trained

_ITERATIONS = 10


@jax.jit
def of_layers(trained: Trained, packed_BxTxP: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
    """Gains of each layer, from its input spikes to its own, in l2 and l-infinity: (B,) each.

    They are found by power iteration. Each is attained by some difference, so the largest gain is
    at least as large.
    """
    cell, found = trained.soft_cell(), []
    sent = trained.model.unpack(packed_BxTxP)
    for connection in trained.connections():

        def layer(spikes, connection=connection):
            return neurons.integrate(cell, connection.sums(spikes))[1]

        found.append(_gains(layer, sent))
        sent = layer(sent)
    return found


def of_weights(connection: Connection, input_shape: tuple[int, ...]) -> float:
    """An l2 gain of the connection alone, attained by some input of this shape."""
    linear = connection.replace(bias=jnp.zeros_like(connection.bias))
    x = jnp.zeros((1, 1, *input_shape))
    return float(_largest_l2(linear.sums, x, 50)[0])


def _gains(layer, x_TxBxS):
    """The two gains of a map's Jacobian at x, for each recording."""
    _, forward = jax.linearize(layer, x_TxBxS)
    transposed = jax.linear_transpose(forward, x_TxBxS)

    def step(signs, _):
        """The signs that most move the output that these signs move most, and how far."""
        # The l-infinity gain is the largest l1 norm of a row of the Jacobian. Where several outputs
        # tie, their mean row is taken; its norm is no larger than the largest.
        moved = jnp.abs(forward(signs))
        first = (moved == moved.max(axis=_own(moved), keepdims=True)).astype(moved.dtype)
        row = transposed(first / first.sum(axis=_own(moved), keepdims=True))[0]
        return jnp.where(row < 0, -1.0, 1.0), jnp.abs(row).sum(axis=_own(row))

    _, linf_SxB = jax.lax.scan(step, jnp.ones_like(x_TxBxS), length=_ITERATIONS)
    return _largest_l2(layer, x_TxBxS, _ITERATIONS), linf_SxB.max(axis=0)


def _largest_l2(layer, x_TxBxS, iterations):
    """By power iteration from a random start, for each recording."""
    _, forward = jax.linearize(layer, x_TxBxS)
    transposed = jax.linear_transpose(forward, x_TxBxS)

    def norm(x):
        return jnp.sqrt((x**2).sum(axis=_own(x), keepdims=True))

    def step(v, _):
        v = transposed(forward(v))[0]
        return v / jnp.maximum(norm(v), jnp.finfo(v.dtype).tiny), None

    v = jax.random.normal(jax.random.key(0), x_TxBxS.shape, x_TxBxS.dtype)
    v, _ = jax.lax.scan(step, v / norm(v), length=iterations)
    return norm(forward(v)).ravel()


def _own(x_TxBxS) -> tuple[int, ...]:
    """The axes of a recording."""
    return 0, *range(2, x_TxBxS.ndim)


@jax.jit
def of_scores(
    trained: Trained, packed_BxTxP: jax.Array, labels_B: jax.Array
) -> tuple[jax.Array, ...]:
    """Gains from frames to scores in l2 and l-infinity, and the loss gradient's l2 and l1 norms.

    Each is (B,). They are computed from whole Jacobians, so they are exact.
    """
    cell, model = trained.soft_cell(), trained.model

    def scores(frames):
        return model.readout(trained.respond(cell, frames[:, None]))[0]

    def one(recording):
        packed_TxP, label = recording
        frames = packing.unpack(packed_TxP, model.known_shape).astype(jnp.float32)
        z_K, pullback = jax.vjp(scores, frames)
        rows = jax.vmap(lambda e: pullback(e)[0].ravel())(jnp.eye(len(z_K)))
        # K x K instead of inputs x inputs, with the same largest eigenvalue.
        l2 = jnp.sqrt(jnp.linalg.eigvalsh(rows @ rows.T)[-1])
        loss = (jax.nn.softmax(z_K) - jax.nn.one_hot(label, len(z_K))) @ rows
        return l2, jnp.abs(rows).sum(-1).max(), jnp.linalg.norm(loss), jnp.abs(loss).sum()

    return jax.lax.map(one, (packed_BxTxP, labels_B))
