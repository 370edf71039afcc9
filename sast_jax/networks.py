"""Flax networks of LIF layers, and how a prediction is read from them.

A network takes frames and a cell, so the spike function and the reset are arguments of the call and
one set of parameters runs soft or hard; with a :func:`sast_jax.lif.stochastic` cell it needs a key
as well. Each layer computes its current for all steps at once.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from sast_jax import lif


class Response(NamedTuple):
    """What a network did: spikes of each layer (T, B, ...), the last one's current, end states."""

    spikes: tuple[jax.Array, ...]
    current_TxBxK: jax.Array
    states: tuple[lif.State, ...]


class Readout(NamedTuple):
    """How class scores are read from a response; see :func:`mean_spikes`, :func:`mean_current`.

    Attributes:
      evidence: response -> what counts for each class at each step, (T, B, K).
      scale: factor on its mean over time.
    """

    evidence: Callable[[Response], jax.Array]
    scale: float

    def __call__(self, response: Response) -> jax.Array:
        """Class scores (B, K)."""
        return self.scale * self.evidence(response).mean(axis=0)

    def after_each_step(self, response: Response) -> jax.Array:
        """Class scores (T, B, K) if the recording had ended after each step."""
        evidence_TxBxK = self.evidence(response).astype(jnp.float32)
        steps_T = jnp.arange(1, len(evidence_TxBxK) + 1)
        return self.scale * jnp.cumsum(evidence_TxBxK, axis=0) / steps_T[:, None, None]


def mean_spikes(scale: float) -> Readout:
    """Reads the time-mean of the output layer's spikes times ``scale``."""
    return Readout(_output_spikes, scale)


def mean_current(scale: float) -> Readout:
    """Reads the time-mean of the output layer's input current times ``scale``."""
    return Readout(_output_current, scale)


def _output_spikes(response):
    return response.spikes[-1]


def _output_current(response):
    return response.current_TxBxK


class MLP(nn.Module):
    """Fully connected LIF layers.

    Attributes:
      features: widths of the layers, the number of outputs last.
      gain: factor on the standard deviation of the initial weights, which is 1 / sqrt(inputs) at 1.
    """

    features: Sequence[int]
    gain: float = 1.0

    @nn.compact
    def __call__(
        self,
        frames_TxBxHxWxC: jax.Array,
        cell: lif.Cell,
        states: Sequence[lif.State | None] | None = None,
        key: jax.Array | None = None,
    ) -> Response:
        spikes_TxBxN = frames_TxBxHxWxC.reshape(*frames_TxBxHxWxC.shape[:2], -1)
        return _dense_layers(self.features, self.gain, spikes_TxBxN, cell, states, key)


class ConvNet(nn.Module):
    """Convolutional LIF layers that halve the frame, then fully connected ones.

    Downsampling by stride keeps the spikes binary, so operations count exactly and nothing has to
    be approximated when the network is exported.

    Attributes:
      channels: channels of the convolutional layers.
      features: widths of the fully connected layers, the number of outputs last.
      kernel: side of the kernel in pixels.
      gain: factor on the standard deviation of the initial weights, which is 1 / sqrt(inputs) at 1.
    """

    channels: Sequence[int]
    features: Sequence[int]
    kernel: int = 5
    gain: float = 1.0

    @nn.compact
    def __call__(
        self,
        frames_TxBxHxWxC: jax.Array,
        cell: lif.Cell,
        states: Sequence[lif.State | None] | None = None,
        key: jax.Array | None = None,
    ) -> Response:
        T, B = frames_TxBxHxWxC.shape[:2]
        depth = len(self.channels)
        states = states or (None,) * (depth + len(self.features))
        maps, ends, spikes_TxBxHxWxC = [], [], frames_TxBxHxWxC
        for layer, (width, state) in enumerate(zip(self.channels, states[:depth], strict=True)):
            convolve = HalvingConv(width, self.kernel, self.gain)
            current = convolve(spikes_TxBxHxWxC.reshape(T * B, *spikes_TxBxHxWxC.shape[2:]))
            end, spikes_TxBxHxWxC = lif.integrate(
                cell, current.reshape(T, B, *current.shape[1:]), state, _fold(key, layer)
            )
            maps.append(spikes_TxBxHxWxC)
            ends.append(end)
        spikes_TxBxN = spikes_TxBxHxWxC.reshape(T, B, -1)
        key = _fold(key, depth)
        head = _dense_layers(self.features, self.gain, spikes_TxBxN, cell, states[depth:], key)
        return Response((*maps, *head.spikes), head.current_TxBxK, (*ends, *head.states))


