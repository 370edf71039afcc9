"""What the nodes of NIR have in common: leaks, and values that all neurons share."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sast_jax.errors import InputError


def leak_of(decay: float) -> float:
    """1 - decay; raises InputError where it has no time constant."""
    if not 0 <= decay < 1:
        raise InputError(
            f"a decay of {decay:g} has no time constant in NIR; train with one below 1"
        )
    return 1 - decay


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
