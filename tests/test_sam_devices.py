"""The family over eight simulated devices equals the one device that has the whole batch."""

import os
import subprocess
import sys

PROGRAM = """
import functools
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import Mesh, PartitionSpec as P
from sam_members import CHAINS
from sast_jax.sharpness import sam

assert jax.device_count() == 8
mesh = Mesh(np.array(jax.devices()), "d")
keys = jax.random.split(jax.random.key(0), 3)
w = {"a": jax.random.normal(keys[0], (3, 4)), "b": jnp.ones((4, 1))}
x, y = jax.random.normal(keys[1], (32, 3)), jax.random.normal(keys[2], (32, 1))
tx = optax.chain(sam(0.2), optax.sgd(0.1))
grad = jax.grad(lambda w, x, y: jnp.mean((jnp.tanh(x @ w["a"]) @ w["b"] - y) ** 2))


def update(w, grad_fn):
    updates, _ = tx.update(grad_fn(w), tx.init(w), w, grad_fn=grad_fn)
    return updates


def same(a, b):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), a, b)


shard = functools.partial(
    jax.shard_map, mesh=mesh, in_specs=(P(), P("d"), P("d")), out_specs=P()
)
mean = functools.partial(jax.lax.pmean, axis_name="d")


@jax.jit
@shard
def whole_batch(w, x, y):
    # Parameters that vary as far as JAX knows, so that it does not sum gradients itself.
    def grad_fn(w):
        return mean(grad(jax.lax.pcast(w, "d", to="varying"), x, y))

    return update(w, grad_fn)


@jax.jit
@shard
def each_device_its_own_perturbation(w, x, y):
    w = jax.lax.pcast(w, "d", to="varying")
    return mean(update(w, lambda w: grad(w, x, y)))


def two_steps(name, w, grad_fn):
    chain = CHAINS[name]()
    state = chain.init(w)
    for _ in range(2):
        updates, state = chain.update(grad_fn(w), state, w, grad_fn=grad_fn)
        w = optax.apply_updates(w, updates)
    return w, state


for name in CHAINS:
    @jax.jit
    @shard
    def sharded(w, x, y):
        return two_steps(name, w, lambda w: mean(grad(jax.lax.pcast(w, "d", to="varying"), x, y)))

    alone = jax.jit(lambda w, x, y: two_steps(name, w, lambda w: grad(w, x, y)))
    same(sharded(w, x, y), alone(w, x, y))

same(whole_batch(w, x, y), update(w, lambda w: grad(w, x, y)))
groups = [update(w, lambda w: grad(w, x[i : i + 4], y[i : i + 4])) for i in range(0, 32, 4)]
same(
    each_device_its_own_perturbation(w, x, y),
    jax.tree.map(lambda *leaves: sum(leaves) / 8, *groups),
)
"""


def test_a_sharded_batch_and_m_sharpness():
    eight = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    environment = os.environ | eight | {"PYTHONPATH": os.path.dirname(__file__)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
