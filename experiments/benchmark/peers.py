"""The same training step in other libraries, where they are installed.

All start from the same weights and take hard spikes, a reset to zero, the derivative of the same
sigmoid, and Adam. spyx differs: its spikes leave a step later, and its reset subtracts a threshold
after the leak, so its loss is another one.
"""

import importlib.util
import itertools
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from experiments.benchmark.yardstick import (
    CLASSES,
    DECAY,
    HIDDEN,
    LEARNING_RATE,
    SCALE,
    SHAPE,
    SLOPE,
    THRESHOLD,
    Batch,
)
from sast_jax.training import passes

SIZES = (int(np.prod(SHAPE)), *HIDDEN, CLASSES)


class Peer(NamedTuple):
    """A step of another library.

    Attributes:
      step: takes it, and waits for its end.
      loss: before the first step.
      memory: bytes at the peak, its arguments included; None if it does not say.
    """

    step: Callable[[], object]
    loss: float
    memory: int | None


def installed(weights: list, batch: Batch) -> dict[str, Peer]:
    """The peers that are installed, with these weights: pairs of kernel (I, O) and bias."""
    made: dict[str, Peer] = {}
    for name, (module, make) in PEERS.items():
        if importlib.util.find_spec(module) is None:
            continue
        try:
            made |= {f"{name}{more}": peer for more, peer in make(weights, batch).items()}
        except Exception as error:  # whatever it is, the other rows are worth as much
            print(f"{name} is not measured: {error!r}")
    return made


def memory_of(compiled) -> int:
    """Bytes that a compiled program needs, with its arguments."""
    return passes.memory_of(compiled) + compiled.memory_analysis().argument_size_in_bytes


def _layers(weights):
    """Inputs, outputs, kernel and bias of each layer."""
    for (inputs, outputs), (kernel, bias) in zip(itertools.pairwise(SIZES), weights, strict=True):
        yield inputs, outputs, kernel, bias


def _loss(spikes_TxBxK, labels_B):
    scores = SCALE * spikes_TxBxK.mean(axis=0)
    return optax.softmax_cross_entropy_with_integer_labels(scores, labels_B).mean()


def _jaxpike(weights, batch) -> dict[str, Peer]:
    import equinox as eqx
    import jaxpike
    from jaxpike.surrogate import Surrogate

    class Sigmoid(Surrogate):
        def relaxation(self, v):
            return jax.nn.sigmoid(SLOPE * v)

    layers = []
    for inputs, outputs, kernel, bias in _layers(weights):
        dense = jaxpike.Dense(inputs, outputs, key=jax.random.key(0))
        # Its neuron gains 1 - decay from its input, and the others all of it.
        scaled = kernel.T / (1 - DECAY), bias / (1 - DECAY)
        layers.append(eqx.tree_at(lambda d: (d.weight, d.bias), dense, scaled))
        tau = -1 / math.log(DECAY)
        layers.append(jaxpike.LIF(tau, threshold=THRESHOLD, reset="zero", surrogate=Sigmoid()))
    network, adam = jaxpike.Sequential(*layers), optax.adam(LEARNING_RATE)
    state = adam.init(eqx.filter(network, eqx.is_inexact_array))
    made = {}
    for more, unroll in (("", jaxpike.unroll), (", checkpointed", jaxpike.unroll_checkpointed)):

        def loss(network, inputs, labels, unroll=unroll):
            return _loss(unroll(network, inputs)[0], labels), None

        step = jaxpike.training.make_step(loss, adam)
        given = network, state, batch.inputs_TxBxI, batch.labels_B
        memory = memory_of(step.lower(*given).compile().compiled)

        def call(step=step, given=given):
            return step(*given)[2]

        made[more] = Peer(call, float(call()), memory)
    return made


