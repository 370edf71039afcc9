"""Rounded weights in training: Max's table, straight-through gradients, the trainer itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from sast_jax.evaluation import swap
from sast_jax.hardware import formats
from sast_jax.snn import quantisation
from sast_jax.snn.quantisation import Rounding
from sast_jax.training import stepping
from sast_jax.training.trained import Trained

KERNEL = jax.random.normal(jax.random.key(0), (4000, 3)) * jnp.array([[0.1, 1.0, 5.0]])
PARAMS = {"Dense_0": {"kernel": KERNEL, "bias": jnp.array([0.123, -4.56, 7.89])}}
KEY = jax.random.key(1)


# Max 1960, table II: the spacing for a normal variable of unit variance and so many levels.
@pytest.mark.parametrize("bits, spacing", [(2, 1.2240), (3, 0.6508), (4, 0.3534), (5, 0.1932)])
def test_the_scale_for_normal_weights_is_that_of_the_table(bits, spacing):
    found = quantisation.for_normal(KERNEL, bits, True)
    rms_O = np.sqrt(np.square(np.asarray(KERNEL)).mean(axis=0))
    np.testing.assert_allclose(found, spacing * rms_O, rtol=1e-3)
    whole = quantisation.for_normal(KERNEL, bits, False)
    np.testing.assert_allclose(whole, spacing * np.sqrt((rms_O**2).mean()), rtol=1e-3)


def test_rounded_kernels_have_few_levels_and_biases_stay():
    seen = Rounding(3, True)(PARAMS)["Dense_0"]
    assert [len(np.unique(column)) for column in np.asarray(seen["kernel"]).T] == [7, 7, 7]
    np.testing.assert_array_equal(seen["bias"], PARAMS["Dense_0"]["bias"])


def test_gradients_pass_straight_through():
    def loss(params):
        return (Rounding(2, False)(params)["Dense_0"]["kernel"] ** 2).sum()

    grads = jax.grad(loss)(PARAMS)["Dense_0"]["kernel"]
    seen = Rounding(2, False)(PARAMS)["Dense_0"]["kernel"]
    np.testing.assert_allclose(grads, 2 * seen, rtol=1e-6)


def test_training_sees_them_and_keeps_its_own():
    hypers = small.hyper(rhos=(0.0,))
    plain = small.recipe()
    rounding = small.recipe(rounding=Rounding(2, True))
    state = stepping.initialise(plain, hypers)
    batch = small.batch()
    one = jax.tree.map(lambda leaf: leaf[0], (state, hypers))

    def losses(recipe, key):
        return stepping.train_step(recipe, *one, batch, None, key)[1][0]

    # Rounded, the loss of a network is that of its rounded weights.
    seen = rounding.model.rounded(one[0].params)
    by_hand = stepping.train_step(plain, one[0]._replace(params=seen), one[1], batch, None, KEY)
    np.testing.assert_allclose(losses(rounding, KEY), by_hand[1][0], rtol=1e-5)
    assert losses(rounding, KEY) != losses(plain, KEY)
    trained, _ = stepping.train_step(rounding, *one, batch, None, KEY)
    assert len(np.unique(trained.params["Dense_0"]["kernel"])) > 100


@pytest.mark.slow
def test_what_is_evaluated_is_rounded_and_stays_so_on_a_chip():
    """Each width that training rounds to is met exactly, and plain training is not that good."""
    hypers = small.hyper(rhos=(0.0,))
    for bits in (2, 3, 4, 5, 8):
        recipe = small.recipe(rounding=Rounding(bits, True))
        state, _ = small.fit(recipe, hypers, epochs=12)
        trained = Trained.of(recipe, state, hypers)
        latent = recipe.model.connections(small.run_of(state.params, 0))
        network = trained[0].connections()
        for c, own in zip(network, latent, strict=True):
            levels = [len(np.unique(column)) for column in np.asarray(c.kernel).T]
            assert max(levels) <= 2**bits - 1
            assert bits > 4 or len(np.unique(own.kernel)) > 2**bits - 1
        chip = formats.Chip(weight_bits=bits)
        rounded = formats.rounded(network, formats.kernels(network, chip))
        for a, b in zip(rounded, network, strict=True):
            np.testing.assert_allclose(a.kernel, b.kernel, rtol=1e-5, atol=1e-7)
    assert swap.soft_and_hard(trained, small.frames())[0]["soft_accuracy"] > 0.9
