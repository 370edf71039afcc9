"""The members of the SAM family as optimizers, and a small network for them to train."""

import jax
import jax.numpy as jnp
import optax

from sast_jax.sharpness import (
    bounded_scale_to_norm,
    friendly_sam,
    gap_aware,
    momentum_sam,
    perturb_ahead,
    sam,
    scale_to_norm,
    shared_momentum_sam,
    sharpness_aware,
    vasso,
)

RHO, RATE = 0.05, 0.1


def with_momentum(base):
    """The same optimizer; if it keeps no momentum, it keeps one that it does not use."""
    if optax.tree.get(base.init({}), "mu") is not None:
        return base
    trace = optax.trace(0.8)

    def update(updates, state, params=None):
        return updates, trace.update(updates, state)[1]

    return optax.chain(optax.GradientTransformation(trace.init, update), base)


FAMILY = {
    "sam": lambda rho=RHO: sam(rho),
    "asam": lambda rho=RHO: sam(rho, adaptive=True),
    "unnormalised": lambda rho=RHO: sharpness_aware(
        (optax.scale_by_schedule if callable(rho) else optax.scale)(rho)
    ),
    "bounded": lambda rho=RHO: sharpness_aware(bounded_scale_to_norm(rho, 0.1)),
    "vasso": lambda rho=RHO: vasso(rho, 0.3),
    "friendly": lambda rho=RHO: friendly_sam(rho, 0.7, 0.5),
    "gsam": lambda rho=RHO: gap_aware(scale_to_norm(rho), 0.3),
}
MEMBERS = {  # (optimizer, radius) -> optimizer
    name: lambda base, rho=RHO, link=link: optax.chain(link(rho), base)
    for name, link in FAMILY.items()
} | {
    "momentum_sam": lambda base, rho=RHO: momentum_sam(base, rho, 0.8),
    "shared_momentum": lambda base, rho=RHO: shared_momentum_sam(with_momentum(base), rho),
    "stale": lambda base, rho=RHO: perturb_ahead(base, scale_to_norm(rho)),
}


def on_descent(member):
    return lambda rho=RHO: member(optax.sgd(RATE), rho)


CHAINS = {name: on_descent(member) for name, member in MEMBERS.items()}


def problem(dtype=jnp.float32):
    """A small network's loss, its parameters and a batch for each step."""
    keys = jax.random.split(jax.random.key(0), 4)
    params = {
        "a": jax.random.normal(keys[0], (7, 5), dtype),
        "b": jnp.zeros(5, dtype),
        "c": jax.random.normal(keys[1], (5, 1), dtype),
    }

    def loss(params, x, y):
        hidden = jnp.tanh(x @ params["a"] + params["b"][None])
        return jnp.mean((hidden @ params["c"] - y) ** 2)

    x = jax.random.normal(keys[2], (60, 16, 7), dtype)
    return params, loss, x, jax.random.normal(keys[3], (60, 16, 1), dtype)
