r"""How smooth the risk is in the parameters: bounds on its first three derivatives on a ball.

Follow the parameters along a line of unit speed (Frobenius norm over all layers) and write
:math:`\dot x, \ddot x, \dddot x` for the derivatives of anything on the way. A :class:`Jet` bounds
the l2 norms of the three, over all steps and neurons of one recording; jets pass through the
network layer by layer, by the rules of Leibniz and Faà di Bruno, and end at the loss. As
derivatives of all orders are symmetric, their norms as multilinear maps are those along lines
(Banach 1938), so that the second bounds the Hessian, L, and the third how fast it changes, M. The
risk is a mean over recordings, which have the same bounds.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sast_jax.snn import neurons
from sast_jax.theory import lipschitz


class Jet(NamedTuple):
    """Bounds on the norms of the first three derivatives along a line."""

    first: float
    second: float
    third: float


def through(outer: Jet, inner: Jet) -> Jet:
    r"""A function of one variable after a map, elementwise.

    :math:`(g(x))\ddot{} = g' \ddot x + g'' \dot x^2` and
    :math:`(g(x))\dddot{} = g' \dddot x + 3 g'' \dot x \ddot x + g''' \dot x^3`; the l2 norm of an
    elementwise product is at most the product of the l2 norms.

    Args:
      outer: bounds on the absolute derivatives of g.
      inner: of x.
    """
    return Jet(
        outer.first * inner.first,
        outer.first * inner.second + outer.second * np.square(inner.first),
        outer.first * inner.third
        + 3 * outer.second * inner.first * inner.second
        + outer.third * np.power(inner.first, 3),
    )


def spike_jet(neuron: neurons.Smooth) -> Jet:
    """Bounds on the derivatives of the spike."""
    shape, k = neuron.spike.shape, neuron.slope
    return Jet(shape.first * k, shape.second * k**2, shape.third * k**3)


def step_jet(neuron: neurons.Smooth, factor: float) -> Jet:
    r"""Bounds on the derivatives of f, the step of :mod:`sast_jax.theory.lipschitz`.

    By subtraction :math:`f^{(n)} = -\lambda \theta \sigma^{(n)}` from the second on; with the reset
    to zero :math:`f^{(n)} = -\lambda (n \sigma^{(n-1)} + u \sigma^{(n)})`, where u is x plus the
    threshold, and :math:`x \sigma^{(n)}(x)` is bounded for all x.

    Args:
      neuron: of the layer.
      factor: q, which bounds the first derivative.
    """
    shape, k, theta = neuron.spike.shape, neuron.slope, neuron.threshold
    spike = spike_jet(neuron)
    second, third = theta * spike.second, theta * spike.third
    if not neuron.subtracts:
        second += 2 * spike.first + k * shape.far_second
        third += 3 * spike.second + k**2 * shape.far_third
    return Jet(factor, neuron.decay * second, neuron.decay * third)


def current_jet(layer: lipschitz.Layer, norm: float, size: float, steps: int, inner: Jet) -> Jet:
    r"""Bounds for :math:`I = W s + b`, where W and b move on a line and s with earlier layers.

    :math:`\dot I = \dot W s + \dot b + W \dot s`, :math:`\ddot I = 2 \dot W \dot s + W \ddot s` and
    :math:`\dddot I = 3 \dot W \ddot s + W \dddot s`. A kernel of Frobenius norm 1 has, as a
    connection, an l2 norm of at most ``Layer.overlap``; a bias reaches all its places at all steps.

    Args:
      layer: W and b.
      norm: bound on the l2 norm of W.
      size: bound on the l2 norm of s, (T, inputs).
      steps: T.
      inner: of s; zeros for the frames.
    """
    # |W' s + b'| <= overlap |W'| size + |b'| sqrt(T places). W' and b' have norm 1 together, so by
    # Cauchy-Schwarz this is at most the hypotenuse.
    direct = np.hypot(layer.overlap * size, np.sqrt(steps * layer.places))
    return Jet(
        direct + norm * inner.first,
        2 * layer.overlap * inner.first + norm * inner.second,
        3 * layer.overlap * inner.second + norm * inner.third,
    )


def potential_jet(step: Jet, steps: int, current: Jet) -> Jet:
    r"""Bounds for :math:`u_t = f(u_{t-1}) + I_t`.

    Each derivative obeys :math:`x_t = f' x_{t-1} + r_t + h_{t-1}`, where r is that of the current
    and h what :func:`through` adds for f of the lower ones; so
    :math:`\lVert x \rVert \le \kappa_T \lVert r \rVert + \kappa_{T-1} \lVert h \rVert` with
    :func:`sast_jax.theory.lipschitz.memory`, as h comes a step later.
    """
    now, later = (lipschitz.memory(step.first, count) for count in (steps, steps - 1))
    # The term f' x_{t-1} is the recursion itself, which memory bounds, so h lacks the first
    # derivative of f. Each order needs the lower ones, hence one after the other.
    bent = Jet(0.0, step.second, step.third)
    jet = Jet(now * current.first, 0.0, 0.0)
    jet = jet._replace(second=now * current.second + later * through(bent, jet).second)
    return jet._replace(third=now * current.third + later * through(bent, jet).third)


def loss_jet(scores: Jet) -> Jet:
    r"""Bounds for the cross-entropy of the scores.

    Its gradient has an l2 norm of at most :math:`\sqrt 2`; its Hessian is the covariance of a
    one-hot vector, of norm at most 1/2; and its third derivative along v is the third central
    moment of :math:`v_Y`, whose range d is at most :math:`\sqrt 2 |v|`. For a given mean it is
    largest with two values, a below and b above the mean: :math:`a b (b - a)`, which for
    :math:`a + b = d` is at most :math:`d^3 / (6 \sqrt 3)`.
    """
    root = np.sqrt(2)
    return through(Jet(root, 1 / 2, root**3 / (6 * np.sqrt(3))), scores)


def of_ball(
    neuron: neurons.Smooth,
    network: Sequence[lipschitz.Layer],
    radius: float,
    steps: int,
    input_norm: float,
    readout_scale: float,
    reads_current: bool,
) -> Jet:
    r"""Bounds on gradient, Hessian (L) and third derivative (M) of the risk within a radius.

    Proof. Within the radius R a connection's l2 norm is at most that at the centre plus R times
    its overlap, and the currents grow by at most :math:`R \sqrt{n + 1}` with n inputs; from these
    follow the step factor of each layer, and the jets.

    Args:
      neuron: of all layers.
      network: the layers at the centre.
      radius: R, in the l2 norm of all parameters together.
      steps: T.
      input_norm: the largest l2 norm of a recording's frames (T, pixels).
      readout_scale, reads_current: see :func:`sast_jax.theory.lipschitz.scores_of_frames`.
    """
    jet = Jet(0.0, 0.0, 0.0)
    # Spikes lie in 0..1, so T steps of n of them have an l2 norm of at most sqrt(T n).
    sizes = [input_norm, *(np.sqrt(steps * layer.inputs) for layer in network[1:])]
    for number, (layer, size) in enumerate(zip(network, sizes, strict=True), 1):
        norm = layer.norm.upper + layer.overlap * radius
        jet = current_jet(layer, norm, size, steps, jet)
        if reads_current and number == len(network):
            break
        # n inputs in 0..1 and a bias: by Cauchy-Schwarz, R moves their sum by R sqrt(n + 1).
        current = layer.current + radius * np.sqrt(layer.fan_in + 1)
        factor = lipschitz.contraction(neuron, lipschitz.state_bound(neuron, current, steps)).upper
        jet = through(spike_jet(neuron), potential_jet(step_jet(neuron, factor), steps, jet))
    mean = readout_scale / np.sqrt(steps)
    return Jet(*(float(bound) for bound in loss_jet(Jet(*(mean * bound for bound in jet)))))
