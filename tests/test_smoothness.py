"""The bounds on derivatives of the risk against whole Hessians and SAM's second-order remainder."""

import functools

import hypothesis
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
import theory_cases as cases
from hypothesis import given
from theory_cases import CASES, FEWER, Case

from sast_jax import lif, smoothness, spikes, theory
from sast_jax.connections import Connection

few = hypothesis.settings(max_examples=50, deadline=None)
many = hypothesis.settings(max_examples=1000, deadline=None)
RADIUS = 0.1
ROOM = 1 + 1e-9


@functools.partial(jax.jit, static_argnums=0)
def _derivatives(kind, network, frames, labels, scalars, length, reads_current, radius):
    flat_N, unravel = jax.flatten_util.ravel_pytree(network)

    def risk(w):
        args = frames, labels, scalars, length, reads_current
        return cases.loss(kind, unravel(w), *args).mean()

    def at(w):
        gradient = jax.grad(risk)(w)
        return jnp.linalg.norm(gradient), jnp.abs(jnp.linalg.eigvalsh(jax.hessian(risk)(w))).max()

    gradient = jax.grad(risk)(flat_N)
    v = gradient / jnp.maximum(jnp.linalg.norm(gradient), 1e-300)
    product = jax.jvp(jax.grad(risk), (flat_N,), (v,))[1]
    there = flat_N + radius * v
    remainder = jnp.linalg.norm(jax.grad(risk)(there) - gradient - radius * product)
    third = jax.jvp(lambda w: jax.jvp(jax.grad(risk), (w,), (v,))[1], (flat_N,), (v,))[1] @ v
    return {
        "centre": at(flat_N),
        "edge": at(there),
        "third": jnp.abs(third),
        "remainder": remainder,
        "rise": risk(there) - risk(flat_N),
    }


def derivatives(case):
    with jax.enable_x64(True):
        args = case.network(), case.frames(), case.labels(), *case.scalars(), case.reads_current
        found = _derivatives(case.kind, *args, RADIUS)
    return jax.tree.map(float, found)


def bounds(case):
    input_norm = cases.over_recordings(case.frames(), 2).max()
    return smoothness.of_ball(
        case.neuron, case.layers(), RADIUS, case.length, input_norm, cases.SCALE, case.reads_current
    )


def hold_smoothness(case):
    """Gradient, Hessian and third derivative at two points of the ball; SAM's two inequalities."""
    found, allowed = derivatives(case), bounds(case)
    for place in ("centre", "edge"):
        assert found[place][0] <= allowed.first * ROOM
        assert found[place][1] <= allowed.second * ROOM + 1e-12
    assert found["third"] <= allowed.third * ROOM + 1e-12
    assert found["remainder"] <= allowed.third * RADIUS**2 / 2 * ROOM + 1e-12
    rise = RADIUS * found["centre"][0] + allowed.second * RADIUS**2 / 2
    assert found["rise"] <= rise * ROOM


@few
@given(FEWER)
def test_smoothness_bounds_hold(case):
    hold_smoothness(case)


@pytest.mark.slow
@many
@given(CASES)
def test_smoothness_bounds_hold_a_thousand_times(case):
    hold_smoothness(case)


def test_a_jet_through_a_function_is_exact_for_a_scalar():
    with jax.enable_x64(True):

        def inner(t):
            return 2.0 * t + 3.0 * t**2 / 2 + 5.0 * t**3 / 6

        def outer(x):
            return 7.0 * x + 11.0 * x**2 / 2 + 13.0 * x**3 / 6

        derivative, expected = lambda t: outer(inner(t)), []
        for _ in range(3):
            derivative = jax.grad(derivative)
            expected.append(float(derivative(0.0)))
    found = smoothness.through(smoothness.Jet(7.0, 11.0, 13.0), smoothness.Jet(2.0, 3.0, 5.0))
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("reset", [lif.reset_to_zero, lif.reset_by_subtraction])
@pytest.mark.parametrize("spike", [spikes.sigmoid, spikes.arctan])
def test_derivatives_of_the_step_are_bounded_closely(reset, spike):
    neuron = theory.Neuron(reset, spike, 3.0, 0.9, 1.0)
    u = np.linspace(-60, 60, 12_001)
    with jax.enable_x64(True):

        def step(u):
            state = lif.State(u, spike(3.0)(u - 1.0))
            return neuron.cell()(state, 0.0)[0].potential

        second = jax.grad(jax.grad(step))
        found = [np.abs(jax.vmap(f)(u)).max() for f in (second, jax.grad(second))]
    allowed = smoothness.step_jet(neuron, 1.0)
    for value, bound in zip(found, allowed[1:], strict=True):
        assert bound / 3 < value <= bound * ROOM


