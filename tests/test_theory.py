"""State, step factor and input gradients against their bounds, on random networks in float64."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import theory_cases as cases
from hypothesis import given
from theory_cases import CASES, ROOM, few, many

from sast_jax.errors import InputError
from sast_jax.snn import neurons, spikes
from sast_jax.snn.connections import Connection, Full
from sast_jax.snn.neurons import BySubtraction, ToZero, adaptive, lif, synaptic
from sast_jax.theory import lipschitz

RESETS = neurons.RESETS.values()


def neuron(reset=ToZero(), spike=spikes.sigmoid, slope=4.0, decay=0.9, threshold=1.0):  # noqa: B008
    return neurons.Smooth(reset, spike, slope, decay, threshold)


def hold_states(case):
    """Potentials and step factors of every layer; the factor is the cell's own derivative."""
    found, model = cases.run(case), case.neuron
    for layer, q, u in zip(case.layers(), case.factors(), found.potentials, strict=True):
        bound = lipschitz.state_bound(model, layer.current, case.length)
        u = cases.before(case, u)
        assert np.abs(u).max() <= bound * ROOM
        enclosed = lipschitz.contraction(model, bound)
        assert enclosed.lower <= enclosed.upper == q
        slopes = np.abs(slope_of_step(case.kind, u[:, 0].reshape(-1), case.scalars()[0]))
        assert slopes.max() <= q + 1e-9


def slope_of_step(kind, u_M, scalars):
    padded = np.zeros(64)
    padded[: len(u_M)] = u_M
    with jax.enable_x64(True):
        return np.asarray(_slopes(kind, padded, scalars))[: len(u_M)]


@functools.partial(jax.jit, static_argnums=0)
def _slopes(kind, u_M, scalars):
    reset, family, _ = cases.KINDS[kind]
    slope, decay, threshold = scalars
    cell = neurons.LIF(threshold, family, reset).smooth(decay, slope)

    def next_u(u):
        return cell(lif.State(u, family(slope)(u - threshold)), 0.0)[0].potential

    return jax.vmap(jax.grad(next_u))(u_M)


def hold_lipschitz(case):
    """Differences of two inputs after every layer and of their scores; the input gradient."""
    one, other = cases.run(case), cases.run(case, which=1)
    pairs = [(case.frames(), case.frames(1)), *zip(one.spikes, other.spikes, strict=True)]
    away = [cases.before(case, a - b) for a, b in pairs]
    args = case.neuron, case.layers(), case.factors(), case.length
    for layer, q, before, after in zip(*args[1:3], away[:-1], away[1:], strict=True):
        allowed = lipschitz.spikes_of_frames(args[0], layer, q, case.length)
        for norm, most in ((2, allowed.l2), (np.inf, allowed.linf)):
            reached = cases.over_recordings(after, norm)
            assert (reached <= most * cases.over_recordings(before, norm) * ROOM + 1e-12).all()
    allowed = lipschitz.scores_of_frames(*args, cases.SCALE, case.reads_current)
    moved = one.scores - other.scores
    for norm, most in ((2, allowed.l2), (np.inf, allowed.linf)):
        reached = np.linalg.norm(moved, norm, axis=1)
        assert (reached <= most * cases.over_recordings(away[0], norm) * ROOM + 1e-12).all()
    gradient = cases.before(case, input_gradient(case))
    assert cases.over_recordings(gradient, 2).max() <= np.sqrt(2) * allowed.l2 * ROOM
    assert cases.over_recordings(gradient, 1).max() <= 2 * allowed.linf * ROOM


def input_gradient(case):
    with jax.enable_x64(True):
        return np.asarray(
            _input_gradient(
                case.kind, case.network(), case.frames(), case.labels(), *case.scalars(),
                case.reads_current,
            )
        )  # fmt: skip


@functools.partial(jax.jit, static_argnums=0)
def _input_gradient(kind, network, frames, labels, *rest):
    return jax.grad(lambda x: cases.loss(kind, network, x, labels, *rest).sum())(frames)


