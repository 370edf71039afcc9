"""What a config may say: every value, and every relation between values that needs no recording."""

import math
from collections.abc import Iterable

from ml_collections import ConfigDict

from experiments import datasets, passes, setup
from sast_jax import chips
from sast_jax.data import corruptions, gesture_files, packing, recordings
from sast_jax.errors import InputError

_CHOICES = {
    "schedule": setup.SCHEDULES,
    "optimizer": setup.OPTIMIZERS,
    "batches": setup.BATCHES,
    "forward": setup.FORWARDS,
    "spike": setup.SPIKES,
    "readout": setup.READOUTS,
    "lif.reset": setup.RESETS,
    "sam.method": (*setup.LINKS, *setup.AHEAD),
    "sam.ascent_batch": ("same", "independent"),
    "data.source": ("auto", "folder", "tonic", "simulated"),
    "data.stream": passes.STREAMS,
    "hardware.scale": chips.SCALES,
    "hardware.leak": chips.LEAKS,
}
_RANGES = {  # inclusive
    "rho": (0, math.inf),
    "seed": (0, 2**31 - 1),
    "epochs": (1, 10**6),
    "batch_size": (1, math.inf),
    "weight_decay": (0, math.inf),
    "neurons.noise": (0, math.inf),
    "neurons.hard": (0, 1),
    "rates.target": (0, 1),
    "rates.weight": (0, math.inf),
    "adversary.weight": (0, math.inf),
    "adversary.steps": (1, 100),
    "lif.decay": (0, 1),
    "network.kernel": (1, 11),  # the convolution is written out offset by offset
    "network.segment": (0, math.inf),
    "sam.warmup": (0, 1),
    "sam.start": (0, 1),
    "sam.alpha": (0, math.inf),
    "sam.group_size": (0, math.inf),
    "weights.noise": (0, math.inf),
    "hardware.calibration": (0, math.inf),
    "hardware.draws": (0, 10**4),
    "corruptions.seed": (0, 2**31 - 1),
    "hardware.membrane_bits": (2, 32),
    "hardware.headroom": (1, math.inf),
    "sweep.seeds": (1, 10**4),
    "data.train_limit": (0, math.inf),
    "data.test_limit": (0, math.inf),
    "data.seed": (0, 2**31 - 1),
    "data.rotation": (0, 90),
    "data.zoom": (0, 0.9),
}
_GESTURE_RANGES = {  # inclusive, of keys that N-MNIST has not
    "data.window": (0, 60_000),
    "data.windows": (1, 100),
    "data.least": (1, 1000),
}
_ABOVE_ZERO = (
    "learning_rate",
    "slope",
    "slope_end",
    "readout_scale",
    "lif.threshold",
    "network.gain",
    "sam.ascent_fraction",
    "sam.bound",
    "adversary.spread",
    "hardware.leak_error",
)
_LEVELS = {  # of config.hardware's variations, inclusive
    "weights": math.inf,
    "thresholds": math.inf,
    "leaks": math.inf,
    "dead": 1,
    "dropped": 1,
    "spurious": 1,
}


def check(config: ConfigDict) -> None:
    """Checks every value and every relation between values that needs no recording.

    Raises:
      InputError: naming the key, its value and what it may be.
    """
    _check_of_experiment(config)
    for key, choices in _CHOICES.items():
        if setup.get(config, key) not in choices:
            _refuse(key, setup.get(config, key), "one of " + ", ".join(repr(c) for c in choices))
    for key in (*_RANGES, *_ABOVE_ZERO):
        _check_number(key, key, setup.get(config, key))
    for name in setup.SWEPT:
        values = config.sweep[name]
        for value in values:
            if isinstance(value, str):
                _refuse(f"sweep.{name}", value, "numbers with commas between them")
            _check_number(f"sweep.{name}", setup.SWEPT_KEYS.get(name, name), value)
        if len(set(values)) < len(values):
            _refuse(f"sweep.{name}", values, "free of repetitions")
    last_seed = config.seed + config.sweep.seeds - 1
    if last_seed > _RANGES["seed"][1]:
        _refuse("sweep.seeds", config.sweep.seeds, "smaller, as seed + sweep.seeds is too large")
    for key in ("network.hidden", "network.channels"):
        for width in setup.get(config, key):
            if not isinstance(width, int) or not 1 <= width <= 10**5:
                _refuse(key, setup.get(config, key), f"whole numbers from 1 to {10**5}")
    if config.sam.ascent_fraction > 1:
        _refuse("sam.ascent_fraction", config.sam.ascent_fraction, "at most 1")
    if config.network.kernel % 2 == 0:
        _refuse("network.kernel", config.network.kernel, "an odd number of pixels")
    if not 0 <= config.data.validation < 1:
        _refuse("data.validation", config.data.validation, "from 0 to below 1")
    if setup.first_epoch(config) >= config.epochs:
        _refuse("sam.start", config.sam.start, "early enough to leave an epoch for SAM")
    for warmup in config.sweep.warmup or (config.sam.warmup,):
        if (begin := setup.first_epoch(config) / config.epochs) and begin + warmup > 1:
            raise InputError(
                f"config.sam.start={config.sam.start}, in whole epochs {begin:.3g}, and a warm-up "
                f"of {warmup} end after training, so that the radius never reaches rho; lower one"
            )
    if config.weight_decay and config.optimizer != "adam":
        _refuse("weight_decay", config.weight_decay, "0 with config.optimizer='sgd'")
    _check_frames(config)
    _check_method(config)
    _check_hardware(config)
    _check_corruptions(config)
    if config.weights.bits:
        _check_bits("weights.bits", config.weights.bits)
    segment = config.network.segment
    if segment and config.data.time_bins % segment:
        raise InputError(
            f"config.network.segment={segment} must divide config.data.time_bins="
            f"{config.data.time_bins}"
        )
    groups = config.sam.group_size
    if groups and (config.batch_size % groups or config.sam.ascent_fraction != 1):
        raise InputError(
            f"config.sam.group_size={groups} must divide config.batch_size={config.batch_size} and "
            "needs --config.sam.ascent_fraction=1"
        )


