"""The SAM link under Flax's two ways of training: a linen train state and an nnx optimizer.

Both hand ``grad_fn`` on to the link, and both leave batch statistics to the first gradient: what
the gradient at the perturbed parameters does to them is dropped, so they are updated once a step.
"""

from collections.abc import Callable, Mapping
from typing import Any

import optax
from flax import nnx
from flax.linen.fp8_ops import OVERWRITE_WITH_GRADIENT
from flax.training import train_state


class TrainState(train_state.TrainState):
    """Linen's train state that passes ``grad_fn`` on to an optimizer with a SAM link.

    Examples:
      >>> import jax, jax.numpy as jnp, optax
      >>> from flax import linen as nn
      >>> from sast_jax.sharpness import sam
      >>> from sast_jax.sharpness.flax import TrainState
      >>> class Net(nn.Module):
      ...     @nn.compact
      ...     def __call__(self, x):
      ...         return nn.BatchNorm(use_running_average=False)(nn.Dense(1)(x))
      >>> class WithStatistics(TrainState):
      ...     batch_stats: dict
      >>> x, y = jnp.linspace(-1, 1, 8)[:, None], jnp.ones((8, 1))
      >>> variables = Net().init(jax.random.key(0), x)
      >>> tx = optax.chain(sam(rho=0.1), optax.sgd(0.1))
      >>> state = WithStatistics.create(apply_fn=Net().apply, tx=tx, **variables)
      >>> @jax.jit
      ... def step(state, x, y):
      ...     def loss(params):
      ...         variables = {"params": params, "batch_stats": state.batch_stats}
      ...         scores, changed = state.apply_fn(variables, x, mutable=["batch_stats"])
      ...         return jnp.mean((scores - y) ** 2), changed["batch_stats"]
      ...     grad = jax.grad(loss, has_aux=True)
      ...     grads, batch_stats = grad(state.params)
      ...     return state.apply_gradients(
      ...         grads=grads, grad_fn=lambda w: grad(w)[0], batch_stats=batch_stats
      ...     )
      >>> int(step(state, x, y).step)
      1
    """

    def apply_gradients(
        self,
        *,
        grads: Any,
        grad_fn: Callable[[Any], Any] | None = None,
        extra_args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> "TrainState":
        """The next state.

        Args:
          grads: gradient at ``params``, on the batch that chooses the perturbation.
          grad_fn: function from parameters to the gradient that is descended; optimizers without a
            SAM link need none.
          extra_args: other arguments that links of the optimizer need, such as ``value``.
          **kwargs: other fields to replace, such as batch statistics.
        """
        if OVERWRITE_WITH_GRADIENT in grads:  # scales of fp8, which no optimizer sees
            return self._beside_scales(grads, grad_fn, extra_args, kwargs)
        tx = optax.with_extra_args_support(self.tx)
        extra_args = dict(extra_args or {})
        if grad_fn is not None:  # as some optimizers refuse what they do not know
            extra_args["grad_fn"] = grad_fn
        updates, opt_state = tx.update(grads, self.opt_state, self.params, **extra_args)
        params = optax.apply_updates(self.params, updates)
        return self.replace(step=self.step + 1, params=params, opt_state=opt_state, **kwargs)

    def _beside_scales(self, grads, grad_fn, extra_args, kwargs):
        # Flax replaces fp8 scales by their "gradients" instead of training them. The optimizer and
        # SAM see the other parameters only.
        inner = self.replace(params=self.params["params"])
        around = grad_fn and (lambda w: grad_fn({**self.params, "params": w})["params"])
        stepped = TrainState.apply_gradients(
            inner, grads=grads["params"], grad_fn=around, extra_args=extra_args, **kwargs
        )
        return stepped.replace(params={**grads, "params": stepped.params})


def nnx_grad_fn(
    loss: Callable[..., Any],
    model: nnx.Module,
    *args: Any,
    wrt: Any = nnx.Param,
    has_aux: bool = False,
) -> Callable[[Any], Any]:
    """The ``grad_fn`` for ``nnx.Optimizer.update``, on copies of a model.

    Make it before the first gradient is taken, as the example does: the copies then have the same
    random numbers, such as dropout's, and SAM perturbs the loss that it descends. For
    :func:`sast_jax.eval_params`, take ``nnx.as_pure`` of the optimizer's state and the parameters.

    Args:
      loss: ``loss(model, *args)``, a scalar, or a scalar and auxiliary values.
      model: copied as it is now; what a copy changes in itself, such as its batch statistics, is
        dropped.
      *args: of the loss, usually a batch.
      wrt: the variables that are trained, as the optimizer's ``wrt``.
      has_aux: the loss returns ``(value, aux)``, as :func:`flax.nnx.grad` has it; the ``aux`` of
        the perturbed parameters is dropped.

    Returns:
      A function from parameters to their gradient, in nnx's own states.

    Examples:
      >>> import jax.numpy as jnp, optax
      >>> from flax import nnx
      >>> from sast_jax.sharpness import sam
      >>> from sast_jax.sharpness.flax import nnx_grad_fn
      >>> class Net(nnx.Module):
      ...     def __init__(self, rngs):
      ...         self.dense = nnx.Linear(1, 1, rngs=rngs)
      ...         self.norm = nnx.BatchNorm(1, rngs=rngs)
      ...     def __call__(self, x):
      ...         return self.norm(self.dense(x))
      >>> def loss(model, x, y):
      ...     return jnp.mean((model(x) - y) ** 2)
      >>> model = Net(nnx.Rngs(0))
      >>> tx = optax.chain(sam(rho=0.1), optax.sgd(0.1))
      >>> optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
      >>> @nnx.jit
      ... def step(model, optimizer, x, y):
      ...     grad_fn = nnx_grad_fn(loss, model, x, y)
      ...     optimizer.update(model, nnx.grad(loss)(model, x, y), grad_fn=grad_fn)
      >>> step(model, optimizer, jnp.linspace(-1, 1, 8)[:, None], jnp.ones((8, 1)))
      >>> int(optimizer.step[...])
      1
    """
    graphdef, _, *rest = nnx.split(nnx.clone(model), wrt, ...)

    def grad_fn(params):
        copy = nnx.merge(graphdef, params, *rest, copy=True)
        found = nnx.grad(loss, argnums=nnx.DiffState(0, wrt), has_aux=has_aux)(copy, *args)
        return nnx.as_pure(found[0] if has_aux else found)

    return grad_fn
