"""Networks as ONNX in onnxruntime against the network itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from test_stablehlo import NETWORKS

from sast_jax.hardware import onnx_file
from sast_jax.snn import neurons

pytestmark = pytest.mark.slow  # importing its packages takes longer than the test


@pytest.mark.parametrize("kind", NETWORKS)
def test_onnxruntime_answers_as_the_network_for_any_batch(kind):
    onnxruntime = pytest.importorskip("onnxruntime")
    recipe = small.recipe(network=NETWORKS[kind], neuron=neurons.LIF(reset=neurons.BySubtraction()))
    one = small.untrained(recipe, small.hyper(decay=0.7))[0]
    data = onnx_file.export(one, one.connections(), small.T)
    session = onnxruntime.InferenceSession(data)
    for size in (1, 5):
        frames = jax.random.bernoulli(jax.random.key(size), 0.3, (size, small.T, *small.SHAPE))
        frames = frames.astype(jnp.float32)
        expected = one.respond(one.hard_cell(), jnp.moveaxis(frames, 1, 0))
        scores, spikes = session.run(["scores", "spikes"], {"frames": np.asarray(frames)})
        np.testing.assert_allclose(scores, one.model.readout(expected), rtol=1e-6)
        np.testing.assert_array_equal(spikes, jnp.moveaxis(expected.spikes[-1], 0, 1))
    assert expected.spikes[0].any()
