"""The groups of keys of a command line: frozen dataclasses with a meaning for each field."""

import collections
import dataclasses
import math
from collections.abc import Mapping

from sast_jax.data import corruptions
from sast_jax.fields import Fault, between, choice, number, setting, several, switch
from sast_jax.hardware import formats, integers
from sast_jax.snn import networks, neurons
from sast_jax.training import links
from sast_jax.training.recipe import RANGES, SEED


def _width(value):
    whole = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10**5
    return None if whole else f"a whole number from 1 to {10**5}"


def _widths(default, about):
    def wanted(values):
        if not isinstance(values, tuple):
            return "whole numbers with commas between them, or '()' for none"
        wrong = (Fault(v, f"{why}, or '()' for none") for v in values if (why := _width(v)))
        return next(wrong, None)

    return setting(default, about, wanted)


def _bits(value):
    sound = isinstance(value, int) and 2 <= value <= 8
    return None if sound else "from 2 (-1, 0, 1) to 8 bits"


def _bits_or_none(value):
    return None if value == 0 else _bits(value)


def _levels(default, high, about):
    return several(default, about, between(0, high), once=True)


def _swept(name, about):
    return several((), about, RANGES[name], once=True)


def severities_wanted(values: tuple) -> str | None:
    sound = isinstance(values, tuple) and all(type(value) is int for value in values)
    if not sound or not all(1 <= value <= 5 for value in values):
        return "whole numbers from 1 to 5"
    return "free of repetitions" if len(set(values)) < len(values) else None


def _kinds(value):
    known = corruptions.KINDS
    kinds = kinds_of(value) if isinstance(value, str) else (None,)
    if set(kinds) <= set(known) and len(set(kinds)) == len(kinds):
        return None
    return f"'all', or some of {','.join(known)}"


def kinds_of(named: str) -> tuple[str, ...]:
    """The kinds of corruption that a key names."""
    return tuple(corruptions.KINDS) if named == "all" else tuple(filter(None, named.split(",")))


@dataclasses.dataclass(frozen=True)
class CommonLifKeys:
    """Neurons: the keys that come without a kind of neuron; :class:`LifKeys` has all of them."""

    decay: float = setting(
        0.9, "share of the membrane potential left after one step", RANGES["decay"]
    )
    threshold: float = number(1.0, 0, math.inf, "potential at which a neuron spikes", above=True)
    reset: str = choice("subtract", neurons.RESETS, "what a spike leaves of the potential")
    neuron: str = choice("lif", neurons.NEURONS, "kind of neuron", before="lif")


def with_keys_of(kinds: Mapping[str, type[neurons.Neuron]]) -> type[CommonLifKeys]:
    """The group with the fields that kinds of neurons have beyond those of LIF.

    Raises:
      TypeError: such a field is not made by :mod:`sast_jax.fields`, or two kinds have one of the
        same name that differ in default or meaning.
    """
    # Such a field came with its neuron. Its default is also its value for settings written before,
    # which had no neuron that could use it.
    known = {field.name for field in dataclasses.fields(neurons.Resetting)}
    own: dict[str, dataclasses.Field] = {}
    owners: dict[str, list[str]] = collections.defaultdict(list)
    for name, kind in kinds.items():
        for field in dataclasses.fields(kind):
            where = f"{kind.__name__}.{field.name}"
            if field.name in known:
                continue
            if "about" not in field.metadata:
                raise TypeError(f"{where}: make it with sast_jax.fields, such as number()")
            first = own.setdefault(field.name, field)
            if (first.default, first.metadata["about"]) != (
                field.default,
                field.metadata["about"],
            ):
                raise TypeError(
                    f"{where}: neurons {owners[field.name][0]} have another field of this name; "
                    "choose another one"
                )
            owners[field.name].append(repr(name))
    rows = []
    for name, field in own.items():
        about = f"{field.metadata['about']}, of {' and '.join(owners[name])} neurons"
        more = {"about": about, "before": field.default}
        made = dataclasses.field(default=field.default, metadata=field.metadata | more)
        rows.append((name, field.type, made))
    return dataclasses.make_dataclass("LifKeys", rows, bases=(CommonLifKeys,), frozen=True)


LifKeys = with_keys_of(neurons.NEURONS)


@dataclasses.dataclass(frozen=True)
class NetworkKeys:
    """Layers of the network."""

    channels: tuple = _widths((), "of convolutional layers of stride 2; empty: an MLP")
    kernel: int = setting(
        5,
        "side of the convolutions' kernels, pixels",
        # The convolution is written out offset by offset.
        lambda k: between(1, 11, whole=True)(k) or networks.odd(k),
    )
    hidden: tuple = _widths((256, 256), "widths of the fully connected layers before the outputs")
    gain: float = number(
        1.0, 0, math.inf, "factor on the initial weights' standard deviation", above=True
    )
    segment: int = number(
        0, 0, math.inf, "steps of time between kept states, to save memory; 0: keep all"
    )
    products: str = choice(
        "float32",
        ("float32", "bfloat16"),
        "type of the matrix products in training; potentials are float32",
        before="float32",
    )
    sparse: bool = switch(
        True,
        "train the first layer on lists of the pixels that fired, where that is faster",
        before=False,
    )