@few
@given(CASES)
def test_states_hold(case):
    hold_states(case)


@few
@given(CASES)
def test_lipschitz_bounds_hold(case):
    hold_lipschitz(case)


@pytest.mark.slow
@many
@given(CASES)
def test_states_hold_a_thousand_times(case):
    hold_states(case)


@pytest.mark.slow
@many
@given(CASES)
def test_lipschitz_bounds_hold_a_thousand_times(case):
    hold_lipschitz(case)


@pytest.mark.parametrize("reset", RESETS)
def test_a_steady_negative_current_reaches_the_state_bound(reset):
    one = neuron(reset, slope=8.0, decay=0.8)
    current = np.full((60, 1), -10.0)
    u = np.abs(neurons.potentials(one.cell(), jnp.asarray(current)))
    bound = lipschitz.state_bound(one, 10.0, 60)
    assert bound / 2 < u.max() <= bound * (1 + 1e-6)
    assert lipschitz.state_bound(one, 10.0, 60) <= (10.0 + 0.8 * one.subtracts) / (1 - 0.8)


def test_the_reset_by_subtraction_alone_moves_the_potential():
    """A flat spike far from the threshold still takes its share of it at every step."""
    one = neuron(BySubtraction(), spikes.arctan, slope=0.3)
    u = neurons.potentials(one.cell(), jnp.zeros((20, 1)))
    bound = lipschitz.state_bound(one, 0.0, 20)
    assert bound / 5 < np.abs(u).max() <= bound
    driven = neurons.potentials(one.cell(), jnp.full((60, 1), -10.0))
    assert (1 - 0.9**60) * 10 / 0.1 < np.abs(driven).max() <= lipschitz.state_bound(one, 10.0, 60)


@pytest.mark.parametrize("reset", RESETS)
def test_a_coarse_grid_still_encloses_the_step_factor(reset, monkeypatch):
    one, u = neuron(reset), np.linspace(-5, 5, 200_001)
    dense = np.abs(lipschitz.step_factor(one, u)).max()
    monkeypatch.setattr(lipschitz, "_POINTS", 8)
    found = lipschitz.contraction(one, 5.0)
    assert found.lower <= dense + 1e-9 and dense <= found.upper


def test_between_points_the_step_factor_bends_as_far_as_allowed(monkeypatch):
    """Two points around the threshold, far from which nothing is left of the spike's slope."""
    monkeypatch.setattr(lipschitz, "_POINTS", 2)
    theta = 1e-6  # so that f'' is 2 lambda sigma' there, and no more
    one = neuron(threshold=theta, slope=4.0)
    reach = 1e-3
    values = np.abs(lipschitz.step_factor(one, np.array([-reach, reach])))
    bend = 0.9 * 2 * 1.0  # sigma' is 1 at slope 4
    assert lipschitz.contraction(one, reach).upper == pytest.approx(
        values.max() + reach * bend, rel=1e-5
    )


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_spikes_remember_earlier_frames(norm):
    """A flat subtractive neuron is nearly linear: its spikes stay away for as long as u does."""
    one = neuron(BySubtraction(), slope=1e-3)
    layer = lipschitz.layers([Full(np.ones((1, 1)), np.zeros(1))], (1, 1, 1))[0]
    q = lipschitz.contraction(one).upper
    with jax.enable_x64(True):
        u = neurons.potentials(one.cell(), jnp.stack([jnp.zeros((12, 1)), jnp.ones((12, 1))], 1))
        sent = np.asarray(one.spike(one.slope)(u - one.threshold))
    order = 2 if norm == "l2" else np.inf
    gain = np.linalg.norm((sent[:, 1] - sent[:, 0]).ravel(), order)
    gain /= np.linalg.norm(np.ones(12), order)
    bound = getattr(lipschitz.spikes_of_frames(one, layer, q, 12), norm)
    assert bound / 1.5 < gain <= bound * ROOM


