"""Makes from settings what the library takes: a recipe, a grid of runs, conditions."""

import dataclasses
from collections.abc import Callable
from typing import Any

from sast_jax.data import augmentation
from sast_jax.errors import InputError
from sast_jax.hardware import bench, formats
from sast_jax.runs.settings import SWEPT_KEYS, Settings
from sast_jax.snn import networks, neurons, readouts, spikes
from sast_jax.snn.model import Model
from sast_jax.snn.neurons import Neuron
from sast_jax.snn.quantisation import Rounding
from sast_jax.snn.variation import Variation
from sast_jax.training import (
    averages,
    batches as batches_lib,
    controls,
    gradients,
    links,
    optimizers,
    recipe as recipes,
)


def grid(settings: Settings) -> list[dict]:
    """The runs of some settings: for each its seed and the values that a sweep can set."""
    axes = {
        name: getattr(settings.sweep, name) or (settings.get(SWEPT_KEYS.get(name, name)),)
        for name in recipes.SWEPT
    }
    seeds = range(settings.seed, settings.seed + settings.sweep.seeds)
    return recipes.grid(axes, seeds)


def hyperparameters(settings: Settings) -> recipes.Hyperparameters:
    """The same runs as arrays (R,)."""
    return recipes.Hyperparameters.of(grid(settings), settings.slope_end / settings.slope)


def network(settings: Settings, classes: int):
    features = (*settings.network.hidden, classes)
    if settings.network.channels:
        return networks.ConvNet(
            tuple(settings.network.channels),
            features,
            settings.network.kernel,
            settings.network.gain,
        )
    return networks.MLP(features, settings.network.gain)


def augment(settings: Settings) -> Callable | None:
    """The augmentation of training recordings: by whole pixels if they are only shifted."""
    given = settings.data
    moved: augmentation.Affine | augmentation.Shift | None = None
    if given.rotation or given.zoom:
        moved = augmentation.Affine(given.shift, given.rotation, given.zoom)
    elif given.shift:
        moved = augmentation.Shift(given.shift)
    if given.lost or given.added:
        return augmentation.Then(moved, augmentation.Events(given.lost, given.added))
    return moved


def chip(settings: Settings) -> formats.Chip:
    """Number formats of the integer networks; their weights have the first width to try."""
    given = settings.hardware
    return formats.Chip(
        weight_bits=given.weight_bits[0] if given.weight_bits else 8,
        per_channel=given.per_channel,
        scale=given.scale,
        membrane_bits=given.membrane_bits,
        headroom=given.headroom,
        leak=given.leak,
        leak_bits=given.leak_bits,
        leak_error=given.leak_error,
    )


def conditions(settings: Settings) -> bench.Conditions:
    """The conditions that trained networks are measured under."""
    given = settings.hardware
    levels = [(kind, level) for kind in Variation._fields for level in getattr(given, kind)]
    return bench.Conditions(
        tuple(given.weight_bits), tuple(levels) if given.draws else (), given.draws
    )


def recipe(
    settings: Settings, frame_shape: tuple[int, int, int], classes: int, recordings: int
) -> recipes.Recipe:
    """The recipe for a training set of this size.

    Raises:
      InputError: the batch is larger than the training set.
    """
    if settings.batch_size > recordings:
        raise InputError(
            f"config.batch_size={settings.batch_size} is larger than the training set of "
            f"{recordings} recordings; lower it"
        )
    bits = settings.weights.bits
    schedule = optimizers.SCHEDULES[settings.schedule]()
    adam = optimizers.Adam(schedule, settings.weight_decay)
    optimizer: optimizers.Adam | optimizers.Sgd | averages.Averaged
    optimizer = adam if settings.optimizer == "adam" else optimizers.Sgd(schedule)
    if settings.average.active:
        optimizer = averages.Averaged(optimizer, settings.average)
    model = Model(
        network=network(settings, classes),
        neuron=neuron(settings),
        readout=readouts.READOUTS[settings.readout](settings.readout_scale),
        rounding=Rounding(bits, settings.weights.per_channel) if bits else None,
        segment=settings.network.segment or None,
    )
    return recipes.Recipe(
        model=model,
        optimizer=optimizer,
        sharpness=_sharpness(settings),
        controls=_controls(settings),
        batches=batches_lib.BATCHES[settings.batches](settings.batch_size),
        epochs=settings.epochs,
        augment=augment(settings),
        sparse=settings.network.sparse,
    ).on(frame_shape, recordings)


def neuron(settings: Settings) -> Neuron:
    """The neuron of all layers; the fields of its kind are set from ``config.lif``."""
    given, kind = settings.lif, neurons.NEURONS[settings.lif.neuron]
    values = dict(vars(given), spike=spikes.FAMILIES[settings.spike])
    values |= {"reset": neurons.RESETS[given.reset]}
    return kind(**{field.name: values[field.name] for field in dataclasses.fields(kind)})


def _sharpness(settings):
    given, start = settings.sam, settings.first_epoch
    if given.method in links.AHEAD:
        return gradients.Ahead(links.AHEAD[given.method](), start)
    kind: Any = links.LINKS[given.method]
    names = [field.name for field in dataclasses.fields(kind) if hasattr(given, field.name)]
    link = kind(**{name: getattr(given, name) for name in names})
    independent = given.ascent_batch == "independent"
    if given.group_size:
        groups = settings.batch_size // given.group_size
        return gradients.Grouped(groups, link, start, independent)
    whole = given.ascent_fraction == 1
    part = None if whole else max(1, round(given.ascent_fraction * settings.batch_size))
    return gradients.Sharpness(link, start, part, independent)


def _controls(settings):
    noise, hard = settings.lif.threshold * settings.neurons.noise, settings.neurons.hard
    found = {
        controls.HardForward(): settings.forward == "hard",
        controls.StochasticNeurons(noise, hard): noise or hard,
        controls.WeightNoise(settings.weights.noise): settings.weights.noise,
        controls.Bfloat16Products(): settings.network.products == "bfloat16",
    }
    groups = (getattr(settings, field.name) for field in dataclasses.fields(settings))
    own = [group for group in groups if isinstance(group, controls.Control) and group.active]
    return (*(control for control, wanted in found.items() if wanted), *own)
