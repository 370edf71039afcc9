"""Sharpness of a minimum: the largest eigenvalue of the Hessian, and the loss within a radius."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp


class Eigenvalue(NamedTuple):
    """The largest eigenvalue found, and how far from it at most an exact eigenvalue lies.

    ``least`` is the smallest one found; the true smallest is no larger.
    """

    value: jax.Array
    residual: jax.Array
    least: jax.Array


def top_eigenvalue(
    loss: Callable[[Any], jax.Array], params: Any, key: jax.Array, iterations: int = 20
) -> Eigenvalue:
    r"""Largest (not largest in magnitude) eigenvalue of the Hessian of a loss.

    Lanczos iteration from a random start with full reorthogonalisation; each iteration takes one
    product of the Hessian with a vector, forward over reverse, about three gradients. For the best
    vector :math:`v`, some eigenvalue lies within :math:`\lVert H v - \lambda v \rVert`, the
    residual, of the value. Up to rounding the value is at most the true largest one; directions
    that the start lacks altogether are not found.

    Args:
      loss: of the parameters alone, a scalar.
      params: where the Hessian is taken.
      key: of the random start.
      iterations: 1 or more; the number of parameters bounds them too.

    Returns:
      The eigenvalue, its residual, and the smallest eigenvalue found, scalars.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from sast_jax.evaluation.curvature import top_eigenvalue
      >>> saddle = lambda w: w[0] ** 2 - 4 * w[1] ** 2
      >>> found = top_eigenvalue(saddle, jnp.ones(2), jax.random.key(0))
      >>> print(round(float(found.value), 4))
      2.0

    Reference: Golub and Van Loan, Matrix Computations, 4th edition, section 10.1.
    """
    flat_N, unravel = jax.flatten_util.ravel_pytree(params)
    N = flat_N.size
    size = min(iterations, N)
    gradient = jax.grad(lambda w: loss(unravel(w)))

    def times_hessian(v_N):
        return jax.jvp(gradient, (flat_N,), (v_N,))[1]

    def body(carry, i):
        basis_IxN, q_N = carry
        basis_IxN = basis_IxN.at[i].set(q_N)
        w_N = times_hessian(q_N)
        alpha, length = w_N @ q_N, jnp.linalg.norm(w_N)
        for _ in range(2):  # once is not enough in finite precision
            w_N = w_N - (basis_IxN @ w_N) @ basis_IxN
        beta = jnp.linalg.norm(w_N)
        # What is left of an exhausted space is rounding, and no direction.
        beta = jnp.where(beta > 100 * jnp.finfo(w_N.dtype).eps * length, beta, 0)
        return (basis_IxN, jnp.where(beta > 0, w_N / beta, 0)), (alpha, beta, (q_N != 0).any())

    start_N = jax.random.normal(key, (N,), flat_N.dtype)
    empty_IxN = jnp.zeros((size, N), flat_N.dtype)
    carry = empty_IxN, start_N / jnp.linalg.norm(start_N)
    _, (alphas_I, betas_I, whole_I) = jax.lax.scan(body, carry, jnp.arange(size))
    # An exhausted space leaves rows of zeros, and their diagonal entries are eigenvalues of their
    # own. The first Rayleigh quotient lies between the smallest and the largest: it is neither.
    alphas_I = jnp.where(whole_I, alphas_I, alphas_I[0])
    between = betas_I[:-1]
    values_I, vectors_IxI = jnp.linalg.eigh(
        jnp.diag(alphas_I) + jnp.diag(between, 1) + jnp.diag(between, -1)
    )
    # Lanczos gives the residual for free: the next beta times the vector's last component.
    residual = betas_I[-1] * jnp.abs(vectors_IxI[-1, -1])
    return Eigenvalue(values_I[-1], residual, values_I[0])


def rise(
    loss: Callable[[Any], jax.Array], params: Any, radius: jax.typing.ArrayLike, steps: int = 10
) -> jax.Array:
    r"""How far the loss rises within a radius, :math:`\max_{|a| \le \rho} L(w + a) - L(w)`.

    By projected gradient ascent: normalised steps of :math:`2.5 \rho` over their number, each
    followed by a projection onto the ball. The highest loss met counts, so that the value is at
    most the true one, and at least 0.

    Args:
      loss: of the parameters alone, a scalar.
      params: centre of the ball.
      radius: of the ball, in the norm of all parameters together.
      steps: of the ascent; each takes a gradient.

    Examples:
      >>> import jax.numpy as jnp
      >>> from sast_jax.evaluation.curvature import rise
      >>> print(round(float(rise(lambda w: 3 * w[0] + 4 * w[1], jnp.zeros(2), 0.1)), 4))
      0.5

    References: Foret et al., ICLR 2021, arXiv 2010.01412, for what is maximised; Madry et al., ICLR
    2018, arXiv 1706.06083, for the ascent.
    """
    flat_N, unravel = jax.flatten_util.ravel_pytree(params)

    def at(away_N):
        return loss(unravel(flat_N + away_N))

    def scaled(v_N, length):
        norm = jnp.linalg.norm(v_N)
        return v_N * jnp.where(norm > 0, length / jnp.where(norm > 0, norm, 1), 0)

    def body(carry, _):
        away_N, highest = carry
        value, gradient_N = jax.value_and_grad(at)(away_N)
        away_N = away_N + scaled(gradient_N, 2.5 * radius / steps)
        away_N = jnp.where(jnp.linalg.norm(away_N) > radius, scaled(away_N, radius), away_N)
        return (away_N, jnp.maximum(highest, value)), None

    start_N = jnp.zeros_like(flat_N)
    before = at(start_N)
    (away_N, highest), _ = jax.lax.scan(body, (start_N, before), length=steps)
    return jnp.maximum(highest, at(away_N)) - before