@dataclasses.dataclass(frozen=True)
class NeuronKeys:
    """Randomness of neurons, in training only."""

    noise: float = number(
        0.0, 0, math.inf, "standard deviation of noise on potentials, in thresholds"
    )
    hard: float = number(0.0, 0, 1, "probability that a smooth spike is hard instead")


@dataclasses.dataclass(frozen=True)
class SamKeys:
    """How SAM perturbs the weights, and when."""

    method: str = choice(
        "sam",
        (*links.LINKS, *links.AHEAD),
        'which perturbation; "momentum", "shared_momentum" (Adam\'s own, without copies) and '
        '"stale" take one gradient a step; "random" is a random direction, as a control; these '
        'three and "gsam" need ascent_fraction=1',
        elsewhere={"asam": "'sam' with config.sam.adaptive=True, which is ASAM"},
    )
    warmup: float = setting(
        0.2, "fraction of training over which the radius grows to rho", RANGES["warmup"]
    )
    start: float = number(0.0, 0, 1, "fraction of training after which SAM begins, in whole epochs")
    ascent_batch: str = choice(
        "same", ("same", "independent"), "which minibatch the ascent gradient is taken on"
    )
    ascent_fraction: float = number(
        0.125, 0, 1, "share of the batch that the ascent gradient is taken on", above=True
    )
    adaptive: bool = switch(False, "ASAM's element-wise radius, with method 'sam'")
    bound: float = number(
        2.0, 0, math.inf, "for 'bounded': largest radius, in norms of the gradient", above=True
    )
    alpha: float = number(0.1, 0, math.inf, "for 'gsam': weight of the surrogate gap")
    group_size: int = number(
        0, 0, math.inf, "m-sharpness: recordings that share a perturbation; 0: the batch"
    )


@dataclasses.dataclass(frozen=True)
class WeightKeys:
    """Weights as the forward pass sees them."""

    bits: int = setting(
        0,
        "2 to 8: weights are rounded to this width, in training and after; 0: no rounding",
        _bits_or_none,
    )
    per_channel: bool = switch(True, "a scale for each output, else one a layer")
    noise: float = number(
        0.0, 0, math.inf, "standard deviation of a factor on each weight, anew each training step"
    )


@dataclasses.dataclass(frozen=True)
class HardwareKeys:
    """Number formats of integer networks, and conditions that networks are measured under."""

    weight_bits: tuple = several(
        (8, 4, 3, 2),
        "word widths of weights to try; faults meet integers of the first",
        _bits,
        once=True,
    )
    per_channel: bool = switch(True, "a scale of the weights for each output, else one a layer")
    scale: str = choice(
        "error", formats.SCALES, "of weights: least error of the currents, or the largest weight"
    )
    calibration: int = number(
        256, 0, math.inf, "training recordings to measure currents on, for scale='error'"
    )
    membrane_bits: int = number(16, 2, 32, "of a potential: more of them resolve it more finely")
    headroom: float = number(
        16.0,
        1,
        math.inf,
        "the membrane word holds at least this many thresholds, and at most twice as many",
    )
    leak: str = choice("fraction", formats.LEAKS, "k / 2^leak_bits, or a sum of shifts")
    leak_bits: int = number(8, 1, integers.LEAK_BITS, "bits of the decay's fraction or shifts")
    leak_error: float = number(
        0.1, 0, math.inf, "largest error of 1 - decay that is accepted, as a share", above=True
    )
    follow: float = number(
        0.0,
        0,
        4,
        "exponent with which the first layer's threshold falls with a recording's events; 0: it "
        "does not",
        before=0.0,
    )
    draws: int = number(5, 0, 10**4, "devices drawn for each level of the keys below; 0: none")
    weights: tuple = _levels(
        (0.1, 0.3, 0.6), math.inf, "mismatch of weights: standard deviations of a factor"
    )
    thresholds: tuple = _levels((0.1, 0.3), math.inf, "likewise, of thresholds")
    leaks: tuple = _levels((0.1,), math.inf, "likewise, of leaks")
    dead: tuple = _levels((0.05,), 1, "dead neurons, as a share")
    dropped: tuple = _levels((0.1, 0.3), 1, "lost spikes, as a share")
    spurious: tuple = _levels((0.01, 0.05), 1, "probability of an added spike, a step")


@dataclasses.dataclass(frozen=True)
class CorruptionKeys:
    """Corruptions of test recordings that the trained networks are measured on."""

    kinds: str = setting("all", "'all', or names with commas between them; empty: none", _kinds)
    severities: tuple = setting((3,), "severities to try, from 1 to 5", severities_wanted)
    seed: int = number(0, 0, SEED, "of the random draws")


@dataclasses.dataclass(frozen=True)
class SweepKeys:
    """A grid of runs in one program: all combinations of these values; empty: the single value."""

    seeds: int = number(1, 1, 10**4, "number of seeds, from config.seed on")
    rho: tuple = _swept("rho", "SAM radii")
    learning_rate: tuple = _swept("learning_rate", "learning rates")
    slope: tuple = _swept("slope", "slopes; slope_end keeps its ratio to slope")
    decay: tuple = _swept("decay", "values of lif.decay")
    warmup: tuple = _swept("warmup", "values of sam.warmup")
