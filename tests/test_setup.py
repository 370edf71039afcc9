"""What a config may say, and the runs it stands for."""

import functools
import importlib
import math
import pkgutil
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from experiments import checks, configs, setup
from experiments.configs import nmnist
from sast_jax import controls, lif, networks, spikes, trials
from sast_jax.errors import InputError

CONFIGS = [name for _, name, _ in pkgutil.iter_modules(configs.__path__) if name != "assessment"]


@pytest.mark.parametrize("name", CONFIGS)
def test_the_configs_that_come_with_it_are_sound(name):
    checks.check(importlib.import_module(f"experiments.configs.{name}").get_config())


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"rho": -0.1}, "config.rho=-0.1 must be a number from 0 up"),
        ({"rho": math.nan}, "config.rho=nan"),
        ({"rho": math.inf}, "config.rho=inf"),
        ({"epochs": 0}, "config.epochs=0"),
        ({"batch_size": 0}, "config.batch_size=0"),
        ({"learning_rate": 0.0}, "config.learning_rate=0.0 must be a number above 0"),
        ({"slope": -1.0}, "config.slope=-1.0"),
        ({"spike": "relu"}, "config.spike='relu' must be one of 'sigmoid', 'arctan'"),
        ({"forward": "soft"}, "config.forward='soft'"),
        ({"optimizer": "rmsprop"}, "config.optimizer='rmsprop' must be one of 'adam', 'sgd'"),
        (
            {"optimizer": "sgd", "weight_decay": 0.1},
            "config.weight_decay=0.1 must be 0 with config.optimizer='sgd'",
        ),
        ({"batches": "all"}, "config.batches='all' must be one of 'shuffled', 'independent'"),
        ({"schedule": "step"}, "config.schedule='step'"),
        ({"lif.decay": 1.5}, "config.lif.decay=1.5 must be a number from 0 to 1"),
        ({"lif.reset": "none"}, "config.lif.reset='none'"),
        ({"lif.threshold": 0.0}, "config.lif.threshold=0.0"),
        ({"network.hidden": (128, 0)}, "config.network.hidden=(128, 0)"),
        ({"network.kernel": 4}, "config.network.kernel=4 must be an odd number"),
        ({"sam.warmup": 2.0}, "config.sam.warmup=2.0"),
        ({"sam.start": 1.0}, "config.sam.start=1.0 must be early enough"),
        ({"sam.ascent_fraction": 1.5}, "config.sam.ascent_fraction=1.5"),
        ({"sam.ascent_batch": "other"}, "config.sam.ascent_batch='other'"),
        ({"sam.group_size": 16}, "config.sam.group_size=16"),
        ({"sam.group_size": 7, "sam.ascent_fraction": 1.0}, "config.sam.group_size=7"),
        ({"sam.method": "sammy"}, "config.sam.method='sammy' must be one of 'sam', 'unnormalised'"),
        (
            {"sam.method": "vasso", "sam.adaptive": True},
            "config.sam.adaptive=True must be False with config.sam.method='vasso'",
        ),
        ({"sam.method": "gsam"}, "add --config.sam.ascent_fraction=1"),
        (
            {"sam.method": "stale", "sam.ascent_fraction": 1.0, "sam.ascent_batch": "independent"},
            "--config.sam.ascent_batch=same",
        ),
        (
            {"sam.method": "momentum", "sam.ascent_fraction": 1.0, "sam.group_size": 8},
            "config.sam.group_size=8 must be 0 with config.sam.method='momentum'",
        ),
        ({"sam.bound": 0.0}, "config.sam.bound=0.0"),
        ({"sam.alpha": -0.1}, "config.sam.alpha=-0.1"),
        ({"sweep.seeds": 0}, "config.sweep.seeds=0"),
        ({"sweep.rho": (0.0, "abc")}, "config.sweep.rho='abc'"),
        (
            {"sweep.rho": ("0,x",)},
            "config.sweep.rho='0,x' must be numbers with commas between them",
        ),
        ({"sweep.rho": (0.0, -1.0)}, "config.sweep.rho=-1.0"),
        ({"sweep.rho": (0.4, 0.4)}, "config.sweep.rho=(0.4, 0.4) must be free of repetitions"),
        ({"seed": 2**31 - 1, "sweep.seeds": 2}, "config.sweep.seeds=2 must be smaller"),
        (
            {"sam.start": 0.9},
            "config.sam.start=0.9, in whole epochs 0.911, and",
        ),
        ({"epochs": 9, "sam.start": 0.5, "sam.warmup": 0.5}, "in whole epochs 0.556"),
        ({"network.kernel": 13}, "config.network.kernel=13"),
        ({"data.time_bins": 311}, "config.data.time_bins=311"),
        ({"sweep.decay": (0.9, 2.0)}, "config.sweep.decay=2.0"),
        ({"data.time_bins": 0}, "config.data.time_bins=0"),
        ({"data.validation": 1.0}, "config.data.validation=1.0"),
        ({"data.shift": -1}, "config.data.shift=-1"),
        ({"data.shift": 34}, "config.data.shift=34 must be a number from 0 to 33"),
        ({"data.source": "web"}, "config.data.source='web'"),
        ({"weights.bits": 1}, "config.weights.bits=1 must be from 2 (-1, 0, 1) to 8 bits"),
        ({"weights.noise": -0.1}, "config.weights.noise=-0.1"),
        ({"hardware.weight_bits": (8, 9)}, "config.hardware.weight_bits=9 must be from 2"),
        ({"hardware.dead": ("",)}, "config.hardware.dead='' must be numbers with commas"),
        (
            {"corruptions.kinds": "rain"},
            "config.corruptions.kinds='rain' must be 'all', or some of",
        ),
        ({"corruptions.kinds": "skew,skew"}, "config.corruptions.kinds='skew,skew' must be 'all'"),
        ({"corruptions.severities": (0,)}, "config.corruptions.severities=(0,) must be whole"),
        ({"corruptions.severities": (2.0,)}, "config.corruptions.severities=(2.0,) must be whole"),
        ({"corruptions.severities": (2, 2)}, "corruptions.severities=(2, 2) must be free of"),
        ({"hardware.weight_bits": ("a",)}, "config.hardware.weight_bits='a'"),
        (
            {"hardware.scale": "mean"},
            "config.hardware.scale='mean' must be one of 'error', 'max'",
        ),
        (
            {"hardware.membrane_bits": 33},
            "config.hardware.membrane_bits=33 must be a number",
        ),
        ({"hardware.headroom": 0.5}, "config.hardware.headroom=0.5 must be a number from 1"),
        (
            {"hardware.dropped": (0.1, 1.1)},
            "config.hardware.dropped=1.1 must be a number",
        ),
        ({"hardware.leaks": (-0.1,)}, "config.hardware.leaks=-0.1"),
        ({"hardware.leak_bits": 16}, "a leak of 16 bits: choose from 1 to 15"),
        ({"network.segment": 4}, "config.network.segment=4 must divide config.data.time_bins=6"),
        (
            {"data.stream": "yes"},
            "config.data.stream='yes' must be one of 'auto', 'always', 'never'",
        ),
        (
            {"hardware.leak_bits": 5, "hardware.leak_error": 0.3, "sweep.decay": (0.9, 0.99)},
            "a leak of 5 bits expresses the decay 0.99 as 32/32, which leaks",
        ),
    ],
    ids=str,
)
def test_a_bad_value_is_named_with_what_it_may_be(changes, message):
    config = nmnist.get_config()
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=re.escape(message)):
        checks.check(config)


