"""The bounds on derivatives of the risk against whole Hessians and SAM's second-order remainder."""

import functools

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
import theory_cases as cases
from hypothesis import given
from theory_cases import CASES, FEWER, ROOM, Case, few, many

from sast_jax.snn import neurons, spikes
from sast_jax.snn.connections import Full, Halving
from sast_jax.snn.neurons import lif
from sast_jax.theory import lipschitz, smoothness, spectral

RADIUS = 0.1


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


@pytest.mark.parametrize("reset", neurons.RESETS.values())
@pytest.mark.parametrize("spike", [spikes.sigmoid, spikes.arctan])
def test_derivatives_of_the_step_are_bounded_closely(reset, spike):
    neuron = neurons.Smooth(reset, spike, 3.0, 0.9, 1.0)
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
    network = [Full(np.array([[weight, weight]]), np.array([bias, bias]))]
    neuron = neurons.Smooth(neurons.ToZero(), spikes.sigmoid, 4.0, 0.9, 1.0)

    def risk(flat):
        s = jax.nn.sigmoid(4.0 * (flat[:2] * 1.0 + flat[2:] - 1.0))
        return -jax.nn.log_softmax(scale * s)[0]

    with jax.enable_x64(True):
        flat = jnp.array([weight, weight, bias, bias])
        eigenvalue = float(jnp.linalg.eigvalsh(jax.hessian(risk)(flat))[-1])
    args = neuron, lipschitz.layers(network, (1, 1, 1)), 0.0, 1, 1.0, scale, False
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
    neuron = neurons.Smooth(neurons.ToZero(), spikes.sigmoid, 4.0, 0.9, 1.0)
    layers = lipschitz.layers([Full(np.zeros((1, 1)), np.zeros(1))], (1, 1, 1))
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
    assert found.second >= 2.0  # f'' of the first step alone
    assert smoothness.potential_jet(step._replace(second=0.0), 2, current).second == 0


def test_a_larger_ball_and_longer_recordings_have_larger_bounds():
    case = Case("zero sigmoid MLP", 3, 2.0, 0.9, 1.0, 1.0, cases.T, False)
    args = case.neuron, case.layers()
    small = smoothness.of_ball(*args, 0.1, 4, 3.0, cases.SCALE, False)
    assert all(np.greater(smoothness.of_ball(*args, 0.5, 4, 3.0, cases.SCALE, False), small))
    assert all(np.greater(smoothness.of_ball(*args, 0.1, 8, 3.0, cases.SCALE, False), small))


STILL = smoothness.Jet(0.0, 0.0, 0.0)


def exactly(function, at=0.0):
    """The norms of a curve's first three derivatives."""
    found = []
    with jax.enable_x64(True):
        for _ in range(3):
            function = jax.jacfwd(function)
            found.append(float(jnp.linalg.norm(function(at))))
    return smoothness.Jet(*found)


@functools.cache
def scalar_layer():
    return lipschitz.layers([Full(np.ones((1, 1)), np.zeros(1))], (1, 1, 1))[0]


def test_the_current_of_a_moving_weight_and_spike_is_exact():
    """I = (w + c t) s(t) + d t, with the weight alone moving, or weight and bias as far as goes."""
    w, size, inner = 7.0, 2.0, smoothness.Jet(3.0, 5.0, 11.0)
    found = smoothness.current_jet(scalar_layer(), w, size, 1, inner)

    def current(c, d, t):
        s = size + inner.first * t + inner.second * t**2 / 2 + inner.third * t**3 / 6
        return (w + c * t) * s + d * t

    both = np.array([size, 1.0]) / np.hypot(size, 1.0)
    assert found.first == pytest.approx(exactly(functools.partial(current, *both)).first)
    weight_alone = exactly(functools.partial(current, 1.0, 0.0))
    np.testing.assert_allclose(found[1:], weight_alone[1:])


