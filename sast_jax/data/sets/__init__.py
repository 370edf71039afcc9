"""The data sets: to add one, write a file here and add it to :data:`SETS`."""

from sast_jax.data.sets.base import Data
from sast_jax.data.sets.dvs_gesture import GestureData, load_dvs_gesture
from sast_jax.data.sets.nmnist import NMNIST, NmnistData, load_nmnist
from sast_jax.data.sets.own import OwnData
from sast_jax.data.sets.shd import ShdData

__all__ = [
    "NMNIST",
    "SETS",
    "Data",
    "GestureData",
    "NmnistData",
    "OwnData",
    "ShdData",
    "load_dvs_gesture",
    "load_nmnist",
]

SETS = {kind.name: kind for kind in (NmnistData, GestureData, OwnData, ShdData)}