def test_a_config_with_other_keys_is_refused():
    partial = ConfigDict({"rho": 0.4})
    with pytest.raises(InputError, match=r"config\.\w+ is missing; a config starts from"):
        checks.check(partial)
    more = nmnist.get_config()
    with more.unlocked():
        more.sam.rho = 0.4
    with pytest.raises(InputError, match=r"config\.sam\.rho is not known"):
        checks.check(more)


def test_a_late_start_is_counted_in_whole_epochs():
    config = nmnist.get_config()
    for start, epochs, first in ((0.0, 10, 0), (0.07, 100, 7), (0.55, 100, 55), (0.5, 9, 5)):
        config.update_from_flattened_dict({"sam.start": start, "epochs": epochs})
        assert setup.first_epoch(config) == first


def test_a_batch_larger_than_the_set_is_refused():
    with pytest.raises(InputError, match=r"config.batch_size=64 is larger .* 63 recordings"):
        setup.recipe(nmnist.get_config(), (34, 34, 2), 10, 63)


def test_a_grid_is_every_combination_with_seeds_innermost():
    config = nmnist.get_config()
    config.update_from_flattened_dict(
        {"sweep.rho": (0.0, 0.4), "sweep.slope": (1, 2), "sweep.seeds": 2, "seed": 5}
    )
    runs = setup.grid(config)
    assert [(r["rho"], r["slope"], r["seed"]) for r in runs] == [
        (rho, slope, seed) for rho in (0.0, 0.4) for slope in (1.0, 2.0) for seed in (5, 6)
    ]
    hypers = setup.hyperparameters(config)
    np.testing.assert_allclose(hypers.rho, [r["rho"] for r in runs])
    np.testing.assert_allclose(hypers.slope_end, [4 * r["slope"] for r in runs])  # its ratio stays
    np.testing.assert_allclose(hypers.decay, 0.9)
    assert all(leaf.shape == (8,) for leaf in hypers)


