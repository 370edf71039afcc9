"""Sharpness-aware minimization (SAM) as a link in an optax chain.

The link perturbs the parameters towards a higher loss, takes the gradient there, and passes that
gradient on to the optimizer behind it:

    tx = optax.chain(sam(rho=0.3), optax.adam(1e-3))
    updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

``grads`` only chooses the perturbation and may come from a part of the batch or from another batch;
``grad_fn(params)`` returns the gradient that is descended. Batches, auxiliary values, means over
devices and accumulation all live in the caller's ``grad_fn``. The link comes first in the chain:
what stands before it changes the perturbation alone (and what :func:`gap_aware` subtracts).
Parameters are real; integer ones stay where they are and no ascent sees them, but what follows the
link has to take their gradients, which optax's optimizers do not. This file stands alone: it needs
nothing of the rest of the package.

Reference: Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization,
ICLR 2021, arXiv 2010.01412.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

ScalarOrSchedule = jax.typing.ArrayLike | optax.Schedule
_NOT_NEGATIVE = lambda number: 0 <= number < float("inf"), "finite and not negative"


class SharpnessAwareState(NamedTuple):
    """State of the ascent that chooses the perturbation."""

    ascent: optax.OptState


def sharpness_aware(
    ascent: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    r"""Replaces the gradient by the one at perturbed parameters.

    .. math:: g \leftarrow \nabla L(w + a(g))

    Args:
      ascent: maps a gradient to the perturbation :math:`a(g)` that is added to the parameters, for
        example :func:`scale_to_norm`. It sees the parameters and all other extra arguments.

    Returns:
      A transformation whose ``update`` needs ``params`` and the keyword ``grad_fn``, a function
      from parameters to their gradient, which it calls once. Other extra arguments are handed to
      the ascent. The parameters themselves are not changed.

    Raises:
      TypeError: by ``update``, without ``grad_fn``, if its gradient or the other is not shaped like
        the parameters, or if these are complex.
      ValueError: by ``update``, without the parameters.

    Examples:
      >>> import jax, jax.numpy as jnp, optax
      >>> from sast_jax.sam import scale_to_norm, sharpness_aware
      >>> tx = optax.chain(sharpness_aware(scale_to_norm(0.1)), optax.sgd(0.5))
      >>> grad_fn = jax.grad(lambda w: jnp.sum(w**2))
      >>> w = jnp.array([3.0, 4.0])
      >>> updates, _ = tx.update(grad_fn(w), tx.init(w), w, grad_fn=grad_fn)
      >>> print(updates)
      [-3.06 -4.08]
    """
    ascent = optax.with_extra_args_support(ascent)

    def init_fn(params):
        return SharpnessAwareState(ascent.init(_real(params, params)))

    def update_fn(
        updates, state, params=None, *, grad_fn: Callable[[Any], Any] | None = None, **extra_args
    ):
        if params is None:
            raise ValueError("SAM needs the parameters: update(grads, state, params, grad_fn=...).")
        if grad_fn is None:
            raise TypeError(
                "SAM needs update(..., grad_fn=...), a function from parameters to their gradient; "
                "flax's own TrainState does not hand it on, that of sast_jax.flax_sam does."
            )
        _require_gradient("update is given", updates, params)
        real = _real(params, updates), state.ascent, _real(params, params)
        perturbation, ascent_state = ascent.update(*real, **extra_args)
        perturbed = jax.tree.map(_moved, params, perturbation)
        descended = grad_fn(perturbed)
        _require_gradient("grad_fn returns", descended, params)
        return descended, SharpnessAwareState(ascent_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


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
      >>> from sast_jax.sam import scale_to_norm
      >>> ascent, g = scale_to_norm(0.5), jnp.array([0.0, 4.0])
      >>> print(ascent.update(g, ascent.init(g))[0])
      [0.  0.5]
    """
    return _ascent(radius, lambda g, params: (g, _norm(g)))


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
      >>> from sast_jax.sam import adaptive_scale_to_norm
      >>> ascent, g, w = adaptive_scale_to_norm(0.1), jnp.array([3.0, 4.0]), jnp.array([1.0, 0.0])
      >>> print(ascent.update(g, ascent.init(w), w)[0])  # a weight of 0 stays where it is
      [0.1 0. ]

    Reference: Kwon et al., ASAM, ICML 2021, arXiv 2102.11600, equation 6.
    """

    def product(w, g):
        return _at_least_float32(w) * _at_least_float32(g)

    def direction(g, params):
        if params is None:
            raise ValueError("ASAM needs the parameters: update(grads, state, params).")
        scaled = jax.tree.map(product, params, g)
        return jax.tree.map(product, params, scaled), _norm(scaled)

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
      >>> from sast_jax.sam import bounded_scale_to_norm
      >>> ascent, g = bounded_scale_to_norm(0.5, bound=2.0), jnp.array([0.0, 4.0])
      >>> print(ascent.update(g, ascent.init(g))[0])
      [0.  0.5]
      >>> print(ascent.update(g / 32, ascent.init(g))[0])
      [0.   0.25]

    Reference: Andriushchenko and Flammarion, Towards Understanding Sharpness-Aware Minimization,
    ICML 2022, arXiv 2206.06232, for the unnormalised ascent; that the two are joined by the smaller
    of their radii is our choice.
    """
    _require("bound", bound, *_NOT_NEGATIVE)
    return _ascent(
        radius, lambda g, params: (g, _norm(g)), lambda r, norm: jnp.minimum(r, bound * norm)
    )


