"""Controls: each against a loop, a closed form or its law, and each changes what is trained."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small

from sast_jax.evaluation import swap
from sast_jax.snn import connections, networks, neurons, readouts, spikes
from sast_jax.snn.model import Model
from sast_jax.training import controls, links, stepping
from sast_jax.training.controls import (
    Adversary,
    HardForward,
    RatePenalty,
    StochasticNeurons,
    WeightNoise,
)
from sast_jax.training.gradients import Sharpness
from sast_jax.training.trained import Trained

KEY = jax.random.key(1)


def test_a_random_perturbation_has_the_radius_and_no_direction_of_the_gradient():
    w = {"a": jnp.zeros((300, 20)), "b": jnp.zeros(1000)}
    gradient = jax.tree.map(jnp.ones_like, w)
    link = links.RandomDirection()(0.7)

    def at(key):
        return link.update(gradient, link.init(w), w, grad_fn=lambda moved: moved, key=key)[0]

    moved, other = at(KEY), at(jax.random.key(2))
    assert optax.tree.norm(moved) == pytest.approx(0.7, rel=1e-5)
    cosine = optax.tree.vdot(moved, gradient) / 0.7 / optax.tree.norm(gradient)
    assert abs(cosine) < 5 / 7000**0.5
    assert abs(optax.tree.vdot(moved, other)) / 0.49 < 5 / 7000**0.5
    with pytest.raises(TypeError, match="key"):
        link.update(gradient, link.init(w), w, grad_fn=lambda moved: moved)


@dataclasses.dataclass(frozen=True, eq=False)
class Spying:
    """A random direction that shows where the second gradient is taken."""

    seen: list

    def __call__(self, radius):
        link = links.RandomDirection()(radius)

        def update(grads, link_state, params, *, grad_fn, key):
            def watched(w):
                self.seen.append(w)
                return grad_fn(w)

            return link.update(grads, link_state, params, grad_fn=watched, key=key)

        return optax.GradientTransformationExtraArgs(link.init, update)


def descend(rate, steps):
    return optax.sgd(1.0)


def test_a_random_step_is_the_gradient_at_a_point_that_far_away():
    recipe = small.recipe(sharpness=Sharpness(links.RandomDirection()), optimizer=descend)
    hypers = small.hyper(rhos=(0.5,))
    state, hyper = small.run_of((stepping.initialise(recipe, hypers), hypers), 0)
    batch, seen = small.batch(), []
    spied = dataclasses.replace(recipe, sharpness=Sharpness(Spying(seen)))
    stepped, _ = stepping.train_step(spied, state, hyper, batch, batch, KEY)
    stepping.train_step(spied, state, hyper, batch, batch, jax.random.key(5))
    moved, other = (optax.tree.sub(w, state.params) for w in seen)
    assert optax.tree.norm(moved) == pytest.approx(0.5, rel=1e-5)
    assert abs(float(optax.tree.vdot(moved, other))) < 0.25 * 5 / optax.tree.size(moved) ** 0.5
    there = state._replace(params=seen[0])
    plain, _ = stepping.train_step(recipe, there, hyper, batch, None, KEY)
    gradient = optax.tree.sub(there.params, plain.params)
    for ours, expected in zip(
        jax.tree.leaves(optax.tree.sub(state.params, stepped.params)),
        jax.tree.leaves(gradient),
        strict=True,
    ):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_a_step_without_a_key_says_so():
    recipe, hypers = small.recipe(controls=(StochasticNeurons(noise=0.1),)), small.hyper()
    state, hyper = small.run_of((stepping.initialise(recipe, hypers), hypers), 0)
    with pytest.raises(TypeError, match="needs a key"):
        stepping.train_step(recipe, state, hyper, small.batch(), None)


def test_the_rate_penalty_by_hand():
    ones, quarter = jnp.ones((4, 2, 3)), jnp.zeros((4, 2, 5)).at[0].set(1.0)
    forward = controls.Forward(None, readouts.Response((ones, quarter), (), ()), None)
    found = RatePenalty(0.5, 8.0).loss(None, forward, None)
    assert float(found) == pytest.approx(8 * (0.625 - 0.5) ** 2)


@pytest.mark.parametrize("target", [0.05, 0.4])
def test_the_rate_penalty_moves_rates_to_its_target(target):
    hypers = small.hyper(rhos=(0.0,))
    distances = []
    for penalties in ((), (RatePenalty(target, 100.0),)):
        trained = small.trained(small.recipe(controls=penalties), hypers, epochs=12)
        packed, _ = small.recordings()
        rate = swap.answer(swap.soft, trained, packed).rates_BxL.mean()
        distances.append(abs(rate - target))
    assert distances[1] < 0.5 * distances[0]
    assert distances[1] < 0.03


def test_noise_on_potentials_is_that_of_a_loop():
    plain = neurons.LIF(reset=neurons.BySubtraction()).hard(0.9)
    cell = StochasticNeurons(noise=0.3).cell(KEY, plain)
    current = jax.random.normal(jax.random.key(0), (7, 2, 5))
    _, found = neurons.integrate(cell, current)
    noise = jnp.stack(
        [
            0.3 * jax.random.normal(jax.random.split(key)[0], (2, 5))
            for key in jax.random.split(KEY, 7)
        ]
    )
    _, expected = neurons.integrate(plain, current + noise)
    np.testing.assert_array_equal(found, expected)
    assert (found != neurons.integrate(plain, current)[1]).any()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_mixed_spikes_are_hard_with_their_probability_and_keep_the_derivative(share):
    smooth = spikes.sigmoid(4.0)
    memoryless = neurons.Cell(neurons.LIF(), 0.0, smooth)  # each step alone
    cell = StochasticNeurons(0.0 if share else 1e-20, share).cell(KEY, memoryless)
    current = 1 + jax.random.normal(jax.random.key(0), (10, 2000))

    def fire(current):
        return neurons.integrate(cell, current)[1]

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
    model = Model(network, neurons.LIF(0.0)).on(small.SHAPE)
    params = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0)))
    cell = StochasticNeurons(noise=1.0).cell(KEY, model.neuron.smooth(0.0, 1.0))
    drawn = model.respond(params, cell, frames).spikes
    same = model.respond(params, cell, frames).spikes
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
    with jax.enable_x64(True):  # a divergence of 1e-12 is below what float32 rounds
        x, params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (x, params))
        none = controls.adversarial_divergence(scores, params, KEY, 1e-6, 5)
        assert none.dtype == jnp.float64 and none < 1e-9


@pytest.mark.slow
def test_training_against_the_adversary_makes_networks_less_sensitive():
    hypers = small.hyper(rhos=(0.0,))
    sensitivity = []
    for weight in (0.0, 1.0):
        recipe = small.recipe(controls=(Adversary(weight, 0.3, 2),))
        trained = small.trained(recipe, hypers, epochs=12)[0]
        frames, _ = small.batch()

        def scores(w, trained=trained, frames=frames):
            model = trained.model
            return model.readout(model.respond(w, trained.soft_cell(), frames))

        sensitivity.append(
            float(
                controls.adversarial_divergence(scores, trained.params, jax.random.key(9), 0.3, 4)
            )
        )
    assert sensitivity[1] < 0.7 * sensitivity[0]


@pytest.mark.parametrize(
    "control, draws",
    [
        (StochasticNeurons(noise=0.2), True),
        (StochasticNeurons(hard=0.5), True),
        (RatePenalty(0.1, 1.0), False),
        (WeightNoise(0.5), True),
        (Adversary(1.0), False),
        (HardForward(), False),
    ],
    ids=["noise", "mixing", "rates", "weights", "adversary", "hard"],
)
def test_a_control_changes_the_loss_and_no_control_leaves_it(control, draws):
    hypers = small.hyper(rhos=(0.0,))
    plain, other = small.recipe(), small.recipe(controls=(control,))
    state, hyper = small.run_of((stepping.initialise(plain, hypers), hypers), 0)
    batch = small.batch()

    def loss(recipe, key):
        return float(stepping.train_step(recipe, state, hyper, batch, None, key)[1][0])

    assert loss(plain, KEY) == loss(plain, None) != loss(other, KEY)
    if draws:
        assert loss(other, KEY) == loss(other, KEY) != loss(other, jax.random.key(7))


def test_noise_of_weights_is_relative_and_anew_for_each_key():
    kernel = jax.random.normal(jax.random.key(0), (4000, 3)) * jnp.array([[0.1, 1.0, 5.0]])
    params = {"Dense_0": {"kernel": kernel, "bias": jnp.array([0.123, -4.56, 7.89])}}
    seen = WeightNoise(0.3).weights(KEY, params)["Dense_0"]
    factor = np.asarray(seen["kernel"] / kernel)
    np.testing.assert_allclose([factor.mean(), factor.std()], [1, 0.3], atol=0.01)
    other = WeightNoise(0.3).weights(jax.random.key(2), params)["Dense_0"]
    assert (other["kernel"] != seen["kernel"]).all()
    assert (seen["bias"] != params["Dense_0"]["bias"]).all()


def test_both_gradients_of_a_step_meet_the_same_noise():
    """With a radius of nearly nothing, SAM under noise is plain training under the same noise."""
    recipe = small.recipe(controls=(WeightNoise(0.5),))
    (state, hyper) = jax.tree.map(
        lambda leaf: leaf[0],
        (stepping.initialise(recipe, h := small.hyper(rhos=(1e-9,))), h),
    )
    batch = small.batch()
    plain, _ = stepping.train_step(recipe, state, hyper, batch, None, KEY)
    with_sam, _ = stepping.train_step(recipe, state, hyper, batch, batch, KEY)
    for a, b in zip(jax.tree.leaves(plain.params), jax.tree.leaves(with_sam.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@dataclasses.dataclass(frozen=True)
class Affine(controls.Control):
    """A control of one's own: weights and loss become factor * x + shift."""

    factor: float
    shift: float

    def weights(self, key, params):
        return jax.tree.map(lambda w: self.factor * w + self.shift, params)

    def loss(self, key, forward, again):
        first = forward.params["Dense_0"]["bias"][0]
        return self.factor * again(forward.params).scores_BxK.mean() + self.shift * first


