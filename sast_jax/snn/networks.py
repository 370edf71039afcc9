"""Flax modules that declare the parameters of a network and list its connections.

A network is described once. Its module takes the shape of a frame, declares its parameters and
returns the connections that hold them, from input to output. Training, evaluation, hardware models,
theory and export all run this list (:func:`sast_jax.snn.connections.respond`).
"""

import math
from collections.abc import Sequence

import flax.linen as nn

from sast_jax.fields import COUNT, Fault, require
from sast_jax.snn.connections import Connection, Full, Halving


def odd(side: int) -> str | Fault | None:
    """None for what can be the side of a kernel in pixels, else what it must be."""
    return COUNT(side) or (None if side % 2 else "an odd number of pixels")


class Dense(nn.Module):
    """A full connection.

    Attributes:
      width: number of outputs.
      gain: factor on the standard deviation of the initial weights, which is 1 / sqrt(inputs) at 1.
    """

    width: int
    gain: float = 1.0

    @nn.compact
    def __call__(self, shape: tuple[int, ...]) -> Connection:
        kernel = self.param("kernel", _initializer(self.gain), (math.prod(shape), self.width))
        return Full(kernel, self.param("bias", nn.initializers.zeros, (self.width,)))


class HalvingConv(nn.Module):
    """A convolution of stride 2; see :class:`sast_jax.snn.connections.Halving`.

    Attributes:
      channels: of the outputs.
      kernel: side of the kernel in pixels.
      gain: as of :class:`Dense`.
    """

    channels: int
    kernel: int = 5
    gain: float = 1.0

    def __post_init__(self):
        require(odd, kernel=self.kernel)
        super().__post_init__()

    @nn.compact
    def __call__(self, shape: tuple[int, ...]) -> Connection:
        size = (self.kernel, self.kernel, shape[-1], self.channels)
        kernel = self.param("kernel", _initializer(self.gain), size)
        return Halving(kernel, self.param("bias", nn.initializers.zeros, (self.channels,)))


class MLP(nn.Module):
    """Fully connected layers.

    Attributes:
      features: widths of the layers, the number of outputs last.
      gain: factor on the standard deviation of the initial weights, which is 1 / sqrt(inputs) at 1.
    """

    features: Sequence[int]
    gain: float = 1.0

    def __post_init__(self):
        self.features = tuple(self.features)  # a list has no hash, which a static argument needs
        super().__post_init__()

    @nn.compact
    def __call__(self, frame_shape: tuple[int, int, int]) -> list[Connection]:
        return chain([Dense(width, self.gain) for width in self.features], frame_shape)


class ConvNet(nn.Module):
    """Convolutional layers that halve the frame, then fully connected ones.

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

    def __post_init__(self):
        self.channels, self.features = tuple(self.channels), tuple(self.features)
        require(odd, kernel=self.kernel)
        super().__post_init__()

    @nn.compact
    def __call__(self, frame_shape: tuple[int, int, int]) -> list[Connection]:
        convolutions = [HalvingConv(width, self.kernel, self.gain) for width in self.channels]
        dense = [Dense(width, self.gain) for width in self.features]
        return chain([*convolutions, *dense], frame_shape)


def chain(layers: Sequence[nn.Module], frame_shape: tuple[int, ...]) -> list[Connection]:
    """The connections of successive layers; each layer gets the shape that the one before has."""
    found, shape = [], frame_shape
    for layer in layers:
        found.append(layer(shape))
        shape = found[-1].outputs(shape)
    return found


def _initializer(gain: float):
    return nn.initializers.variance_scaling(gain**2, "fan_in", "truncated_normal")