def one_neuron(weight=0.0, bias=1.0, scale=30.0):
    """A layer of two outputs, one step, one pixel: the loss is a function of four numbers."""
    network = [Connection(np.array([[weight, weight]]), np.array([bias, bias]))]
    neuron = theory.Neuron(lif.reset_to_zero, spikes.sigmoid, 4.0, 0.9, 1.0)

    def risk(flat):
        s = jax.nn.sigmoid(4.0 * (flat[:2] * 1.0 + flat[2:] - 1.0))
        return -jax.nn.log_softmax(scale * s)[0]

    with jax.enable_x64(True):
        flat = jnp.array([weight, weight, bias, bias])
        eigenvalue = float(jnp.linalg.eigvalsh(jax.hessian(risk)(flat))[-1])
    args = neuron, theory.layers(network, (1, 1, 1)), 0.0, 1, 1.0, scale, False
    return eigenvalue, args


def test_the_bound_is_near_where_the_loss_bends_and_fails_with_a_wrong_step(monkeypatch):
    eigenvalue, args = one_neuron()
    assert eigenvalue <= smoothness.of_ball(*args).second < 2 * eigenvalue  # so half is no bound
    monkeypatch.setattr(smoothness, "loss_jet", lambda z: z)  # as if the loss were the scores
    assert eigenvalue > smoothness.of_ball(*args).second


@pytest.mark.parametrize(
    "name, wrong, field",
    [
        # Faà di Bruno without its sums; no bending of the spike; nothing of the bias.
        ("through", lambda outer, inner: smoothness.Jet(*np.multiply(outer, inner)), "second"),
        ("spike_jet", lambda neuron: smoothness.Jet(1.0, 0.0, 0.0), "second"),
        (
            "current_jet",
            lambda layer, norm, size, steps, inner: smoothness.Jet(size, 0.0, 0.0),
            "first",
        ),
    ],
)
def test_mutations_of_the_derivation_fail(monkeypatch, name, wrong, field):
    """A single score read from a current or spike whose derivatives are known in closed form."""
    neuron = theory.Neuron(lif.reset_to_zero, spikes.sigmoid, 4.0, 0.9, 1.0)
    layers = theory.layers([Connection(np.zeros((1, 1)), np.zeros(1))], (1, 1, 1))
    monkeypatch.setattr(smoothness, "loss_jet", lambda z: z)
    # s = sigmoid(4 (w x + b - 1)) along (w, b) = t (1, 1) / sqrt 2, and x = 1.
    exact = smoothness.Jet(2**0.5, 2 * 16 / 6 / 3**0.5, 0.0)
    args = neuron, layers, 2.0, 1, 1.0, 1.0, False
    right = smoothness.of_ball(*args)
    assert getattr(exact, field) <= getattr(right, field) * ROOM
    monkeypatch.setattr(smoothness, name, wrong)
    assert getattr(exact, field) > getattr(smoothness.of_ball(*args), field) * ROOM


def test_the_step_of_time_adds_what_bends():
    """u_2 = f(u_1) + I with the current moving at unit speed: f'' must come back."""
    step = smoothness.Jet(0.5, 2.0, 3.0)
    current = smoothness.Jet(1.0, 0.0, 0.0)
    found = smoothness.potential_jet(step, 2, current)
    assert found.second >= 2.0 * 0.5  # f'' of the first step alone, in norm over time
    assert smoothness.potential_jet(step._replace(second=0.0), 2, current).second == 0


def test_a_larger_ball_and_longer_recordings_have_larger_bounds():
    case = Case("zero sigmoid MLP", 3, 2.0, 0.9, 1.0, 1.0, cases.T, False)
    args = case.neuron, case.layers()
    small = smoothness.of_ball(*args, 0.1, 4, 3.0, cases.SCALE, False)
    assert all(np.greater(smoothness.of_ball(*args, 0.5, 4, 3.0, cases.SCALE, False), small))
    assert all(np.greater(smoothness.of_ball(*args, 0.1, 8, 3.0, cases.SCALE, False), small))