def test_a_single_run_is_a_grid_of_one():
    config = nmnist.get_config()
    config.update({"rho": 0.7, "seed": 3})
    (run,) = setup.grid(config)
    assert (run["rho"], run["seed"], run["warmup"]) == (0.7, 3, config.sam.warmup)


def test_a_recipe_follows_its_config():
    config = nmnist.get_config()
    config.update_from_flattened_dict(
        {"sam.start": 0.5, "epochs": 9, "lif.threshold": 0.7, "sam.ascent_fraction": 0.25}
    )
    made = setup.recipe(config, (34, 34, 2), 10, 1000)
    assert (made.first_epoch, made.epoch_steps, made.ascent_size) == (5, 15, 16)
    hyper = jax.tree.map(lambda leaf: leaf[0], setup.hyperparameters(config))
    state = jnp.zeros(1), jnp.ones(1)
    from_spike = made.hard_cell(hyper)(setup.lif.State(*state), jnp.array([1.4]))[0]
    # Subtracted: 0.9 * (0 - 0.7 * 1) + 1.4 = 0.77, above the threshold of 0.7.
    np.testing.assert_allclose(from_spike.potential, 0.77, rtol=1e-6)
    assert from_spike.spike == 1


def made(**changes):
    config = nmnist.get_config()
    config.update_from_flattened_dict({key.replace("__", "."): v for key, v in changes.items()})
    return setup.recipe(config, (34, 34, 2), 10, 1000)


def test_names_stand_for_the_functions_they_name():
    x = jnp.linspace(-1, 1, 5)
    np.testing.assert_array_equal(made(spike="arctan").spike(2.0)(x), spikes.arctan(2.0)(x))
    np.testing.assert_array_equal(made(spike="sigmoid").spike(2.0)(x), spikes.sigmoid(2.0)(x))
    smooth = spikes.sigmoid(2.0)
    np.testing.assert_array_equal(made(forward="surrogate").forward(smooth)(x), smooth(x))
    np.testing.assert_array_equal(made(forward="hard").forward(smooth)(x), spikes.heaviside(x))
    response = networks.Response((jnp.full((4, 2, 3), 0.5),), jnp.full((4, 2, 3), 2.0), ())
    scores = [made(readout=name, readout_scale=3.0).readout(response) for name in setup.READOUTS]
    np.testing.assert_allclose(scores, [np.full((2, 3), 1.5), np.full((2, 3), 6.0)])


def test_sam_follows_its_settings():
    assert made(sam__ascent_batch="independent").independent
    assert not made(sam__ascent_batch="same").independent
    assert made(sam__group_size=16, sam__ascent_fraction=1.0).groups == 4
    w, g = jnp.array([3.0, 4.0]), jnp.array([1.0, 0.0])
    for adaptive, moved in ((False, [3.5, 4.0]), (True, [4.5, 4.0])):  # 0.5 w^2 g / |w g|
        link = made(sam__adaptive=adaptive).ascent(0.5)
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
    link = made(sam__method=method, sam__bound=0.1).ascent(0.5)
    w, seen = jnp.array([3.0, 4.0]), []
    state = link.init(w)
    for g in (jnp.array([2.0, 0.0]), jnp.array([0.0, 2.0])):
        _, state = link.update(g, state, w, grad_fn=lambda at: seen.append(at) or at)
    np.testing.assert_allclose(seen[1] - w, direction, atol=1e-6)


def test_gsam_takes_its_weight_from_the_config():
    link = made(sam__method="gsam", sam__alpha=0.25, sam__ascent_fraction=1.0).ascent(1.0)
    g, w, p = jnp.array([1.0, 0.0]), jnp.array([3.0, 4.0]), jnp.array([1.0, 1.0])
    descended, _ = link.update(g, link.init(w), w, grad_fn=lambda at: p)
    np.testing.assert_allclose(descended, p - 0.25 * (g - p / 2), rtol=1e-6)


