"""Controls: each against a loop, a closed form or its law, and each changes what is trained."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small

from sast_jax import controls, evaluation, lif, networks, spikes, training

KEY = jax.random.key(1)


def mean_spike(response):
    return networks.firing_rates(response).mean()


def test_a_random_perturbation_has_the_radius_and_no_direction_of_the_gradient():
    w = {"a": jnp.zeros((300, 20)), "b": jnp.zeros(1000)}
    gradient = jax.tree.map(jnp.ones_like, w)
    link = controls.random_perturbation(0.7)

    def at(key):
        return link.update(gradient, link.init(w), w, grad_fn=lambda moved: moved, key=key)[0]

    moved, other = at(KEY), at(jax.random.key(2))
    assert optax.tree.norm(moved) == pytest.approx(0.7, rel=1e-5)
    cosine = optax.tree.vdot(moved, gradient) / 0.7 / optax.tree.norm(gradient)
    assert abs(cosine) < 5 / 7000**0.5
    assert abs(optax.tree.vdot(moved, other)) / 0.49 < 5 / 7000**0.5
    with pytest.raises(TypeError, match="key"):
        link.update(gradient, link.init(w), w, grad_fn=lambda moved: moved)


def test_a_random_step_is_the_gradient_at_a_point_that_far_away():
    recipe = small.recipe(ascent=controls.random_perturbation, optimizer=lambda *_: optax.sgd(1.0))
    hypers = small.hyper(rhos=(0.5,))
    state, hyper = small.run_of((training.initialise(recipe, hypers), hypers), 0)
    batch, seen = small.batch(), []

    def spying(radius):
        link = controls.random_perturbation(radius)

        def update(grads, link_state, params, *, grad_fn, key):
            def watched(w):
                seen.append(w)
                return grad_fn(w)

            return link.update(grads, link_state, params, grad_fn=watched, key=key)

        return optax.GradientTransformationExtraArgs(link.init, update)

    spied = dataclasses.replace(recipe, ascent=spying)
    stepped, _ = training.train_step(spied, state, hyper, batch, batch, KEY)
    training.train_step(spied, state, hyper, batch, batch, jax.random.key(5))
    moved, other = (optax.tree.sub(w, state.params) for w in seen)
    assert optax.tree.norm(moved) == pytest.approx(0.5, rel=1e-5)
    assert abs(float(optax.tree.vdot(moved, other))) < 0.25 * 5 / optax.tree.size(moved) ** 0.5
    there = state._replace(params=seen[0])
    plain, _ = training.train_step(recipe, there, hyper, batch, None, KEY)
    gradient = optax.tree.sub(there.params, plain.params)
    for ours, expected in zip(
        jax.tree.leaves(optax.tree.sub(state.params, stepped.params)),
        jax.tree.leaves(gradient),
        strict=True,
    ):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_a_step_without_a_key_says_so():
    recipe, hypers = small.recipe(neurons=lif.stochastic(noise=0.1)), small.hyper()
    state, hyper = small.run_of((training.initialise(recipe, hypers), hypers), 0)
    with pytest.raises(TypeError, match="needs a key"):
        training.train_step(recipe, state, hyper, small.batch(), None)


def test_the_rate_penalty_by_hand():
    ones, quarter = jnp.ones((4, 2, 3)), jnp.zeros((4, 2, 5)).at[0].set(1.0)
    response = networks.Response((ones, quarter), None, ())
    assert float(controls.rate_penalty(0.5, 8.0)(response)) == pytest.approx(8 * (0.625 - 0.5) ** 2)


@pytest.mark.parametrize("target", [0.05, 0.4])
def test_the_rate_penalty_moves_rates_to_its_target(target):
    hypers = small.hyper(rhos=(0.0,))
    distances = []
    for penalty in (None, controls.rate_penalty(target, 100.0)):
        recipe = small.recipe(penalty=penalty)
        state, _ = small.fit(recipe, hypers, epochs=12)
        packed, _ = small.recordings()
        networks_R = state.params, hypers
        model = evaluation.Swap(recipe, training.Recipe.soft_cell)
        rate = evaluation.respond(model, networks_R, packed).rates_BxL.mean()
        distances.append(abs(rate - target))
    assert distances[1] < 0.5 * distances[0]
    assert distances[1] < 0.03


def test_noise_on_potentials_is_that_of_a_loop():
    make = functools.partial(lif.reset_by_subtraction, 0.9, 1.0)
    cell = lif.stochastic(noise=0.3)(make, spikes.heaviside)
    current = jax.random.normal(jax.random.key(0), (7, 2, 5))
    _, found = lif.integrate(cell, current, key=KEY)
    noise = jnp.stack(
        [
            0.3 * jax.random.normal(jax.random.split(key)[0], (2, 5))
            for key in jax.random.split(KEY, 7)
        ]
    )
    _, expected = lif.integrate(make(spikes.heaviside), current + noise)
    np.testing.assert_array_equal(found, expected)
    assert (found != lif.integrate(make(spikes.heaviside), current)[1]).any()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_mixed_spikes_are_hard_with_their_probability_and_keep_the_derivative(share):
    make = functools.partial(lif.reset_to_zero, 0.0, 1.0)  # no memory: each step alone
    smooth = spikes.sigmoid(4.0)
    cell = lif.stochastic(hard=share, noise=0.0 if share else 1e-20)(make, smooth)
    current = 1 + jax.random.normal(jax.random.key(0), (10, 2000))

    def fire(current):
        return lif.integrate(cell, current, key=KEY)[1]

    found = np.asarray(fire(current))
    hard, soft = np.asarray(spikes.heaviside(current - 1)), np.asarray(smooth(current - 1))
    is_hard = found == hard
    np.testing.assert_allclose(found[~is_hard], soft[~is_hard], rtol=1e-6)
    assert is_hard.mean() == pytest.approx(share, abs=0.02)
    slopes = jax.grad(lambda x: fire(x).sum())(current)
    np.testing.assert_allclose(
        slopes, jax.grad(lambda x: smooth(x - 1).sum())(current), rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize(
    "network", [networks.MLP((72, 72)), networks.ConvNet((8, 18), (72, 72), kernel=3)]
)
def test_layers_and_steps_draw_numbers_of_their_own(network):
    """All layers have 72 neurons and no weights, so that they hold the noise alone."""
    frames = jnp.zeros((4, 1, *small.SHAPE))
    make = functools.partial(lif.reset_to_zero, 0.0, 0.0)
    params = network.init(jax.random.key(0), frames, make(spikes.heaviside))
    params = jax.tree.map(jnp.zeros_like, params)
    cell = lif.stochastic(noise=1.0)(make, spikes.sigmoid(1.0))
    drawn = network.apply(params, frames, cell, key=KEY).spikes
    same = network.apply(params, frames, cell, key=KEY).spikes
    jax.tree.map(np.testing.assert_array_equal, drawn, same)
    rows = [row for layer in drawn for row in np.asarray(layer).reshape(4, 72)]
    assert np.abs(np.corrcoef(rows) - np.eye(len(rows))).max() < 0.55


def test_the_adversary_finds_more_than_chance_and_nothing_within_no_spread():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(16, 12)))
    params = {"w": jnp.asarray(rng.normal(size=(12, 4))), "b": jnp.asarray(rng.normal(size=4))}

    def scores(w):
        return x @ w["w"] + w["b"][None]

    def divergence(change):
        other = jax.tree.map(lambda w, c: w * (1 + c), params, change)
        logs, changed = jax.nn.log_softmax(scores(params)), jax.nn.log_softmax(scores(other))
        return float((jnp.exp(logs) * (logs - changed)).sum(-1).mean())

    found = float(controls.adversarial_divergence(scores, params, KEY, 0.2, 5))
    by_chance = []
    for _ in range(20):
        signs = rng.choice([-0.2, 0.2], size=(12, 4)), rng.choice([-0.2, 0.2], size=4)
        by_chance.append(divergence({"w": jnp.asarray(signs[0]), "b": jnp.asarray(signs[1])}))
    assert found > max(by_chance) and found > 2 * np.mean(by_chance)
    assert controls.adversarial_divergence(scores, params, KEY, 1e-6, 5) < 1e-9


def test_training_against_the_adversary_makes_networks_less_sensitive():
    hypers = small.hyper(rhos=(0.0,))
    sensitivity = []
    for weight in (0.0, 1.0):

        def adversary(scores, params, key, weight=weight):
            return weight * controls.adversarial_divergence(scores, params, key, 0.3, 2)

        recipe = small.recipe(adversary=adversary)
        state, _ = small.fit(recipe, hypers, epochs=12)
        params, hyper = small.run_of((state.params, hypers), 0)
        frames, _ = small.batch()

        def scores(w, recipe=recipe, hyper=hyper, frames=frames):
            return recipe.readout(
                recipe.network.apply({"params": w}, frames, recipe.soft_cell(hyper))
            )

        sensitivity.append(
            float(controls.adversarial_divergence(scores, params, jax.random.key(9), 0.3, 4))
        )
    assert sensitivity[1] < 0.7 * sensitivity[0]


@pytest.mark.parametrize(
    "change",
    [
        {"neurons": lif.stochastic(noise=0.2)},
        {"neurons": lif.stochastic(hard=0.5)},
        {"penalty": controls.rate_penalty(0.1, 1.0)},
    ],
    ids=["noise", "mixing", "rates"],
)
def test_a_control_changes_the_loss_and_no_control_leaves_it(change):
    hypers = small.hyper(rhos=(0.0,))
    plain, other = small.recipe(), small.recipe(**change)
    state, hyper = small.run_of((training.initialise(plain, hypers), hypers), 0)
    batch = small.batch()

    def loss(recipe, key):
        return float(training.train_step(recipe, state, hyper, batch, None, key)[1][0])

    assert loss(plain, KEY) == loss(plain, None) != loss(other, KEY)
    if "neurons" in change:
        assert loss(other, KEY) != loss(other, jax.random.key(7))
