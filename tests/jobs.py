"""The main job in one process on a few recordings: quick settings, and a run of them."""

from sast_jax.runs import run
from sast_jax.runs.settings import Settings


def settings(folder, **changes):
    """Of a run on the recordings in the folder's ``data``; its workdir is there as well."""
    quick = {
        "data.path": str(folder / "data"),
        "data.time_bins": 4,
        "data.shift": 0,
        "data.rotation": 0.0,
        "data.zoom": 0.0,
        "network.hidden": (16,),
        "network.gain": 2.0,
        "rho": 0.4,
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "workdir": str(folder / "run"),
        "hardware.weight_bits": (),
        "hardware.draws": 0,
        "corruptions.kinds": "",
    }
    return Settings().changed(quick | changes)


def train(given):
    return run.run(given)
