"""From settings to the runs, the recipe and the conditions that they stand for."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.configs import nmnist_robust
from sast_jax.data import augmentation
from sast_jax.errors import InputError
from sast_jax.hardware import bench
from sast_jax.runs import build, settings
from sast_jax.runs.settings import Settings
from sast_jax.snn import neurons, readouts, spikes
from sast_jax.snn.neurons import lif
from sast_jax.training import batches as batches_lib, controls, gradients


def test_a_late_start_is_counted_in_whole_epochs():
    config = nmnist_robust.get_config()
    for start, epochs, first in ((0.0, 10, 0), (0.07, 100, 7), (0.55, 100, 55), (0.5, 9, 5)):
        config.update_from_flattened_dict({"sam.start": start, "epochs": epochs})
        assert settings.read(config).first_epoch == first


def test_a_batch_larger_than_the_set_is_refused():
    with pytest.raises(InputError, match=r"config.batch_size=64 is larger .* 63 recordings"):
        build.recipe(Settings(), (34, 34, 2), 10, 63)


def test_a_grid_is_every_combination_with_seeds_innermost():
    config = nmnist_robust.get_config()
    config.update_from_flattened_dict(
        {"sweep.rho": (0.0, 0.4), "sweep.slope": (1, 2), "sweep.seeds": 2, "seed": 5}
    )
    runs = build.grid(settings.read(config))
    assert [(r["rho"], r["slope"], r["seed"]) for r in runs] == [
        (rho, slope, seed) for rho in (0.0, 0.4) for slope in (1.0, 2.0) for seed in (5, 6)
    ]
    hypers = build.hyperparameters(settings.read(config))
    np.testing.assert_allclose(hypers.rho, [r["rho"] for r in runs])
    np.testing.assert_allclose(hypers.slope_end, [4 * r["slope"] for r in runs])  # its ratio stays
    np.testing.assert_allclose(hypers.decay, 0.9)
    assert all(leaf.shape == (8,) for leaf in hypers)


def test_a_single_run_is_a_grid_of_one():
    config = nmnist_robust.get_config()
    config.update({"rho": 0.7, "seed": 3})
    (run,) = build.grid(settings.read(config))
    assert (run["rho"], run["seed"], run["warmup"]) == (0.7, 3, config.sam.warmup)
    config.rho = -0.0  # and not shown as -0
    assert str(build.grid(settings.read(config))[0]["rho"]) == "0.0"


def test_a_recipe_follows_its_config():
    config = nmnist_robust.get_config()
    config.update_from_flattened_dict(
        {"sam.start": 0.5, "epochs": 9, "lif.threshold": 0.7, "sam.ascent_fraction": 0.25}
    )
    made = build.recipe(settings.read(config), (34, 34, 2), 10, 1000)
    assert (made.sharpness.start, made.batches.steps, made.sharpness.part) == (5, 15, 16)
    hyper = jax.tree.map(lambda leaf: leaf[0], build.hyperparameters(settings.read(config)))
    state = lif.State(jnp.zeros(1), jnp.ones(1))
    from_spike = made.model.neuron.hard(hyper.decay)(state, jnp.array([1.4]))[0]
    # Subtracted: 0.9 * (0 - 0.7 * 1) + 1.4 = 0.77, above the threshold of 0.7.
    np.testing.assert_allclose(from_spike.potential, 0.77, rtol=1e-6)
    assert from_spike.spike == 1


def made(**changes):
    config = nmnist_robust.get_config()
    config.update_from_flattened_dict({key.replace("__", "."): v for key, v in changes.items()})
    return build.recipe(settings.read(config), (34, 34, 2), 10, 1000)


def test_names_stand_for_the_functions_they_name():
    x = jnp.linspace(-1, 1, 5)
    for name, family in (("arctan", spikes.arctan), ("sigmoid", spikes.sigmoid)):
        spike = made(spike=name).model.neuron.smooth(0.9, 2.0).spike
        np.testing.assert_array_equal(spike(x), family(2.0)(x))
    assert made(forward="surrogate").controls == ()
    (control,) = made(forward="hard").controls
    cell = control.cell(None, made().model.neuron.smooth(0.9, 2.0))
    np.testing.assert_array_equal(cell.spike(x), spikes.heaviside(x))
    assert jax.grad(lambda x: cell.spike(x))(0.1) == jax.grad(spikes.sigmoid(2.0))(0.1)
    for name, kind in neurons.NEURONS.items():
        assert type(made(lif__neuron=name).model.neuron) is kind
    response = readouts.Response((jnp.full((4, 2, 3), 0.5),), (jnp.full((4, 2, 3), 2.0),), ())
    scores = [
        made(readout=name, readout_scale=3.0).model.readout(response) for name in readouts.READOUTS
    ]
    np.testing.assert_allclose(scores, [np.full((2, 3), 1.5), np.full((2, 3), 6.0)])


def test_sam_follows_its_settings():
    assert made(sam__ascent_batch="independent").sharpness.independent
    assert not made(sam__ascent_batch="same").sharpness.independent
    assert made(sam__group_size=16, sam__ascent_fraction=1.0).sharpness.groups == 4
    w, g = jnp.array([3.0, 4.0]), jnp.array([1.0, 0.0])
    for adaptive, moved in ((False, [3.5, 4.0]), (True, [4.5, 4.0])):  # 0.5 w^2 g / |w g|
        link = made(sam__adaptive=adaptive).sharpness.link(0.5)
        at, _ = link.update(g, link.init(w), w, grad_fn=lambda at: at)
        np.testing.assert_allclose(at, moved)


@pytest.mark.parametrize(
    "method, direction",
    [
        ("sam", [0.0, 0.5]),
        ("unnormalised", [0.0, 1.0]),
        ("bounded", [0.0, 0.2]),  # at most bound = 0.1 of the gradient's norm of 2
        ("vasso", [0.5 * 0.24 / math.hypot(0.24, 0.4), 0.5 * 0.4 / math.hypot(0.24, 0.4)]),
        ("friendly", [0.5 * -0.24 / math.hypot(0.24, 0.6), 0.5 * 0.6 / math.hypot(0.24, 0.6)]),
    ],
)
def test_a_method_perturbs_as_its_name_says(method, direction):
    link = made(sam__method=method, sam__bound=0.1).sharpness.link(0.5)
    w, seen = jnp.array([3.0, 4.0]), []
    state = link.init(w)
    for g in (jnp.array([2.0, 0.0]), jnp.array([0.0, 2.0])):
        _, state = link.update(g, state, w, grad_fn=lambda at: seen.append(at) or at)
    np.testing.assert_allclose(seen[1] - w, direction, atol=1e-6)


def test_gsam_takes_its_weight_from_the_config():
    link = made(sam__method="gsam", sam__alpha=0.25, sam__ascent_fraction=1.0).sharpness.link(1.0)
    g, w, p = jnp.array([1.0, 0.0]), jnp.array([3.0, 4.0]), jnp.array([1.0, 1.0])
    descended, _ = link.update(g, link.init(w), w, grad_fn=lambda at: p)
    np.testing.assert_allclose(descended, p - 0.25 * (g - p / 2), rtol=1e-6)


@pytest.mark.parametrize("method, direction", [("momentum", [-0.5, 0.0]), ("stale", [0.5, 0.0])])
def test_methods_of_one_gradient_perturb_the_next_step(method, direction):
    ahead = made(sam__method=method, sam__ascent_fraction=1.0).sharpness.perturb(
        optax.sgd(1.0), 0.5
    )
    g, w = jnp.array([2.0, 0.0]), jnp.array([3.0, 4.0])
    updates, _ = ahead.update(g, ahead.init(w), w)
    np.testing.assert_allclose(updates + g, direction)
    assert not isinstance(made(sam__method="sam").sharpness, gradients.Ahead)


def test_training_recordings_are_deformed_as_the_config_says():
    none = {"data__shift": 0, "data__rotation": 0.0, "data__zoom": 0.0}
    assert made(**none).augment is None
    frames = jnp.zeros((8, 6, 34, 34, 2), jnp.uint8).at[:, :, 15:19, 5:29].set(1)
    key = jax.random.key(0)
    shifted = made(**none | {"data__shift": 3}).augment(key, frames)
    assert (shifted.sum(axis=(1, 2, 3, 4)) == frames[0].sum()).all()  # whole pixels
    assert (shifted != frames).any()
    for change in ({"data__rotation": 20.0}, {"data__zoom": 0.3}):
        deformed = made(**none | change).augment(key, frames)
        assert (deformed.sum(axis=(1, 2, 3, 4)) != frames[0].sum()).any()


@pytest.mark.parametrize("schedule, last", [("cosine", 0.0), ("constant", 1e-3)])
def test_the_learning_rate_follows_its_schedule(schedule, last):
    config = nmnist_robust.get_config()
    config.schedule = schedule
    made = build.recipe(settings.read(config), (34, 34, 2), 10, 1000)
    optimizer = made.optimizer(1e-3, 2)
    state = optimizer.init(jnp.zeros(1))
    for _ in range(3):  # with equal gradients Adam's step is the learning rate
        update, state = optimizer.update(jnp.ones(1), state, jnp.zeros(1))
    np.testing.assert_allclose(update, -last, atol=1e-8)


def test_the_optimizer_is_the_one_that_is_named():
    g, w = jnp.array([0.5, -3.0]), jnp.array([1.0, 2.0])
    steps = {"sgd": -1e-3 * g, "adam": [-1e-3, 1e-3]}
    for name, expected in steps.items():
        optimizer = made(optimizer=name, schedule="constant").optimizer(1e-3, 10)
        update, _ = optimizer.update(g, optimizer.init(w), w)
        np.testing.assert_allclose(update, expected, rtol=1e-5)
    decayed = made(weight_decay=0.5, schedule="constant").optimizer(1e-3, 10)
    update, _ = decayed.update(g, decayed.init(w), w)
    np.testing.assert_allclose(update, [-1e-3 - 5e-4, 1e-3 - 1e-3], atol=1e-8)


def test_batches_are_drawn_as_the_config_says():
    assert made(batches="independent").batches == batches_lib.Independent(64, 15)
    assert made(batches="shuffled").batches == batches_lib.Shuffled(64, 15)


def test_weights_are_seen_as_the_config_says():
    config = nmnist_robust.get_config()
    plain = build.recipe(settings.read(config), (34, 34, 2), 10, 100)
    assert plain.model.rounding is None and plain.controls == ()
    config.weights.bits, config.weights.noise = 2, 0.1
    recipe = build.recipe(settings.read(config), (34, 34, 2), 10, 100)
    params = {"Dense_0": {"kernel": jax.random.normal(jax.random.key(0), (50, 20))}}
    levels = recipe.model.rounding(params)["Dense_0"]["kernel"]
    assert len(np.unique(levels[:, 0])) == 3
    (noise,) = recipe.controls
    seen = noise.weights(jax.random.key(1), params)["Dense_0"]["kernel"]
    factor = np.asarray(seen / params["Dense_0"]["kernel"])
    np.testing.assert_allclose([factor.mean(), factor.std()], [1, 0.1], atol=0.02)


def test_controls_are_off_until_the_config_turns_them_on():
    assert made().controls == ()
    assert made(network__products="bfloat16").controls == (controls.Bfloat16Products(),)
    assert made(guard__weight=2.0).controls == (controls.Guard(2.0),)
    assert made(overlap__weight=2.0).controls == (controls.Overlap(2.0),)
    assert made(data__lost=0.5).augment == augmentation.Then(
        made().augment, augmentation.Events(0.5)
    )
    assert made(average__start=0.5).optimizer.averages.start == 0.5
    assert made().sparse and not made(network__sparse=False).sparse
    spikes_ = jnp.full((4, 2, 3), 0.5)
    (penalty,) = made(rates__weight=2.0, rates__target=0.3).controls
    forward = controls.Forward(None, readouts.Response((spikes_,), (spikes_,), ()), None)
    found = penalty.loss(None, forward, None)
    np.testing.assert_allclose(found, 2.0 * (0.5 - 0.3) ** 2, rtol=1e-5)


def test_the_adversary_follows_the_config():
    w, x, key = jnp.array([[1.0, -2.0], [0.5, 3.0]]), jnp.ones((4, 2)), jax.random.key(3)
    given = {"weight": 0.5, "spread": 0.2, "steps": 2}
    (adversary,) = made(**{f"adversary__{name}": value for name, value in given.items()}).controls
    expected = controls.adversarial_divergence(lambda w: x @ w, w, key, 0.2, 2)
    assert expected > 0
    first = controls.Forward(w, None, x @ w)
    found = adversary.loss(key, first, lambda w: first._replace(scores_BxK=x @ w))
    np.testing.assert_allclose(found, 0.5 * expected, rtol=1e-6)


@pytest.mark.parametrize("changes", [{"noise": 0.3}, {"hard": 0.5}])
def test_neurons_are_left_to_chance_as_the_config_says(changes):
    config = {f"neurons__{name}": value for name, value in changes.items()}
    if "noise" in changes:  # which is counted in thresholds
        changes = {"noise": 2.0 * changes["noise"]}
    recipe, current = made(lif__threshold=2.0, **config), 4 * jnp.ones((5, 3, 7))
    (control,), key = recipe.controls, jax.random.key(0)
    cell = recipe.model.neuron.smooth(0.9, 2.0)
    found, expected, plain = (
        neurons.integrate(one, current)[1]
        for one in (control.cell(key, cell), neurons.Stochastic(cell, key, **changes), cell)
    )
    np.testing.assert_array_equal(found, expected)
    assert (found != plain).any()


def test_a_random_perturbation_does_not_look_at_the_gradient():
    link, w = made(sam__method="random").sharpness.link(0.5), jnp.zeros(50)
    first, second = (
        link.update(g, link.init(w), w, grad_fn=lambda at: at, key=jax.random.key(0))[0]
        for g in (jnp.ones(50), -jnp.arange(50.0))
    )
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(jnp.linalg.norm(first), 0.5, rtol=1e-5)


def test_conditions_are_those_of_the_config():
    config = nmnist_robust.get_config()
    config.hardware.update(weight_bits=(4, 2), scale="max", leak="shifts", draws=3)
    config.hardware.update({kind: () for kind in bench.NAMES if kind != "weight_bits"})
    config.hardware.dropped = (0.1, 0.2)
    found = build.conditions(settings.read(config))
    assert (found.weight_bits, found.draws) == ((4, 2), 3)
    assert found.variations == (("dropped", 0.1), ("dropped", 0.2))
    chip = build.chip(settings.read(config))
    assert (chip.weight_bits, chip.scale, chip.leak) == (4, "max", "shifts")
    config.hardware.draws = 0
    assert build.conditions(settings.read(config)).variations == ()