def minus_ema(decay: float, weight: float = 1.0) -> optax.GradientTransformation:
    r"""Takes the running mean of the gradient out of it: what is left is the batch's own.

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
      >>> from sast_jax.sam import minus_ema
      >>> link, g = minus_ema(0.5), jnp.array([4.0, 8.0])
      >>> left, state = link.update(g, link.init(g))
      >>> print(left)
      [2. 4.]
      >>> print(link.update(g, state)[0])
      [1. 2.]

    Reference: Li et al., Friendly Sharpness-Aware Minimization, CVPR 2024, arXiv 2403.12350.
    """

    _require("decay", decay, lambda decay: 0 < decay < 1, "above 0 and below 1")
    _require("weight", weight, np.isfinite, "finite")

    def update_fn(updates, state, params=None):
        del params
        mean = optax.tree.update_moment(updates, state.ema, decay, 1)
        left = jax.tree.map(lambda g, m: g - weight * m, updates, mean)
        return left, optax.EmaState(optax.safe_increment(state.count), mean)

    return optax.GradientTransformation(optax.ema(decay).init, update_fn)


def sam(
    rho: ScalarOrSchedule,
    *,
    adaptive: bool = False,
    mask: Any | Callable[[optax.Params], Any] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Sharpness-aware minimization with radius ``rho``: the link most people want.

    Args:
      rho: radius of the perturbation: a number, a traced value or a schedule. At 0 the link passes
        ``grad_fn(params)`` on unchanged, which is training without SAM.
      adaptive: take the ascent of ASAM, :func:`adaptive_scale_to_norm`.
      mask: tree of booleans shaped like the parameters (or a function from them to one), True where
        a parameter is perturbed. The radius is that of the perturbed parameters alone.

    Returns:
      The link; see :func:`sharpness_aware` for what its ``update`` needs.

    Examples:
      >>> import jax, jax.numpy as jnp, optax
      >>> from sast_jax.sam import sam
      >>> tx = optax.chain(sam(rho=0.1), optax.sgd(0.5))
      >>> grad_fn = jax.grad(lambda w: jnp.sum(w**2))
      >>> w = jnp.array([3.0, 4.0])
      >>> updates, _ = tx.update(grad_fn(w), tx.init(w), w, grad_fn=grad_fn)
      >>> print(updates)
      [-3.06 -4.08]

    Reference: Foret et al., ICLR 2021, arXiv 2010.01412, algorithm 1.
    """
    ascent = adaptive_scale_to_norm(rho) if adaptive else scale_to_norm(rho)
    return sharpness_aware(ascent if mask is None else within(mask, ascent))


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
      >>> from sast_jax.sam import scale_to_norm, within
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
        try:
            kept = jax.tree.map(inside, mask(params) if callable(mask) else mask, updates)
        except ValueError as error:
            raise ValueError(
                "the mask must be a tree of booleans shaped like the parameters, or a function of "
                "them; under inject_hyperparams a function must be among its static_args."
            ) from error
        return ascent.update(kept, state, params, **extra_args)

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
      >>> from sast_jax.sam import ramp
      >>> radius = ramp(0.4, total_steps=6, start=2, warmup=2)
      >>> print([float(radius(step)) for step in range(6)])
      [0.0, 0.0, 0.20000000298023224, 0.4000000059604645, 0.4000000059604645, 0.4000000059604645]
    """
    _require("rho", rho, *_NOT_NEGATIVE)
    _require("total_steps", total_steps, lambda n: n >= 1, "a number of steps from 1")
    if not _is_traced(total_steps):
        last = total_steps - 1
        of_them = f"a number of steps, 0 to {last}"
        _require("start", start, lambda n: n % 1 == 0 <= n <= last, of_them)
    left = total_steps - start
    if not _is_traced(left):
        _require("warmup", warmup, lambda steps: 0 <= steps <= left, f"from 0 to {left} steps")
    return lambda count: rho * jnp.clip((count - start + 1) / jnp.maximum(warmup, 1), 0, 1)


def vasso(rho: ScalarOrSchedule, theta: float = 0.4) -> optax.GradientTransformationExtraArgs:
    r"""SAM whose perturbation follows a running mean of the gradients instead of the last one.

    .. math:: d_t = (1 - \theta) d_{t-1} + \theta g_t, \qquad a_t = \rho \, d_t / \lVert d_t \rVert

    with :math:`d_0 = 0`.

    Args:
      rho: radius, as in :func:`sam`.
      theta: share of the new gradient, above 0; at 1 it is SAM. The paper tunes it, its code has
        0.9; the default is our choice.

    Returns:
      The link, as of :func:`sharpness_aware`. Some code begins with :math:`d_0 = g_1`.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from sast_jax.sam import vasso
      >>> link, w = vasso(rho=0.1), jnp.array([3.0, 4.0])
      >>> grad_fn = jax.grad(lambda w: jnp.sum(w**2))
      >>> print(link.update(grad_fn(w), link.init(w), w, grad_fn=grad_fn)[0])
      [6.12 8.16]

    Reference: Li and Giannakis, Enhancing Sharpness-Aware Optimization Through Variance
    Suppression, NeurIPS 2023, arXiv 2309.15639.
    """
    _require("theta", theta, lambda theta: 0 < theta <= 1, "above 0 and at most 1")
    return sharpness_aware(optax.chain(optax.ema(1 - theta, debias=False), scale_to_norm(rho)))


def friendly_sam(
    rho: ScalarOrSchedule, decay: float = 0.6, weight: float = 1.0
) -> optax.GradientTransformationExtraArgs:
    """SAM whose perturbation leaves out what the batches share.

    If batches hardly differ, what is left is rounding, and the perturbation has no meaning.

    Args:
      rho: radius, as in :func:`sam`.
      decay, weight: of the mean that is left out, as in :func:`minus_ema`. The paper leaves them
        to tuning; the defaults are our choice among its values.

    Returns:
      The link, as of :func:`sharpness_aware`.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from sast_jax.sam import friendly_sam
      >>> link, w = friendly_sam(rho=0.1), jnp.array([3.0, 4.0])
      >>> grad_fn = jax.grad(lambda w: jnp.sum(w**2))
      >>> print(link.update(grad_fn(w), link.init(w), w, grad_fn=grad_fn)[0])
      [6.12 8.16]

    Reference: Li et al., CVPR 2024, arXiv 2403.12350, algorithm 1.
    """
    return sharpness_aware(optax.chain(minus_ema(decay, weight), scale_to_norm(rho)))


def gap_aware(
    ascent: optax.GradientTransformation, alpha: jax.typing.ArrayLike
) -> optax.GradientTransformationExtraArgs:
    r"""GSAM's link: descends the perturbed loss and its gap to the loss itself.

    .. math:: g \leftarrow \nabla L(w + a) - \alpha \, g_\perp

    where :math:`g_\perp` is the part of :math:`g = \nabla L(w)` that is orthogonal to
    :math:`\nabla L(w + a)`, over all parameters together; nothing if the latter is 0 or its square
    overflows. The gradient that is handed in must be of the batch that ``grad_fn`` takes, and
    nothing may stand before the link, which would change :math:`g_\perp`. The paper also lets
    the radius follow the learning rate; give ``ascent`` a schedule for that.

    Args:
      ascent: as in :func:`sharpness_aware`.
      alpha: weight of the gap, not negative; at 0 it is :func:`sharpness_aware`.

    Returns:
      The link, as of :func:`sharpness_aware`. With a radius of 0 it is the optimizer behind it up
      to rounding, as compilers join its products in their own ways.

    Raises:
      ValueError: ``alpha`` is a number that is not finite or negative.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from sast_jax.sam import gap_aware, scale_to_norm
      >>> link, w = gap_aware(scale_to_norm(0.1), alpha=0.5), jnp.array([3.0, 4.0])
      >>> grad_fn = jax.grad(lambda w: w[0] ** 2 + 2 * w[1] ** 2)
      >>> updates, _ = link.update(grad_fn(w), link.init(w), w, grad_fn=grad_fn)
      >>> print([round(float(update), 2) for update in updates])
      [6.04, 16.39]

    Reference: Zhuang et al., Surrogate Gap Minimization Improves Sharpness-Aware Training, ICLR
    2022, arXiv 2203.08065, algorithm 1.
    """
    _require("alpha", alpha, *_NOT_NEGATIVE)
    link = sharpness_aware(ascent)

    def update_fn(updates, state, params=None, **extra_args):
        perturbed, state = link.update(updates, state, params, **extra_args)
        # Quotients of equal sums are exactly 1, so that equal gradients leave nothing across.
        squared, across = _dot(perturbed, perturbed), _dot(updates, perturbed)
        sound = (squared > 0) & jnp.isfinite(squared) & jnp.isfinite(across)
        along = jnp.where(sound, across, 0) / jnp.where(sound, squared, 1)
        weight = jnp.where(sound, alpha, 0)

        def projected(p, g):
            return p if _is_integer(p) else (p - weight * (g - along * p)).astype(p.dtype)

        return jax.tree.map(projected, perturbed, updates), state

    return optax.GradientTransformationExtraArgs(link.init, update_fn)


class PerturbedState(NamedTuple):
    """State of :func:`perturb_ahead`: of its parts, and the perturbation inside the parameters."""

    base: optax.OptState
    ascent: optax.OptState
    perturbation: optax.Updates


def perturb_ahead(
    base: optax.GradientTransformation, ascent: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
    r"""Sharpness-aware minimization at one gradient a step, with the perturbation of the last step.

    .. math:: w_{t+1} = w_t + \mathrm{base}(g_t), \quad g_t = \nabla L(w_t + a_t),
              \quad a_{t+1} = a(g_t)

    The parameters that are trained are :math:`w_t + a_t`, so nothing needs a second gradient;
    :func:`eval_params` takes :math:`a_t` out of them. ``base`` sees :math:`w_t`. With a radius of 0
    it is ``base`` up to rounding. Keep the parameters in float32: in bfloat16 what is put in and
    taken out again adds up to a drift. Integer parameters stay where they are.
    ``optax.apply_if_finite`` goes around all of this and not around ``base`` alone, as a gradient
    that is no number would stay in the perturbation.

    Args:
      base: the whole optimizer, learning rate included; nothing may follow in a chain.
      ascent: maps the gradient of a step to the perturbation of the next.

    Returns:
      A transformation whose ``update`` needs ``params``.

    Examples:
      >>> import jax, jax.numpy as jnp, optax
      >>> from sast_jax.sam import eval_params, perturb_ahead, scale_to_norm
      >>> tx = perturb_ahead(optax.sgd(0.25), scale_to_norm(0.5))
      >>> grad_fn = jax.grad(lambda w: jnp.sum(w**2))
      >>> w = jnp.array([0.0, 4.0])
      >>> updates, state = tx.update(grad_fn(w), tx.init(w), w)
      >>> w = optax.apply_updates(w, updates)
      >>> print(w, eval_params(state, w))
      [0.  2.5] [0. 2.]
    """
    base, ascent = optax.with_extra_args_support(base), optax.with_extra_args_support(ascent)

    def init_fn(params):
        real = _real(params, params)
        return PerturbedState(base.init(real), ascent.init(real), optax.tree.zeros_like(real))

    def update_fn(updates, state, params=None, **extra_args):
        if params is None:
            raise ValueError("perturb_ahead needs the parameters: update(grads, state, params).")
        plain = optax.tree.sub(_real(params, params), state.perturbation)
        updates = _real(params, updates)
        step, base_state = base.update(updates, state.base, plain, **extra_args)
        ahead, ascent_state = ascent.update(updates, state.ascent, plain, **extra_args)
        ahead = jax.tree.map(lambda a, p: jnp.asarray(a, p.dtype), ahead, state.perturbation)
        moved = jax.tree.map(lambda s, a, b: s + (a - b), step, ahead, state.perturbation)
        moved = jax.tree.map(lambda w, m: jnp.zeros_like(w) if m is None else m, params, moved)
        return moved, PerturbedState(base_state, ascent_state, ahead)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def momentum_sam(
    base: optax.GradientTransformation, rho: ScalarOrSchedule, momentum: float = 0.9
) -> optax.GradientTransformationExtraArgs:
    r"""Momentum-SAM: the perturbation points against the momentum of the gradients.

    .. math:: v_{t+1} = \mu v_t + g_t, \qquad a_{t+1} = -\rho \, v_{t+1} / \lVert v_{t+1} \rVert

    The sign is the paper's: a step along :math:`-v` has just been made, and going on in that
    direction leads up again. The momentum is of gradients alone, where the paper's code for SGD
    takes weight decay into it. It is kept here beside the optimizer's own, at the cost of
    one more copy of the parameters, so that any optimizer will do.

    Args:
      base: the whole optimizer, as in :func:`perturb_ahead`; the paper's has the same momentum.
      rho: radius, as in :func:`sam`.
      momentum: :math:`\mu`.

    Returns:
      A transformation, as of :func:`perturb_ahead`.

    Examples:
      >>> import jax, jax.numpy as jnp, optax
      >>> from sast_jax.sam import eval_params, momentum_sam
      >>> tx = momentum_sam(optax.sgd(0.25), rho=0.5)
      >>> grad_fn = jax.grad(lambda w: jnp.sum(w**2))
      >>> w = jnp.array([0.0, 4.0])
      >>> updates, state = tx.update(grad_fn(w), tx.init(w), w)
      >>> w = optax.apply_updates(w, updates)
      >>> print(w, eval_params(state, w))
      [0.  1.5] [0. 2.]

    Reference: Becker et al., Momentum-SAM, arXiv 2401.12033, algorithm 1.
    """
    _require("momentum", momentum, lambda momentum: 0 <= momentum < 1, "from 0 to below 1")
    return perturb_ahead(
        base, optax.chain(optax.trace(momentum), scale_to_norm(rho), optax.scale(-1.0))
    )


def eval_params(state: optax.OptState, params: optax.Params) -> optax.Params:
    """Parameters to evaluate, without the perturbation that :func:`perturb_ahead` keeps in them.

    Go on with the parameters as they are trained: with the same state, the next step would take the
    perturbation out of these a second time. Averages over steps should be of these.

    Args:
      state: of an optimizer with one :func:`perturb_ahead` or :func:`momentum_sam` for all of the
        parameters in it, alone or inside of chains, ``MultiSteps``, ``apply_if_finite`` or
        ``inject_hyperparams``.
      params: as they are trained.

    Returns:
      A tree like ``params``.

    Raises:
      ValueError: there is none, or more than one.
    """
    leaves = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, PerturbedState))
    found = [leaf for leaf in leaves if isinstance(leaf, PerturbedState)]
    if len(found) != 1:
        raise ValueError(
            f"the state holds {len(found)} optimizers of perturb_ahead or momentum_sam and not one."
        )
    return jax.tree.map(lambda w, a: w if a is None else w - a, params, found[0].perturbation)


