"""From a checked ConfigDict to what the library takes: a recipe, a grid of runs, conditions."""

import functools
import itertools
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from sast_jax import chips, controls, lif, networks, results, spikes, training, trials, weights
from sast_jax.data import augmentation
from sast_jax.data.corruptions import KINDS
from sast_jax.errors import InputError
from sast_jax.sam import (
    bounded_scale_to_norm,
    friendly_sam,
    gap_aware,
    momentum_sam,
    perturb_ahead,
    sam,
    scale_to_norm,
    sharpness_aware,
    vasso,
)
from sast_jax.variation import Variation

SPIKES = {"sigmoid": spikes.sigmoid, "arctan": spikes.arctan}
RESETS = {"zero": lif.reset_to_zero, "subtract": lif.reset_by_subtraction}
READOUTS = {"spikes": networks.mean_spikes, "current": networks.mean_current}
FORWARDS = {"surrogate": lambda smooth: smooth, "hard": spikes.hard_forward}
SCHEDULES = {
    "constant": lambda rate, steps: rate,
    "cosine": lambda rate, steps: optax.cosine_decay_schedule(rate, steps),
}
OPTIMIZERS = {  # (schedule, weight decay) -> optimizer
    "adam": lambda rate, w: optax.adamw(rate, weight_decay=w) if w else optax.adam(rate),
    "sgd": lambda rate, w: optax.sgd(rate),
}
BATCHES = ("shuffled", "independent")
LINKS = {  # config.sam -> radius -> link
    "sam": lambda sam_config: functools.partial(sam, adaptive=sam_config.adaptive),
    "unnormalised": lambda sam_config: lambda radius: sharpness_aware(optax.scale(radius)),
    "bounded": lambda sam_config: (
        lambda radius: sharpness_aware(bounded_scale_to_norm(radius, sam_config.bound))
    ),
    "vasso": lambda sam_config: vasso,
    "friendly": lambda sam_config: friendly_sam,
    "random": lambda sam_config: controls.random_perturbation,
    "gsam": lambda sam_config: lambda radius: gap_aware(scale_to_norm(radius), sam_config.alpha),
}
AHEAD = {  # (optimizer, radius) -> optimizer
    "momentum": momentum_sam,
    "stale": lambda optimizer, radius: perturb_ahead(optimizer, scale_to_norm(radius)),
}
SWEPT = results.GRID_KEYS
SWEPT_KEYS = {"decay": "lif.decay", "warmup": "sam.warmup"}  # where the single value stands


def first_epoch(config: ConfigDict) -> int:
    """Epochs that are trained without SAM; a fraction of an epoch counts as a whole one."""
    return math.ceil(round(config.sam.start * config.epochs, 9))


def grid(config: ConfigDict) -> list[dict]:
    """The runs of a config, each as its seed and the values that a sweep can set."""
    axes = [config.sweep[name] or (get(config, SWEPT_KEYS.get(name, name)),) for name in SWEPT]
    seeds = range(config.seed, config.seed + config.sweep.seeds)
    return [
        {"seed": seed, **{name: float(v) + 0.0 for name, v in zip(SWEPT, values, strict=True)}}
        for *values, seed in itertools.product(*axes, seeds)
    ]


def hyperparameters(config: ConfigDict) -> training.Hyperparameters:
    """The same runs as arrays (R,)."""
    runs = grid(config)
    ratio = config.slope_end / config.slope
    columns = {name: jnp.array([run[name] for run in runs], jnp.float32) for name in SWEPT}
    seeds = jnp.array([run["seed"] for run in runs], jnp.int32)
    slope_end = jnp.array([np.float32(run["slope"] * ratio) for run in runs])
    return training.Hyperparameters(seed=seeds, slope_end=slope_end, **columns)


def network(config: ConfigDict, classes: int):
    features = (*config.network.hidden, classes)
    if config.network.channels:
        return networks.ConvNet(
            tuple(config.network.channels), features, config.network.kernel, config.network.gain
        )
    return networks.MLP(features, config.network.gain)


