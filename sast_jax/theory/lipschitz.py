r"""Bounds on a network of smooth LIF neurons: its states, its step factor, its input gradients.

Between the input current and the potential a neuron is a scalar recursion,

.. math::
    u_t = f(u_{t-1}) + I_t, \qquad
    f(u) = \lambda u (1 - \sigma(u - \theta)) \text{ or } \lambda (u - \theta \sigma(u - \theta)),

for the reset to zero and by subtraction (:mod:`sast_jax.snn.neurons.lif`); at the first step f is
0. The bounds are on this recursion: how large u becomes, how much f stretches differences, and how
large these are after the spikes and weights of all layers. The proofs are in the docstrings. Sums
over time are finite, so that a bound also holds without contraction; it is merely large then.

Source: the assumptions and the kind of statement are those of arXiv 2603.18039, which does not
publish its constants; the constants and proofs here are our own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from sast_jax.errors import InputError
from sast_jax.snn import connections
from sast_jax.snn.connections import Connection
from sast_jax.snn.neurons import Smooth
from sast_jax.theory import spectral
from sast_jax.theory.spectral import Enclosed

_POINTS = 2**16  # of the grid that encloses a supremum


def geometric(factor: float, steps: int) -> float:
    """1 + factor + ... with ``steps`` terms: at most 1 / (1 - factor), if the factor is below 1."""
    with np.errstate(over="ignore"):
        return float(np.sum(float(factor) ** np.arange(steps)))


def memory(factor: float, steps: int) -> float:
    r"""The l2 norm of the map :math:`x_t \mapsto \sum_{j \le t} q^{t-j} x_j` over ``steps`` steps.

    The largest singular value of a triangular Toeplitz matrix, at most :func:`geometric`.
    Infinite where that is beyond double precision.
    """
    if steps == 0:
        return 0.0
    lag = np.subtract.outer(np.arange(steps), np.arange(steps))
    total = geometric(factor, steps)
    if not np.isfinite(total):
        return np.inf
    matrix = np.where(lag >= 0, float(factor) ** np.maximum(lag, 0), 0)
    return min(spectral.matrix_norm(matrix).upper, total)


def state_bound(neuron: Smooth, current: float, steps: int) -> float:
    r"""U with :math:`|u_t| \le U` for all steps, if :math:`|I_t| \le I`.

    Proof. A spike lies in 0..1. With the reset to zero :math:`|u_t| \le \lambda |u_{t-1}| + I`, and
    by subtraction :math:`|u_t| \le \lambda |u_{t-1}| + \lambda \theta + I`; from :math:`u_0 = 0` on
    the terms add up to :math:`U = I (1 - \lambda^T) / (1 - \lambda)`, or the same with
    :math:`I + \lambda \theta`. No property of the weights is used but the current they make.

    Args:
      neuron: of the layer.
      current: I.
      steps: T.
    """
    reset = neuron.decay * neuron.threshold if neuron.subtracts else 0.0
    return (current + reset) * geometric(neuron.decay, steps)


def step_factor(neuron: Smooth, u: np.ndarray) -> np.ndarray:
    r"""f'(u): :math:`\lambda (1 - \sigma - u \sigma')`, or :math:`\lambda (1 - \theta \sigma')`."""
    spike, slope = _spike_and_slope(neuron, np.asarray(u) - neuron.threshold)
    if neuron.subtracts:
        return neuron.decay * (1 - neuron.threshold * slope)
    return neuron.decay * (1 - spike - u * slope)


def contraction(neuron: Smooth, bound: float = np.inf) -> Enclosed:
    r"""q, the largest :math:`|f'(u)|` over :math:`|u| \le U`.

    If q < 1 the neuron contracts: by the mean value theorem :math:`|f(u) - f(v)| \le q |u - v|`.

    By subtraction :math:`f' = \lambda (1 - \theta \sigma')`, and :math:`\sigma'` falls with the
    distance to the threshold, so that its extremes lie at the points of the interval that are
    nearest to and farthest from it; the supremum is exact, for an infinite bound too.

    With the reset to zero it is enclosed on a grid. Proof. Between neighbouring points a < b,
    f' is at most its larger value there plus (b - a) / 2 times a bound on |f''|. With
    :math:`f'' = -\lambda (2 \sigma' + u \sigma'')` and :math:`|\sigma''| \le c \sigma'` (c: the
    slope times ``Shape.relative``) that is :math:`\lambda \sigma'(x) (2 + c \max(|a|, |b|))`, where
    x is the point between a and b that is nearest to the threshold. The grid is fine there and
    coarse far away, where :math:`\sigma'` vanishes.

    Args:
      neuron: of the layer.
      bound: U; finite with the reset to zero.
    """
    if neuron.subtracts:
        near, far = min(bound, neuron.threshold), -bound
        largest = float(np.abs(step_factor(neuron, np.array([near, far]))).max())
        return Enclosed(largest, largest)
    if not np.isfinite(bound):
        raise ValueError("The reset to zero needs a finite bound.")
    # Equally spaced in arcsinh: linear around the threshold, exponential far from it.
    first, last = np.arcsinh(neuron.slope * (np.array([-bound, bound]) - neuron.threshold))
    x = np.sinh(np.linspace(first, last, _POINTS)) / neuron.slope
    u = np.clip(x + neuron.threshold, -bound, bound)
    values = np.abs(step_factor(neuron, u))
    x = u - neuron.threshold
    nearest = np.clip(0, x[:-1], x[1:])
    farthest = np.maximum(np.abs(u[:-1]), np.abs(u[1:]))
    relative = neuron.spike.shape.relative * neuron.slope
    bend = neuron.decay * _spike_and_slope(neuron, nearest)[1] * (2 + relative * farthest)
    between = np.maximum(values[:-1], values[1:]) + np.diff(u) / 2 * bend
    return Enclosed(float(values.max()), float(between.max()))


def crude_contraction(neuron: Smooth, bound: float) -> float:
    r""":math:`\lambda (1 + U \max |\sigma'|)`: a loose bound, for which no supremum is taken."""
    reach = neuron.threshold if neuron.subtracts else bound
    return neuron.decay * (1 + reach * neuron.steepest)


class Lipschitz(NamedTuple):
    """Bounds on how much a map stretches differences, in l2 and in l-infinity.

    Over all steps and neurons together: the norms are of (T, N) arrays of one recording.
    """

    l2: float
    linf: float


class Layer(NamedTuple):
    """What bounds need to know about a connection and the neurons it leads to.

    Attributes:
      norm: l2 norm of the connection.
      row_norm: its l-infinity norm.
      current: the largest absolute input current that spikes in 0..1 can make.
      shape: of its input at one step.
      fan_in: number of inputs of one neuron.
      places: number of neurons that share a weight.
      overlap: a change of the kernel of l2 norm 1 changes the connection's l2 norm by at most this.
    """

    norm: Enclosed
    row_norm: float
    current: float
    shape: tuple[int, ...]
    fan_in: int
    places: int
    overlap: float

    @property
    def inputs(self) -> int:
        """Number of neurons or pixels that lead into it."""
        return int(np.prod(self.shape))


def layers(network: Sequence[Connection], frame_shape: tuple[int, int, int]) -> list[Layer]:
    """The layers of a network, from input to output.

    Args:
      network: its connections.
      frame_shape: (H, W, C) of a frame.
    """
    entering = [frame_shape, *connections.shapes(network, frame_shape)]
    return [_layer(*pair) for pair in zip(network, entering, strict=False)]


def _layer(connection, shape) -> Layer:
    kernel, bias = (np.asarray(leaf, float) for leaf in (connection.kernel, connection.bias))
    weights_IxO = kernel.reshape(-1, kernel.shape[-1])
    most = bias + np.maximum(weights_IxO, 0).sum(axis=0)
    least = bias + np.minimum(weights_IxO, 0).sum(axis=0)
    match connection:
        case connections.Full():
            norm, places, overlap = spectral.matrix_norm(kernel), 1, 1.0
        case connections.Halving():
            norm = spectral.convolution_norm(kernel, *shape[:2])
            places = int(np.prod(connection.outputs(shape)[:2]))
            # By Cauchy-Schwarz at each place: with stride 2 a pixel is in the patches of at most
            # ceil(k / 2)^2 places, and the norm grows by the root of that.
            overlap = float(-(-kernel.shape[0] // 2))
        case _:
            raise InputError(f"the connection {type(connection).__name__} has no bound on its norm")
    return Layer(
        norm=norm,
        row_norm=spectral.row_norm(kernel),
        current=float(np.maximum(np.abs(most), np.abs(least)).max()),
        shape=shape,
        fan_in=len(weights_IxO),
        places=places,
        overlap=overlap,
    )


def spikes_of_frames(neuron: Smooth, layer: Layer, factor: float, steps: int) -> Lipschitz:
    r"""From the spikes (or frames) that lead into a layer to its own spikes.

    Proof. Let two inputs differ by :math:`\delta_t`, and their currents by :math:`W \delta_t`. The
    mean value theorem, neuron by neuron, gives
    :math:`|\Delta u_t| \le q |\Delta u_{t-1}| + |W \delta_t|`, as both potentials lie in the
    interval of q; so :math:`|\Delta u| \le K |W \delta|` with
    :math:`K_{tj} = q^{t-j}, j \le t`, elementwise, whose norm over time is :func:`memory` in l2 and
    :func:`geometric` in l-infinity. The spike stretches by at most :math:`\max \sigma'`.

    Args:
      neuron: of the layer.
      layer: its connection.
      factor: q, for potentials of both inputs.
      steps: T.
    """
    return Lipschitz(
        neuron.steepest * memory(factor, steps) * layer.norm.upper,
        neuron.steepest * geometric(factor, steps) * layer.row_norm,
    )


def scores_of_frames(
    neuron: Smooth,
    network: Sequence[Layer],
    factors: Sequence[float],
    steps: int,
    readout_scale: float,
    reads_current: bool,
) -> Lipschitz:
    r"""From frames (T, pixels) to class scores (K,): the product over the layers, then the readout.

    A mean over T steps shrinks l2 norms by :math:`\sqrt{T}`, and l-infinity norms by nothing. With
    the loss behind it, whose gradient with respect to the scores (softmax minus truth) has an l2
    norm of at most :math:`\sqrt 2` and an l1 norm of at most 2, the input gradient of a recording
    has an l2 norm of at most :math:`\sqrt 2` times ``l2`` and an l1 norm of at most 2 ``linf``.

    Args:
      neuron: of all layers.
      network: its layers.
      factors: q of each.
      steps: T.
      readout_scale: factor on the mean over time.
      reads_current: the mean is of the last layer's current, not of its spikes.
    """
    through = [
        spikes_of_frames(neuron, layer, factor, steps)
        for layer, factor in zip(network, factors, strict=True)
    ]
    if reads_current:
        through[-1] = Lipschitz(network[-1].norm.upper, network[-1].row_norm)
    l2, linf = np.prod(np.array(through), axis=0)
    return Lipschitz(float(readout_scale * l2 / np.sqrt(steps)), float(readout_scale * linf))


def _spike_and_slope(neuron, x) -> tuple[np.ndarray, np.ndarray]:
    """The spike and its derivative, in double precision."""
    with jax.enable_x64(True):
        x = np.asarray(x, float)
        spike, slope = jax.jvp(neuron.spike(neuron.slope), (x,), (np.ones_like(x),))
        return np.asarray(spike), np.asarray(slope)