def _ascent(radius, direction, shrink=None) -> optax.GradientTransformation:
    """radius * (d / norm) for ``direction(g, params) -> (d, norm)``, multiplied in this order."""

    def perturbation(updates, params, rho):
        d, norm = direction(updates, params)
        rho = shrink(rho, norm) if shrink else rho
        like = updates if params is None else params  # float32 masters of bfloat16 gradients

        def scaled(d, w):
            return jnp.asarray(rho * (d / norm), jnp.result_type(w))

        return jax.tree.map(scaled, d, like)

    if not callable(radius):
        _require("radius", radius, *_NOT_NEGATIVE)
        return optax.stateless(lambda g, params: perturbation(g, params, radius))

    def init_fn(params):
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros([], jnp.int32))

    def update_fn(updates, state, params=None):
        rho = radius(state.count)
        counted = optax.ScaleByScheduleState(optax.safe_increment(state.count))
        return perturbation(updates, params, rho), counted

    return optax.GradientTransformation(init_fn, update_fn)


def _moved(w, a):
    return w if a is None else jnp.asarray(w + a, jnp.result_type(w))


def _real(params, tree):
    """The tree with None, which transformations pass over, in the place of integer parameters."""
    if any(map(jnp.iscomplexobj, jax.tree.leaves(params))):
        raise TypeError("SAM is of real parameters; keep the parts of complex ones apart.")
    return jax.tree.map(lambda w, leaf: None if _is_integer(w) else leaf, params, tree)


