"""The largest eigenvalue against the whole Hessian, the loss nearby against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sam_members import problem

from sast_jax.evaluation.curvature import rise, top_eigenvalue


def test_equals_the_whole_hessian_of_a_network():
    with jax.enable_x64(True):
        params, loss, xs, ys = problem(jnp.float64)
        flat, unravel = jax.flatten_util.ravel_pytree(params)

        def at(w):
            return loss(w, xs[0], ys[0])

        exact = np.linalg.eigvalsh(jax.hessian(lambda w: at(unravel(w)))(flat))
        found = jax.jit(lambda w: top_eigenvalue(at, w, jax.random.key(0), iterations=30))(params)
    np.testing.assert_allclose(found.value, exact[-1], rtol=1e-8)
    np.testing.assert_allclose(found.least, exact[0], rtol=1e-6)
    assert float(found.residual) < 1e-6 * exact[-1]


def test_is_the_largest_and_not_the_largest_in_magnitude():
    h = jnp.array([-10.0, 3.0, 1.0, 0.5, 0.0])
    found = top_eigenvalue(lambda w: 0.5 * (h * w**2).sum(), jnp.ones(5), jax.random.key(0))
    np.testing.assert_allclose(found[::2], (3.0, -10.0), rtol=1e-5)


def test_the_residual_bounds_the_error_of_few_iterations():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(200, 200))
    a = jnp.asarray((a + a.T) / 2, jnp.float32)
    exact = np.linalg.eigvalsh(a)
    for iterations in (3, 8, 60):
        found = top_eigenvalue(
            lambda w: 0.5 * w @ a @ w, jnp.zeros(200), jax.random.key(1), iterations
        )
        assert np.abs(exact - float(found.value)).min() <= float(found.residual) + 1e-4
        assert float(found.value) <= exact[-1] + 1e-4
    np.testing.assert_allclose(found.value, exact[-1], rtol=1e-4)


@pytest.mark.parametrize(
    ("loss", "size", "expected"),
    [
        (lambda w: 1.5 * w @ w, 1000, 3.0),
        (lambda w: -0.5 * w @ w, 5, -1.0),
        (lambda w: -0.5 * w.sum() ** 2, 5, 0.0),
        (lambda w: w[:30].sum() ** 2 + 2 * w[30:].sum() ** 2, 300, 1080.0),
        (lambda w: w.sum(), 5, 0.0),
    ],
    ids=["identity", "concave", "one direction", "two directions", "linear"],
)
def test_a_spectrum_of_few_values_is_exhausted_and_no_more(loss, size, expected):
    found = top_eigenvalue(loss, jnp.ones(size), jax.random.key(0))
    np.testing.assert_allclose(found.value, expected, rtol=1e-5, atol=1e-5)
    assert found.residual < 1e-3


def test_rise_of_a_quadratic_is_that_along_its_steepest_direction():
    h = jnp.array([1.0, 4.0, 9.0])
    found = rise(lambda w: 0.5 * (h * w**2).sum(), jnp.array([0.0, 0.0, 1e-3]), 0.5, steps=40)
    np.testing.assert_allclose(found, 0.5 * 9 * (0.501**2 - 0.001**2), rtol=1e-3)


def test_rise_stays_within_the_ball_and_is_never_negative():
    hill = rise(lambda w: -(w**2).sum(), jnp.zeros(4), 1.0)
    assert hill == 0
    seen = []

    def loss(w):
        jax.debug.callback(lambda norm: seen.append(float(norm)), jnp.linalg.norm(w))
        return jnp.sin(3 * w[0]) + w[1] ** 2

    assert float(rise(loss, jnp.zeros(2), 0.3)) > 0
    jax.effects_barrier()
    assert max(seen) <= 0.3 + 1e-6


def test_rise_of_a_network_is_at_least_that_along_the_gradient():
    params, loss, xs, ys = problem(jnp.float32)

    def at(w):
        return loss(w, xs[0], ys[0])

    gradient = jax.grad(at)(params)
    norm = sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient)) ** 0.5
    ahead = jax.tree.map(lambda w, g: w + 0.05 * g / norm, params, gradient)
    assert rise(at, params, 0.05) >= (at(ahead) - at(params)) * 0.999
    assert rise(at, params, 0.1) > rise(at, params, 0.05)
