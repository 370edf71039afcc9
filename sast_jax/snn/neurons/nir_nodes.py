"""What the nodes of NIR have in common: leaks, and values that all neurons share."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sast_jax.errors import InputError, needed


def leak_of(decay: float) -> float:
    """1 - decay; raises InputError where it has no time constant."""
    if not 0 <= decay < 1:
        raise InputError(
            f"a decay of {decay:g} has no time constant in NIR; train with one below 1"
        )
    return 1 - decay


def values_of(node: Any, kind: str, names: Sequence[str]) -> list[float]:
    """The values of a node of NIR that all its neurons share.

    Args:
      node: any node.
      kind: name of the class that it must have.
      names: of the values.

    Raises:
      TypeError: it is of another kind.
      ValueError: it leaks or resets elsewhere than to zero, or its neurons differ.
    """
    if not isinstance(node, getattr(needed("nir", "export"), kind)):
        raise TypeError(f"not a node {kind}")
    require_zeros(node)
    return uniform(node, names)


def require_zeros(node: Any) -> None:
    """Raises ValueError unless a node of NIR leaks and resets to zero."""
    if node.v_leak.any() or node.v_reset.any():
        raise ValueError("do not leak and reset to zero")


def uniform(node: Any, names: Sequence[str]) -> list[float]:
    """The values that all neurons of a NIR node share; ValueError where neurons differ."""
    values = [np.unique(getattr(node, name)) for name in names]
    if any(len(x) > 1 for x in values):
        raise ValueError("differ from each other")
    if not np.isfinite(values).all():
        raise ValueError("have numbers that are not finite")
    return [float(x[0]) for x in values]


def require_leaks(*leaks: float) -> None:
    """Raises ValueError unless leaks of a step are above 0 and at most 1."""
    if not all(0 < leak <= 1 for leak in leaks):
        raise ValueError("have no decay from 0 to 1")
