"""What a command line can say, one frozen dataclass a group.

A key's default, range, unit and meaning stand once, in its field (:mod:`sast_jax.fields`); what
keys ask of one another stands in ``__post_init__``. The ConfigDict that ``ml_collections`` needs is
made from these classes (:func:`config`), and read back into them (:func:`read`).
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from sast_jax.data import corruptions, sets
from sast_jax.errors import InputError
from sast_jax.fields import between, checked, choice, number, setting, several, switch, text
from sast_jax.hardware import formats
from sast_jax.reports import results
from sast_jax.snn import lif, readouts, registry, spikes
from sast_jax.training import links, optimizers

_SEED = 2**31 - 1
_COUNT = 10**6
_ODD = "an odd number of pixels"


def _width(value):
    whole = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10**5
    return None if whole else f"whole numbers from 1 to {10**5}"


def _widths(default, about):
    def wanted(values):
        return next((why for value in values if (why := _width(value))), None)

    return setting(default, about, wanted)


def _bits(value):
    sound = isinstance(value, int) and 2 <= value <= 8
    return None if sound else "from 2 (-1, 0, 1) to 8 bits"


def _bits_or_none(value):
    return None if value == 0 else _bits(value)


def _levels(default, high, about):
    return several(default, about, between(0, high))


def _severities(values):
    if any(type(value) is not int or not 1 <= value <= 5 for value in values):
        return "whole numbers from 1 to 5"
    return "free of repetitions" if len(set(values)) < len(values) else None


def _kinds(value):
    kinds = kinds_of(value)
    known = corruptions.KINDS
    if set(kinds) <= set(known) and len(set(kinds)) == len(kinds):
        return None
    return f"'all', or some of {','.join(known)}"


def kinds_of(named: str) -> tuple[str, ...]:
    """The kinds of corruption that a key names."""
    return tuple(corruptions.KINDS) if named == "all" else tuple(filter(None, named.split(",")))


@dataclasses.dataclass(frozen=True)
class _Lif:
    """Neurons; ``_of_neurons`` adds what single kinds of them have besides."""

    decay: float = number(0.9, 0, 1, "share of the membrane potential left after one step")
    threshold: float = number(1.0, 0, math.inf, "potential at which a neuron spikes", above=True)
    reset: str = choice("subtract", lif.RESETS, "what a spike leaves of the potential")
    neuron: str = choice("lif", registry.NEURONS, "kind of neuron", before="lif")


def _of_neurons(base):
    """The group with the fields that neurons have beyond those of LIF."""
    known = {field.name for field in dataclasses.fields(lif.LIF)}
    own = {}
    for name, kind in registry.NEURONS.items():
        for field in dataclasses.fields(kind):
            if field.name not in known:
                about = f"{field.metadata['about']}, of {name!r} neurons"
                more = {"about": about, "before": field.default}
                made = dataclasses.field(default=field.default, metadata=field.metadata | more)
                own[field.name] = (field.name, field.type, made)
    return dataclasses.make_dataclass("Lif", own.values(), bases=(base,), frozen=True)


Lif = _of_neurons(_Lif)


@dataclasses.dataclass(frozen=True)
class Network:
    channels: tuple = _widths((), "of convolutional layers of stride 2; empty: an MLP")
    kernel: int = setting(
        5,
        "side of their kernels in pixels",
        # The convolution is written out offset by offset.
        lambda k: between(1, 11)(k) or (None if k % 2 else _ODD),
    )
    hidden: tuple = _widths((256, 256), "widths of the fully connected layers before the outputs")
    gain: float = number(
        1.0, 0, math.inf, "factor on the initial weights' standard deviation", above=True
    )
    segment: int = number(
        0, 0, math.inf, "steps of time between kept states, to save memory; 0: keep all"
    )


@dataclasses.dataclass(frozen=True)
class Neurons:
    """Chance in training alone."""

    noise: float = number(
        0.0, 0, math.inf, "standard deviation of noise on potentials, in thresholds"
    )
    hard: float = number(0.0, 0, 1, "probability that a smooth spike is hard instead")


@dataclasses.dataclass(frozen=True)
class Rates:
    target: float = number(
        0.0, 0, 1, "of the mean spike; the loss grows with the squared distance from it"
    )
    weight: float = number(0.0, 0, math.inf, "times this; 0: no penalty")


@dataclasses.dataclass(frozen=True)
class Adversary:
    """Adversarial mismatch of the weights, in the loss."""

    weight: float = number(0.0, 0, math.inf, "of the divergence that it causes; 0: none")
    spread: float = number(
        0.1, 0, math.inf, "largest relative change of a weight, and a tenth at random", above=True
    )
    steps: int = number(3, 1, 100, "of the search for it, a gradient each")


@dataclasses.dataclass(frozen=True)
class Sam:
    method: str = choice(
        "sam",
        (*links.LINKS, *links.AHEAD),
        'which perturbation; "momentum" and "stale" take one gradient a step, "random" any '
        'direction; from "gsam" on all need ascent_fraction=1',
    )
    warmup: float = number(0.2, 0, 1, "fraction of training over which the radius grows to rho")
    start: float = number(0.0, 0, 1, "fraction of training after which SAM begins, in whole epochs")
    ascent_batch: str = choice(
        "same", ("same", "independent"), "which minibatch the ascent gradient is taken on"
    )
    ascent_fraction: float = number(
        0.125, 0, 1, "share of the batch that the ascent gradient is taken on", above=True
    )
    adaptive: bool = switch(False, "ASAM's element-wise radius, with method 'sam'")
    bound: float = number(
        2.0, 0, math.inf, "of 'bounded': the radius over the gradient's norm, at most", above=True
    )
    alpha: float = number(0.1, 0, math.inf, "of 'gsam': weight of the surrogate gap")
    group_size: int = number(
        0, 0, math.inf, "m-sharpness: recordings that share a perturbation; 0: the batch"
    )


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights as the forward pass sees them."""

    bits: int = setting(
        0,
        "2 to 8: quantisation-aware, rounded to that width ever after; 0: no rounding",
        _bits_or_none,
    )
    per_channel: bool = switch(True, "a scale for each output, else one a layer")
    noise: float = number(
        0.0, 0, math.inf, "standard deviation of a factor on each, anew each step of training"
    )


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What the trained networks are tried under."""

    weight_bits: tuple = several(
        (8, 4, 3, 2), "word widths of weights; the first one also with faults", _bits
    )
    per_channel: bool = switch(True, "a scale of the weights for each output, else one a layer")
    scale: str = choice(
        "error", formats.SCALES, "of weights: least error of the currents, or the largest weight"
    )
    calibration: int = number(
        256, 0, math.inf, "training recordings whose currents count for scale='error'"
    )
    membrane_bits: int = number(16, 2, 32, "of a potential: more of them resolve it more finely")
    headroom: float = number(
        16.0, 1, math.inf, "thresholds that the membrane word holds at least, and at most twice"
    )
    leak: str = choice("fraction", formats.LEAKS, "k / 2^leak_bits, or a sum of shifts")
    leak_bits: int = setting(8, "of the leak's fraction or shifts")
    leak_error: float = number(
        0.1, 0, math.inf, "largest error of 1 - decay that is accepted, as a share", above=True
    )
    draws: int = number(5, 0, 10**4, "devices of each level of what follows; 0: none")
    weights: tuple = _levels(
        (0.1, 0.3, 0.6), math.inf, "mismatch of weights: standard deviations of a factor"
    )
    thresholds: tuple = _levels((0.1, 0.3), math.inf, "likewise, of thresholds")
    leaks: tuple = _levels((0.1,), math.inf, "likewise, of leaks")
    dead: tuple = _levels((0.05,), 1, "dead neurons, as a share")
    dropped: tuple = _levels((0.1, 0.3), 1, "lost spikes, as a share")
    spurious: tuple = _levels((0.01, 0.05), 1, "probability of an added spike, a step")


@dataclasses.dataclass(frozen=True)
class Corruptions:
    """Of test recordings, that the trained networks are tried on."""

    kinds: str = setting("all", "'all', or names with commas between them; empty: none", _kinds)
    severities: tuple = setting((3,), "of 1 to 5", _severities)
    seed: int = number(0, 0, _SEED, "of what is drawn")


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A grid of runs in one program: all combinations; empty: the single value."""

    seeds: int = number(1, 1, 10**4, "number of seeds, from config.seed on")
    rho: tuple = setting((), "SAM radii")
    learning_rate: tuple = setting((), "learning rates")
    slope: tuple = setting((), "slopes; slope_end keeps its ratio to slope")
    decay: tuple = setting((), "values of lif.decay")
    warmup: tuple = setting((), "values of sam.warmup")


