"""Spectral norms against singular values of whole matrices, convolutions written out included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sast_jax.snn import networks
from sast_jax.theory import spectral


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (3, 5), (40, 60), (4, 6, 2)], ids=str)
@pytest.mark.parametrize("kind", [float, complex])
def test_encloses_the_largest_singular_value(shape, kind):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=shape) + (1j * rng.normal(size=shape) if kind is complex else 0)
    exact = np.linalg.svd(matrix, compute_uv=False).max()
    found = spectral.matrix_norm(matrix)
    assert found.lower * (1 - 1e-12) <= exact <= found.upper
    assert found.upper / found.lower < 1 + 1e-3
    assert found.upper / 2 < exact  # so half of it is no bound


def test_few_squarings_still_bound_from_above_and_below():
    matrix = np.random.default_rng(1).normal(size=(30, 30))
    exact = np.linalg.norm(matrix, 2)
    for squarings in range(6):
        found = spectral.matrix_norm(matrix, squarings)
        assert found.lower * (1 - 1e-12) <= exact <= found.upper
        assert found.upper <= exact * 30 ** (1 / 2 ** (squarings + 1)) * (1 + 1e-9)


def test_of_zeros_and_of_extreme_scales():
    assert spectral.matrix_norm(np.zeros((3, 4))) == (0, 0)
    for scale in (1e-120, 1e120):
        np.testing.assert_allclose(spectral.matrix_norm(scale * np.eye(3)), scale, rtol=1e-3)


def whole_matrix(connection, shape):
    """The matrix of a connection without bias, column by column: one spike in a frame each."""
    size = int(np.prod(shape))
    columns = jnp.eye(size).reshape(1, size, *shape)
    return np.asarray(connection.sums(columns)).reshape(size, -1)


@pytest.mark.parametrize("height, width, kernel", [(6, 6, 3), (7, 5, 5), (2, 3, 5), (8, 4, 1)])
def test_convolution_bound_holds_and_is_near_for_the_whole_matrix(height, width, kernel):
    layer = networks.HalvingConv(channels=3, kernel=kernel)
    connection, _ = layer.init_with_output(jax.random.key(kernel), (height, width, 2))
    matrix = whole_matrix(connection, (height, width, 2))
    weights = connection.kernel
    exact = np.linalg.norm(matrix, 2)
    upper = spectral.convolution_norm(weights, height, width).upper
    assert exact <= upper * (1 + 1e-6) and upper / 2 < exact
    assert np.abs(matrix).sum(axis=0).max() <= spectral.row_norm(weights) * (1 + 1e-6)


def test_on_a_large_frame_the_convolution_bound_is_tight():
    layer = networks.HalvingConv(channels=2, kernel=3)
    connection, _ = layer.init_with_output(jax.random.key(0), (24, 24, 1))
    exact = np.linalg.norm(whole_matrix(connection, (24, 24, 1)), 2)
    upper = spectral.convolution_norm(connection.kernel, 24, 24).upper
    assert exact <= upper * (1 + 1e-6) < 1.02 * exact
