"""Shared by links and ascents: sums over trees, real and integer leaves, checks of arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

ScalarOrSchedule = jax.typing.ArrayLike | optax.Schedule
NOT_NEGATIVE = lambda number: 0 <= number < float("inf"), "finite and not negative"


def real_leaves(params, tree):
    """The tree with None at integer parameters; transformations pass over None."""
    if any(map(jnp.iscomplexobj, jax.tree.leaves(params))):
        raise TypeError("SAM needs real parameters; keep real and imaginary parts as two arrays.")
    return jax.tree.map(lambda w, leaf: None if is_integer(w) else leaf, params, tree)


def is_integer(leaf) -> bool:
    """Whether it is an integer parameter, or the gradient of one, which has no real dtype."""
    return not jnp.issubdtype(getattr(leaf, "dtype", type(leaf)), jnp.inexact)


def global_norm(tree) -> jax.Array:
    """Global norm, or 1 for a tree of zeros, where the norm has no derivative."""
    squared = dot(tree, tree)
    # Replaced before the root, as its derivative at 0 is infinite: a where after it gives NaN.
    return jnp.sqrt(jnp.where(squared > 0, squared, 1))


def dot(a, b) -> jax.Array:
    """Sum of products over all leaves but integer ones, in float32 at least."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    products = [
        jnp.sum(at_least_float32(x) * at_least_float32(y)) for x, y in pairs if not is_integer(x)
    ]
    return sum(products, start=jnp.zeros([]))


def at_least_float32(leaf):
    dtype = jnp.result_type(leaf)
    wide = jnp.issubdtype(dtype, jnp.inexact) and jnp.finfo(dtype).bits >= 32
    return jnp.asarray(leaf, dtype if wide else jnp.float32)


def require(name, value, sound, wanted) -> None:
    """Raises ValueError unless a value is one sound number; traced values are not checked."""
    if is_traced(value):
        return
    number = np.asarray(value)
    real = any(jnp.issubdtype(number.dtype, kind) for kind in (jnp.integer, jnp.floating))
    if not real or number.ndim:
        raise ValueError(f"{name} is {value!r}; it must be one number, {wanted}.")
    if not sound(number):
        raise ValueError(f"{name} is {value!r}; it must be {wanted}.")


def is_traced(value) -> bool:
    return isinstance(value, jax.core.Tracer)
