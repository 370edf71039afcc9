"""Per-sample gradient norms against finite differences and a gradient at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small

from sast_jax.data import packing
from sast_jax.evaluation import sensitivity
from sast_jax.snn import connections


@pytest.fixture(scope="module")
def trained():
    return small.trained(small.recipe(), small.hyper())[0]


def loss(trained, frames_TxHxWxC, label, params=None):
    network = trained.model.connections(trained.params if params is None else params)
    response = connections.respond(network, [trained.soft_cell()] * 2, frames_TxHxWxC[:, None])
    return -jax.nn.log_softmax(trained.model.readout(response))[0, label]


@pytest.mark.slow
def test_equal_one_gradient_at_a_time(trained):
    packed, labels = small.recordings()  # 40, in batches of which none is cut
    found = sensitivity.gradient_norms(trained, packed[:11], labels[:11])
    for n in range(11):
        frames = packing.unpack(packed[n], small.SHAPE).astype(jnp.float32)
        gradients = jax.grad(lambda w, x, n=n: loss(trained, x, labels[n], w), argnums=(0, 1))(
            trained.params, frames
        )
        for norm, gradient in zip(found, gradients, strict=True):
            np.testing.assert_allclose(norm[n], optax.tree.norm(gradient), rtol=1e-4)


def test_the_input_norm_is_the_steepest_slope(trained):
    packed, labels = small.recordings()
    norm = float(sensitivity.gradient_norms(trained, packed[:1], labels[:1]).input_N[0])
    frames = packing.unpack(packed[0], small.SHAPE).astype(jnp.float32)
    gradient = jax.grad(lambda x: loss(trained, x, labels[0]))(frames)
    step = 1e-2 * gradient / norm
    rise = loss(trained, frames + step, labels[0]) - loss(trained, frames - step, labels[0])
    assert float(rise) / 2e-2 == pytest.approx(norm, rel=1e-2)
