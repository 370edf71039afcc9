"""Hard networks as NIR graphs, the exchange format of neuromorphic software.

Each neuron makes its own node (:meth:`sast_jax.snn.neurons.Neuron.nir`). The only other nodes are
Affine and Conv2d. There is no Flatten, on which consumers disagree: an MLP takes a vector, and a
full connection after convolutions is a convolution of the whole map. Inputs are channels first,
(C, H, W), in the vector too. What NIR has no place for becomes metadata of the graph.
:mod:`sast_jax.hardware.graphs` reads graphs, these and those of others.

Reference: Pedersen et al., Neuromorphic intermediate representation: A unified instruction set for
interoperable brain-inspired computing, Nature Communications 15:8122, 2024.
"""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sast_jax.errors import InputError, needed
from sast_jax.snn.connections import Connection, Full, Halving
from sast_jax.snn.neurons import Neuron
from sast_jax.training.trained import Trained

if TYPE_CHECKING:
    from nir import NIRGraph

nir: Any = needed("nir", "export")

PRODUCER = "sast_jax"


class HardNetwork(NamedTuple):
    """A network of hard neurons.

    Attributes:
      connections: from input to output.
      neuron, decay: of all layers.
      frame_shape: (H, W, C) of the input.
    """

    connections: Sequence[Connection]
    neuron: Neuron
    decay: float
    frame_shape: tuple[int, int, int]

    @classmethod
    def of(cls, trained: Trained, connections: Sequence[Connection] | None = None) -> "HardNetwork":
        """One run's network with a threshold for its smooth spike.

        Args:
          trained: the run.
          connections: in place of its own, such as rounded ones.
        """
        trained.require_single()
        model, decay = trained.model, float(trained.hyper.decay)
        own = trained.connections() if connections is None else connections
        return cls(own, model.neuron, decay, model.known_shape)


def to_graph(
    network: HardNetwork,
    *,
    parameterisation: str = "A",
    dt: float = 1e-4,
    scales: Sequence[np.ndarray] | None = None,
    metadata: dict | None = None,
) -> "NIRGraph":
    """The graph of a network.

    Args:
      network: to export.
      parameterisation: "A" or "B"; see :meth:`sast_jax.snn.neurons.Neuron.nir`. For LIF neurons
        snnTorch and SpikingJelly read both, Norse only B.
      dt: seconds of a step in the graph. Only its ratio to tau counts; snnTorch assumes 1e-4.
      scales: (outputs,) of each connection, if its weights are integers times these. They become
        metadata of its node, divided as the weights are.
      metadata: more metadata for the graph: strings, numbers, arrays.

    Raises:
      InputError: NIR cannot express the network.
    """
    H, W, C = network.frame_shape
    for connection in network.connections:
        if not isinstance(connection, Full | Halving):
            kind = type(connection).__name__
            raise InputError(
                f"the connection {kind} has no node in NIR; export as StableHLO or ONNX"
            )
    convolutional = isinstance(network.connections[0], Halving)
    if convolutional and H != W:
        raise InputError(
            f"frames of {H} x {W} pixels: NIR takes kernels and maps to be square; train on square "
            "frames (--config.data.sensor=S,S with the longer side of your sensor), or export as "
            "StableHLO or ONNX"
        )
    neuron, decay = network.neuron, network.decay
    _, divisor = neuron.nir(decay, dt, (1,), parameterisation)
    shape: tuple[int, ...] = (C, H, W) if convolutional else (H * W * C,)
    nodes = {"input": nir.Input(input_type={"input": np.array(shape)})}
    for number, connection in enumerate(network.connections):
        weight_OxI, stride = _channels_first(connection.kernel, network.frame_shape, shape, number)
        weight = np.ascontiguousarray(weight_OxI / np.float32(divisor))
        bias = np.asarray(connection.bias, np.float32) / np.float32(divisor)
        about = {} if scales is None else {"scale": np.asarray(scales[number]) / divisor}
        if convolutional:
            border = weight.shape[-1] // 2 if stride == 2 else 0
            node = nir.Conv2d(shape[1:], weight, stride, border, 1, 1, bias, metadata=about)
            shape = tuple(int(n) for n in node.output_type["output"])
        else:
            node = nir.Affine(weight, bias, metadata=about)
            shape = bias.shape
        nodes[f"connection_{number + 1}"] = node
        nodes[f"neurons_{number + 1}"], _ = neuron.nir(decay, dt, shape, parameterisation)
    nodes["output"] = nir.Output(output_type={"output": np.array(shape)})
    general = {
        "producer": PRODUCER,
        "dt": dt,
        "reset": "zero",
        "parameterisation": parameterisation,
        "input_order": "CHW",
        "frame_shape": np.array(network.frame_shape),
    }
    return nir.NIRGraph(nodes, list(itertools.pairwise(nodes)), metadata=general | (metadata or {}))


def _channels_first(kernel, frame_shape, map_shape, number) -> tuple[np.ndarray, int]:
    """A kernel with outputs and then inputs first, (O, C, ...) or (O, I), and its stride."""
    # Maps are flattened as (H, W, C) here and as (C, H, W) in NIR, so the rows of a kernel that
    # takes a map change places.
    H, W, C = frame_shape
    kernel = np.asarray(kernel, np.float32)
    if kernel.ndim == 4:
        return kernel.transpose(3, 2, 0, 1), 2
    if len(map_shape) == 3:  # a full connection of the whole map, or of 1 x 1
        return kernel.reshape(*map_shape[1:], map_shape[0], -1).transpose(3, 2, 0, 1), 1
    if number == 0:
        return kernel.reshape(H, W, C, -1).transpose(3, 2, 0, 1).reshape(-1, H * W * C), 1
    return kernel.T, 1
