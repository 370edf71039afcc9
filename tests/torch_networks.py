"""Exported networks in torch, for comparison."""

import contextlib
import io

import nir
import norse.torch
import numpy as np
import snntorch
import torch
from snntorch import import_nir
from spikingjelly.activation_based import nir_exchange

from sast_jax.hardware import nir_graph
from sast_jax.snn import connections

STEP = 1e-4
IMPORTERS = {
    "snnTorch": import_nir.import_from_nir,
    "SpikingJelly": lambda graph: nir_exchange.import_from_nir(graph, dt=STEP),
    "Norse": lambda graph: norse.torch.from_nir(graph, dt=STEP, ignore_warnings=True),
}


def load(consumer: str, path) -> torch.nn.Module:
    """The module that a consumer makes of a NIR file."""
    with contextlib.redirect_stdout(io.StringIO()):
        return IMPORTERS[consumer](nir.read(path))


def write(path, run, parameterisation: str, **more) -> nir_graph.HardNetwork:
    """Exports a network of :mod:`small_runs`."""
    model = run.trained.model
    hard = nir_graph.HardNetwork(
        run.network, model.neuron, float(run.trained.hyper.decay), model.frame_shape
    )
    nir.write(path, nir_graph.to_graph(hard, parameterisation=parameterisation, dt=STEP, **more))
    return hard


def channels_first(run, frames_TxBxHxWxC: np.ndarray) -> torch.Tensor:
    """Frames as the exported network takes them: maps or, for an MLP, vectors."""
    frames = frames_TxBxHxWxC.transpose(0, 1, 4, 2, 3).astype(np.float32)
    if isinstance(run.network[0], connections.Full):
        frames = frames.reshape(*frames.shape[:2], -1)
    return torch.from_numpy(frames)


def respond(module: torch.nn.Module, frames_TxBxS: torch.Tensor) -> np.ndarray:
    """Spikes of the output layer, (T, B, K)."""
    for part in module.modules():
        if isinstance(part, snntorch.Leaky | snntorch.Synaptic):  # which go on from their last call
            part.reset_mem()
    state, spikes = None, []
    with torch.no_grad():
        for frames_BxS in frames_TxBxS:
            found, state = module(frames_BxS, state)
            spikes.append(found.reshape(len(frames_BxS), -1).numpy())
    return np.stack(spikes)