def in_segments(
    respond: Callable[..., Response],
    frames_TxBxHxWxC: jax.Array,
    steps: int,
    key: jax.Array | None = None,
) -> Response:
    """A network's response, a segment of time after the other, for long recordings.

    For its derivative only the states between the segments are kept, and each segment is computed
    again, so that the memory that it needs grows with a segment's length instead of T, at the cost
    of one more forward pass (Chen et al., Training Deep Nets with Sublinear Memory Cost,
    arXiv 1604.06174).

    Args:
      respond: (frames, states, key) -> response, as a network's ``apply`` with its parameters.
      frames_TxBxHxWxC: all frames.
      steps: of a segment; divides T.
      key: of a stochastic cell, whose draws are then each segment's own.

    Raises:
      ValueError: T is no multiple of ``steps``.
    """
    T = len(frames_TxBxHxWxC)
    if T % steps:
        raise ValueError(f"{T} steps of time cannot be cut into segments of {steps}")
    parts_GxSxBxHxWxC = frames_TxBxHxWxC.reshape(-1, steps, *frames_TxBxHxWxC.shape[1:])

    @jax.checkpoint
    def segment(states, inputs):
        frames, number = inputs
        response = respond(frames, states, _fold(key, number))
        return response.states, response._replace(states=())

    ends = jax.eval_shape(respond, parts_GxSxBxHxWxC[0], None, key).states
    rest = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), ends)
    numbers_G = jnp.arange(len(parts_GxSxBxHxWxC))
    ends, parts = jax.lax.scan(segment, rest, (parts_GxSxBxHxWxC, numbers_G))
    whole = jax.tree.map(lambda leaf: leaf.reshape(T, *leaf.shape[2:]), parts)
    return whole._replace(states=ends)


class HalvingConv(nn.Module):
    """Convolution with stride 2, padded so that a side of n pixels becomes ceil(n / 2).

    Equals ``flax.linen.Conv`` of that stride and padding, with the same parameters. It is written
    as one matrix product over shifted views, because XLA's CPU backend has no fast path for the
    derivative of a strided convolution (about 40 times slower at the sizes used here).
    """

    channels: int
    kernel: int
    gain: float = 1.0

    @nn.compact
    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        k, C = self.kernel, x_BxHxWxC.shape[-1]
        weights = self.param("kernel", _initializer(self.gain), (k, k, C, self.channels))
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        patches = halving_patches(x_BxHxWxC, k)
        return patches @ weights.reshape(-1, self.channels) + bias[None, None, None]


def halving_patches(x_BxHxWxC: jax.Array, kernel: int) -> jax.Array:
    """What each output of a HalvingConv sees: (B, ceil(H / 2), ceil(W / 2), kernel^2 C)."""
    H, W = x_BxHxWxC.shape[1:3]
    out_h, out_w = -(-H // 2), -(-W // 2)
    border = (kernel // 2, kernel // 2)
    padded = jnp.pad(x_BxHxWxC, ((0, 0), border, border, (0, 0)))
    views = [
        padded[:, i : i + 2 * out_h - 1 : 2, j : j + 2 * out_w - 1 : 2]
        for i in range(kernel)
        for j in range(kernel)
    ]
    return jnp.concatenate(views, axis=-1)


def _dense_layers(features, gain, spikes_TxBxN, cell, states, key) -> Response:
    layers, ends = [], []
    states = states or (None,) * len(features)
    for layer, (width, state) in enumerate(zip(features, states, strict=True)):
        current_TxBxN = nn.Dense(width, kernel_init=_initializer(gain))(spikes_TxBxN)
        end, spikes_TxBxN = lif.integrate(cell, current_TxBxN, state, _fold(key, layer))
        layers.append(spikes_TxBxN)
        ends.append(end)
    return Response(tuple(layers), current_TxBxN, tuple(ends))


def _fold(key, number):
    return None if key is None else jax.random.fold_in(key, number)


def _initializer(gain: float):
    return nn.initializers.variance_scaling(gain**2, "fan_in", "truncated_normal")


def firing_rates(response: Response) -> jax.Array:
    """Mean spike of each layer over steps and neurons, per recording: (B, layers)."""
    return jnp.stack([s.mean(axis=(0, *range(2, s.ndim))) for s in response.spikes], axis=-1)
