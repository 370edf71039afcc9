"""Hard networks as StableHLO, for everything that runs XLA programs."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import export as jax_export

from sast_jax.snn import connections
from sast_jax.snn.connections import Connection
from sast_jax.training.trained import Trained

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def export(trained: Trained, network: Sequence[Connection], time_bins: int) -> bytes:
    """One hard network with its weights, serialized by :mod:`jax.export`.

    ``jax.export.deserialize(data).call(frames)`` takes frames (B, T, H, W, C) of any batch size, in
    float32 and 0 or 1, and returns class scores (B, K) and the spikes of the output layer
    (B, T, K). ``jax.export.deserialize(data).mlir_module()`` is the StableHLO text.

    Args:
      trained: one run.
      network: its connections, which may be rounded.
      time_bins: T.
    """
    trained.require_single()
    answer = answer_of(trained, network)
    (batch,) = jax_export.symbolic_shape("b")
    frames = jax.ShapeDtypeStruct((batch, time_bins, *trained.model.known_shape), jnp.float32)
    exported = jax_export.export(jax.jit(answer), platforms=PLATFORMS)(frames)
    return bytes(exported.serialize())


def answer_of(
    trained: Trained, network: Sequence[Connection]
) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
    """What one hard network answers: frames (B, T, H, W, C) -> scores (B, K), spikes (B, T, K)."""

    def answer(frames_BxTxHxWxC):
        frames = jnp.moveaxis(frames_BxTxHxWxC, 1, 0)
        response = connections.respond(network, connections.hard(trained.layers()), frames)
        return trained.model.readout(response), jnp.moveaxis(response.spikes[-1], 0, 1)

    return answer