def test_controls_of_ones_own_act_one_after_another():
    hypers, batch = small.hyper(rhos=(0.0,)), small.batch()
    plain = small.recipe(optimizer=descend)
    both = small.recipe(optimizer=descend, controls=(Affine(2.0, 0.1), Affine(0.5, -0.3)))
    state, hyper = small.run_of((stepping.initialise(plain, hypers), hypers), 0)
    _, (found, _) = stepping.train_step(both, state, hyper, batch, None, KEY)
    seen = jax.tree.map(lambda w: 0.5 * (2.0 * w + 0.1) - 0.3, state.params)
    _, (value, _) = stepping.train_step(plain, state._replace(params=seen), hyper, batch, None)
    one = Trained(plain, seen, hyper)
    scores = plain.model.readout(one.respond(one.soft_cell(), batch[0]))
    expected = value + 2.5 * scores.mean() - 0.2 * seen["Dense_0"]["bias"][0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_two_controls_of_a_kind_draw_numbers_of_their_own():
    """Twice the noise of the same numbers would have twice the deviation, not its root."""
    noise = StochasticNeurons(noise=1.0)
    current = jnp.zeros((500, 40))
    cells = [neurons.LIF().hard(0.0)]
    own = controls.keys(KEY, (noise, noise))
    cells += [noise.cell(own[0], cells[0]), noise.cell(own[1], noise.cell(own[0], cells[0]))]
    spread = [neurons.potentials(cell, current).std() for cell in cells]
    np.testing.assert_allclose(spread, [0, 1, 2**0.5], atol=0.03)
    assert own[0] == KEY
    hypers, batch = small.hyper(rhos=(0.0,)), small.batch()
    recipes = [small.recipe(controls=(WeightNoise(0.5),) * number) for number in (1, 2)]
    state, hyper = small.run_of((stepping.initialise(recipes[0], hypers), hypers), 0)
    losses = [
        stepping.train_step(recipe, state, hyper, batch, None, KEY)[1][0] for recipe in recipes
    ]
    assert losses[0] != losses[1]


def test_a_control_draws_the_same_numbers_whatever_others_there_are():
    hypers, batch = small.hyper(rhos=(0.0,)), small.batch()
    noise = WeightNoise(0.5)
    alone = small.recipe(controls=(noise,))
    among = small.recipe(controls=(RatePenalty(0.1, 0.0), StochasticNeurons(), noise))
    state, hyper = small.run_of((stepping.initialise(alone, hypers), hypers), 0)
    losses = [
        stepping.train_step(recipe, state, hyper, batch, None, KEY)[1][0]
        for recipe in (alone, among)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-6)


def spikes_and_potentials(network, frames_TxBxI, decay, slope):
    """A network of smooth neurons, reset to zero, step by step in NumPy: potentials by layer."""
    found, spikes_ = [], frames_TxBxI
    for kernel, bias in network:
        u = s = np.zeros((frames_TxBxI.shape[1], len(bias)))
        potentials, sent = [], []
        for x in spikes_:
            u = decay * u * (1 - s) + x @ kernel + bias
            s = 1 / (1 + np.exp(-slope * (u - 1.0)))
            potentials.append(u)
            sent.append(s)
        found.append(np.array(potentials))
        spikes_ = np.array(sent)
    return found


def forward_of(recipe, hyper, params, frames):
    cell = recipe.model.neuron.smooth(hyper.decay, hyper.slope)
    response = recipe.model.respond(params, cell, frames)
    return controls.Forward(params, response, None, connections.alike(cell, response.spikes))


def test_potentials_near_the_threshold_are_penalised_as_the_rules_say():
    recipe, hypers = small.recipe(), small.hyper()
    hyper, params = small.run_of((hypers, stepping.initialise(recipe, hypers).params), 0)
    frames, _ = small.batch()
    weights = [
        (np.asarray(c.kernel, float), np.asarray(c.bias, float))
        for c in recipe.model.connections(params)
    ]
    inputs = np.asarray(frames, float).reshape(*frames.shape[:2], -1)
    potentials = spikes_and_potentials(weights, inputs, 0.9, 4.0)
    forward = forward_of(recipe, hyper, params, frames)
    for distance, u in zip(forward.distances(), potentials, strict=True):
        np.testing.assert_allclose(distance, u - 1.0, rtol=1e-4, atol=1e-5)
    tents = [np.maximum(0, 1 - np.abs(u - 1) / 0.3).mean() for u in potentials]
    guard = controls.Guard(weight=2.0, margin=0.3).loss(None, forward, None)
    np.testing.assert_allclose(guard, 2 * np.mean(tents), rtol=1e-4)
    smooth = [1 / (1 + np.exp(-4 * (u - 1))) for u in potentials]
    steep = [(4 * s * (1 - s)).mean() for s in smooth]  # its peak, slope / 4, is 1 here
    overlap = controls.Overlap(weight=2.0).loss(None, forward, None)
    np.testing.assert_allclose(overlap, 2 * np.mean(steep), rtol=1e-4)
    hard = [cell.with_spike(spikes.hard_forward) for cell in forward.cells]
    again = controls.Overlap(weight=2.0).loss(None, forward._replace(cells=hard), None)
    assert 0 < float(again) != float(overlap)  # resets are hard, the derivative is the smooth one


@pytest.mark.parametrize("control", [controls.Guard(10.0), controls.Overlap(10.0)], ids=str)
def test_training_moves_potentials_off_the_threshold(control):
    near = []
    for controls_ in ((), (control,)):
        recipe, hypers = small.recipe(controls=controls_), small.hyper()
        state, _ = small.fit(recipe, hypers, epochs=6)
        hyper, params = small.run_of((hypers, state.params), 0)
        forward = forward_of(recipe, hyper, params, small.batch()[0])
        near.append(float(control.loss(None, forward, None)))
    assert near[1] < 0.7 * near[0]


def test_products_of_bfloat16_round_what_is_multiplied_and_nothing_else():
    recipe, hypers = small.recipe(), small.hyper()
    hyper, params = small.run_of((hypers, stepping.initialise(recipe, hypers).params), 0)
    frames, _ = small.batch()
    control = controls.Bfloat16Products()
    cell = recipe.model.neuron.smooth(hyper.decay, hyper.slope)

    def respond(params):
        return recipe.model.respond(control.weights(None, params), cell, frames)

    found, spikes_ = respond(params), np.asarray(frames).reshape(*frames.shape[:2], -1)
    for connection, current, sent in zip(
        recipe.model.connections(params), found.currents, found.spikes, strict=True
    ):
        rounded = [
            np.asarray(jnp.asarray(x).astype(jnp.bfloat16), np.float64)
            for x in (spikes_, connection.kernel)
        ]
        exact = rounded[0] @ rounded[1] + np.asarray(connection.bias)
        assert current.dtype == jnp.float32
        np.testing.assert_allclose(current, exact, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(sent, neurons.integrate(cell, current)[1])
        spikes_ = np.asarray(sent)
    grads = jax.grad(lambda w: respond(w).spikes[-1].mean())(params)
    plain = jax.grad(lambda w: recipe.model.respond(w, cell, frames).spikes[-1].mean())(params)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(plain), strict=True):
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, rtol=0.1, atol=1e-3)
        assert (a != b).any()


class TestOwn:
    @pytest.mark.parametrize("method", controls.METHODS)
    def test_one_that_returns_nothing_is_named(self, method):
        forgetful = type("Forgetful", (controls.Control,), {method: lambda self, *given: None})
        with pytest.raises(TypeError, match=rf"Forgetful\.{method} returned None"):
            small.fit(small.recipe(controls=(forgetful(),)), small.hyper())

    def test_a_loss_for_each_recording_is_named(self):
        many = {"loss": lambda self, key, forward, again: forward.scores_BxK.mean(axis=1)}
        with pytest.raises(TypeError, match=r"Many\.loss returned .*, not one number"):
            small.fit(
                small.recipe(controls=(type("Many", (controls.Control,), many)(),)), small.hyper()
            )
