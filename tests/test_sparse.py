"""Lists of the pixels that fired: the products of dense frames, and training with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from sast_jax.data import augmentation, packing
from sast_jax.data.sparse import Lists
from sast_jax.snn import networks
from sast_jax.snn.quantisation import Rounding
from sast_jax.training import controls, passes, stepping
from sast_jax.training.gradients import Ahead, Grouped, Plain, Sharpness

pytestmark = pytest.mark.optimised
ON_CPU = pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere frames are faster")


def made_up(T, shape, density, N=9):
    """Random frames (N, T, I), of which one is empty and one full, and the same as a set."""
    rng = np.random.default_rng(T)
    frames = rng.random((N, T, np.prod(shape))) < density
    frames[2], frames[4] = False, True
    packed = np.packbits(frames, axis=-1)
    return frames, small.frames()._replace(packed_NxTxP=packed, frame_shape=shape)


# Indices of one byte and two, steps and counts of one and two, a single step.
@pytest.mark.parametrize("T, shape", [(5, (7, 3, 2)), (300, (3, 4, 1)), (1, (20, 20, 2))])
def test_products_and_gradients_are_those_of_dense_frames(T, shape):
    frames, given = made_up(T, shape, 0.1)
    lists = jax.tree.map(jnp.asarray, Lists.of(given))
    batch = np.array([4, 0, 2, 2, 8, 1])
    rng = np.random.default_rng(0)
    weights = rng.integers(-8, 8, (frames.shape[-1], 6)).astype(np.float32)  # sums are exact
    tangent = rng.integers(-8, 8, (T, len(batch), 6)).astype(np.float32)
    dense_TxBxI = np.moveaxis(frames[batch], 1, 0).astype(np.float32)

    @jax.jit
    def product(lists, weights):
        return jax.vjp(lists[batch].joined().matmul, weights)

    found, pull = product(lists, weights)
    np.testing.assert_array_equal(found, dense_TxBxI @ weights)
    expected = np.einsum("tbi,tbo->io", dense_TxBxI, tangent)
    np.testing.assert_array_equal(pull(tangent)[0], expected)
    part = lists[batch].joined().first(2)
    np.testing.assert_array_equal(part.matmul(weights), dense_TxBxI[:, :2] @ weights)


def test_second_derivatives_are_those_of_dense_frames():
    frames, given = made_up(4, (6, 6, 2), 0.2)
    sparse = jax.tree.map(jnp.asarray, Lists.of(given)).joined()
    weights = jax.random.normal(jax.random.key(0), (72, 3))

    def curved(weights, dense):
        product = jnp.asarray(frames, jnp.float32).swapaxes(0, 1) @ weights
        return jnp.sin(product if dense else sparse.matmul(weights)).sum()

    for direction in (jnp.ones_like(weights), weights):
        found, expected = (
            jax.jvp(jax.grad(lambda w, dense=dense: curved(w, dense)), (weights,), (direction,))[1]
            for dense in (False, True)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def few():
    """The recordings of the small task with every fourth pixel that fired: one in fifteen."""
    given = small.frames()
    fired = np.asarray(packing.unpack(given.packed_NxTxP, small.SHAPE)).reshape(small.N, -1)
    fired = fired & (np.cumsum(fired, axis=1) % 4 == 0).astype(np.uint8)
    frames = fired.reshape(small.N, small.T, -1)
    return given._replace(packed_NxTxP=np.packbits(frames, axis=-1))


def ended(recipe, hyper_R, train, streamed=False):
    start_R = stepping.initialise(recipe, hyper_R)
    *_, (state_R, metrics, _) = passes.by_epoch(
        passes.blocks(recipe, hyper_R, train, streamed, start_R, 0)
    )
    return jax.tree.leaves((state_R.params, metrics))


SLOWER = [
    {"sharpness": Ahead()},
    {"controls": (controls.Adversary(0.1),)},
    {"controls": (controls.WeightNoise(0.1), controls.RatePenalty(0.1, 0.2))},
    {"rounding": Rounding(4)},
    {"sharpness": Sharpness(independent=True, part=3)},
]


@pytest.mark.parametrize(
    "changes",
    [
        {"sharpness": Plain()},
        {"sharpness": Sharpness(part=2)},
        *(pytest.param(changes, marks=pytest.mark.slow) for changes in SLOWER),
    ],
    ids=str,
)
@ON_CPU
def test_training_on_lists_is_training_on_frames(changes):
    hyper_R = small.hyper((0, 1), (0.1, 0.2) if changes.get("sharpness") != Plain() else (0, 0))
    dense, listed = (small.recipe(epochs=1, sparse=s, **changes) for s in (False, True))
    train = few()
    assert passes.takes_lists(listed, train) and not passes.takes_lists(dense, train)
    found, expected = ended(listed, hyper_R, train), ended(dense, hyper_R, train)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert any((a != b).any() for a, b in zip(found, expected, strict=True))  # another rounding


def test_streamed_lists_train_as_resident_ones():
    recipe, hyper_R, train = small.recipe(epochs=1), small.hyper(), few()
    ends = [ended(recipe, hyper_R, train, streamed) for streamed in (False, True)]
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@ON_CPU
def test_lists_are_taken_where_they_are_faster(monkeypatch):
    recipe, train = small.recipe(), few()
    monkeypatch.setattr(passes, "cores", lambda: 2)
    assert passes.takes_lists(recipe, train)
    assert not passes.takes_lists(recipe, small.frames())  # a quarter of the pixels fire
    others = [
        {"augment": augmentation.Shift(2)},
        {"segment": 5},
        {"sharpness": Grouped(2)},
        {"network": networks.ConvNet((4,), (small.K,))},
    ]
    for changes in others:
        assert not passes.takes_lists(small.recipe(**changes), train)
    monkeypatch.setattr(passes, "cores", lambda: 8)  # of which dense products take all
    assert not passes.takes_lists(recipe, train)
