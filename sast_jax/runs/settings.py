"""The keys of a command line: :class:`Settings`, with a frozen dataclass for each group of keys.

The field of a key holds its default, range, unit and meaning (:mod:`sast_jax.runs.groups` and
below); ``__post_init__`` checks relations between keys. The ConfigDict that ``ml_collections``
needs is made from these classes (:func:`config`), and read back into them (:func:`read`).
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from sast_jax.data import sets
from sast_jax.errors import InputError
from sast_jax.fields import checked, choice, number, switch, text
from sast_jax.hardware import formats
from sast_jax.reports import results
from sast_jax.runs.groups import (
    SEED,
    Corruptions,
    Hardware,
    Lif,
    Network,
    Neurons,
    Sam,
    Sweep,
    Weights,
    severities_wanted,
)
from sast_jax.snn import neurons, readouts, spikes
from sast_jax.training import controls, links, optimizers

_COUNT = 10**6
SWEPT = results.GRID_KEYS
SWEPT_KEYS = {"decay": "lif.decay", "warmup": "sam.warmup"}  # where the single value stands


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings of a run. They are checked when made; :class:`InputError` names a wrong key."""

    rho: float = number(0.4, 0, math.inf, "SAM radius; 0 trains without SAM")
    seed: int = number(0, 0, SEED, "of a single run; a sweep takes seed to seed + sweep.seeds - 1")
    epochs: int = number(45, 1, _COUNT, "passes over the training recordings")
    batch_size: int = number(64, 1, math.inf, "recordings of a step")
    learning_rate: float = number(1e-3, 0, math.inf, "at the start of the schedule", above=True)
    schedule: str = choice(
        "cosine", ("constant", "cosine"), "of the learning rate; the cosine falls to 0"
    )
    optimizer: str = choice("adam", ("adam", "sgd"), "Adam, or plain gradient descent")
    weight_decay: float = number(0.0, 0, math.inf, "of AdamW; 0: Adam")
    batches: str = choice(
        "shuffled", optimizers.BATCHES, "passes over the set, or each batch drawn on its own"
    )
    forward: str = choice(
        "surrogate", ("surrogate", "hard"), "forward pass in training: with smooth spikes, or hard"
    )
    spike: str = choice("sigmoid", spikes.FAMILIES, "family of the smooth spike")
    slope: float = number(2.0, 0, math.inf, "of the smooth spike at the start", above=True)
    slope_end: float = number(
        8.0,
        0,
        math.inf,
        "at the end, reached geometrically (equal to slope: no annealing)",
        above=True,
    )
    readout: str = choice(
        "spikes", readouts.READOUTS, "class scores: time-mean of output spikes or of currents"
    )
    readout_scale: float = number(10.0, 0, math.inf, "factor on the class scores", above=True)
    lif: Any = Lif()
    network: Network = Network()
    neurons: Neurons = Neurons()
    # A control with fields of its own is a group of keys; build.recipe takes those that are active.
    adversary: controls.Adversary = controls.Adversary()
    rates: controls.RatePenalty = controls.RatePenalty()
    sam: Sam = Sam()
    weights: Weights = Weights()
    initial: str = text("", "workdir of a run to take initial weights from; empty: random")
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
        # Rounded before: 0.07 * 100 is 7.000000000000001, which must not become 8.
        return math.ceil(round(self.sam.start * self.epochs, 9))

    def get(self, key: str) -> Any:
        """The value of a key with dots."""
        value = self
        for part in key.split("."):
            value = getattr(value, part)
        return value

    def changed(self, changes: Mapping[str, Any]) -> "Settings":
        """These settings with other values of some keys with dots, checked again."""
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
    kind = neurons.NEURONS[given.neuron]
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
    if given.seed + given.sweep.seeds - 1 > SEED:
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
    if why := severities_wanted(severities):
        refuse(key, severities, why)


def config(data_set: str = "nmnist") -> ConfigDict:
    """The default settings on a data set, as a ConfigDict."""
    return ConfigDict(Settings(data=sets.SETS[data_set]()).as_dict())


def read(given: ConfigDict | Mapping, data_set: str | None = None) -> Settings:
    """The settings that a ConfigDict, or nested dicts of an older version, hold.

    Args:
      given: with the keys of one of the data sets. Keys that did not exist when it was written take
        the value that reproduces what was computed without them.
      data_set: the data set that the keys must belong to; None for any.

    Raises:
      InputError: a key is missing, is not known or has a wrong value; or the keys belong to another
        data set.
    """
    nest = given.to_dict() if isinstance(given, ConfigDict) else dict(given)
    data = nest.get("data")
    name = sets.of_keys(data if isinstance(data, Mapping) else {})
    if data_set not in (None, name):
        raise InputError(
            "the config is not one of this experiment; it starts from "
            f"experiments.configs.{data_set}"
        )
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
