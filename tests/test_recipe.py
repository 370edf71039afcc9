"""Recipes are values: equal ones are compiled once, and each setting makes another."""

import collections
import dataclasses

import jax
import numpy as np
import pytest
import small

from sast_jax.data import augmentation
from sast_jax.errors import InputError
from sast_jax.evaluation import swap
from sast_jax.hardware import models
from sast_jax.sharpness import sam
from sast_jax.snn import networks, neurons, spikes
from sast_jax.snn.model import Model
from sast_jax.snn.neurons import Adaptive, Synaptic
from sast_jax.snn.quantisation import Rounding
from sast_jax.snn.readouts import MeanCurrent
from sast_jax.training import batches as batches_lib, controls, epochs, links
from sast_jax.training.batches import Independent, Shuffled
from sast_jax.training.gradients import Ahead, Grouped, Plain, Sharpness
from sast_jax.training.optimizers import Adam, Constant, Cosine, Sgd
from sast_jax.training.recipe import Recipe

COMPILED = collections.Counter()
jax.monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: COMPILED.update([event])
)


def compiled():
    """Programs that were compiled, or fetched from the disk, so far."""
    return COMPILED["/jax/core/compile/backend_compile_duration"]


# Each makes its value from scratch.
CHANGES = {
    "network": lambda: {"network": networks.MLP([16, small.K], gain=2.5)},
    "convolutions": lambda: {"network": networks.ConvNet([3], [small.K], kernel=3, gain=2.0)},
    "readout": lambda: {"readout": MeanCurrent(10.0)},
    "rounding": lambda: {"rounding": Rounding(4, per_channel=False)},
    "segment": lambda: {"segment": 1},
    "threshold": lambda: {"neuron": neurons.LIF(0.9)},
    "spike": lambda: {"neuron": neurons.LIF(spike=spikes.arctan)},
    "reset": lambda: {"neuron": neurons.LIF(reset=neurons.BySubtraction())},
    "synaptic": lambda: {"neuron": Synaptic(1.0, synapse_decay=0.7)},
    "adaptive": lambda: {"neuron": Adaptive(1.0, adaptation_decay=0.8, adaptation=0.3)},
    "schedule": lambda: {"optimizer": Adam(Cosine())},
    "weight decay": lambda: {"optimizer": Adam(Constant(), weight_decay=1e-4)},
    "sgd": lambda: {"optimizer": Sgd(Constant())},
    "epochs": lambda: {"epochs": 7},
    "batches": lambda: {"batches": Independent(small.B, 5)},
    "size": lambda: {"batches": Shuffled(10, 4)},
    "shift": lambda: {"augment": augmentation.Shift(1)},
    "affine": lambda: {"augment": augmentation.Affine(1.0, 10.0, 0.1)},
    "plain": lambda: {"sharpness": Plain()},
    "start": lambda: {"sharpness": Sharpness(start=2)},
    "part": lambda: {"sharpness": Sharpness(part=3)},
    "independent": lambda: {"sharpness": Sharpness(independent=True)},
    "grouped": lambda: {"sharpness": Grouped(2, links.Sam(), start=1)},
    "grouped, adaptive": lambda: {"sharpness": Grouped(2, links.Sam(adaptive=True))},
    "momentum": lambda: {"sharpness": Ahead(links.Momentum(0.8))},
    "shared momentum": lambda: {"sharpness": Ahead(links.SharedMomentum())},
    "stale": lambda: {"sharpness": Ahead(links.Stale(), start=1)},
    "adaptive radius": lambda: {"sharpness": Sharpness(links.Sam(adaptive=True))},
    "unnormalised": lambda: {"sharpness": Sharpness(links.Unnormalised())},
    "bounded": lambda: {"sharpness": Sharpness(links.Bounded(1.5))},
    "vasso": lambda: {"sharpness": Sharpness(links.Vasso(0.3))},
    "friendly": lambda: {"sharpness": Sharpness(links.Friendly(0.5, 0.9))},
    "random": lambda: {"sharpness": Sharpness(links.RandomDirection())},
    "gsam": lambda: {"sharpness": Sharpness(links.GapAware(0.2))},
    "hard forward": lambda: {"controls": (controls.HardForward(),)},
    "noise": lambda: {"controls": (controls.StochasticNeurons(noise=0.1),)},
    "mixing": lambda: {"controls": (controls.StochasticNeurons(hard=0.1),)},
    "weight noise": lambda: {"controls": (controls.WeightNoise(0.1),)},
    "penalty": lambda: {"controls": (controls.RatePenalty(0.1, 1.0),)},
    "adversary": lambda: {"controls": (controls.Adversary(0.5, 0.2, 2),)},
    "several": lambda: {"controls": (controls.WeightNoise(0.1), controls.HardForward())},
    "other order": lambda: {"controls": (controls.HardForward(), controls.WeightNoise(0.1))},
}
# One of each kind of value, and in few programs.
TRAINED = ("rounding", "synaptic", "affine", "grouped", "momentum", "several")


