"""The data sets that have a command of their own: one file and one line each."""

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
]

SETS = {kind.name: kind for kind in (NmnistData, GestureData)}
