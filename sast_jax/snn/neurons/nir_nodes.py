"""What the nodes of NIR have in common: leaks."""

from sast_jax.errors import InputError


def leak_of(decay: float) -> float:
    """1 - decay; raises InputError where it has no time constant."""
    if not 0 <= decay < 1:
        raise InputError(
            f"a decay of {decay:g} has no time constant in NIR; train with one below 1"
        )
    return 1 - decay
