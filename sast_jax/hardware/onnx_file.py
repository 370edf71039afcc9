"""Hard networks as ONNX, by the package jax2onnx: a loop over time, opset 23."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

from sast_jax.errors import needed
from sast_jax.hardware import stablehlo
from sast_jax.snn.connections import Connection
from sast_jax.training.trained import Trained

OPSET = 23


def export(trained: Trained, network: Sequence[Connection], time_bins: int) -> bytes:
    """One hard network with its weights, as a file that onnxruntime reads.

    Its input and its outputs are those of :func:`sast_jax.hardware.stablehlo.export`.

    Args:
      trained: one run.
      network: its connections, which may be rounded.
      time_bins: T.
    """
    trained.require_single()
    jax2onnx: Any = needed("jax2onnx", "onnx")
    shape = ("B", time_bins, *trained.model.known_shape)
    answer = stablehlo.answer_of(trained, network)
    with contextlib.redirect_stdout(io.StringIO()):
        model = jax2onnx.to_onnx(
            answer,
            [shape],
            model_name="hard_network",
            opset=OPSET,
            input_names=["frames"],
            output_names=["scores", "spikes"],
        )
    return model.SerializeToString()
