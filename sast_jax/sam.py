"""Sharpness-aware minimization (SAM) as a link in an optax chain.

The link perturbs the parameters towards a higher loss, takes the gradient there, and passes that
gradient on to the optimizer behind it:

    tx = optax.chain(sam(rho=0.3), optax.adam(1e-3))
    updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

``grads`` only chooses the perturbation and may come from a part of the batch or from another batch;
``grad_fn(params)`` returns the gradient that is descended. Batches, auxiliary values, means over
devices and accumulation all live in the caller's ``grad_fn``. This file stands alone: it needs
nothing of the rest of the package.

Reference: Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization,
ICLR 2021, arXiv 2010.01412.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

ScalarOrSchedule = jax.typing.ArrayLike | optax.Schedule


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
        example :func:`scale_to_norm`. It sees the parameters and all extra arguments.

    Returns:
      A transformation whose ``update`` needs ``params`` and the keyword ``grad_fn``, a function
      from parameters to their gradient, which it calls once. Other extra arguments are handed to
      the ascent. The parameters themselves are not changed.

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
        return SharpnessAwareState(ascent.init(params))

    def update_fn(updates, state, params=None, *, grad_fn: Callable[[Any], Any], **extra_args):
        if params is None:
            raise ValueError("sharpness_aware needs the parameters: update(grads, state, params).")
        perturbation, ascent_state = ascent.update(updates, state.ascent, params, **extra_args)
        perturbed = optax.apply_updates(params, perturbation)
        return grad_fn(perturbed), SharpnessAwareState(ascent_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def scale_to_norm(radius: ScalarOrSchedule) -> optax.GradientTransformation:
    r"""Scales a gradient to a global Euclidean norm of ``radius``: the ascent of SAM.

    .. math:: a(g) = \rho \, g / \lVert g \rVert_2

    A gradient of zero stays zero, and so does its derivative. The norm is accumulated in float32
    at least, whatever the gradient's dtype.

    Args:
      radius: :math:`\rho`, a number, a traced value or a schedule of the number of updates done.

    Returns:
      A transformation from gradients to perturbations. It keeps a count for a schedule only.
    """
    return _ascent(radius, lambda g, params: (g, _norm(g)))


def adaptive_scale_to_norm(radius: ScalarOrSchedule) -> optax.GradientTransformation:
    r"""The element-wise ascent of ASAM, which does not change when weights are rescaled.

    .. math:: a(g) = \rho \, w^2 g / \lVert w g \rVert_2

    with products taken element by element and the norm over all parameters together. The paper adds
    0.01 to :math:`|w|`; this does not, as the addition undoes the invariance.

    Reference: Kwon et al., ASAM, ICML 2021, arXiv 2102.11600, equation 6.
    """

    def direction(g, params):
        params, g = jax.tree.map(_at_least_float32, (params, g))
        scaled = jax.tree.map(jnp.multiply, params, g)
        return jax.tree.map(jnp.multiply, params, scaled), _norm(scaled)

    return _ascent(radius, direction)


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
    """
    ascent = adaptive_scale_to_norm(rho) if adaptive else scale_to_norm(rho)
    if mask is None:
        return sharpness_aware(ascent)

    def outside(params):
        return jax.tree.map(lambda inside: not inside, mask(params) if callable(mask) else mask)

    return sharpness_aware(optax.chain(optax.masked(optax.set_to_zero(), outside), ascent))


def _ascent(radius, direction) -> optax.GradientTransformation:
    """radius * (d / norm) for ``direction(g, params) -> (d, norm)``, multiplied in this order."""
    if not callable(radius):
        return optax.stateless(lambda g, params: _rescale(*direction(g, params), radius))

    def init_fn(params):
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros([], jnp.int32))

    def update_fn(updates, state, params=None):
        perturbation = _rescale(*direction(updates, params), radius(state.count))
        return perturbation, optax.ScaleByScheduleState(optax.safe_increment(state.count))

    return optax.GradientTransformation(init_fn, update_fn)


def _rescale(direction, norm, radius):
    return jax.tree.map(lambda d: jnp.asarray(radius * (d / norm), d.dtype), direction)


def _norm(tree) -> jax.Array:
    """Global norm, or 1 for a tree of zeros, where the norm has no derivative."""
    squares = [jnp.sum(jnp.square(_at_least_float32(leaf))) for leaf in jax.tree.leaves(tree)]
    total = sum(squares, start=jnp.zeros([]))
    return jnp.sqrt(jnp.where(total > 0, total, 1))


def _at_least_float32(leaf):
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
