"""Sharpness-aware surrogate training of spiking networks, and what hard spikes leave of it."""

from sast_jax.errors import InputError
from sast_jax.sharpness import (
    adaptive_scale_to_norm,
    bounded_scale_to_norm,
    eval_params,
    friendly_sam,
    gap_aware,
    minus_ema,
    momentum_sam,
    perturb_ahead,
    ramp,
    sam,
    scale_to_norm,
    sharpness_aware,
    vasso,
    within,
)

__all__ = [
    "InputError",
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
    "sharpness_aware",
    "vasso",
    "within",
]
