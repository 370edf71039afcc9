"""Sharpness-aware minimization (SAM) for optax chains, and its family.

The package needs jax, numpy and optax alone, and nothing of the rest of sast_jax, so that it can be
taken as it is. What it has for Flax is in :mod:`sast_jax.sharpness.flax`, which needs flax too.
"""

from .ahead import (
    PerturbedState,
    SharedMomentumState,
    eval_params,
    momentum_sam,
    perturb_ahead,
    shared_momentum_sam,
)
from .ascents import (
    adaptive_scale_to_norm,
    bounded_scale_to_norm,
    minus_ema,
    ramp,
    scale_to_norm,
    within,
)
from .link import SharpnessAwareState, friendly_sam, gap_aware, sam, sharpness_aware, vasso

__all__ = [
    "PerturbedState",
    "SharedMomentumState",
    "SharpnessAwareState",
    "adaptive_scale_to_norm",
    "bounded_scale_to_norm",
    "eval_params",
    "friendly_sam",
    "gap_aware",
    "minus_ema",
    "momentum_sam",
    "perturb_ahead",
    "ramp",
    "sam",
    "scale_to_norm",
    "shared_momentum_sam",
    "sharpness_aware",
    "vasso",
    "within",
]
