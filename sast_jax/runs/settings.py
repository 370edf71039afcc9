"""The keys of a command line: :class:`Settings`, with a frozen dataclass for each group of keys.

The field of a key holds its default, range, unit and meaning (:mod:`sast_jax.runs.groups` and
below); ``__post_init__`` checks relations between keys. The ConfigDict that ``ml_collections``
needs is made from these classes (:func:`config`), and read back into them (:func:`read`).
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from sast_jax.data import sets
from sast_jax.errors import InputError
from sast_jax.fields import checked, choice, number, setting, switch, text
from sast_jax.hardware import formats
from sast_jax.runs.groups import (
    CommonLifKeys,
    CorruptionKeys,
    HardwareKeys,
    LifKeys,
    NetworkKeys,
    NeuronKeys,
    SamKeys,
    SweepKeys,
    WeightKeys,
    severities_wanted,
)
from sast_jax.snn import neurons, readouts, spikes
from sast_jax.training import batches as batches_lib, controls, links
from sast_jax.training.averages import Averages
from sast_jax.training.recipe import RANGES, SEED, reaches_rho

_COUNT = 10**6
SWEPT_KEYS = {"decay": "lif.decay", "warmup": "sam.warmup"}  # where the single value stands


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings of a run. They are checked when made; :class:`InputError` names a wrong key."""

    rho: float = setting(0.0, "SAM radius; 0 trains without SAM", RANGES["rho"])
    seed: int = setting(
        0, "of a single run; a sweep takes seed to seed + sweep.seeds - 1", RANGES["seed"]
    )
    epochs: int = number(45, 1, _COUNT, "passes over the training recordings")
    batch_size: int = number(64, 1, math.inf, "recordings of a step")
    batch_devices: int = number(
        0,
        0,
        math.inf,
        "devices that share each batch, at most; 0: all that the runs leave over",
        before=0,
    )
    learning_rate: float = setting(1e-3, "at the start of the schedule", RANGES["learning_rate"])
    schedule: str = choice(
        "cosine", ("constant", "cosine"), "of the learning rate; the cosine falls to 0"
    )
    optimizer: str = choice("adam", ("adam", "sgd"), "Adam, or plain gradient descent")
    weight_decay: float = number(0.0, 0, math.inf, "of AdamW; 0: Adam")
    batches: str = choice(
        "shuffled", batches_lib.BATCHES, "passes over the set, or each batch drawn on its own"
    )
    forward: str = choice(
        "surrogate", ("surrogate", "hard"), "forward pass in training: with smooth spikes, or hard"
    )
    spike: str = choice("sigmoid", spikes.FAMILIES, "family of the smooth spike")
    slope: float = setting(2.0, "of the smooth spike at the start", RANGES["slope"])
    slope_end: float = setting(
        8.0, "at the end, reached geometrically (equal to slope: no annealing)", RANGES["slope_end"]
    )
    readout: str = choice(
        "spikes", readouts.READOUTS, "class scores: time-mean of output spikes or of currents"
    )
    readout_scale: float = number(10.0, 0, math.inf, "factor on the class scores", above=True)
    lif: CommonLifKeys = LifKeys()
    network: NetworkKeys = NetworkKeys()
    neurons: NeuronKeys = NeuronKeys()
    # A control with fields of its own is a group of keys; build.recipe takes those that are active.
    adversary: controls.Adversary = controls.Adversary()
    rates: controls.RatePenalty = controls.RatePenalty()
    guard: controls.Guard = controls.Guard()
    overlap: controls.Overlap = controls.Overlap()
    average: Averages = Averages()
    sam: SamKeys = SamKeys()
    weights: WeightKeys = WeightKeys()
    initial: str = text("", "workdir of a run to take initial weights from; empty: random")
    hardware: HardwareKeys = HardwareKeys()
    corruptions: CorruptionKeys = CorruptionKeys()
    sweep: SweepKeys = SweepKeys()
    data: sets.Data = sets.NmnistData()
    resume: bool = switch(False, "go on from the workdir's last checkpoint")
    checkpoint_minutes: float = number(
        10.0, 0, math.inf, "between checkpoints within an epoch; 0: none", before=10.0
    )
    brief: bool = switch(
        False, "measure the swap alone: no hardware, corruptions or report", before=False
    )
    workdir: str = text("", "default: runs/<experiment>/<digest of these settings and the data>")

    def __post_init__(self):
        checked(self)
        _check_neuron(self.lif)
        if self.seed + self.sweep.seeds - 1 > SEED:
            refuse("sweep.seeds", self.sweep.seeds, "smaller, as seed + sweep.seeds is too large")
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

    def spread(self) -> dict[str, Any]:
        """Keys with dots whose schedule is spread over all epochs, and their values."""
        found: dict[str, Any] = {"schedule": self.schedule} if self.schedule == "cosine" else {}
        if self.slope_end != self.slope:
            found["slope_end"] = self.slope_end
        if any(self.sweep.rho or (self.rho,)):
            warmups = self.sweep.warmup or (self.sam.warmup,)
            shares = {"sam.warmup": max(warmups), "sam.start": self.sam.start}
            found |= {key: share for key, share in shares.items() if share}
        if 0 < self.average.start < 1:
            found["average.start"] = self.average.start
        return found

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
            with _of_group(f"{group}."):
                own[group] = dataclasses.replace(getattr(self, group), **values)
        return dataclasses.replace(self, **own)

    def as_dict(self) -> dict:
        """Nested dicts, as JSON can hold them; ``data.name`` says which set the keys are of."""
        nest = dataclasses.asdict(self)
        nest["data"]["name"] = self.data.name
        return nest


