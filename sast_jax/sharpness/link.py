"""Sharpness-aware minimization (SAM) as a link in an optax chain.

The link perturbs the parameters towards a higher loss, takes the gradient there, and passes that
gradient on to the optimizer behind it:

    tx = optax.chain(sam(rho=0.3), optax.adam(1e-3))
    updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

``grads`` only chooses the perturbation and may come from a part of the batch or from another batch;
``grad_fn(params)`` returns the gradient that is descended. Batches, auxiliary values, means over
devices and accumulation are the business of the caller's ``grad_fn``. The link comes first in the
chain: a transformation before it changes the perturbation alone (and what :func:`gap_aware`
subtracts). Parameters are real. Integer ones are not perturbed, but the transformations after the
link must accept their gradients, which optax's optimizers do not.

Reference: Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization,
ICLR 2021, arXiv 2010.01412.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .ascents import adaptive_scale_to_norm, minus_ema, scale_to_norm, within
from .numbers import NOT_NEGATIVE, ScalarOrSchedule, dot, is_integer, real_leaves, require


class SharpnessAwareState(NamedTuple):
    """State of the ascent that chooses the perturbation."""

    ascent: optax.OptState


def sharpness_aware(
    ascent: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    r"""Replaces the gradient by the one at perturbed parameters.

    .. math:: g \leftarrow \nabla L(w + a(g))

    **The link comes first in its chain, before any optimizer, and accumulation goes behind it.**
    ``optax.chain(optax.sgd(0.1), sam(0.1))`` and
    ``optax.MultiSteps(optax.chain(sam(0.1), base), 4)`` are wrong without an error: the update of
    the first is the gradient itself, which climbs, and the second descends the gradient of the last
    micro-batch alone. ``optax.chain(sam(0.1), optax.MultiSteps(base, 4))`` is right.

    Args:
      ascent: maps a gradient to the perturbation :math:`a(g)` that is added to the parameters, for
        example :func:`scale_to_norm`. It sees the parameters and all other extra arguments.

    Returns:
      A transformation whose ``update`` needs ``params`` and the keyword ``grad_fn``, a function
      from parameters to their gradient, which it calls once. Other extra arguments are handed to
      the ascent. The parameters themselves are not changed.

    Raises:
      TypeError: by ``update``, without ``grad_fn``, if its gradient or the other is not shaped like
        the parameters, or if these are complex; by ``init`` and ``update``, if parameters are
        missing from them, as inside of ``optax.masked``, ``optax.partition`` and
        ``optax.selective_transform``, which go behind the link.
      ValueError: by ``update``, without the parameters.

    Examples:
      >>> import jax, jax.numpy as jnp, optax
      >>> from sast_jax.sharpness import scale_to_norm, sharpness_aware
      >>> tx = optax.chain(sharpness_aware(scale_to_norm(0.1)), optax.sgd(0.5))
      >>> grad_fn = jax.grad(lambda w: jnp.sum(w**2))
      >>> w = jnp.array([3.0, 4.0])
      >>> updates, _ = tx.update(grad_fn(w), tx.init(w), w, grad_fn=grad_fn)
      >>> print(updates)
      [-3.06 -4.08]
    """
    ascent = optax.with_extra_args_support(ascent)

    def init_fn(params):
        _require_unmasked(params)
        return SharpnessAwareState(ascent.init(real_leaves(params, params)))

    def update_fn(
        updates, state, params=None, *, grad_fn: Callable[[Any], Any] | None = None, **extra_args
    ):
        if params is None:
            raise ValueError("SAM needs the parameters: update(grads, state, params, grad_fn=...).")
        _require_unmasked(params)
        if grad_fn is None:
            raise TypeError(
                "SAM needs update(..., grad_fn=...), a function from parameters to their gradient; "
                "flax's own TrainState does not hand it on, that of sast_jax.sharpness.flax does."
            )
        _require_gradient("update is given", updates, params)
        real = real_leaves(params, updates), state.ascent, real_leaves(params, params)
        perturbation, ascent_state = ascent.update(*real, **extra_args)
        perturbed = jax.tree.map(_moved, params, perturbation)
        descended = grad_fn(perturbed)
        _require_gradient("grad_fn returns", descended, params)
        return descended, SharpnessAwareState(ascent_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def sam(
    rho: ScalarOrSchedule,
    *,
    adaptive: bool = False,
    mask: Any | Callable[[optax.Params], Any] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Sharpness-aware minimization with radius ``rho``: the link most people want.

    **The link comes first in its chain, before any optimizer, and accumulation goes behind it.**
    ``optax.chain(optax.sgd(0.1), sam(0.1))`` and
    ``optax.MultiSteps(optax.chain(sam(0.1), base), 4)`` are wrong without an error: the update of
    the first is the gradient itself, which climbs, and the second descends the gradient of the last
    micro-batch alone. ``optax.chain(sam(0.1), optax.MultiSteps(base, 4))`` is right.

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
      >>> from sast_jax.sharpness import sam
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


def vasso(rho: ScalarOrSchedule, theta: float = 0.4) -> optax.GradientTransformationExtraArgs:
    r"""SAM with a perturbation along a running mean of the gradients instead of the last one.

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
      >>> from sast_jax.sharpness import vasso
      >>> link, w = vasso(rho=0.1), jnp.array([3.0, 4.0])
      >>> grad_fn = jax.grad(lambda w: jnp.sum(w**2))
      >>> print(link.update(grad_fn(w), link.init(w), w, grad_fn=grad_fn)[0])
      [6.12 8.16]

    Reference: Li and Giannakis, Enhancing Sharpness-Aware Optimization Through Variance
    Suppression, NeurIPS 2023, arXiv 2309.15639.
    """
    require("theta", theta, lambda theta: 0 < theta <= 1, "above 0 and at most 1")
    return sharpness_aware(optax.chain(optax.ema(1 - theta, debias=False), scale_to_norm(rho)))


def friendly_sam(
    rho: ScalarOrSchedule, decay: float = 0.6, weight: float = 1.0
) -> optax.GradientTransformationExtraArgs:
    """SAM with a perturbation that leaves out the part of the gradient that batches share.

    If batches hardly differ, only rounding is left, and the perturbation has no meaning.

    Args:
      rho: radius, as in :func:`sam`.
      decay, weight: of the mean that is left out, as in :func:`minus_ema`. The paper leaves them
        to tuning; the defaults are our choice among its values.

    Returns:
      The link, as of :func:`sharpness_aware`.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from sast_jax.sharpness import friendly_sam
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
      >>> from sast_jax.sharpness import gap_aware, scale_to_norm
      >>> link, w = gap_aware(scale_to_norm(0.1), alpha=0.5), jnp.array([3.0, 4.0])
      >>> grad_fn = jax.grad(lambda w: w[0] ** 2 + 2 * w[1] ** 2)
      >>> updates, _ = link.update(grad_fn(w), link.init(w), w, grad_fn=grad_fn)
      >>> print([round(float(update), 2) for update in updates])
      [6.04, 16.39]

    Reference: Zhuang et al., Surrogate Gap Minimization Improves Sharpness-Aware Training, ICLR
    2022, arXiv 2203.08065, algorithm 1.
    """
    require("alpha", alpha, *NOT_NEGATIVE)
    link = sharpness_aware(ascent)

    def update_fn(updates, state, params=None, **extra_args):
        perturbed, state = link.update(updates, state, params, **extra_args)
        # Quotients of equal sums are exactly 1, so that equal gradients leave nothing across.
        squared, across = dot(perturbed, perturbed), dot(updates, perturbed)
        sound = (squared > 0) & jnp.isfinite(squared) & jnp.isfinite(across)
        along = jnp.where(sound, across, 0) / jnp.where(sound, squared, 1)
        weight = jnp.where(sound, alpha, 0)

        def projected(p, g):
            return p if is_integer(p) else (p - weight * (g - along * p)).astype(p.dtype)

        return jax.tree.map(projected, perturbed, updates), state

    return optax.GradientTransformationExtraArgs(link.init, update_fn)


def _moved(w, a):
    return w if a is None else jnp.asarray(w + a, jnp.result_type(w))


def _require_unmasked(params) -> None:
    """Raises TypeError if a wrapper has removed some of the parameters."""

    def is_masked(node):
        return isinstance(node, optax.MaskedNode)

    if any(map(is_masked, jax.tree.leaves(params, is_leaf=is_masked))):
        raise TypeError(
            "optax.masked, optax.partition (optax.multi_transform) and optax.selective_transform "
            "do not go around a SAM link, whose grad_fn needs all parameters. They go behind it, "
            "and so does what holds parameters where they are: optax.chain(sam(...), "
            "optax.adam(...), optax.freeze(mask)). To leave parameters out of the perturbation "
            "alone, take sam(rho, mask=...)."
        )


def _require_gradient(source, gradient, params) -> None:
    """Raises TypeError unless it has the leaves and shapes of the parameters, in any containers."""
    found, wanted = (
        {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in leaves}
        for leaves in map(jax.tree.leaves_with_path, (gradient, params))
    )
    for path in wanted | found:
        if found.get(path) != wanted.get(path):
            raise TypeError(
                f"what {source} must be a gradient shaped like the parameters, and nothing with "
                f"it, such as a value; its shape at {path} is {found.get(path, 'missing')}, theirs "
                f"{wanted.get(path, 'missing')}."
            )
