"""The risk around the parameters, measured at one moment of training: what the theorems bound."""

import dataclasses
from typing import Generic, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sast_jax.evaluation import curvature, sensitivity, swap
from sast_jax.sharpness import scale_to_norm
from sast_jax.training.trained import Trained

_ITERATIONS = 15  # of Lanczos


class Moment(NamedTuple, Generic[swap.Array]):
    """Measurements of the smooth risk (mean cross-entropy) on some recordings; norms are l2.

    Attributes:
      loss: the risk f.
      gradient: norm of its gradient.
      curvature: largest absolute eigenvalue of its Hessian that Lanczos finds, plus the residual of
        the top one. It is an estimate, as a larger eigenvalue may be missed. It is measured at the
        parameters and at the point one radius along the gradient, and the larger value is kept.
      moved: how far the gradient moves when the parameters are perturbed by the radius along the
        gradient of a random minibatch.
      variance: of the gradient of a minibatch drawn with replacement, at those parameters.
      remainder: of the gradient at the radius along its own direction, beyond first order.
      rise: of the risk within the radius, the most that is found.
      parameters, inputs: mean norms of single recordings' gradients.
    """

    loss: swap.Array
    gradient: swap.Array
    curvature: swap.Array
    moved: swap.Array
    variance: swap.Array
    remainder: swap.Array
    rise: swap.Array
    parameters: swap.Array
    inputs: swap.Array


@jax.jit
def measure_risk(
    trained: Trained,
    packed_NxTxP: jax.Array,
    labels_N: jax.Array,
    radius: jax.typing.ArrayLike,
    key: jax.Array,
) -> Moment[jax.Array]:
    """Measures one network with its smooth spike at ``hyper.slope_end``.

    Args:
      trained: one run.
      packed_NxTxP, labels_N: recordings that the risk is the mean over; all at once.
      radius: of the perturbation; 0 without SAM.
      key: of the random minibatch and the start of Lanczos.
    """
    recipe, params = trained.recipe, trained.params

    def risk(params, packed=packed_NxTxP, labels=labels_N):
        there = dataclasses.replace(trained, params=params)
        scores = trained.model.readout(swap.apply(there, trained.soft_cell(), packed))
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()

    def along(direction):
        ascent = scale_to_norm(radius)
        return ascent.update(direction, ascent.init(direction))[0]

    minibatch_key, start_key = jax.random.split(key)
    size = getattr(recipe.sharpness, "part", None) or recipe.batches.size
    chosen = jax.random.randint(minibatch_key, (size,), 0, len(labels_N))
    loss, gradient = jax.value_and_grad(risk)(params)
    ascent = along(jax.grad(risk)(params, packed_NxTxP[chosen], labels_N[chosen]))
    there = optax.tree.add(params, ascent)
    at_there = jax.grad(risk)(there)
    own = along(gradient)
    ahead = optax.tree.add(params, own)
    product = jax.jvp(jax.grad(risk), (params,), (own,))[1]
    beyond = optax.tree.sub(jax.grad(risk)(ahead), optax.tree.add(gradient, product))

    def largest(place):
        top = curvature.top_eigenvalue(risk, place, start_key, _ITERATIONS)
        return jnp.maximum(top.value, -top.least) + top.residual

    places = jax.tree.map(lambda *leaves: jnp.stack(leaves), params, ahead)
    here = sensitivity.gradient_norms(trained, packed_NxTxP, labels_N)
    perturbed = dataclasses.replace(trained, params=there)
    singles = sensitivity.gradient_norms(perturbed, packed_NxTxP, labels_N)
    # The mean of |g_i - g|^2 is that of |g_i|^2 less |g|^2. A minibatch drawn with replacement has
    # this variance divided by its size.
    spread = (singles.parameters_N**2).mean() - optax.tree.norm(at_there, squared=True)
    return Moment(
        loss=loss,
        gradient=optax.tree.norm(gradient),
        curvature=jax.lax.map(largest, places).max(),
        moved=optax.tree.norm(optax.tree.sub(at_there, gradient)),
        variance=spread / recipe.batches.size,
        remainder=optax.tree.norm(beyond),
        rise=curvature.rise(risk, params, radius),
        parameters=here.parameters_N.mean(),
        inputs=here.input_N.mean(),
    )