def _is_integer(leaf) -> bool:
    """Whether it is an integer parameter, or the gradient of one, which is of no real type."""
    return not jnp.issubdtype(getattr(leaf, "dtype", type(leaf)), jnp.inexact)


def _norm(tree) -> jax.Array:
    """Global norm, or 1 for a tree of zeros, where the norm has no derivative."""
    squared = _dot(tree, tree)
    return jnp.sqrt(jnp.where(squared > 0, squared, 1))


def _dot(a, b) -> jax.Array:
    """Sum of products over all leaves but integer ones, in float32 at least."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    products = [
        jnp.sum(_at_least_float32(x) * _at_least_float32(y)) for x, y in pairs if not _is_integer(x)
    ]
    return sum(products, start=jnp.zeros([]))


def _at_least_float32(leaf):
    return jnp.asarray(leaf, jnp.promote_types(jnp.result_type(leaf), jnp.float32))


def _require_gradient(whose, gradient, params) -> None:
    """Refuses what has not the leaves and shapes of the parameters, whatever its containers."""
    found, wanted = (
        {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in leaves}
        for leaves in map(jax.tree.leaves_with_path, (gradient, params))
    )
    for path in wanted | found:
        if found.get(path) != wanted.get(path):
            raise TypeError(
                f"what {whose} must be a gradient shaped like the parameters, and nothing with it, "
                f"such as a value; its shape at {path} is {found.get(path, 'missing')}, theirs "
                f"{wanted.get(path, 'missing')}."
            )


def _require(name, value, sound, wanted) -> None:
    """Refuses a value; one that is traced is taken as it is."""
    if _is_traced(value):
        return
    number = np.asarray(value)
    real = any(jnp.issubdtype(number.dtype, kind) for kind in (jnp.integer, jnp.floating))
    if not real or number.ndim:
        raise ValueError(f"{name} is {value!r}; it must be one number, {wanted}.")
    if not sound(number):
        raise ValueError(f"{name} is {value!r}; it must be {wanted}.")


def _is_traced(value) -> bool:
    return isinstance(value, jax.core.Tracer)