def test_a_mean_over_constant_frames_is_exact():
    """Each step says the same, so that the scores move by 1 / sqrt T of the frames' l2 norm."""
    one, T, scale = neuron(decay=0.0), 8, 3.0
    layer = lipschitz.layers([Full(np.ones((1, 1)), np.zeros(1))], (1, 1, 1))[0]
    found = lipschitz.scores_of_frames(one, [layer], [0.0], T, scale, True)
    moved = scale * np.ones(T).mean()
    assert found.l2 == pytest.approx(moved / np.linalg.norm(np.ones(T)))
    assert found.linf == pytest.approx(moved)


@pytest.mark.parametrize("sign", [1, -1])
def test_currents_of_a_layer_hold_its_bias_and_are_attained(sign):
    weights, bias = sign * np.array([[2.0], [3.0]]), np.array([sign * 5.0])
    found = lipschitz.layers([Full(weights, bias)], (1, 1, 2))[0].current
    corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    assert found == np.abs(corners @ weights + bias).max() == 10


@pytest.mark.parametrize("spike", [spikes.sigmoid, spikes.arctan])
@pytest.mark.parametrize("reset", RESETS)
def test_the_step_factor_is_enclosed_narrowly_and_attained(spike, reset):
    for slope in (0.5, 4.0, 12.0):
        for bound in (0.3, 5.0, 300.0):
            one = neuron(reset, spike, slope)
            found = lipschitz.contraction(one, bound)
            u = np.concatenate([np.linspace(-bound, bound, 200_001), np.linspace(0, 2, 20_001)])
            dense = np.abs(lipschitz.step_factor(one, u[np.abs(u) <= bound])).max()
            assert dense - 1e-6 <= found.upper <= dense + 2e-3
            assert found.lower <= dense + 1e-4
            assert found.upper / 2 < dense  # half of it is no bound


def test_an_unbounded_subtractive_neuron_has_a_closed_form():
    for slope, q in ((4.0, 0.9), (8.0, 0.9), (12.0, 0.9 * 2), (0.5, 0.9)):
        found = lipschitz.contraction(neuron(BySubtraction(), slope=slope))
        assert found.upper == pytest.approx(q if slope != 12.0 else 0.9 * 2)
    with pytest.raises(ValueError, match="finite bound"):
        lipschitz.contraction(neuron())


def test_the_supremum_says_something_where_the_crude_bound_is_vacuous():
    # Decay .9, threshold 1, potentials up to 5.
    q = {
        slope: lipschitz.contraction(neuron(slope=slope), 5.0).upper for slope in (0.5, 1, 2, 4, 8)
    }
    assert max(q[slope] for slope in (0.5, 1, 2, 4)) < 0.965
    assert q[8] == pytest.approx(1.46, abs=0.01)
    assert all(lipschitz.crude_contraction(neuron(slope=slope), 5.0) > 1 for slope in q)


@pytest.mark.parametrize("spike", spikes.FAMILIES.values(), ids=spikes.FAMILIES)
def test_shapes_bound_the_derivatives_and_are_not_generous(spike):
    x = np.linspace(-40, 40, 40_001)
    with jax.enable_x64(True):
        functions = [spike(1.0)]
        for _ in range(3):
            functions.append(jax.grad(functions[-1]))
        first, second, third = (np.asarray(jax.vmap(f)(x)) for f in functions[1:])
    shape, near = spike.shape, np.abs(x) < 30
    found = spikes.Shape(
        *(np.abs(d).max() for d in (first, second, third, x * second, x * third)),
        np.abs(second[near] / first[near]).max(),
    )
    for name, bound, value in zip(shape._fields, shape, found, strict=True):
        assert value <= bound * (1 + 1e-9), name
        assert value > 0.99 * bound, name


@dataclasses.dataclass(frozen=True)
class Halved(neurons.Reset):
    """A reset of one's own."""

    def after(self, u, s, threshold):
        return u * (1 - s / 2)


