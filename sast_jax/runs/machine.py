"""The machine that a run trains on: the last bits of its results and its seconds depend on it."""

import os
import platform

import jax

from sast_jax.training import passes


def memory() -> int:
    """Bytes of the machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def environment() -> dict:
    """Device, cores and versions; checkpoints and reports record them."""
    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "cores": passes.cores(),
        "python": platform.python_version(),
        "jax": jax.__version__,
    }
