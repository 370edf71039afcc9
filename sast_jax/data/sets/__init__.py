"""The data sets that have a command of their own: one file and one line each."""

import dataclasses
from collections.abc import Iterable

from sast_jax.data.sets.base import STREAMS, Data
from sast_jax.data.sets.dvs_gesture import GestureData, load_dvs_gesture
from sast_jax.data.sets.nmnist import NMNIST, NmnistData, load_nmnist

__all__ = [
    "NMNIST",
    "SETS",
    "STREAMS",
    "Data",
    "GestureData",
    "NmnistData",
    "load_dvs_gesture",
    "load_nmnist",
    "of_keys",
]

SETS = {kind.name: kind for kind in (NmnistData, GestureData)}


def of_keys(keys: Iterable[str]) -> str:
    """The data set that has the most of these keys, and the fewest others; the first at a tie."""
    keys = set(keys)

    def shared(name):
        own = {field.name for field in dataclasses.fields(SETS[name])}
        return len(own & keys) - len(own - keys)

    return max(SETS, key=shared)