SWEPT = results.GRID_KEYS
SWEPT_KEYS = {"decay": "lif.decay", "warmup": "sam.warmup"}  # where the single value stands


@dataclasses.dataclass(frozen=True)
class Settings:
    """All of a run. Checked when it is made: :class:`InputError` names the key at fault."""

    rho: float = number(0.4, 0, math.inf, "SAM radius; 0 trains without SAM")
    seed: int = number(0, 0, _SEED, "of a single run; a sweep takes seed to seed + sweep.seeds - 1")
    epochs: int = number(45, 1, _COUNT, "passes over the training recordings")
    batch_size: int = number(64, 1, math.inf, "recordings of a step")
    learning_rate: float = number(
        1e-3, 0, math.inf, "at the start, after which the schedule is", above=True
    )
    schedule: str = choice(
        "cosine", ("constant", "cosine"), "of the learning rate; the cosine falls to 0"
    )
    optimizer: str = choice("adam", ("adam", "sgd"), "Adam, or plain gradient descent")
    weight_decay: float = number(0.0, 0, math.inf, "of AdamW; 0: Adam")
    batches: str = choice(
        "shuffled", optimizers.BATCHES, "passes over the set, or each batch drawn on its own"
    )
    forward: str = choice(
        "surrogate", ("surrogate", "hard"), "training forward pass: smooth, or hard spikes"
    )
    spike: str = choice("sigmoid", spikes.FAMILIES, "family of the smooth spike")
    slope: float = number(2.0, 0, math.inf, "of the smooth spike at the start", above=True)
    slope_end: float = number(
        8.0, 0, math.inf, "and at the end, grown geometrically (equal: no annealing)", above=True
    )
    readout: str = choice(
        "spikes", readouts.READOUTS, "class scores: time-mean of output spikes or of currents"
    )
    readout_scale: float = number(10.0, 0, math.inf, "factor on them", above=True)
    lif: Any = Lif()
    network: Network = Network()
    neurons: Neurons = Neurons()
    rates: Rates = Rates()
    adversary: Adversary = Adversary()
    sam: Sam = Sam()
    weights: Weights = Weights()
    initial: str = text("", "workdir of a run whose weights to start from; empty: random ones")
    hardware: Hardware = Hardware()
    corruptions: Corruptions = Corruptions()
    sweep: Sweep = Sweep()
    data: sets.Data = sets.NmnistData()
    resume: bool = switch(False, "go on from the workdir's last checkpoint")
    workdir: str = text("", "default: runs/<experiment>/<digest of these settings and the data>")

    def __post_init__(self):
        checked(self)
        _check_neuron(self.lif)
        _check_sweep(self)
        _check_sam(self)
        self.data.check()
        if self.weight_decay and self.optimizer != "adam":
            refuse("weight_decay", self.weight_decay, f"0 with config.optimizer={self.optimizer!r}")
        for decay in self.sweep.decay or (self.lif.decay,):
            given = self.hardware
            formats.LEAKS[given.leak](decay, given.leak_bits, given.leak_error)
        segment, time_bins = self.network.segment, self.data.time_bins
        if segment and time_bins % segment:
            raise InputError(
                f"config.network.segment={segment} must divide config.data.time_bins={time_bins}"
            )

    @property
    def first_epoch(self) -> int:
        """Epochs trained without SAM first; a fraction of an epoch counts as a whole one."""
        return math.ceil(round(self.sam.start * self.epochs, 9))

    def get(self, key: str) -> Any:
        """The value of a key with dots."""
        value = self
        for part in key.split("."):
            value = getattr(value, part)
        return value

    def changed(self, changes: Mapping[str, Any]) -> "Settings":
        """The same with other values of some keys with dots, checked anew."""
        nested: dict[str, Any] = {}
        for key, value in changes.items():
            group, _, name = key.rpartition(".")
            nested.setdefault(group, {})[name] = value
        own = nested.pop("", {})
        for group, values in nested.items():
            own[group] = dataclasses.replace(getattr(self, group), **values)
        return dataclasses.replace(self, **own)

    def as_dict(self) -> dict:
        """Nested dicts, as JSON can hold them."""
        return dataclasses.asdict(self)


