"""Fields of dataclasses that say what they mean and what they may be.

The one place where a setting's default, range, unit and meaning stand: a command line is made of
these fields, checked by them and explained from them.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from sast_jax.errors import InputError


class Fault(NamedTuple):
    """What is wrong in a value of several: one of them, and what it should be."""

    value: Any
    wanted: str


Wanted = Callable[[Any], str | Fault | None]  # a value -> None, or what it should be


def setting(default: Any, about: str, wanted: Wanted | None = None, before: Any = None) -> Any:
    """A field.

    Args:
      default: of the setting, immutable.
      about: what it means, with its unit.
      wanted: value -> None, or what it should be.
      before: the value that reproduces what was computed before the setting existed; None for a
        setting that has always been there.
    """
    about = {"about": about, "wanted": wanted, "before": before}
    return dataclasses.field(default=default, metadata=about)


def between(low: float, high: float, *, above: bool = False, below: bool = False) -> Wanted:
    """A check for numbers from ``low`` to ``high``, without the ends that are said to be out."""

    def wanted(value):
        sound = is_number(value) and low <= value <= high
        if sound and not (above and value == low) and not (below and value == high):
            return None
        if above:
            return f"a number above {low}" + ("" if high == math.inf else f", at most {high}")
        upto = "up" if high == math.inf else f"to {'below ' if below else ''}{high}"
        return f"a number from {low} {upto}"

    return wanted


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
    """A number; its ends are as in :func:`between`."""
    return setting(default, about, between(low, high, above=above, below=below), before)


def choice(default: str, options: Iterable[str], about: str, before: Any = None) -> Any:
    """One of some names."""
    names = tuple(options)

    def wanted(value):
        return None if value in names else "one of " + ", ".join(map(repr, names))

    return setting(default, about, wanted, before)


def several(default: tuple, about: str, each: Wanted) -> Any:
    """Numbers with commas between them, each as it should be."""

    def wanted(values):
        if "" in values:
            return Fault("", "numbers with commas between them, or '()' for none")
        return next((Fault(value, why) for value in values if (why := each(value))), None)

    return setting(default, about, wanted)


def switch(default: bool, about: str) -> Any:
    """True or False."""
    return setting(default, about, lambda v: None if isinstance(v, bool) else "True or False")


def text(default: str, about: str) -> Any:
    """Any text."""
    return setting(default, about, lambda v: None if isinstance(v, str) else "a text")


def checked(given: Any, prefix: str = "", shown: str = "config.") -> None:
    """Checks a dataclass, and those in its fields, by what their fields say.

    Args:
      given: the dataclass.
      prefix: what stands before the names of its fields, with dots.
      shown: what stands before all of that in messages.

    Raises:
      InputError: naming the first field that is not as it should be, its value, and what it may be.
    """
    for field in dataclasses.fields(given):
        value, name = getattr(given, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            checked(value, f"{name}.", shown)
        elif (wanted := field.metadata.get("wanted")) and (why := wanted(value)):
            value, why = why if isinstance(why, Fault) else (value, why)
            raise InputError(f"{shown}{name}={value!r} must be {why}")


def is_number(value: Any) -> bool:
    """Whether it is a finite number, and no truth value."""
    whole_or_not = isinstance(value, (int, float)) and not isinstance(value, bool)
    return whole_or_not and math.isfinite(value)
