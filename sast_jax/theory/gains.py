"""How much smooth networks stretch small differences at given recordings: gains of Jacobians."""

import jax
import jax.numpy as jnp

from sast_jax.data import packing
from sast_jax.snn import neurons
from sast_jax.snn.connections import Connection
from sast_jax.training.trained import Trained

_ITERATIONS = 10


@jax.jit
def of_layers(trained: Trained, packed_BxTxP: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
    """Of each layer: gains from its input spikes to its own in l2 and l-infinity, (B,) each.

    They are attained, by the power iteration of the two norms; the largest may be missed.
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
    """A gain of the connection alone in l2, attained by an input of this shape."""
    linear = connection.replace(bias=jnp.zeros_like(connection.bias))
    x = jnp.zeros((1, 1, *input_shape))
    return float(_largest_l2(linear.sums, x, 50)[0])


def _gains(layer, x_TxBxS):
    """The two gains of a map's Jacobian at x, for each recording."""
    _, forward = jax.linearize(layer, x_TxBxS)
    transposed = jax.linear_transpose(forward, x_TxBxS)

    def step(signs, _):
        """The row of the output that these signs move most, and the signs that move it most."""
        moved = jnp.abs(forward(signs))
        first = moved == moved.max(axis=_own(moved), keepdims=True)
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
    """From the frames: gains of the scores in l2 and l-infinity, l2 and l1 gradient norms.

    Each (B,), of whole Jacobians.
    """
    cell, model = trained.soft_cell(), trained.model

    def scores(frames):
        return model.readout(trained.respond(cell, frames[:, None]))[0]

    def one(recording):
        packed_TxP, label = recording
        frames = packing.unpack(packed_TxP, model.frame_shape).astype(jnp.float32)
        z_K, pullback = jax.vjp(scores, frames)
        rows = jax.vmap(lambda e: pullback(e)[0].ravel())(jnp.eye(len(z_K)))
        l2 = jnp.sqrt(jnp.linalg.eigvalsh(rows @ rows.T)[-1])
        loss = (jax.nn.softmax(z_K) - jax.nn.one_hot(label, len(z_K))) @ rows
        return l2, jnp.abs(rows).sum(-1).max(), jnp.linalg.norm(loss), jnp.abs(loss).sum()

    return jax.lax.map(one, (packed_BxTxP, labels_B))
