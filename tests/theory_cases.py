"""Random networks of one shape, padded in time, and what they really do, in float64."""

import functools
from typing import NamedTuple

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
from hypothesis import strategies as st

from sast_jax.snn import neurons, readouts, spikes
from sast_jax.snn.connections import Full, Halving
from sast_jax.theory import lipschitz

few = hypothesis.settings(max_examples=50, deadline=None)
many = hypothesis.settings(max_examples=1000, deadline=None)
ROUNDING = 1e-9
ROOM = 1 + ROUNDING  # a factor
SHAPE, T, B, K = (3, 3, 1), 8, 3, 3
SCALE = 5.0
KINDS = {  # static: a program each
    "zero sigmoid MLP": (neurons.ToZero(), spikes.sigmoid, [(9, 4), (4, K)]),
    "zero arctan ConvNet": (neurons.ToZero(), spikes.arctan, [(3, 3, 1, 2), (8, K)]),
    "subtract sigmoid MLP": (neurons.BySubtraction(), spikes.sigmoid, [(9, 4), (4, K)]),
    "subtract arctan ConvNet": (neurons.BySubtraction(), spikes.arctan, [(3, 3, 1, 2), (8, K)]),
}


class Case(NamedTuple):
    """A network, and how long the recordings are of which T steps are kept."""

    kind: str
    seed: int
    slope: float
    decay: float
    threshold: float
    gain: float
    length: int
    reads_current: bool

    @property
    def neuron(self):
        reset, spike, _ = KINDS[self.kind]
        return neurons.Smooth(reset, spike, self.slope, self.decay, self.threshold)

    def network(self):
        rng = np.random.default_rng(self.seed)
        return [
            (Full if len(shape) == 2 else Halving)(
                self.gain * rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1])),
                0.5 * self.gain * rng.normal(size=shape[-1]),
            )
            for shape in KINDS[self.kind][2]
        ]

    def frames(self, which=0):
        """(T, B, H, W, C) in 0..1, zero after the length."""
        rng = np.random.default_rng((self.seed, which))
        frames = rng.random((T, B, *SHAPE)) * (rng.random((T, B, *SHAPE)) < rng.random())
        frames[self.length :] = 0
        return frames

    def labels(self):
        return np.random.default_rng(self.seed).integers(0, K, B)

    def layers(self):
        return lipschitz.layers(self.network(), SHAPE)

    def factors(self):
        return [
            lipschitz.contraction(
                self.neuron, lipschitz.state_bound(self.neuron, layer.current, self.length)
            ).upper
            for layer in self.layers()
        ]

    def scalars(self):
        """What programs take of it, traced."""
        return np.array([self.slope, self.decay, self.threshold]), self.length


CASES = st.builds(
    Case,
    kind=st.sampled_from(list(KINDS)),
    seed=st.integers(0, 2**32 - 1),
    slope=st.floats(0.3, 10),
    decay=st.floats(0, 1),
    threshold=st.floats(0.1, 2),
    gain=st.floats(0.1, 5),
    length=st.integers(1, T),
    reads_current=st.booleans(),
)


# Where programs are large: both resets, spikes and networks in two of them.
FEWER = CASES.filter(lambda case: case.kind in ("zero sigmoid MLP", "subtract arctan ConvNet"))


class Run(NamedTuple):
    """Of each layer: currents, potentials, spikes (T, B, ...); and scores (B, K)."""

    currents: list
    potentials: list
    spikes: list
    scores: jax.Array


def simulate(kind, network, frames, scalars, length, reads_current, hard=False):
    """The network written out: what comes after the length does not reach the scores."""
    reset, family, _ = KINDS[kind]
    slope, decay, threshold = scalars
    spike = spikes.heaviside if hard else family(slope)
    cell = neurons.Cell(neurons.LIF(threshold, family, reset), decay, spike)
    run, sent = Run([], [], [], None), frames
    for connection in network:
        current = connection.sums(sent)
        _, sent = neurons.integrate(cell, current)
        run.currents.append(current)
        run.potentials.append(neurons.potentials(cell, current))
        run.spikes.append(sent)
    counted = jnp.where(reads_current, current, sent)
    shown = (jnp.arange(T) < length)[:, None, None].astype(counted.dtype)
    return run._replace(scores=SCALE * (counted * shown).sum(axis=0) / length)


def loss(kind, network, frames, labels, scalars, length, reads_current):
    scores = simulate(kind, network, frames, scalars, length, reads_current).scores
    return optax.softmax_cross_entropy_with_integer_labels(scores, labels)


@functools.partial(jax.jit, static_argnums=(0, 7))
def run_of(kind, network, frames, labels, scalars, length, reads_current, hard=False):
    return simulate(kind, network, frames, scalars, length, reads_current, hard)


def run(case, which=0, hard=False):
    """What the case's network does with its frames."""
    scalars, length = case.scalars()
    with jax.enable_x64(True):
        found = run_of(
            case.kind, case.network(), case.frames(which), case.labels(), scalars, length,
            case.reads_current, hard,
        )  # fmt: skip
    return jax.tree.map(np.asarray, found)


def before(case, x_TxBxN):
    """The steps that count."""
    return np.asarray(x_TxBxN)[: case.length]


def readout(case):
    make = readouts.MeanCurrent if case.reads_current else readouts.MeanSpikes
    return make(SCALE)


def over_recordings(x_TxBxN, norm):
    """A norm of each recording, over all its steps and neurons: (B,)."""
    flat = np.moveaxis(x_TxBxN, 1, 0).reshape(x_TxBxN.shape[1], -1)
    return np.linalg.norm(flat, norm, axis=1)