def _spyx(weights, batch) -> dict[str, Peer]:
    from flax import nnx
    from spyx import axn, nn, optimize

    def derivative(x):
        s = jax.nn.sigmoid(SLOPE * x)
        return SLOPE * s * (1 - s)

    rngs, layers = nnx.Rngs(0), []
    for inputs, outputs, kernel, bias in _layers(weights):
        linear = nnx.Linear(inputs, outputs, rngs=rngs)
        assert linear.bias is not None  # it has one unless told otherwise
        linear.kernel[...], linear.bias[...] = kernel, bias
        spike = axn.custom(derivative)
        layers += [linear, nn.LIF((outputs,), DECAY, THRESHOLD, spike, rngs=rngs)]
    network = nn.Sequential(*layers)
    adam = nnx.Optimizer(network, optax.adam(LEARNING_RATE), wrt=nnx.Param)

    def loss(network, inputs, labels):
        return _loss(nn.run(network, inputs)[0], labels)

    # spyx declares neither the data that a loss takes nor that a step can be lowered.
    step: Any = optimize.make_train_step(loss)  # type: ignore[arg-type]
    given = network, adam, batch.inputs_TxBxI, batch.labels_B
    memory = memory_of(step.lower(*given).compile().compiled)
    first = float(loss(network, *given[2:]))
    return {"": Peer(lambda: step(*given), first, memory)}


def _torch_step(network, respond, batch, device) -> Peer:
    """A step of a torch module; ``respond`` gives its spikes (T, B, K)."""
    import torch

    network = network.to(device)
    inputs = torch.from_numpy(np.array(batch.inputs_TxBxI)).to(device)
    labels = torch.from_numpy(np.array(batch.labels_B)).long().to(device)
    adam = torch.optim.Adam(network.parameters(), LEARNING_RATE)

    def step():
        adam.zero_grad()
        scores = SCALE * respond(inputs).mean(0)
        loss = torch.nn.functional.cross_entropy(scores, labels)
        loss.backward()
        adam.step()
        return float(loss.detach())  # waits for the device

    first = step()
    if device == "cpu":
        return Peer(step, first, None)
    torch.cuda.reset_peak_memory_stats()
    step()
    return Peer(step, first, torch.cuda.max_memory_allocated())


def _linear(layer, kernel, bias):
    import torch

    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array(kernel.T)))
        layer.bias.copy_(torch.from_numpy(np.array(bias)))
    return layer


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _spikingjelly(weights, batch) -> dict[str, Peer]:
    import torch
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    parts = []
    for inputs, outputs, *own in _layers(weights):
        parts.append(_linear(layer.Linear(inputs, outputs, step_mode="m"), *own))
        lif = neuron.LIFNode(
            tau=1 / (1 - DECAY),
            decay_input=False,
            v_threshold=THRESHOLD,
            v_reset=0.0,
            surrogate_function=surrogate.Sigmoid(SLOPE),
            step_mode="m",
        )
        parts.append(lif)
    network = torch.nn.Sequential(*parts)

    def respond(inputs):
        functional.reset_net(network)
        return network(inputs)

    device = _device()
    # It reads when it is imported which of its kernels a process takes.
    kernel = "cpu" if device == "cpu" else os.environ.get("SJ_LIF_CUDA_IMPLEMENTATION", "auto")
    return {f", {kernel}": _torch_step(network, respond, batch, device)}


def _snntorch(weights, batch) -> dict[str, Peer]:
    import snntorch
    import torch

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            spike = snntorch.surrogate.sigmoid(slope=SLOPE)
            self.linears = torch.nn.ModuleList(
                _linear(torch.nn.Linear(inputs, outputs), *own)
                for inputs, outputs, *own in _layers(weights)
            )
            self.cells: Any = torch.nn.ModuleList(
                snntorch.Leaky(DECAY, THRESHOLD, spike, reset_mechanism="zero") for _ in weights
            )

        def forward(self, inputs):
            potentials, found = [cell.reset_mem() for cell in self.cells], []
            for spikes in inputs:
                for i, (linear, cell) in enumerate(zip(self.linears, self.cells, strict=True)):
                    spikes, potentials[i] = cell(linear(spikes), potentials[i])
                found.append(spikes)
            return torch.stack(found)

    network = Network()
    return {"": _torch_step(network, network, batch, _device())}


PEERS = {
    "jaxpike": ("jaxpike", _jaxpike),
    "spyx": ("spyx", _spyx),
    "SpikingJelly": ("spikingjelly", _spikingjelly),
    "snnTorch": ("snntorch", _snntorch),
}
