"""Shifts against every shift there can be."""

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data import augmentation


def test_shifts_move_whole_recordings_and_lose_only_what_leaves():
    frames = jnp.asarray(np.random.default_rng(0).integers(0, 2, (50, 3, 8, 8, 2)), jnp.uint8)
    moved = np.asarray(augmentation.shift(jax.random.key(0), frames, 1))
    padded = np.pad(np.asarray(frames), ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
    offsets = set()
    for n in range(50):
        found = [
            (y, x)
            for y in range(3)
            for x in range(3)
            if (padded[n, :, y : y + 8, x : x + 8] == moved[n]).all()
        ]
        assert len(found) == 1
        offsets.add(found[0])
    assert len(offsets) == 9
    np.testing.assert_array_equal(augmentation.shift(jax.random.key(0), frames, 0), frames)