def built(name):
    return small.recipe(**CHANGES[name]())


def run(made):
    """All that is done with a recipe: the networks, trained, evaluated and counted."""
    hyper_R = small.hyper(seeds=(0, 1))
    trained = small.trained(made, hyper_R, epochs=1)
    return swap.soft_and_hard(trained, small.frames()), models.count(trained, small.frames())


@pytest.mark.parametrize("name", CHANGES)
def test_equal_settings_make_equal_recipes(name):
    one, other = built(name), built(name)
    assert one is not other and one.model is not other.model
    assert one == other and hash(one) == hash(other)
    assert len({one, other}) == 1


def test_different_settings_make_different_recipes():
    every = [small.recipe(), *(built(name) for name in CHANGES)]
    assert len(set(every)) == len(every) == len(CHANGES) + 1
    for number, one in enumerate(every):
        assert [other == one for other in every].count(True) == 1
        assert every.index(one) == number


@pytest.mark.parametrize("name", TRAINED)
def test_an_equal_recipe_compiles_nothing(name):
    first = run(built(name))
    before = compiled(), epochs.train_epoch._cache_size(), swap._respond._cache_size()
    second = run(built(name))
    after = compiled(), epochs.train_epoch._cache_size(), swap._respond._cache_size()
    assert after == before
    assert first == second


def test_a_recipe_that_is_compared_by_identity_compiles_again():
    """So that the test above would find such a field."""

    def by_identity():
        return small.recipe(augment=lambda key, frames: frames)

    assert by_identity() != by_identity()
    run(by_identity())
    before = compiled(), epochs.train_epoch._cache_size()
    run(by_identity())
    assert compiled() > before[0] and epochs.train_epoch._cache_size() == before[1] + 1


@pytest.mark.parametrize("name", TRAINED)
def test_another_setting_compiles_again(name):
    run(small.recipe())
    before = epochs.train_epoch._cache_size(), swap._respond._cache_size()
    run(dataclasses.replace(built(name), epochs=8))  # a number that nothing else here has
    assert epochs.train_epoch._cache_size() == before[0] + 1
    assert swap._respond._cache_size() > before[1]


def test_runs_of_a_grid_differ_without_another_program():
    made = small.recipe()
    small.fit(made, small.hyper(), epochs=1)
    before = epochs.train_epoch._cache_size()
    small.fit(made, small.hyper((3,), (0.4,), learning_rate=0.02, decay=0.8, slope=2.0), epochs=1)
    assert epochs.train_epoch._cache_size() == before


def test_a_recipe_has_few_fields():
    fields = [field.name for field in dataclasses.fields(Recipe)]
    assert len(fields) <= 8
    assert fields[0] == "model" and len(dataclasses.fields(Model)) <= 8


def test_a_recipe_meets_its_training_set():
    plain = Recipe(Model(networks.MLP((16, small.K))), batches=Shuffled(8), epochs=3)
    made = plain.on((6, 6, 2), 45)
    assert made.model.frame_shape == (6, 6, 2)
    assert (made.batches.steps, made.steps) == (5, 15)  # an incomplete batch is dropped
    assert plain.model.frame_shape is None and plain.batches.steps is None
    assert made == plain.on(np.array([6, 6, 2]), 47)
    assert made.on((6, 6, 2), 20) == plain.on((6, 6, 2), 20)  # nothing is left of a set before


