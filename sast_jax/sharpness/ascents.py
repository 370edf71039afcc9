"""Ascents: they make the perturbation of the SAM link from a gradient; and schedules of radii."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .numbers import (
    NOT_NEGATIVE,
    ScalarOrSchedule,
    at_least_float32,
    global_norm,
    is_traced,
    require,
)


def scale_to_norm(radius: ScalarOrSchedule) -> optax.GradientTransformation:
    r"""Scales a gradient to a global Euclidean norm of ``radius``: the ascent of SAM.

    .. math:: a(g) = \rho \, g / \lVert g \rVert_2

    A gradient of zero stays zero, and the derivative there is finite. The norm is accumulated in
    float32 at least, whatever the gradient's dtype; beyond about 1e19 its square overflows to a
    perturbation of 0, and entries below about 1e-19 do not count in it.

    Args:
      radius: :math:`\rho`, a number, a traced value or a schedule of the number of updates done.

    Returns:
      A transformation from gradients to perturbations. It keeps a count for a schedule only.

    Raises:
      ValueError: the radius is a number that is not finite or negative.

    Examples:
      >>> import jax.numpy as jnp
      >>> from sast_jax.sharpness import scale_to_norm
      >>> ascent, g = scale_to_norm(0.5), jnp.array([0.0, 4.0])
      >>> print(ascent.update(g, ascent.init(g))[0])
      [0.  0.5]
    """
    return _ascent(radius, lambda g, params: (g, global_norm(g)))


def adaptive_scale_to_norm(radius: ScalarOrSchedule) -> optax.GradientTransformation:
    r"""The element-wise ascent of ASAM, which does not change when weights are rescaled.

    .. math:: a(g) = \rho \, w^2 g / \lVert w g \rVert_2

    with products taken element by element and the norm over all parameters together. The paper's
    code adds 0.01 to :math:`|w|`, and gives parameters that are not called weight, such as biases,
    the ascent of SAM. This does neither, as both undo the invariance; so parameters that begin at
    0 are perturbed only once they have moved.

    Args:
      radius: :math:`\rho`, as in :func:`scale_to_norm`.

    Returns:
      A transformation from gradients to perturbations, whose ``update`` needs ``params``.

    Raises:
      ValueError: as :func:`scale_to_norm`; by ``update``, without the parameters.

    Examples:
      >>> import jax.numpy as jnp
      >>> from sast_jax.sharpness import adaptive_scale_to_norm
      >>> ascent, g, w = adaptive_scale_to_norm(0.1), jnp.array([3.0, 4.0]), jnp.array([1.0, 0.0])
      >>> print(ascent.update(g, ascent.init(w), w)[0])  # a weight of 0 stays where it is
      [0.1 0. ]

    Reference: Kwon et al., ASAM, ICML 2021, arXiv 2102.11600, equation 6.
    """

    def product(w, g):
        return at_least_float32(w) * at_least_float32(g)

    def direction(g, params):
        if params is None:
            raise ValueError("ASAM needs the parameters: update(grads, state, params).")
        scaled = jax.tree.map(product, params, g)
        return jax.tree.map(product, params, scaled), global_norm(scaled)

    return _ascent(radius, direction)


def bounded_scale_to_norm(
    radius: ScalarOrSchedule, bound: jax.typing.ArrayLike
) -> optax.GradientTransformation:
    r"""An ascent whose radius shrinks with the gradient, so that it vanishes at a minimum.

    .. math:: a(g) = \min(\rho, \kappa \lVert g \rVert_2) \, g / \lVert g \rVert_2

    A constant radius keeps SAM from ever standing still at a minimum; this one is unnormalised SAM
    close to it and SAM far from it.

    Args:
      radius: :math:`\rho`, as in :func:`scale_to_norm`.
      bound: :math:`\kappa`, the most that the radius may be of the gradient's norm.

    Returns:
      A transformation from gradients to perturbations, as of :func:`scale_to_norm`.

    Raises:
      ValueError: as :func:`scale_to_norm`, of ``bound`` too.

    Examples:
      >>> import jax.numpy as jnp
      >>> from sast_jax.sharpness import bounded_scale_to_norm
      >>> ascent, g = bounded_scale_to_norm(0.5, bound=2.0), jnp.array([0.0, 4.0])
      >>> print(ascent.update(g, ascent.init(g))[0])
      [0.  0.5]
      >>> print(ascent.update(g / 32, ascent.init(g))[0])
      [0.   0.25]

    Reference: Andriushchenko and Flammarion, Towards Understanding Sharpness-Aware Minimization,
    ICML 2022, arXiv 2206.06232, for the unnormalised ascent; that the two are joined by the smaller
    of their radii is our choice.
    """
    require("bound", bound, *NOT_NEGATIVE)
    return _ascent(
        radius, lambda g, params: (g, global_norm(g)), lambda r, norm: jnp.minimum(r, bound * norm)
    )


def minus_ema(decay: float, weight: float = 1.0) -> optax.GradientTransformation:
    r"""Subtracts the running mean of the gradient, which leaves the part specific to the batch.

    .. math:: m_t = \lambda m_{t-1} + (1 - \lambda) g_t, \qquad d_t = g_t - \sigma m_t

    with :math:`m_0 = 0` and no correction for it. In front of :func:`scale_to_norm` it is the
    ascent of Friendly SAM. With :math:`\sigma = 1` the direction is that of
    :math:`g_t - m_{t-1}`, for code that subtracts before it averages; some begins with
    :math:`m_0 = g_1` instead.

    Args:
      decay: :math:`\lambda`.
      weight: :math:`\sigma`.

    Returns:
      A transformation from gradients to what is left of them.

    Raises:
      ValueError: ``decay`` is not above 0 and below 1, or ``weight`` not finite.

    Examples:
      >>> import jax.numpy as jnp
      >>> from sast_jax.sharpness import minus_ema
      >>> link, g = minus_ema(0.5), jnp.array([4.0, 8.0])
      >>> left, state = link.update(g, link.init(g))
      >>> print(left)
      [2. 4.]
      >>> print(link.update(g, state)[0])
      [1. 2.]

    Reference: Li et al., Friendly Sharpness-Aware Minimization, CVPR 2024, arXiv 2403.12350.
    """

    require("decay", decay, lambda decay: 0 < decay < 1, "above 0 and below 1")
    require("weight", weight, np.isfinite, "finite")

    def update_fn(updates, state, params=None):
        del params
        mean = optax.tree.update_moment(updates, state.ema, decay, 1)
        left = jax.tree.map(lambda g, m: g - weight * m, updates, mean)
        return left, optax.EmaState(optax.safe_increment(state.count), mean)

    return optax.GradientTransformation(optax.ema(decay).init, update_fn)


def within(
    mask: Any | Callable[[optax.Params], Any], ascent: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
    """An ascent that leaves the parameters outside a mask where they are.

    :func:`optax.masked` is no help: it hands on the gradient itself where the mask is False, and a
    function as its mask sees gradients.

    Args:
      mask: tree of booleans shaped like the parameters, or a function from them to one. Under
        :func:`optax.inject_hyperparams` a function must be among its ``static_args``.
      ascent: sees a gradient of zero outside the mask.

    Returns:
      A transformation from gradients to perturbations.

    Raises:
      ValueError: by ``update``, the mask is something else, or a function without parameters.

    Examples:
      >>> import jax.numpy as jnp
      >>> from sast_jax.sharpness import scale_to_norm, within
      >>> ascent = within({"w": True, "b": False}, scale_to_norm(0.5))
      >>> g = {"w": jnp.array(4.0), "b": jnp.array(3.0)}
      >>> perturbation, _ = ascent.update(g, ascent.init(g), g)
      >>> print(perturbation["w"], perturbation["b"])
      0.5 0.0
    """

    ascent = optax.with_extra_args_support(ascent)

    def inside(keep, update):
        if not isinstance(keep, bool | np.bool_) or len(jax.tree.leaves(update)) > 1:
            raise ValueError("not a boolean of one parameter")
        return update if keep else optax.tree.zeros_like(update)

    def update_fn(updates, state, params=None, **extra_args):
        if params is None and callable(mask):
            raise ValueError("the mask needs the parameters: update(grads, state, params).")
        keep = mask(params) if callable(mask) else mask
        try:
            kept = jax.tree.map(inside, keep, updates)
        except ValueError as error:
            raise ValueError(
                "the mask must be a tree of booleans shaped like the parameters, or a function of "
                "them; under inject_hyperparams a function must be among its static_args."
            ) from error
        perturbation, state = ascent.update(kept, state, params, **extra_args)
        return jax.tree.map(inside, keep, perturbation), state

    return optax.GradientTransformationExtraArgs(ascent.init, update_fn)


def ramp(
    rho: jax.typing.ArrayLike,
    total_steps: int,
    *,
    start: int = 0,
    warmup: jax.typing.ArrayLike = 0,
) -> optax.Schedule:
    r"""Radius of a late phase, of a warm-up, or of both.

    .. math:: \rho_t = \rho \, \mathrm{clip}((t - t_0 + 1) / w, 0, 1)

    A radius of 0 still costs the second gradient. To spare it, hand a ``grad_fn`` that returns the
    gradient at hand to the steps before ``start``: the link has to count them.

    Args:
      rho: radius at the end.
      total_steps: of the whole training, as updates of the link: where gradients are accumulated
        behind it, every micro-batch is one.
      start: :math:`t_0`, number of steps without SAM.
      warmup: :math:`w`, number of steps over which the radius grows; at most 1 for none.

    Returns:
      A schedule: number of updates done to radius.

    Raises:
      ValueError: there are no steps, or ``start`` or the warm-up ends past the last of them, as far
        as these are known and not traced.

    Examples:
      >>> from sast_jax.sharpness import ramp
      >>> radius = ramp(0.4, total_steps=6, start=2, warmup=2)
      >>> print([float(radius(step)) for step in range(6)])
      [0.0, 0.0, 0.20000000298023224, 0.4000000059604645, 0.4000000059604645, 0.4000000059604645]
    """
    require("rho", rho, *NOT_NEGATIVE)
    require("total_steps", total_steps, lambda n: n >= 1, "a number of steps from 1")
    if not is_traced(total_steps):
        last = total_steps - 1
        of_them = f"a number of steps, 0 to {last}"
        require("start", start, lambda n: n % 1 == 0 <= n <= last, of_them)
    left = total_steps - start
    if not is_traced(left):
        require("warmup", warmup, lambda steps: 0 <= steps <= left, f"from 0 to {left} steps")

    def radius(count):
        done = jnp.asarray(count - start + 1, float)  # subtracted as integers, exactly
        return rho * jnp.clip(done / jnp.maximum(warmup, 1), 0, 1)

    return radius


def _ascent(radius, direction, shrink=None) -> optax.GradientTransformation:
    """An ascent of radius * (d / norm), where ``direction(g, params)`` gives d and norm."""

    def perturbation(updates, params, rho):
        d, norm = direction(updates, params)
        rho = shrink(rho, norm) if shrink else rho
        like = updates if params is None else params  # float32 masters of bfloat16 gradients

        # The quotient first: it is at most 1, while rho / norm overflows for tiny gradients.
        def scaled(d, w):
            return jnp.asarray(rho * (at_least_float32(d) / norm), jnp.result_type(w))

        return jax.tree.map(scaled, d, like)

    if not callable(radius):
        require("radius", radius, *NOT_NEGATIVE)
        return optax.stateless(lambda g, params: perturbation(g, params, radius))

    def init_fn(params):
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros([], jnp.int32))

    def update_fn(updates, state, params=None):
        rho = radius(state.count)
        counted = optax.ScaleByScheduleState(optax.safe_increment(state.count))
        return perturbation(updates, params, rho), counted

    return optax.GradientTransformation(init_fn, update_fn)