def _check_neuron(given: CommonLifKeys) -> None:
    """Refuses keys that the kind of neuron has no use for, unless they are left as they are."""
    kind = neurons.NEURONS[given.neuron]
    used = {"neuron", "decay", *(field.name for field in dataclasses.fields(kind))}
    for field in dataclasses.fields(given):
        value = getattr(given, field.name)
        if field.name not in used and value != field.default:
            left = f"left as it is, as config.lif.neuron={given.neuron!r} has none"
            refuse(f"lif.{field.name}", value, left)


def _check_sam(given: Settings) -> None:
    sam, method, first = given.sam, given.sam.method, given.first_epoch
    if first >= given.epochs:
        refuse("sam.start", sam.start, "early enough to leave an epoch for SAM")
    for warmup in given.sweep.warmup or (sam.warmup,):
        if not reaches_rho(first, given.epochs, warmup):
            raise InputError(
                f"config.sam.start={sam.start}, in whole epochs {first / given.epochs:.3g}, and a "
                f"warm-up of {warmup} end after training, so that the radius never reaches rho; "
                "lower one"
            )
    if sam.adaptive and method != "sam":
        refuse("sam.adaptive", True, f"False with config.sam.method={method!r}")
    if method == "shared_momentum" and given.optimizer != "adam":
        refuse("sam.method", method, f"'momentum' with config.optimizer={given.optimizer!r}")
    part = sam.ascent_fraction != 1 or sam.ascent_batch != "same"
    ahead = method in links.AHEAD
    if part and (ahead or links.LINKS[method].whole_batch):
        raise InputError(
            f"config.sam.method={method!r} takes its perturbation from the whole batch; add "
            "--config.sam.ascent_fraction=1 --config.sam.ascent_batch=same"
        )
    groups = sam.group_size
    if groups and (ahead or links.LINKS[method].draws):
        refuse("sam.group_size", groups, f"0 with config.sam.method={method!r}")
    own = (getattr(given, field.name) for field in dataclasses.fields(given))
    whole = [c for c in own if isinstance(c, controls.Control) and c.active and not c.grouped]
    if groups and (given.neurons.noise or given.neurons.hard or whole):
        refuse("sam.group_size", groups, "0 with config.neurons, .adversary and .rates")
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


