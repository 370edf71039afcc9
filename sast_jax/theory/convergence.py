r"""Stochastic SAM with an independent second minibatch finds flat ground: the bound and its proof.

.. math::
    w_{t+1} = w_t - \eta\, g_B(w_t + \rho v_t), \qquad
    v_t = g_{B'}(w_t) / \lVert g_{B'}(w_t) \rVert

with minibatches B and B' that are drawn independently of all else. Let f be L-smooth on the
segments from each :math:`w_t` to :math:`w_{t+1}` and to :math:`w_t + \rho v_t`, its value at least
f*, and let the minibatch gradient at a perturbed point be unbiased with variance at most
:math:`\sigma^2`, which needs B to be independent of B' and of the past. Then for
:math:`\eta \le 1 / L`

.. math::
    \frac1T \sum_{t<T} E \lVert \nabla f(w_t) \rVert^2 \le
    \frac{2 (f(w_0) - f^*)}{\eta T} + L^2 \rho^2 + L \eta \sigma^2 .

Proof. Write :math:`m = \nabla f(w_t), p = \nabla f(w_t + \rho v_t)`. Smoothness and the
expectation over B give

.. math::
    E f(w_{t+1}) \le f(w_t) - \eta \langle m, p \rangle
    + \tfrac{L \eta^2}{2} (\lVert p \rVert^2 + \sigma^2).

As :math:`L \eta \le 1` the term in :math:`\lVert p \rVert^2` is at most
:math:`\eta \lVert p \rVert^2 / 2`, and
:math:`\lVert p \rVert^2 - 2 \langle m, p \rangle = \lVert p - m \rVert^2 - \lVert m \rVert^2`, so

.. math::
    E f(w_{t+1}) \le f(w_t) - \tfrac{\eta}{2} \lVert m \rVert^2
    + \tfrac{\eta}{2} \lVert p - m \rVert^2 + \tfrac{L \eta^2 \sigma^2}{2},

which is :func:`descent`. With :math:`\lVert p - m \rVert \le L \rho`, the sum over t telescopes to
:math:`f(w_0) - E f(w_T)`, which is at most :math:`f(w_0) - f^*`. So the bound also holds with the
loss that is reached in the place of f*, and with the measured :math:`\lVert p - m \rVert` in that
of :math:`L \rho`: two tighter versions.
"""

from typing import NamedTuple


class Terms(NamedTuple):
    """The terms of the bound: from the start, the radius and the noise of minibatches."""

    start: float
    radius: float
    noise: float

    @property
    def total(self) -> float:
        return sum(self)


def descent(
    loss: float, gradient2: float, moved2: float, step: float, smoothness: float, variance: float
) -> float:
    r"""Bound on the expected loss after a step.

    Args:
      loss: f(w).
      gradient2: :math:`\lVert m \rVert^2`.
      moved2: :math:`\lVert p - m \rVert^2`.
      step: :math:`\eta`, at most 1 / L.
      smoothness: L.
      variance: :math:`\sigma^2` of the minibatch gradient.
    """
    return loss - step / 2 * (gradient2 - moved2) + smoothness * step**2 * variance / 2


def bound(
    fall: float, step: float, steps: int, moved: float, smoothness: float, variance: float
) -> Terms:
    r"""Bound on the mean squared gradient norm over a run.

    Args:
      fall: :math:`f(w_0) - f^*`; the cross-entropy has f* = 0 at least.
      step: :math:`\eta`, at most 1 / L.
      steps: T.
      moved: :math:`L \rho`, or the measured :math:`\lVert p - m \rVert`.
      smoothness: L.
      variance: :math:`\sigma^2`.
    """
    return Terms(2 * fall / (step * steps), moved**2, smoothness * step * variance)


def vanishing(steps: int, step: float, radius: float) -> tuple[float, float]:
    r"""Step size and radius of a run of T steps with which the bound falls as :math:`T^{-1/2}`.

    With :math:`\eta = \eta_1 T^{-1/2}` and :math:`\rho = \rho_1 T^{-1/4}` each term of the bound is
    its value at T = 1 times :math:`T^{-1/2}`.

    Args:
      steps: T.
      step, radius: :math:`\eta_1, \rho_1`.
    """
    return step * steps**-0.5, radius * steps**-0.25