def augment(config: ConfigDict) -> Callable | None:
    """What training recordings go through; shifts alone are by whole pixels."""
    pixels, degrees, zoom = (config.data[key] for key in ("shift", "rotation", "zoom"))
    if degrees or zoom:
        return functools.partial(augmentation.affine, pixels=pixels, degrees=degrees, zoom=zoom)
    return functools.partial(augmentation.shift, pixels=pixels) if pixels else None


def chip(config: ConfigDict) -> chips.Chip:
    """Number formats of the integer networks; weights of the first width that is tried."""
    given = config.hardware
    return chips.Chip(
        weight_bits=given.weight_bits[0] if given.weight_bits else 8,
        per_channel=given.per_channel,
        scale=given.scale,
        membrane_bits=given.membrane_bits,
        headroom=given.headroom,
        leak=given.leak,
        leak_bits=given.leak_bits,
        leak_error=given.leak_error,
    )


def conditions(config: ConfigDict) -> trials.Conditions:
    """What the trained networks are tried under."""
    given = config.hardware
    levels = [(kind, level) for kind in Variation._fields for level in given[kind]]
    return trials.Conditions(
        tuple(given.weight_bits), tuple(levels) if given.draws else (), given.draws
    )


def corruptions(config: ConfigDict) -> tuple[str, ...]:
    """Kinds of corruption that the trained networks are tried on."""
    kinds = config.corruptions.kinds
    return tuple(KINDS) if kinds == "all" else tuple(filter(None, kinds.split(",")))


def recipe(
    config: ConfigDict, frame_shape: tuple[int, int, int], classes: int, recordings: int
) -> training.Recipe:
    """The recipe for a training set of so many recordings.

    Raises:
      InputError: the batch is larger than the training set.
    """
    if config.batch_size > recordings:
        raise InputError(
            f"config.batch_size={config.batch_size} is larger than the training set of "
            f"{recordings} recordings; lower it"
        )

    def optimizer(learning_rate, steps):
        schedule = SCHEDULES[config.schedule](learning_rate, steps)
        return OPTIMIZERS[config.optimizer](schedule, config.weight_decay)

    method, bits = config.sam.method, config.weights.bits
    return training.Recipe(
        network=network(config, classes),
        frame_shape=frame_shape,
        spike=SPIKES[config.spike],
        forward=FORWARDS[config.forward],
        cell=RESETS[config.lif.reset],
        threshold=config.lif.threshold,
        readout=READOUTS[config.readout](config.readout_scale),
        optimizer=optimizer,
        epochs=config.epochs,
        epoch_steps=recordings // config.batch_size,
        batch_size=config.batch_size,
        redraw=config.batches == "independent",
        ascent=LINKS[method](config.sam) if method in LINKS else sam,
        ahead=AHEAD.get(method),
        independent=config.sam.ascent_batch == "independent",
        ascent_size=max(1, round(config.sam.ascent_fraction * config.batch_size)),
        groups=config.batch_size // config.sam.group_size if config.sam.group_size else 1,
        first_epoch=first_epoch(config),
        augment=augment(config),
        rounding=weights.rounded(bits, config.weights.per_channel) if bits else None,
        noise=weights.noisy(config.weights.noise) if config.weights.noise else None,
        neurons=_neurons(config),
        penalty=_penalty(config.rates),
        adversary=_adversary(config.adversary),
        segment=config.network.segment or None,
    )


def _neurons(config):
    noise, hard = config.lif.threshold * config.neurons.noise, config.neurons.hard
    return lif.stochastic(noise, hard) if noise or hard else None


def _penalty(rates):
    return controls.rate_penalty(rates.target, rates.weight) if rates.weight else None


def _adversary(adversary):
    if not adversary.weight:
        return None
    weight, spread, steps = adversary.weight, adversary.spread, adversary.steps
    return lambda scores, params, key: (
        weight * controls.adversarial_divergence(scores, params, key, spread, steps)
    )


def get(config, key):
    for part in key.split("."):
        config = config[part]
    return config