class _Config(ConfigDict):
    """A ConfigDict that takes NumPy's numbers and arrays for Python's numbers and tuples."""

    def __setattr__(self, name: str, value: Any):
        super().__setattr__(name, _plain(value))

    def __setitem__(self, name: str, value: Any):
        super().__setitem__(name, _plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = tuple(value.tolist())
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value


def config(data_set: str = "nmnist") -> ConfigDict:
    """The default settings on a data set, as a ConfigDict."""

    def made(nest):
        return _Config({k: made(v) if isinstance(v, dict) else v for k, v in nest.items()})

    return made(Settings(data=sets.SETS[data_set]()).as_dict())


def read(given: ConfigDict | Mapping, data_set: str | None = None) -> Settings:
    """The settings that a ConfigDict, or nested dicts of an older version, hold.

    Args:
      given: with the keys of a data set. Keys that did not exist when it was written take the value
        that reproduces what was computed without them.
      data_set: the data set that the keys must belong to; None for the one that ``data.name`` says.
        Older versions did not write that key; then it is the only one that has these keys.

    Raises:
      InputError: a key is missing, is not known or has a wrong value; or the keys belong to another
        data set.
    """
    nest = given.to_dict() if isinstance(given, ConfigDict) else dict(given)
    data = nest.get("data")
    named = data_set
    if isinstance(data, Mapping):
        named = data.get("name") or data_set or _data_set_of(data)
    if named is None:
        raise _keys_error("data.name is missing", "nmnist")
    if named not in sets.SETS:
        refuse("data.name", named, "one of " + ", ".join(map(repr, sets.SETS)))
    if data_set not in (None, named):
        raise InputError(
            "the config is not one of this experiment; it starts from "
            f"experiments.configs.{data_set}"
        )
    if isinstance(data, Mapping):
        nest["data"] = {key: value for key, value in data.items() if key != "name"}
    return _read(Settings(data=sets.SETS[named]()), nest, "", named)


def _data_set_of(keys: Iterable[str]) -> str | None:
    """The data set with these keys, if there is one alone."""
    found = []
    for name, kind in sets.SETS.items():
        own = dataclasses.fields(kind)
        needed = {field.name for field in own if field.metadata.get("before") is None}
        if needed <= set(keys) <= {field.name for field in own}:
            found.append(name)
    return found[0] if len(found) == 1 else None


def _read(default, nest, prefix, data_set):
    names = {field.name: field for field in dataclasses.fields(default)}
    if unknown := sorted(set(nest) - set(names)):
        raise _keys_error(f"{prefix}{unknown[0]} is not known", data_set)
    values = {}
    for key, field in names.items():
        own = getattr(default, key)
        if dataclasses.is_dataclass(own):
            # A group that is not there is one of which every key is missing.
            group = nest.get(key, {})
            if not isinstance(group, Mapping):
                raise _keys_error(f"{prefix}{key} is no group of keys", data_set)
            values[key] = _read(own, group, f"{prefix}{key}.", data_set)
        elif key in nest:
            value = tuple(nest[key]) if isinstance(nest[key], list) else nest[key]
            values[key] = field.metadata.get("read", lambda value: value)(value)
        elif (before := field.metadata.get("before")) is not None:
            values[key] = before
        else:
            raise _keys_error(f"{prefix}{key} is missing", data_set)
    with _of_group(prefix):
        return type(default)(**values)


@contextlib.contextmanager
def _of_group(prefix: str) -> Iterator[None]:
    """Completes the name of a key in the messages of a group that checks itself."""
    try:
        yield
    except InputError as error:
        raise InputError(f"config.{prefix}{error}") if prefix else error from error


def _keys_error(what, data_set):
    return InputError(
        f"config.{what}; a config starts from experiments.configs.{data_set}.get_config()"
    )


def flat_fields(given: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field, Any]]:
    """Every key with dots, its field and its value."""
    for field in dataclasses.fields(given):
        value, key = getattr(given, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from flat_fields(value, f"{key}.")
        else:
            yield key, field, value