def check_keys(config: ConfigDict, default: ConfigDict, module: str) -> None:
    """Checks that a config has the keys of its default, which ``experiments.configs.<module>`` is.

    Raises:
      InputError: naming a key that is missing, or that is not known.
    """
    expected, found = (_keys(one.to_dict()) for one in (default, config))
    if expected != found:
        key = min(expected ^ found)
        raise InputError(
            f"config.{key} is {'missing' if key in expected else 'not known'}; a config starts "
            f"from experiments.configs.{module}.get_config()"
        )


def check_severities(key: str, severities: Iterable) -> None:
    """Checks severities of corruptions; at fault, InputError names the key."""
    if any(type(s) is not int or not 1 <= s <= 5 for s in severities):
        _refuse(key, severities, "whole numbers from 1 to 5")
    if len(set(severities)) < len(severities):
        _refuse(key, severities, "free of repetitions")


def _check_of_experiment(config):
    experiment = datasets.experiment(config)
    check_keys(config, datasets.CONFIGS[experiment](), experiment)
    if experiment == "dvs_gesture":
        _check_gestures(config)


def _check_gestures(config):
    for key, ends in _GESTURE_RANGES.items():
        _check_between(key, setup.get(config, key), *ends)
    sensor = gesture_files.EXTENT.width
    if config.data.side < 4 or sensor % config.data.side:
        _refuse("data.side", config.data.side, f"4 or more pixels that divide {sensor}")
    if config.data.bins not in packing.BINS:
        _refuse("data.bins", config.data.bins, "one of " + ", ".join(map(repr, packing.BINS)))
    if config.data.windows > 1 and not config.data.window:
        _refuse("data.windows", config.data.windows, "1 for the whole recording (data.window=0)")


def _check_frames(config):
    """Bins of a millisecond or more, and shifts that leave some of the frame."""
    data = config.data
    if datasets.experiment(config) == "dvs_gesture":
        duration, side = data.window or gesture_files.EXTENT.duration // 1000, data.side
    else:
        duration, side = recordings.NMNIST.duration // 1000, recordings.NMNIST.width
    _check_between("data.time_bins", data.time_bins, 1, duration)
    _check_between("data.shift", data.shift, 0, side - 1)


def _check_method(config):
    method = config.sam.method
    if config.sam.adaptive and method != "sam":
        _refuse("sam.adaptive", True, f"False with config.sam.method={method!r}")
    part = config.sam.ascent_fraction != 1 or config.sam.ascent_batch != "same"
    if part and (method == "gsam" or method in setup.AHEAD):
        raise InputError(
            f"config.sam.method={method!r} takes its perturbation from the whole batch; add "
            "--config.sam.ascent_fraction=1 --config.sam.ascent_batch=same"
        )
    if (method in setup.AHEAD or method == "random") and config.sam.group_size:
        _refuse("sam.group_size", config.sam.group_size, f"0 with config.sam.method={method!r}")
    drawn = config.neurons.noise or config.neurons.hard or config.adversary.weight
    if drawn and config.sam.group_size:
        _refuse("sam.group_size", config.sam.group_size, "0 with config.neurons and .adversary")


def _check_hardware(config):
    given = config.hardware
    for key in ("weight_bits", *_LEVELS):
        if "" in given[key]:
            _refuse(f"hardware.{key}", "", "numbers with commas between them, or '()' for none")
    for bits in given.weight_bits:
        _check_bits("hardware.weight_bits", bits)
    for kind, most in _LEVELS.items():
        for level in given[kind]:
            _check_between(f"hardware.{kind}", level, 0, most)
    for decay in config.sweep.decay or (config.lif.decay,):
        chips.LEAKS[given.leak](decay, given.leak_bits, given.leak_error)


def _check_corruptions(config):
    kinds = setup.corruptions(config)
    if not set(kinds) <= set(corruptions.KINDS) or len(set(kinds)) < len(kinds):
        known = ",".join(corruptions.KINDS)
        _refuse("corruptions.kinds", config.corruptions.kinds, f"'all', or some of {known}")
    check_severities("corruptions.severities", config.corruptions.severities)


def _keys(nest: dict, prefix: str = "") -> set[str]:
    own = {f"{prefix}{key}" for key in nest}
    inner = (_keys(v, f"{prefix}{key}.") for key, v in nest.items() if isinstance(v, dict))
    return own.union(*inner)


def _check_number(shown, key, value):
    if key in _ABOVE_ZERO:
        if not (_is_number(value) and value > 0):
            _refuse(shown, value, "a number above 0")
    else:
        _check_between(shown, value, *_RANGES[key])


def _check_between(shown, value, low, high):
    if not (_is_number(value) and low <= value <= high):
        upto = "up" if high == math.inf else f"to {high}"
        _refuse(shown, value, f"a number from {low} {upto}")


def _is_number(value) -> bool:
    whole_or_not = isinstance(value, (int, float)) and not isinstance(value, bool)
    return whole_or_not and math.isfinite(value)


def _check_bits(shown, bits):
    if not isinstance(bits, int) or not 2 <= bits <= 8:
        _refuse(shown, bits, "from 2 (-1, 0, 1) to 8 bits")


def _refuse(key, value, wanted):
    raise InputError(f"config.{key}={value!r} must be {wanted}")