def _check_neuron(given) -> None:
    kind = registry.NEURONS[given.neuron]
    own = {field.name for field in dataclasses.fields(kind)}
    for field in dataclasses.fields(given):
        other = field.metadata["before"] is not None and field.name not in {*own, "neuron"}
        if other and getattr(given, field.name) != field.default:
            refuse(
                f"lif.{field.name}",
                getattr(given, field.name),
                f"left as it is, as config.lif.neuron={given.neuron!r} has none",
            )


def _check_sweep(given: Settings) -> None:
    for name in SWEPT:
        values = getattr(given.sweep, name)
        wanted = _field(given, SWEPT_KEYS.get(name, name)).metadata["wanted"]
        for value in values:
            if isinstance(value, str):
                refuse(f"sweep.{name}", value, "numbers with commas between them")
            if why := wanted(value):
                refuse(f"sweep.{name}", value, why)
        if len(set(values)) < len(values):
            refuse(f"sweep.{name}", values, "free of repetitions")
    if given.seed + given.sweep.seeds - 1 > _SEED:
        refuse("sweep.seeds", given.sweep.seeds, "smaller, as seed + sweep.seeds is too large")


def _check_sam(given: Settings) -> None:
    sam, method, first = given.sam, given.sam.method, given.first_epoch
    if first >= given.epochs:
        refuse("sam.start", sam.start, "early enough to leave an epoch for SAM")
    for warmup in given.sweep.warmup or (sam.warmup,):
        if (begin := first / given.epochs) and begin + warmup > 1:
            raise InputError(
                f"config.sam.start={sam.start}, in whole epochs {begin:.3g}, and a warm-up of "
                f"{warmup} end after training, so that the radius never reaches rho; lower one"
            )
    if sam.adaptive and method != "sam":
        refuse("sam.adaptive", True, f"False with config.sam.method={method!r}")
    part = sam.ascent_fraction != 1 or sam.ascent_batch != "same"
    if part and (method == "gsam" or method in links.AHEAD):
        raise InputError(
            f"config.sam.method={method!r} takes its perturbation from the whole batch; add "
            "--config.sam.ascent_fraction=1 --config.sam.ascent_batch=same"
        )
    groups = sam.group_size
    if groups and (method in links.AHEAD or method == "random"):
        refuse("sam.group_size", groups, f"0 with config.sam.method={method!r}")
    if groups and (given.neurons.noise or given.neurons.hard or given.adversary.weight):
        refuse("sam.group_size", groups, "0 with config.neurons and .adversary")
    if groups and (given.batch_size % groups or sam.ascent_fraction != 1):
        raise InputError(
            f"config.sam.group_size={groups} must divide config.batch_size={given.batch_size} and "
            "needs --config.sam.ascent_fraction=1"
        )


