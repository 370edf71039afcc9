"""Exported programs against the network itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from jax import export

from sast_jax import connections, lif, networks, stablehlo, training

NETWORKS = {
    "MLP": small.recipe().network,
    "ConvNet": networks.ConvNet((4,), (8, small.K), kernel=3, gain=3.0),
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("cell", [lif.reset_to_zero, lif.reset_by_subtraction])
def test_the_program_answers_as_the_network_for_any_batch(kind, cell):
    recipe, hypers = small.recipe(network=NETWORKS[kind], cell=cell), small.hyper(decay=0.7)
    params = small.run_of(training.initialise(recipe, hypers).params, 0)
    hyper = small.run_of(hypers, 0)
    data = stablehlo.export(recipe, connections.connections(params), hyper, small.T)
    program = export.deserialize(bytearray(data))
    assert set(program.platforms) >= {"cpu", "cuda", "tpu"}
    for size in (1, 5):
        frames = jax.random.bernoulli(jax.random.key(size), 0.3, (size, small.T, *small.SHAPE))
        frames = frames.astype(jnp.float32)
        expected = recipe.network.apply(
            {"params": params}, jnp.moveaxis(frames, 1, 0), recipe.hard_cell(hyper)
        )
        scores, spikes = program.call(frames)
        np.testing.assert_allclose(scores, recipe.readout(expected), rtol=1e-6)
        np.testing.assert_array_equal(spikes, jnp.moveaxis(expected.spikes[-1], 0, 1))
    assert expected.spikes[0].any()
    assert "stablehlo.while" in program.mlir_module()
