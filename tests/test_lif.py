"""The LIF cell against a plain loop, a closed form, and finite differences in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sast_jax.snn import lif, neurons, spikes

RESETS = {"zero": lif.ToZero(), "subtract": lif.BySubtraction()}
DECAY, THRESHOLD = 0.8, 0.7


def cell(reset, spike, decay=DECAY):
    return neurons.Cell(lif.LIF(THRESHOLD, reset=RESETS[reset]), decay, spike)


def loop(reset, spike, current_TxN):
    """The equations of the module docstring, one neuron and one step at a time."""
    out = np.zeros_like(current_TxN)
    for n in range(current_TxN.shape[1]):
        u = s = 0.0
        for t in range(len(current_TxN)):
            if reset == "zero":
                u = DECAY * u * (1 - s) + current_TxN[t, n]
            else:
                u = DECAY * (u - THRESHOLD * s) + current_TxN[t, n]
            s = float(spike(u - THRESHOLD))
            out[t, n] = s
    return out


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("spike", ["hard", "soft"])
def test_integrate_equals_a_loop_over_neurons_and_steps(reset, spike):
    current = np.random.default_rng(0).normal(0.3, 0.6, (30, 20))
    plain = {"hard": lambda x: x > 0, "soft": lambda x: 1 / (1 + np.exp(-3 * x))}[spike]
    ours = {"hard": spikes.heaviside, "soft": spikes.sigmoid(3.0)}[spike]
    with jax.enable_x64(True):
        _, out = neurons.integrate(cell(reset, ours), jnp.asarray(current))
    np.testing.assert_allclose(out, loop(reset, plain, current), rtol=1e-12)


def test_constant_current_fires_at_the_closed_form_step():
    # Without a spike u_t = I * (1 - decay^t) / (1 - decay).
    current = 0.3
    first = int(np.ceil(np.log(1 - THRESHOLD * (1 - DECAY) / current) / np.log(DECAY)))
    _, out = neurons.integrate(cell("zero", spikes.heaviside), jnp.full((20, 1), current))
    assert int(jnp.argmax(out[:, 0])) + 1 == first
    # The gate empties the potential, so the train has that very period.
    assert np.flatnonzero(out[:, 0]).tolist() == list(range(first - 1, 20, first))


@pytest.mark.parametrize("reset", RESETS)
def test_segments_of_time_equal_the_whole(reset):
    smooth = cell(reset, spikes.sigmoid(4.0))
    current = jax.random.normal(jax.random.key(0), (12, 5))
    end, whole = neurons.integrate(smooth, current)
    state, first = neurons.integrate(smooth, current[:5])
    state, second = neurons.integrate(smooth, current[5:], state)
    np.testing.assert_array_equal(jnp.concatenate([first, second]), whole)
    jax.tree.map(np.testing.assert_array_equal, state, end)


@pytest.mark.parametrize("reset", RESETS)
def test_gradient_equals_finite_differences_reset_included(reset):
    with jax.enable_x64(True):
        current = jnp.asarray(np.random.default_rng(1).normal(0.5, 0.5, (15, 4)))
        weights = jnp.asarray(np.random.default_rng(2).normal(size=(15, 4)))

        def loss(current, decay):
            smooth = cell(reset, spikes.sigmoid(4.0), decay)
            return (weights * neurons.integrate(smooth, current)[1]).sum()

        by_current, by_decay = jax.grad(loss, argnums=(0, 1))(current, DECAY)
        step = 1e-6
        for index in np.ndindex(current.shape):
            bump = jnp.zeros_like(current).at[index].set(step)
            difference = float(loss(current + bump, DECAY) - loss(current - bump, DECAY))
            assert float(by_current[index]) == pytest.approx(difference / (2 * step), 1e-6, 1e-8)
        difference = float(loss(current, DECAY + step) - loss(current, DECAY - step))
        assert float(by_decay) == pytest.approx(difference / (2 * step), 1e-6)


def test_potential_stays_within_its_bound():
    # |u| <= max|I| / (1 - decay) for a reset to zero, whatever the spikes.
    current = jax.random.uniform(jax.random.key(0), (200, 50), minval=-1.0)
    u = neurons.potentials(cell("zero", spikes.sigmoid(2.0)), current)
    assert jnp.abs(u).max() <= 1 / (1 - DECAY)