MODEL = Model(networks.MLP((4, 2)))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Recipe(MODEL, epochs=0), "epochs=0 must be a number from 1 up"),
        (lambda: Recipe(MODEL, epochs=2.0), "epochs=2.0 must be a whole number"),
        (lambda: Recipe(MODEL, Adam(), Sharpness(start=3), epochs=3), "start=3 of Sharpness"),
        (lambda: Sharpness(start=-1), "start=-1 must be"),
        (lambda: Ahead(start=0.5), "start=0.5 must be a whole number"),
        (lambda: Sharpness(part=0), "part=0 must be a number from 1 up"),
        (
            lambda: Recipe(MODEL, Adam(), Sharpness(part=65)),
            "part=65 must be a number from 1 to 64",
        ),
        (lambda: Sharpness(links.GapAware(), part=8), "GapAware takes both gradients"),
        (lambda: Sharpness(links.GapAware(), independent=True), "GapAware takes both gradients"),
        (lambda: Grouped(2, links.GapAware(), independent=True), "GapAware takes both gradients"),
        (lambda: Grouped(0), "groups=0 must be"),
        (lambda: Grouped(2, links.RandomDirection()), "RandomDirection draws one perturbation"),
        (lambda: Recipe(MODEL, Adam(), Grouped(5)), "groups=5 must divide the batch of 64"),
        (
            lambda: Recipe(MODEL, Adam(), Grouped(4), (controls.Adversary(1.0),)),
            "the control Adversary acts on a whole batch",
        ),
        (
            lambda: Recipe(MODEL, Adam(), Grouped(4), (controls.StochasticNeurons(0.1),)),
            "the control StochasticNeurons acts on a whole batch",
        ),
        (
            lambda: Recipe(MODEL, Adam(), Grouped(4), (controls.RatePenalty(0.1, 1.0),)),
            "the control RatePenalty acts on a whole batch",
        ),
        (lambda: controls.RatePenalty(5, 1.0), "target=5 must be a number from 0 to 1"),
        (lambda: controls.Adversary(1.0, steps=0), "steps=0 must be"),
        (lambda: controls.StochasticNeurons(hard=7), "hard=7 must be a number from 0 to 1"),
        (lambda: controls.WeightNoise(-1), "spread=-1 must be"),
        (lambda: MeanCurrent(-3), "scale=-3 must be a number above 0"),
        (lambda: Adam(weight_decay=-3), "weight_decay=-3 must be"),
        (lambda: neurons.LIF(-1), "threshold=-1 must be a number from 0 up"),
        (lambda: Adaptive(adaptation_decay=1.5), "adaptation_decay=1.5 must be"),
        (lambda: Rounding(9), "weights of 9 bits: choose from 2"),
        (lambda: networks.ConvNet((3,), (2,), kernel=4), "kernel=4 must be an odd number"),
        (lambda: networks.HalvingConv(3, kernel=2), "kernel=2 must be an odd number"),
        (lambda: Shuffled(0), "size=0 must be"),
        (lambda: Independent(-1), "size=-1 must be"),
        (lambda: Model(networks.MLP((4, 2)), segment=0), "segment=0 must be"),
    ],
)
def test_what_does_not_go_together_cannot_be_made(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_controls_may_be_a_list_and_nothing_else():
    made = Recipe(MODEL, controls=[controls.WeightNoise(0.1)])
    assert hash(made) == hash(Recipe(MODEL, controls=(controls.WeightNoise(0.1),)))
    for wrong in ({"controls": (controls.WeightNoise,)}, {"batches": 32}, {"sharpness": sam(0.1)}):
        with pytest.raises(TypeError, match="must be an instance of"):
            Recipe(MODEL, **wrong)


@pytest.mark.parametrize("kind", batches_lib.BATCHES.values())
def test_a_batch_larger_than_the_training_set_is_refused(kind):
    message = "a batch of 41 is larger than the training set of 40 recordings; lower it"
    with pytest.raises(InputError, match=message):
        kind(41).on(40)
    with pytest.raises(InputError, match=message):
        Recipe(Model(networks.MLP((3,))), batches=kind(41)).on(small.SHAPE, 40)
    assert kind(40).on(40) == kind(40, 1)