@pytest.mark.parametrize("method, direction", [("momentum", [-0.5, 0.0]), ("stale", [0.5, 0.0])])
def test_methods_of_one_gradient_perturb_the_next_step(method, direction):
    ahead = made(sam__method=method, sam__ascent_fraction=1.0).ahead(optax.sgd(1.0), 0.5)
    g, w = jnp.array([2.0, 0.0]), jnp.array([3.0, 4.0])
    updates, _ = ahead.update(g, ahead.init(w), w)
    np.testing.assert_allclose(updates + g, direction)
    assert made(sam__method="sam").ahead is None


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
    config = nmnist.get_config()
    config.schedule = schedule
    made = setup.recipe(config, (34, 34, 2), 10, 1000)
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
    assert made(batches="independent").redraw and not made(batches="shuffled").redraw


def test_weights_are_seen_as_the_config_says():
    config = nmnist.get_config()
    plain = setup.recipe(config, (34, 34, 2), 10, 100)
    assert plain.rounding is None and plain.noise is None
    config.weights.bits, config.weights.noise = 2, 0.1
    recipe = setup.recipe(config, (34, 34, 2), 10, 100)
    params = {"Dense_0": {"kernel": jax.random.normal(jax.random.key(0), (50, 20))}}
    levels = recipe.rounding(params)["Dense_0"]["kernel"]
    assert len(np.unique(levels[:, 0])) == 3
    seen = recipe.noise(jax.random.key(1), params)["Dense_0"]["kernel"]
    factor = np.asarray(seen / params["Dense_0"]["kernel"])
    np.testing.assert_allclose([factor.mean(), factor.std()], [1, 0.1], atol=0.02)


def test_controls_are_off_until_the_config_turns_them_on():
    plain = made()
    assert (plain.neurons, plain.penalty, plain.adversary) == (None, None, None)
    spikes_ = jnp.full((4, 2, 3), 0.5)
    penalty = made(rates__weight=2.0, rates__target=0.3).penalty
    response = networks.Response((spikes_,), spikes_, ())
    np.testing.assert_allclose(penalty(response), 2.0 * (0.5 - 0.3) ** 2, rtol=1e-5)


def test_the_adversary_follows_the_config():
    w, x, key = jnp.array([[1.0, -2.0], [0.5, 3.0]]), jnp.ones((4, 2)), jax.random.key(3)
    settings = {"weight": 0.5, "spread": 0.2, "steps": 2}
    adversary = made(**{f"adversary__{name}": value for name, value in settings.items()}).adversary
    expected = controls.adversarial_divergence(lambda w: x @ w, w, key, 0.2, 2)
    assert expected > 0
    np.testing.assert_allclose(adversary(lambda w: x @ w, w, key), 0.5 * expected, rtol=1e-6)


@pytest.mark.parametrize("changes", [{"noise": 0.3}, {"hard": 0.5}])
def test_neurons_are_left_to_chance_as_the_config_says(changes):
    config = {f"neurons__{name}": value for name, value in changes.items()}
    if "noise" in changes:  # which is counted in thresholds
        changes = {"noise": 2.0 * changes["noise"]}
    built = made(lif__threshold=2.0, **config).neurons
    make, current = functools.partial(lif.reset_to_zero, 0.9, 2.0), 4 * jnp.ones((5, 3, 7))
    found, expected, plain = (
        lif.integrate(cell, current, key=key)[1]
        for cell, key in (
            (built(make, spikes.sigmoid(2.0)), jax.random.key(0)),
            (lif.stochastic(**changes)(make, spikes.sigmoid(2.0)), jax.random.key(0)),
            (make(spikes.sigmoid(2.0)), None),
        )
    )
    np.testing.assert_array_equal(found, expected)
    assert (found != plain).any()


def test_a_random_perturbation_does_not_look_at_the_gradient():
    link, w = made(sam__method="random").ascent(0.5), jnp.zeros(50)
    first, second = (
        link.update(g, link.init(w), w, grad_fn=lambda at: at, key=jax.random.key(0))[0]
        for g in (jnp.ones(50), -jnp.arange(50.0))
    )
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(jnp.linalg.norm(first), 0.5, rtol=1e-5)


def test_conditions_are_those_of_the_config():
    config = nmnist.get_config()
    config.hardware.update(weight_bits=(4, 2), scale="max", leak="shifts", draws=3)
    config.hardware.update({kind: () for kind in trials.NAMES if kind != "weight_bits"})
    config.hardware.dropped = (0.1, 0.2)
    found = setup.conditions(config)
    assert (found.weight_bits, found.draws) == ((4, 2), 3)
    assert found.variations == (("dropped", 0.1), ("dropped", 0.2))
    chip = setup.chip(config)
    assert (chip.weight_bits, chip.scale, chip.leak) == (4, "max", "shifts")
    config.hardware.draws = 0
    assert setup.conditions(config).variations == ()
