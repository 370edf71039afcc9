"""Sharpness-aware surrogate training of spiking networks, and what hard spikes leave of it."""

from sast_jax.errors import InputError
from sast_jax.sam import adaptive_scale_to_norm, sam, scale_to_norm, sharpness_aware

__all__ = ["InputError", "adaptive_scale_to_norm", "sam", "scale_to_norm", "sharpness_aware"]