@pytest.mark.parametrize("k", [3, 5])
def test_the_current_of_a_moving_kernel_is_reached_by_one_that_overlaps(k):
    """The taps of one phase are equal, and so is the image where they look."""
    side, steps, size = 41, 2, 1e4
    kernel, frames = np.zeros((k, k, 1, 1)), np.zeros((steps, 1, side, side, 1))
    kernel[::2, ::2] = 1 / np.ceil(k / 2)  # of Frobenius norm 1
    frames[:, :, k // 2 % 2 :: 2, k // 2 % 2 :: 2] = 1
    frames *= size / np.linalg.norm(frames)
    layer = lipschitz.layers([Halving(np.zeros_like(kernel), np.zeros(1))], (side, side, 1))[0]

    def current(t):
        moved = Halving(t * kernel, jnp.zeros(1))
        return moved.sums(frames * (1 + t + t**2 / 2)).ravel()

    inner = smoothness.Jet(size, size, 0.0)
    allowed = smoothness.current_jet(layer, 0.0, size, steps, inner)
    for reached, bound in zip(exactly(current), allowed, strict=True):
        assert 0.85 * bound < reached <= bound * (1 + 1e-6)


def test_a_moving_bias_reaches_all_places_at_all_steps():
    steps, still = 4, Halving(np.zeros((3, 3, 1, 1)), np.zeros(1))
    layer = lipschitz.layers([still], (5, 6, 1))[0]
    frames = np.zeros((steps, 1, 5, 6, 1))
    reached = np.linalg.norm(still.replace(bias=np.ones(1)).sums(frames))
    assert smoothness.current_jet(layer, 0.0, 0.0, steps, STILL).first == pytest.approx(reached)


def potential(step, current, t):
    """u_t = f(u_{t-1}) + I_t from u = 0 on, where f has these derivatives; the current moves."""
    u, found = 0.0, []
    for of_step in np.stack(current, axis=1):
        u = step.first * u + step.second * u**2 / 2 + step.third * u**3 / 6
        u += of_step @ jnp.array([t, t**2 / 2, t**3 / 6])
        found.append(u)
    return jnp.stack(found)


@pytest.mark.parametrize("order", range(3))
def test_a_linear_potential_stretches_each_derivative_of_the_current_alike(order):
    step, current = smoothness.Jet(0.5, 0.0, 0.0), np.zeros((3, 3))
    filter_TxT = np.tril(0.5 ** np.abs(np.subtract.outer(range(3), range(3))))
    current[order] = np.linalg.svd(filter_TxT)[2][0]
    reached = exactly(functools.partial(potential, step, current))
    allowed = smoothness.potential_jet(step, 3, smoothness.Jet(*np.linalg.norm(current, axis=1)))
    assert reached[order] == pytest.approx(allowed[order], rel=1e-3)
    assert reached[order] <= allowed[order] * ROOM


def test_what_bends_is_added_to_the_potential_closely():
    """f' = 0, so that nothing is lost to the norms over time; three steps."""
    step, current = smoothness.Jet(0.0, 1.0, 300.0), np.zeros((3, 3))
    current[:, 0] = 1.0, 100.0, 0.0
    reached = exactly(functools.partial(potential, step, current))
    allowed = smoothness.potential_jet(step, 3, smoothness.Jet(1.0, 100.0, 0.0))
    for value, bound in zip(reached, allowed, strict=True):
        assert value <= bound * ROOM and bound <= 1.02 * value
    current[1] = 0
    reached = exactly(functools.partial(potential, step, current))
    allowed = smoothness.potential_jet(step, 3, smoothness.Jet(1.0, 0.0, 0.0))
    assert reached.second == pytest.approx(allowed.second, rel=1e-3)


def test_what_bends_is_remembered_from_the_next_step_on(monkeypatch):
    """No case reaches that product of memories, so that its factors are made up here."""
    monkeypatch.setattr(lipschitz, "memory", lambda factor, count: {3: 2.0, 2: 5.0}[count])
    step, current = smoothness.Jet(0.5, 3.0, 7.0), smoothness.Jet(11.0, 13.0, 17.0)
    found = smoothness.potential_jet(step, 3, current)
    x = 2 * 11
    second = 2 * 13 + 5 * 3 * x**2
    assert found == (x, second, 2 * 17 + 5 * (3 * 3 * x * second + 7 * x**3))


@pytest.mark.parametrize(
    "order, probability",
    [(0, 1e-12), (1, 1 / 2), (2, 1 / 2 - 3**-0.5 / 2)],  # where each is largest
)
def test_derivatives_of_the_loss_are_attained_with_two_classes(order, probability):
    v = np.array([1.0, -1.0]) / np.sqrt(2)
    z = np.log([probability, 1 - probability])
    reached = exactly(lambda t: -jax.nn.log_softmax(z + t * v)[0])
    allowed = smoothness.loss_jet(smoothness.Jet(1.0, 0.0, 0.0))
    assert reached[order] == pytest.approx(allowed[order])


def test_the_gradient_of_constant_frames_under_a_mean_current_is_exact():
    """A sure and wrong answer: every step pulls the same way, and the mean takes 1 / sqrt T."""
    frames, bias, scale = np.full((9, 2), 0.6), np.array([-20.0, 20.0]), 3.0

    def risk(flat):
        scores = scale * ((frames @ flat[:4].reshape(2, 2)).mean(axis=0) + flat[4:])
        return -jax.nn.log_softmax(scores)[0]

    with jax.enable_x64(True):
        reached = float(jnp.linalg.norm(jax.grad(risk)(jnp.array([0.0] * 4 + [*bias]))))
    neuron = neurons.Smooth(neurons.ToZero(), spikes.sigmoid, 4.0, 0.9, 1.0)
    network = lipschitz.layers([Full(np.zeros((2, 2)), bias)], (1, 1, 2))
    allowed = smoothness.of_ball(neuron, network, 0.0, 9, np.linalg.norm(frames), scale, True)
    assert reached == pytest.approx(allowed.first)


def test_weights_grow_in_the_ball():
    """No weight leads out of the first layer at the centre; at the edge one of the radius does."""
    radius, x, bias = 2.0, 1000.0, np.array([-50.0, 50.0])
    neuron = neurons.Smooth(neurons.ToZero(), spikes.sigmoid, 4.0, 0.9, 1.0)
    still = [Full(np.zeros((1, 1)), np.ones(1)), Full(np.zeros((1, 2)), bias)]

    def risk(w):
        out = radius * np.array([1.0, -1.0]) / np.sqrt(2)
        return -jax.nn.log_softmax(jax.nn.sigmoid(4.0 * (w * x + 1.0 - 1.0)) * out + bias)[0]

    with jax.enable_x64(True):
        reached = abs(float(jax.grad(risk)(0.0)))
    args = neuron, lipschitz.layers(still, (1, 1, 1)), radius, 1, x, 1.0, True
    assert reached <= smoothness.of_ball(*args).first < 1.1 * reached


def test_kernels_and_currents_grow_in_the_ball_as_far_as_they_can(monkeypatch):
    """What the rules are given, against the norm and current of a network at the edge."""
    radius, shape = 0.5, (41, 41, 1)
    given = {}

    def norms(layer, norm, size, steps, inner):
        given.setdefault("norm", norm)
        return STILL

    def states(neuron, current, steps):
        given.setdefault("current", current)
        return 1.0

    monkeypatch.setattr(smoothness, "current_jet", norms)
    monkeypatch.setattr(lipschitz, "state_bound", states)
    neuron = neurons.Smooth(neurons.ToZero(), spikes.sigmoid, 4.0, 0.9, 1.0)
    centre = Halving(np.zeros((3, 3, 1, 1)), np.zeros(1))
    smoothness.of_ball(neuron, lipschitz.layers([centre], shape), radius, 2, 1.0, 1.0, False)
    kernel = np.zeros((3, 3, 1, 1))
    kernel[::2, ::2] = radius / 2
    assert given["norm"] == pytest.approx(spectral.convolution_norm(kernel, *shape[:2]).upper)
    even = radius / np.sqrt(10)  # nine weights and the bias
    edge = Halving(np.full((3, 3, 1, 1), even), np.full(1, even))
    assert given["current"] == pytest.approx(lipschitz.layers([edge], shape)[0].current)
