"""SAM under linen and nnx against the link by hand; batch statistics change once a step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from flax.linen.fp8_ops import OVERWRITE_WITH_GRADIENT

from sast_jax.sharpness import sam
from sast_jax.sharpness.flax import TrainState, nnx_grad_fn

pytestmark = pytest.mark.usefixtures("rank_promotion")
X = jax.random.normal(jax.random.key(0), (16, 3))
Y = X[:, :1] ** 2
MOMENTUM = 0.9


@pytest.fixture
def rank_promotion():
    """Flax's own modules promote ranks."""
    with jax.numpy_rank_promotion("allow"):
        yield


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.Dense(5)(x)
        x = jnp.tanh(linen.BatchNorm(use_running_average=False, momentum=MOMENTUM)(x))
        return linen.Dense(1)(x)


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.a = nnx.Linear(3, 5, rngs=rngs)
        self.norm = nnx.BatchNorm(5, momentum=MOMENTUM, rngs=rngs)
        self.b = nnx.Linear(5, 1, rngs=rngs)

    def __call__(self, x):
        return self.b(jnp.tanh(self.norm(self.a(x))))


class WithStatistics(TrainState):
    batch_stats: dict


def by_hand(w, steps, rho=0.3, rate=0.1):
    """Batch normalisation, SAM and descent written out."""

    def loss(w):
        h = X @ w["a"] + w["c"]
        h = (h - h.mean(0)) / jnp.sqrt(h.var(0) + 1e-5) * w["scale"] + w["bias"]
        return jnp.mean((jnp.tanh(h) @ w["b"] + w["d"] - Y) ** 2)

    mean = jnp.zeros(5)
    for _ in range(steps):
        mean = MOMENTUM * mean + (1 - MOMENTUM) * (X @ w["a"] + w["c"]).mean(0)
        g = jax.grad(loss)(w)
        norm = jnp.sqrt(sum((leaf**2).sum() for leaf in g.values()))
        g = jax.grad(loss)({key: w[key] + rho * g[key] / norm for key in w})
        w = {key: w[key] - rate * g[key] for key in w}
    return w, mean


