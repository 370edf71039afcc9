"""Sharpness-aware minimization at one gradient a step: the parameters carry the perturbation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from .ascents import scale_to_norm
from .numbers import NOT_NEGATIVE, ScalarOrSchedule, global_norm, real_leaves, require


class PerturbedState(NamedTuple):
    """State of :func:`perturb_ahead`: its parts' states, and the perturbation in the parameters."""

    base: optax.OptState
    ascent: optax.OptState
    perturbation: optax.Updates


class SharedMomentumState(NamedTuple):
    """State of :func:`shared_momentum_sam`: the optimizer's, steps done, and a scale.

    The perturbation in the parameters is the optimizer's momentum times the scale.
    """

    base: optax.OptState
    steps: jax.Array
    scale: jax.Array

    @property
    def perturbation(self) -> optax.Updates:
        shape = jnp.shape(self.scale)  # () of one run, and (R,) where R states are stacked

        def scaled(leaf):
            scale = jnp.reshape(self.scale, shape + (1,) * (leaf.ndim - len(shape)))
            return jnp.asarray(jnp.asarray(leaf, self.scale.dtype) * scale, leaf.dtype)

        return jax.tree.map(scaled, _momentum(self.base))


def perturb_ahead(
    base: optax.GradientTransformation, ascent: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
    r"""Sharpness-aware minimization at one gradient a step, with the perturbation of the last step.

    .. math:: w_{t+1} = w_t + \mathrm{base}(g_t), \quad g_t = \nabla L(w_t + a_t),
              \quad a_{t+1} = a(g_t)

    The parameters that are trained are :math:`w_t + a_t`, so no second gradient is needed;
    :func:`eval_params` takes :math:`a_t` out of them. ``base`` sees :math:`w_t`. With a radius of 0
    the update is that of ``base`` up to rounding. Keep the parameters in float32: in bfloat16 the
    perturbations that are added and removed leave rounding errors, which add up to a drift. Integer
    parameters are not changed. Put ``optax.apply_if_finite`` around the whole transformation and
    not around ``base`` alone, or a NaN gradient would stay in the perturbation.

    Args:
      base: the whole optimizer, learning rate included; nothing may follow in a chain.
      ascent: maps the gradient of a step to the perturbation of the next.

    Returns:
      A transformation whose ``update`` needs ``params``.

    Examples:
      >>> import jax, jax.numpy as jnp, optax
      >>> from sast_jax.sharpness import eval_params, perturb_ahead, scale_to_norm
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
        real = real_leaves(params, params)
        return PerturbedState(base.init(real), ascent.init(real), optax.tree.zeros_like(real))

    def update_fn(updates, state, params=None, **extra_args):
        if params is None:
            raise ValueError("perturb_ahead needs the parameters: update(grads, state, params).")
        plain = optax.tree.sub(real_leaves(params, params), state.perturbation)
        updates = real_leaves(params, updates)
        step, base_state = base.update(updates, state.base, plain, **extra_args)
        ahead, ascent_state = ascent.update(updates, state.ascent, plain, **extra_args)
        ahead = jax.tree.map(lambda a, p: jnp.asarray(a, p.dtype), ahead, state.perturbation)
        moved = _moved(params, step, ahead, state.perturbation)
        return moved, PerturbedState(base_state, ascent_state, ahead)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _moved(params, step, ahead, behind):
    """The step with the old perturbation taken out of the parameters and the new one put in."""
    # Their difference first: where they are equal it is exactly 0, and the step stays that of base.
    moved = jax.tree.map(lambda s, a, b: s + (a - b), step, ahead, behind)
    return jax.tree.map(lambda w, m: jnp.zeros_like(w) if m is None else m, params, moved)


def momentum_sam(
    base: optax.GradientTransformation, rho: ScalarOrSchedule, momentum: float = 0.9
) -> optax.GradientTransformationExtraArgs:
    r"""Momentum-SAM: the perturbation points against the momentum of the gradients.

    .. math:: v_{t+1} = \mu v_t + g_t, \qquad a_{t+1} = -\rho \, v_{t+1} / \lVert v_{t+1} \rVert

    The sign is the paper's: a step along :math:`-v` has just been made, and going further in that
    direction leads up again. The momentum here is of gradients alone; the paper's code for SGD also
    includes weight decay in it. It is kept apart from the optimizer's own, at the cost of one more
    copy of the parameters, so that any optimizer can be used; :func:`shared_momentum_sam` keeps
    none.

    Args:
      base: the whole optimizer, as in :func:`perturb_ahead`; the paper's has the same momentum.
      rho: radius, as in :func:`sast_jax.sharpness.sam`.
      momentum: :math:`\mu`.

    Returns:
      A transformation, as of :func:`perturb_ahead`.

    Examples:
      >>> import jax, jax.numpy as jnp, optax
      >>> from sast_jax.sharpness import eval_params, momentum_sam
      >>> tx = momentum_sam(optax.sgd(0.25), rho=0.5)
      >>> grad_fn = jax.grad(lambda w: jnp.sum(w**2))
      >>> w = jnp.array([0.0, 4.0])
      >>> updates, state = tx.update(grad_fn(w), tx.init(w), w)
      >>> w = optax.apply_updates(w, updates)
      >>> print(w, eval_params(state, w))
      [0.  1.5] [0. 2.]

    Reference: Becker et al., Momentum-SAM, arXiv 2401.12033, algorithm 1.
    """
    require("momentum", momentum, lambda momentum: 0 <= momentum < 1, "from 0 to below 1")
    return perturb_ahead(
        base, optax.chain(optax.trace(momentum), scale_to_norm(rho), optax.scale(-1.0))
    )


def shared_momentum_sam(
    base: optax.GradientTransformation, rho: ScalarOrSchedule
) -> optax.GradientTransformationExtraArgs:
    r"""Momentum-SAM with the momentum that the optimizer keeps anyway, and no copies beside it.

    .. math:: a_{t+1} = -\rho \, m_{t+1} / \lVert m_{t+1} \rVert

    :math:`m` is the first moment of Adam and its kin, or the trace of SGD with momentum. With
    ``optax.adam(rate, b1)`` and ``optax.sgd(rate, b1)`` it is :func:`momentum_sam` with
    ``momentum=b1``, up to rounding. What comes before the momentum in a chain, such as clipping or
    weight decay, is in :math:`m` here, and not in the momentum there.

    Args:
      base: the whole optimizer, as in :func:`perturb_ahead`, which keeps one momentum of all
        parameters.
      rho: radius, as in :func:`sast_jax.sharpness.sam`.

    Returns:
      A transformation, as of :func:`perturb_ahead`.

    Raises:
      ValueError: the radius is no radius; from ``init``, ``base`` does not keep one momentum.

    Examples:
      >>> import jax, jax.numpy as jnp, optax
      >>> from sast_jax.sharpness import eval_params, shared_momentum_sam
      >>> tx = shared_momentum_sam(optax.sgd(0.25, momentum=0.9), rho=0.5)
      >>> grad_fn = jax.grad(lambda w: jnp.sum(w**2))
      >>> w = jnp.array([0.0, 4.0])
      >>> updates, state = tx.update(grad_fn(w), tx.init(w), w)
      >>> w = optax.apply_updates(w, updates)
      >>> print(w, eval_params(state, w))
      [0.  1.5] [0. 2.]

    Reference: as of :func:`momentum_sam`.
    """
    base = optax.with_extra_args_support(base)
    if not callable(rho):
        require("radius", rho, *NOT_NEGATIVE)

    def init_fn(params):
        real = real_leaves(params, params)
        state = base.init(real)
        shapes = (jax.tree.map(jnp.shape, tree) for tree in (_momentum(state), real))
        if len({str(tree) for tree in shapes}) > 1:
            raise ValueError("the optimizer's momentum is not of all parameters; use momentum_sam.")
        dtype = jax.eval_shape(global_norm, real).dtype
        return SharedMomentumState(state, jnp.zeros([], jnp.int32), jnp.zeros([], dtype))

    def update_fn(updates, state, params=None, **extra_args):
        if params is None:
            raise ValueError(
                "shared_momentum_sam needs the parameters: update(grads, state, params)."
            )
        real, behind = real_leaves(params, params), state.perturbation
        behind = jax.tree.map(lambda a, w: jnp.asarray(a, w.dtype), behind, real)
        step, base_state = base.update(
            real_leaves(params, updates), state.base, optax.tree.sub(real, behind), **extra_args
        )
        radius = rho(state.steps) if callable(rho) else rho
        scale = jnp.asarray(-radius / global_norm(_momentum(base_state)), state.scale.dtype)
        state = SharedMomentumState(base_state, optax.safe_increment(state.steps), scale)
        ahead = jax.tree.map(lambda a, w: jnp.asarray(a, w.dtype), state.perturbation, real)
        return _moved(params, step, ahead, behind), state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _momentum(state) -> optax.Updates:
    """The one momentum that an optimizer keeps."""

    def keeps(node):
        return hasattr(node, "mu") or isinstance(node, optax.TraceState)

    found = [node for node in jax.tree.leaves(state, is_leaf=keeps) if keeps(node)]
    if len(found) != 1:
        raise ValueError(
            f"shared_momentum_sam takes the optimizer's momentum, and it keeps {len(found)}; use "
            "momentum_sam, which keeps its own."
        )
    return found[0].trace if isinstance(found[0], optax.TraceState) else found[0].mu


def eval_params(state: optax.OptState, params: optax.Params) -> optax.Params:
    """Parameters to evaluate, without the perturbation that :func:`perturb_ahead` keeps in them.

    Continue training with the perturbed parameters: from those of this function the next step would
    remove the perturbation a second time. Averages over steps should be taken of those of this
    function.

    Args:
      state: of an optimizer with one :func:`perturb_ahead`, :func:`momentum_sam` or
        :func:`shared_momentum_sam` for all of the parameters in it, alone or inside of chains,
        ``MultiSteps``, ``apply_if_finite`` or ``inject_hyperparams``.
      params: as they are trained.

    Returns:
      A tree like ``params``.

    Raises:
      ValueError: there is none, or more than one.
    """
    kinds = PerturbedState, SharedMomentumState
    leaves = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kinds))
    found = [leaf for leaf in leaves if isinstance(leaf, kinds)]
    if len(found) != 1:
        raise ValueError(
            f"the state holds {len(found)} optimizers of perturb_ahead or momentum_sam and not one."
        )

    def without(w, a):
        return w if a is None else w - jnp.asarray(a, jnp.result_type(w))

    return jax.tree.map(without, params, found[0].perturbation)