class Own(Connection):
    """A kind of connection of one's own."""

    def outputs(self, shape):
        return self.bias.shape


@pytest.mark.parametrize(
    "ask, message",
    [
        (
            lambda: neurons.LIF(reset=Halved()).theory(0.9, 4.0),
            "no bounds in the theory with Halved",
        ),
        (lambda: neuron(Halved()).subtracts, "Halved is neither ToZero nor BySubtraction"),
        (lambda: synaptic.Synaptic().theory(0.9, 4.0), "the neuron Synaptic has no bounds in the"),
        (lambda: adaptive.Adaptive().theory(0.9, 4.0), "the neuron Adaptive has no bounds in the"),
        (
            lambda: lipschitz.layers([Own(np.ones((1, 1)), np.zeros(1))], (1, 1, 1)),
            "the connection Own has no bound on its norm",
        ),
        (
            lambda: lipschitz.contraction(
                neuron(spike=spikes.Family("line", lambda k, x: k * x)), 1
            ),
            "the spike 'line' has no bounds on its derivatives",
        ),
    ],
)
def test_what_has_no_bounds_is_named(ask, message):
    with pytest.raises(InputError, match=message):
        ask()


def test_memory_beyond_double_precision_of_its_square_is_finite():
    assert lipschitz.memory(5.0, 310) == pytest.approx(5.0**309 * 25 / 24, rel=1e-3)
    assert lipschitz.memory(5.0, 1000) == lipschitz.geometric(5.0, 1000) == np.inf


def test_memory_is_the_norm_of_the_filter_and_at_most_its_sum():
    matrix = np.tril(0.7 ** np.abs(np.subtract.outer(range(9), range(9))))
    assert lipschitz.memory(0.7, 9) == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-3)
    assert np.linalg.norm(matrix, 2) <= lipschitz.memory(0.7, 9) <= lipschitz.geometric(0.7, 9)
    assert lipschitz.geometric(1.0, 9) == 9 and lipschitz.geometric(0.0, 9) == 1


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("memory", lambda factor, steps: 1.0),  # no memory of earlier differences
        ("geometric", lambda factor, steps: 1.0),
    ],
)
def test_a_wrong_step_of_the_derivation_fails(name, wrong):
    """One neuron far below threshold is linear, so that its bound is tight."""
    one = neuron(slope=4.0)
    current = jnp.asarray(np.full((12, 1), -0.2))
    more = current - 0.1
    u, v = (neurons.potentials(one.cell(), given) for given in (current, more))
    away = np.asarray(v - u)
    grown = {
        "memory": np.linalg.norm(away) / np.linalg.norm(more - current),
        "geometric": np.abs(away).max() / 0.1,
    }
    q = lipschitz.contraction(one, 3.0).upper
    assert grown[name] <= getattr(lipschitz, name)(q, 12) * 1.001
    assert grown[name] > getattr(lipschitz, name)(q, 12) / 2
    assert grown[name] > wrong(q, 12)


def test_a_neuron_at_its_threshold_reaches_the_lipschitz_bounds():
    one, w = neuron(slope=4.0), np.array([[0.3], [0.4]])
    layer = lipschitz.layers([Full(w, np.ones(1))], (1, 1, 2))[0]
    args = one, [layer], [0.0], 1, 7.0, False

    def score(x):
        return 7.0 * jax.nn.sigmoid(4.0 * (x @ w + 1.0 - 1.0))

    for norm, direction in (("l2", w[:, 0] / 0.5), ("linf", np.ones(2))):
        reached = float((score(1e-3 * direction) - score(0 * direction))[0]) / 1e-3
        for found, scale in (
            (lipschitz.spikes_of_frames(one, layer, 0.0, 1), 1.0),
            (lipschitz.scores_of_frames(*args), 7.0),
        ):
            bound = getattr(found, norm)
            assert bound / 2 < reached / 7.0 * scale <= bound * 1.001