def test_linen():
    variables = Linen().init(jax.random.key(1), X)
    tx = optax.chain(sam(0.3), optax.sgd(0.1))
    state = WithStatistics.create(apply_fn=Linen().apply, tx=tx, **variables)

    @jax.jit
    def step(state):
        def loss(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            scores, changed = state.apply_fn(variables, X, mutable=["batch_stats"])
            return jnp.mean((scores - Y) ** 2), changed["batch_stats"]

        grads, stats = jax.grad(loss, has_aux=True)(state.params)
        return state.apply_gradients(
            grads=grads,
            grad_fn=lambda w: jax.grad(loss, has_aux=True)(w)[0],
            batch_stats=stats,
        )

    p = variables["params"]
    w = {"a": p["Dense_0"]["kernel"], "c": p["Dense_0"]["bias"]}
    w |= {"b": p["Dense_1"]["kernel"], "d": p["Dense_1"]["bias"]}
    w |= {"scale": p["BatchNorm_0"]["scale"], "bias": p["BatchNorm_0"]["bias"]}
    for _ in range(3):
        state = step(state)
    expected, mean = by_hand(w, 3)
    np.testing.assert_allclose(state.params["Dense_0"]["kernel"], expected["a"], atol=1e-5)
    np.testing.assert_allclose(state.batch_stats["BatchNorm_0"]["mean"], mean, atol=1e-5)
    assert state.step == 3


def test_nnx():
    model = Nnx(nnx.Rngs(1))
    w = {"a": model.a.kernel[...], "c": model.a.bias[...], "b": model.b.kernel[...]}
    w |= {"d": model.b.bias[...], "scale": model.norm.scale[...], "bias": model.norm.bias[...]}
    tx = optax.chain(sam(0.3), optax.sgd(0.1))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

    def loss(model, x, y):
        return jnp.mean((model(x) - y) ** 2)

    @nnx.jit
    def step(model, optimizer):
        grads = nnx.grad(loss)(model, X, Y)
        optimizer.update(model, grads, grad_fn=nnx_grad_fn(loss, model, X, Y))

    for _ in range(3):
        step(model, optimizer)
    expected, mean = by_hand(w, 3)
    np.testing.assert_allclose(model.a.kernel[...], expected["a"], atol=1e-5)
    np.testing.assert_allclose(model.norm.mean[...], mean, atol=1e-5)


def test_nnx_with_aux_takes_the_same_steps_and_drops_the_aux_of_the_perturbed_point():
    def loss(model, x, y):
        scores = model(x)
        return jnp.mean((scores - y) ** 2), scores

    model = Nnx(nnx.Rngs(1))
    w = {"a": model.a.kernel[...], "c": model.a.bias[...], "b": model.b.kernel[...]}
    w |= {"d": model.b.bias[...], "scale": model.norm.scale[...], "bias": model.norm.bias[...]}
    optimizer = nnx.Optimizer(model, optax.chain(sam(0.3), optax.sgd(0.1)), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        grad_fn = nnx_grad_fn(loss, model, X, Y, has_aux=True)
        grads, scores = nnx.grad(loss, has_aux=True)(model, X, Y)
        optimizer.update(model, grads, grad_fn=grad_fn)
        return scores

    for _ in range(3):
        before = nnx.clone(model)
        np.testing.assert_allclose(step(model, optimizer), before(X), atol=1e-6)
    expected, mean = by_hand(w, 3)
    np.testing.assert_allclose(model.a.kernel[...], expected["a"], atol=1e-5)
    np.testing.assert_allclose(model.norm.mean[...], mean, atol=1e-5)


class Dropped(nnx.Module):
    def __init__(self, rngs):
        self.a, self.b = nnx.Linear(3, 8, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.b(self.dropout(jnp.tanh(self.a(x))))


def test_nnx_perturbs_the_loss_that_it_descends_with_dropout():
    def loss(model, x, y):
        return jnp.mean((model(x) - y) ** 2)

    def train(tx, wrap):
        model = Dropped(nnx.Rngs(1))
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

        @wrap
        def step(model, optimizer):
            grad_fn = nnx_grad_fn(loss, model, X, Y)
            optimizer.update(model, nnx.grad(loss)(model, X, Y), grad_fn=grad_fn)

        for _ in range(3):
            step(model, optimizer)
        return nnx.to_pure_dict(nnx.state(model, nnx.Param))

    plain = optax.with_extra_args_support(optax.sgd(0.1))
    for wrap in (nnx.jit, lambda step: step):
        found = train(optax.chain(sam(0.0), optax.sgd(0.1)), wrap)
        jax.tree.map(np.testing.assert_array_equal, found, train(plain, wrap))


@jax.numpy_dtype_promotion("standard")  # of optax
def test_linen_hands_other_arguments_on():
    tx = optax.chain(sam(0.1), optax.sgd(0.1), optax.contrib.reduce_on_plateau())
    state = TrainState.create(apply_fn=None, params={"w": jnp.ones(2)}, tx=tx)
    grads = {"w": jnp.ones(2)}
    state = state.apply_gradients(
        grads=grads, grad_fn=lambda w: grads, extra_args={"value": jnp.array(1.0)}
    )
    np.testing.assert_allclose(state.params["w"], 0.9)


def test_linen_hands_on_no_more_than_it_is_given():
    def value_fn(params):  # which L-BFGS gives every argument that it does not know
        return (params["w"] ** 2).sum()

    state = TrainState.create(apply_fn=None, params={"w": jnp.ones(2)}, tx=optax.lbfgs())
    grads = {"w": 2 * jnp.ones(2)}
    more = {"value": jnp.array(2.0), "grad": grads, "value_fn": value_fn}
    state = state.apply_gradients(grads=grads, extra_args=more)
    np.testing.assert_allclose(state.params["w"], 1 - np.sqrt(0.5), rtol=1e-6)  # a step of 1


def test_linen_keeps_scales_of_eight_bits_out_of_the_optimizer():
    params = {"params": {"w": jnp.array([3.0, 4.0])}, OVERWRITE_WITH_GRADIENT: {"scale": 1.0}}

    def grad_fn(params):
        assert set(params) == set(grads)
        return grads | {"params": params["params"]}

    grads = {"params": params["params"], OVERWRITE_WITH_GRADIENT: {"scale": jnp.array(7.0)}}
    tx = optax.chain(sam(0.5), optax.adam(0.1), optax.scale(0.0))
    state = TrainState.create(apply_fn=None, params=params, tx=tx)
    state = state.apply_gradients(grads=grads, grad_fn=grad_fn)
    assert state.params[OVERWRITE_WITH_GRADIENT]["scale"] == 7
    np.testing.assert_array_equal(state.params["params"]["w"], params["params"]["w"])
    tx = optax.chain(sam(0.5), optax.sgd(0.1))
    state = TrainState.create(apply_fn=None, params=params, tx=tx)
    state = state.apply_gradients(grads=grads, grad_fn=grad_fn)
    np.testing.assert_allclose(state.params["params"]["w"], [3 - 0.33, 4 - 0.44], rtol=1e-6)
    assert state.step == 1
