"""Networks of other programs with random weights: their own NIR graphs, and their own spikes."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import nir
import norse.torch
import numpy as np
import snntorch as snn
import torch
from norse.torch.module.iaf import IAFCell
from norse.torch.module.leaky_integrator_box import LIBoxCell
from norse.torch.module.lif import LIFCell
from norse.torch.module.lif_box import LIFBoxCell
from snntorch.export_nir import export_to_nir
from spikingjelly.activation_based import functional, layer, neuron, nir_exchange
from torch import nn

SIZE = (2, 34, 34)
FLAT = 2 * 34 * 34


class Written(NamedTuple):
    """A network of another program.

    Attributes:
      source: name of the program in ``DIALECTS``.
      graph: as it exports the network.
      run: frames (T, B, C, H, W) -> what its output layer sends, (T, B, K).
      reset: as ``Graph.dialect`` takes it.
    """

    source: str
    graph: nir.NIRGraph
    run: Callable[[torch.Tensor], np.ndarray]
    reset: str = ""


def scaled(network: nn.Module, factors) -> nn.Module:
    """The network with larger weights, so that all layers spike."""
    weighted = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    for module, factor in zip(weighted, factors, strict=True):
        module.weight.data *= factor
    return network


def each_step(step, frames):
    with torch.no_grad():
        return np.stack([np.asarray(step(frame)) for frame in frames])


def snntorch_network(layers, factors, reset="") -> Written:
    network = scaled(nn.Sequential(*layers), factors)
    with torch.no_grad():
        network(torch.zeros(1, *SIZE))
    graph = export_to_nir(network, torch.zeros(1, *SIZE), ignore_dims=[0])

    def run(frames):
        for part in network.modules():
            if hasattr(part, "reset_mem"):
                part.reset_mem()
            if hasattr(part, "spk"):
                part.spk = torch.zeros(0)
        return each_step(lambda frame: network(frame)[0], frames)

    return Written("snntorch", graph, run, reset)


def leaky(size, kind=snn.Leaky, reset="zero", last=False, **more):
    each = {key: 0.6 + 0.35 * torch.rand(size) for key in more.pop("each", ("beta",))}
    more |= {"threshold": 0.5 + torch.rand(size), "reset_mechanism": reset}
    return kind(**each, init_hidden=True, output=last, **more)


def of_snntorch():
    """Decays and thresholds of their own for each neuron."""
    layers = [nn.Flatten(), nn.Linear(FLAT, 40), leaky(40), nn.Linear(40, 10), leaky(10, last=True)]
    return snntorch_network(layers, (4, 6))


def of_snntorch_subtracting():
    """As snnTorch makes neurons if nothing is said: the threshold is subtracted a step late."""
    layers = [nn.Flatten(), nn.Linear(FLAT, 40), leaky(40, reset="subtract")]
    layers += [nn.Linear(40, 10, bias=False), leaky(10, reset="subtract", last=True)]
    return snntorch_network(layers, (4, 6), "subtract-late")


def of_snntorch_synaptic():
    options = {"kind": snn.Synaptic, "each": ("alpha", "beta"), "reset_delay": False}
    layers = [nn.Flatten(), nn.Linear(FLAT, 30), leaky(30, **options)]
    layers += [nn.Linear(30, 10), leaky(10, **options, last=True)]
    return snntorch_network(layers, (1, 1))


def of_snntorch_recurrent():
    options = {"kind": snn.RLeaky, "linear_features": 30, "reset_delay": False}
    layers = [nn.Flatten(), nn.Linear(FLAT, 30), leaky(30, **options)]
    layers += [nn.Linear(30, 10), leaky(10, last=True)]
    return snntorch_network(layers, (4, 1, 6))


def norse_network(layers, factors) -> Written:
    network = norse.torch.SequentialState(*layers)
    scaled(network, factors)
    graph = norse.torch.to_nir(network, torch.zeros(1, FLAT))

    def run(frames):
        state = None

        def step(frame):
            nonlocal state
            found, state = network(frame.reshape(len(frame), -1), state)
            return found

        return each_step(step, frames)

    return Written("norse", graph, run)


def of_norse():
    layers = [nn.Linear(FLAT, 40), LIFBoxCell(), nn.Linear(40, 20), IAFCell()]
    return norse_network([*layers, nn.Linear(20, 10), LIBoxCell()], (60, 2, 1))


def of_norse_with_currents():
    return norse_network([nn.Linear(FLAT, 40), LIFCell(), nn.Linear(40, 10), LIFCell()], (8, 20))


def spikingjelly_network(layers, factors) -> Written:
    network = scaled(nn.Sequential(*layers), factors)
    graph = nir_exchange.export_to_nir(network, torch.zeros(1, *SIZE))

    def run(frames):
        functional.reset_net(network)
        return each_step(network, frames)

    return Written("spikingjelly", graph, run)


def of_spikingjelly():
    layers = [
        layer.Conv2d(2, 4, 3, stride=2, padding=1),
        neuron.LIFNode(tau=2.0, decay_input=False),
        layer.AvgPool2d(2),
        layer.Conv2d(4, 6, 4, padding=0, bias=False),
        neuron.IFNode(),
        layer.AvgPool2d(2, padding=1),
        layer.Flatten(),
        layer.Linear(54, 10),
        neuron.LIFNode(tau=3.0, decay_input=True, v_threshold=0.5),
    ]
    return spikingjelly_network(layers, (4, 6, 6))


def of_spikingjelly_with_currents():
    layers = [
        layer.Flatten(),
        layer.Linear(FLAT, 40),
        neuron.CUBALIFNode(c_decay=0.5, v_decay=0.8),
        layer.Linear(40, 10),
        neuron.CUBALIFNode(c_decay=0.4, v_decay=0.7),
    ]
    return spikingjelly_network(layers, (2, 4))


def of_sinabs():
    import sinabs.activation as activation
    import sinabs.layers as sl
    import sinabs.nir

    one = {"spike_fn": activation.SingleSpike, "num_timesteps": 6}
    layers = [
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        sl.IAFSqueeze(**one),
        sl.SumPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1, bias=False),
        sl.LIFSqueeze(tau_mem=9.0, **one),
        nn.Flatten(),
        nn.Linear(6 * 8 * 8, 10),
        sl.LIFSqueeze(tau_mem=5.0, spike_threshold=0.3, **one),
    ]
    network = scaled(nn.Sequential(*layers), (4, 5, 5))
    with torch.no_grad():
        network(torch.zeros(6, *SIZE))
    graph = sinabs.nir.to_nir(network, torch.zeros(6, *SIZE))

    def run(frames):
        T, B = frames.shape[:2]
        for part in network.modules():
            if hasattr(part, "reset_states"):
                part.reset_states()
        with torch.no_grad():
            found = network(frames.transpose(0, 1).reshape(-1, *SIZE))
        return found.reshape(B, T, -1).transpose(0, 1).numpy()

    return Written("sinabs", graph, run)


def of_spyx():
    import spyx.nir
    import spyx.nn
    from flax import nnx

    rngs = nnx.Rngs(5)
    layers = [nnx.Linear(FLAT, 40, rngs=rngs), spyx.nn.LIF((40,), rngs=rngs)]
    layers += [nnx.Linear(40, 30, rngs=rngs), spyx.nn.CuBaLIF((30,), rngs=rngs)]
    layers += [nnx.Linear(30, 20, rngs=rngs), spyx.nn.PSU_LIF((20,), rngs=rngs)]
    layers += [nnx.Linear(20, 10, rngs=rngs), spyx.nn.LIF((10,), rngs=rngs)]
    for each, factor in zip(layers[::2], (5, 3, 3, 3), strict=True):
        each.kernel[...] *= factor
    network = spyx.nn.Sequential(*layers)
    graph = spyx.nir.to_nir(network, {"input": np.array([FLAT])}, {"output": np.array([10])})

    def run(frames):
        state = network.initial_state(frames.shape[1])

        def step(frame):
            nonlocal state
            with jax.numpy_rank_promotion("allow"):
                found, state = network(frame.reshape(len(frame), -1).numpy(), state)
            return found

        return each_step(step, frames)

    return Written("spyx", graph, run)


WRITERS = {
    name.removeprefix("of_").replace("_", " "): make
    for name, make in list(globals().items())
    if name.startswith("of_")
}
