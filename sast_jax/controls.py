"""What SAM is compared with: other perturbations and penalties, for a ``Recipe``."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sast_jax import networks
from sast_jax.networks import Response
from sast_jax.sam import scale_to_norm, sharpness_aware


def random_perturbation(radius: optax.ScalarOrSchedule) -> optax.GradientTransformationExtraArgs:
    """SAM's link with a random direction in the place of the gradient's, of the same norm.

    What SAM owes to its direction is what it does better than this.

    Args:
      radius: of the perturbation, in the norm of all parameters together.

    Returns:
      A link, as of :func:`sast_jax.sam.sam`, whose ``update`` also needs the keyword ``key``, anew
      each time.
    """

    def update(updates, state, params=None, *, key, **extra_args):
        return optax.tree.random_like(key, updates), state

    direction = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    return sharpness_aware(optax.chain(direction, scale_to_norm(radius)))


def rate_penalty(target: float, weight: float) -> Callable[[Response], jax.Array]:
    """Weight times the squared distance of the mean spike to a target; each layer counts the same.

    Training with SAM lowers firing rates; this does so without.

    Args:
      target: spikes a neuron and step, mean over the batch, 0..1.
      weight: of the penalty in the loss.

    Returns:
      response -> penalty.
    """
    return lambda response: weight * (networks.firing_rates(response).mean() - target) ** 2


def adversarial_divergence(
    scores: Callable[[Any], jax.Array], params: Any, key: jax.Array, spread: float, steps: int
) -> jax.Array:
    """How much the worst mismatch of the weights, within a spread, changes what a network answers.

    Each weight gets a relative change of its own, found by ``steps`` signed gradient steps of
    ``spread / steps`` after a random start within a tenth of the spread. Gradients go through both
    networks, not through the choice of the change.

    Args:
      scores: parameters -> class scores (B, K) of a batch.
      params: of the network.
      key: of the start.
      spread: how large relative changes grow at most, but for the start.
      steps: of the search; each takes a gradient.

    Returns:
      The mean Kullback-Leibler divergence, nats, from the network's answers to the changed one's.

    Reference: Büchel et al., Network insensitivity to parameter noise via adversarial
    regularization, ICLR 2022, arXiv 2106.05009. There the search starts at a normal deviate.
    """

    def divergence(params, change):
        changed = jax.tree.map(lambda w, c: w * (1 + c), params, change)
        logs, others = (jax.nn.log_softmax(scores(w)) for w in (params, changed))
        return (jnp.exp(logs) * (logs - others)).sum(axis=-1).mean()

    within = functools.partial(jax.random.uniform, minval=-0.1 * spread, maxval=0.1 * spread)
    change = optax.tree.random_like(key, params, within)
    fixed = jax.lax.stop_gradient(params)
    for _ in range(steps):
        gradient = jax.grad(divergence, argnums=1)(fixed, change)
        change = jax.tree.map(lambda c, g: c + spread / steps * jnp.sign(g), change, gradient)
    return divergence(params, jax.lax.stop_gradient(change))
