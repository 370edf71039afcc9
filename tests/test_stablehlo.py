"""Exported programs against the network itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from jax import export

from sast_jax.hardware import stablehlo
from sast_jax.snn import networks, neurons

NETWORKS = {
    "MLP": small.recipe().model.network,
    "ConvNet": networks.ConvNet((4,), (8, small.K), kernel=3, gain=3.0),
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("reset", neurons.RESETS)
def test_the_program_answers_as_the_network_for_any_batch(kind, reset):
    recipe = small.recipe(network=NETWORKS[kind], neuron=neurons.LIF(reset=neurons.RESETS[reset]))
    one = small.untrained(recipe, small.hyper(decay=0.7))[0]
    data = stablehlo.export(one, one.connections(), small.T)
    program = export.deserialize(bytearray(data))
    assert set(program.platforms) >= {"cpu", "cuda", "tpu"}
    for size in (1, 5):
        frames = jax.random.bernoulli(jax.random.key(size), 0.3, (size, small.T, *small.SHAPE))
        frames = frames.astype(jnp.float32)
        expected = one.respond(one.hard_cell(), jnp.moveaxis(frames, 1, 0))
        scores, spikes = program.call(frames)
        np.testing.assert_allclose(scores, one.model.readout(expected), rtol=1e-6)
        np.testing.assert_array_equal(spikes, jnp.moveaxis(expected.spikes[-1], 0, 1))
    assert expected.spikes[0].any()
    assert "stablehlo.while" in program.mlir_module()
