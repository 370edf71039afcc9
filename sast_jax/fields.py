"""Fields of dataclasses that hold their meaning and their valid values.

A setting's default, range, unit and meaning are written here once. The command line is made from
these fields, checked by them and explained from them.
"""

import dataclasses
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from sast_jax.errors import InputError


class Fault(NamedTuple):
    """A fault in a tuple: the element that is wrong, and what it should be."""

    value: Any
    wanted: str


Wanted = Callable[[Any], str | Fault | None]  # a value -> None, or what it should be


def setting(default: Any, about: str, wanted: Wanted | None = None, before: Any = None) -> Any:
    """A field of a group of settings.

    Args:
      default: an immutable value.
      about: meaning, with its unit.
      wanted: checks a value: returns None, or what the value should be.
      before: what the setting is taken to be where a config does not have it: the value that
        reproduces results from before it existed. None for a setting that has always existed.
    """
    metadata = {"about": about, "wanted": wanted, "before": before}
    return dataclasses.field(default=default, metadata=metadata)


def between(
    low: float, high: float, *, above: bool = False, below: bool = False, whole: bool = False
) -> Wanted:
    """A check for numbers from ``low`` to ``high``; ``above`` and ``below`` exclude an end."""

    def wanted(value):
        if whole and isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
            return "a whole number"
        sound = is_number(value) and low <= value <= high
        if sound and not (above and value == low) and not (below and value == high):
            return None
        if above:
            return f"a number above {low}" + ("" if high == math.inf else f", at most {high}")
        upto = "up" if high == math.inf else f"to {'below ' if below else ''}{high}"
        return f"a number from {low} {upto}"

    return wanted


COUNT = between(1, math.inf, whole=True)


def number(
    default: float,
    low: float,
    high: float,
    about: str,
    *,
    above: bool = False,
    below: bool = False,
    before: Any = None,
) -> Any:
    """A number, whole if its default is; its ends are as in :func:`between`."""
    whole = isinstance(default, int)
    return setting(
        default, about, between(low, high, above=above, below=below, whole=whole), before
    )


def choice(
    default: str,
    options: Iterable[str],
    about: str,
    before: Any = None,
    elsewhere: Mapping[str, str] | None = None,
) -> Any:
    """One of some names; ``elsewhere``: what to write for others that people look for here."""
    names, others = tuple(options), elsewhere or {}

    def wanted(value):
        if value in names:
            return None
        return others.get(value) or "one of " + ", ".join(map(repr, names))

    return setting(default, about, wanted, before)


def several(
    default: tuple, about: str, each: Wanted, *, once: bool = False, before: Any = None
) -> Any:
    """Several numbers with commas between them.

    Args:
      default, about, before: as of :func:`setting`.
      each: checks one of them.
      once: refuse repetitions.
    """
    commas = "numbers with commas between them, or '()' for none"

    def wanted(values):
        if not isinstance(values, tuple):
            return commas
        if "" in values:
            return Fault("", commas)
        for value in values:
            if isinstance(value, str):
                return Fault(value, commas)
            if why := each(value):
                return why if isinstance(why, Fault) else Fault(value, why)
        return "free of repetitions" if once and len(set(values)) < len(values) else None

    return setting(default, about, wanted, before)


def switch(default: bool, about: str, before: Any = None) -> Any:
    """True or False."""

    def wanted(value):
        return None if isinstance(value, bool) else "True or False"

    return setting(default, about, wanted, before)


def text(default: str, about: str, before: Any = None) -> Any:
    """Any text."""
    return setting(default, about, lambda v: None if isinstance(v, str) else "a text", before)


def names(default: tuple, about: str, before: Any = None) -> Any:
    """Several names with commas between them."""

    def wanted(values):
        sound = isinstance(values, tuple) and all(isinstance(v, str) and v for v in values)
        if not sound:
            return "names with commas between them, or '()' for none"
        return "free of repetitions" if len(set(values)) < len(values) else None

    metadata = {"about": about, "wanted": wanted, "before": before, "read": _apart}
    return dataclasses.field(default=default, metadata=metadata)


def _apart(values: Any) -> Any:
    """Several names in one text, as a command line gives them; a file has a name in each."""
    if isinstance(values, tuple) and len(values) == 1 and isinstance(values[0], str):
        return tuple(part.strip() for part in values[0].split(","))
    return values


def checked(given: Any, prefix: str = "") -> None:
    """Checks a dataclass, and the dataclasses in its fields, with the checks of their fields.

    Args:
      given: the dataclass.
      prefix: put before the names of its fields, with dots; messages begin with "config.".

    Raises:
      InputError: a value is wrong; it names the first such field, its value, and what it may be.
    """
    for field in dataclasses.fields(given):
        value, name = getattr(given, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            checked(value, f"{name}.")
        elif (wanted := field.metadata.get("wanted")) and (why := wanted(value)):
            value, why = why if isinstance(why, Fault) else (value, why)
            raise InputError(f"config.{name}={value!r} must be {why}")


class Checked:
    """A dataclass that checks its fields when it is made, where they are plain numbers or texts."""

    def __post_init__(self):
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # of a subclass
            value, wanted = getattr(self, field.name), field.metadata.get("wanted")
            # A value may be traced, or an array with one number a neuron: nothing is known of it.
            if wanted and isinstance(value, numbers.Real | str):
                require(wanted, **{field.name: value})


def require(wanted: Wanted, **values: Any) -> None:
    """Raises InputError that names the first of some values that a check finds at fault."""
    for name, value in values.items():
        if why := wanted(value):
            raise InputError(f"{name}={value!r} must be {why}")


def instance(kind: type, **values: Any) -> None:
    """Raises TypeError that names the first of some values that is no instance of a class."""
    for name, value in values.items():
        if not isinstance(value, kind):
            raise TypeError(
                f"{name}={value!r} must be an instance of {kind.__name__}"
                + (f", such as {value.__name__}()" if isinstance(value, type) else "")
            )


def function(**values: Any) -> None:
    """Raises TypeError that names the first of some values that cannot be called as a function."""
    for name, value in values.items():
        if not callable(value) or isinstance(value, type):
            way = f"; call it first: {value.__name__}()" if isinstance(value, type) else ""
            raise TypeError(f"{name}={value!r} must be a function{way}")


def is_number(value: Any) -> bool:
    """Whether it is a finite number, and not True or False."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