def refuse(key: str, value: Any, wanted: str) -> None:
    """Raises InputError that names a key, its value and what it must be."""
    raise InputError(f"config.{key}={value!r} must be {wanted}")


def check_severities(key: str, severities: tuple) -> None:
    """Checks severities of corruptions; at fault, InputError names the key."""
    if why := _severities(severities):
        refuse(key, severities, why)


def config(data_set: str = "nmnist") -> ConfigDict:
    """The default settings on a data set, as a ConfigDict."""
    return ConfigDict(Settings(data=sets.SETS[data_set]()).as_dict())


def read(given: ConfigDict | Mapping, known: Mapping[str, type] | None = None) -> Settings:
    """The settings that a ConfigDict, or nested dicts of an older version, hold.

    Args:
      given: with the keys of one of the data sets. Keys that did not exist when it was written take
        the value that reproduces what was computed without them.

    Raises:
      InputError: naming a key that is missing or not known, or whose value is not as it should be.
    """
    nest = given.to_dict() if isinstance(given, ConfigDict) else dict(given)
    data = nest.get("data")
    name = sets.of_keys(data if isinstance(data, Mapping) else {})
    default = Settings(data=sets.SETS[name]())
    return _read(default, nest, "", name)


def _read(default, nest, prefix, name):
    names = {field.name: field for field in dataclasses.fields(default)}
    if unknown := sorted(set(nest) - set(names)):
        raise _keys_error(f"{prefix}{unknown[0]} is not known", name)
    values = {}
    for key, field in names.items():
        own = getattr(default, key)
        if key not in nest:
            before = field.metadata.get("before")
            if before is None:
                raise _keys_error(f"{_first_leaf(own, prefix + key)} is missing", name)
            values[key] = before
        elif dataclasses.is_dataclass(own):
            if not isinstance(nest[key], Mapping):
                raise _keys_error(f"{prefix}{key} is no group of keys", name)
            values[key] = _read(own, nest[key], f"{prefix}{key}.", name)
        else:
            values[key] = tuple(nest[key]) if isinstance(nest[key], list) else nest[key]
    return type(default)(**values)


def _first_leaf(value, key):
    if dataclasses.is_dataclass(value):
        return f"{key}.{dataclasses.fields(value)[0].name}"
    return key


def _keys_error(what, name):
    return InputError(
        f"config.{what}; a config starts from experiments.configs.{name}.get_config()"
    )


def _field(given, key) -> dataclasses.Field:
    """The field of a key with dots."""
    return next(field for own, field, _ in flat_fields(given) if own == key)


def flat_fields(given: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field, Any]]:
    """Every key with dots, its field and its value."""
    for field in dataclasses.fields(given):
        value, key = getattr(given, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from flat_fields(value, f"{key}.")
        else:
            yield key, field, value
