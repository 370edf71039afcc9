"""Thresholds that follow events: against a loop in NumPy, in floats and in integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from sast_jax.errors import InputError
from sast_jax.hardware import formats, integers
from sast_jax.hardware.bench import Bench
from sast_jax.hardware.following import Following
from sast_jax.hardware.formats import Chip
from sast_jax.runs import measure
from sast_jax.runs.settings import Settings
from sast_jax.snn import neurons


def thinned(share):
    """The recordings of the small task, each of which has lost more events than the one before."""
    given = small.frames()
    rng = np.random.default_rng(0)
    frames = np.unpackbits(given.packed_NxTxP, axis=-1)
    kept = rng.random(frames.shape) < np.linspace(1, share, small.N)[:, None, None]
    return given._replace(packed_NxTxP=np.packbits(frames * kept, axis=-1))


def test_the_factor_is_a_power_of_the_share_of_events():
    frames = np.zeros((2, 5, 3, 3, 2), np.uint8)
    counts = (0, 1, 9, 18, 36)
    for n, count in enumerate(counts):
        frames[:, n].flat[:count] = 1
    found = Following(0.5, 18.0).factor(jnp.asarray(frames))
    np.testing.assert_allclose(found, [0.05, (1 / 18) ** 0.5, 0.5**0.5, 1, 1], rtol=1e-6)
    train = small.frames()
    ones = np.unpackbits(train.packed_NxTxP, axis=-1).sum(axis=(1, 2))
    assert Following.of(0.5, train).reference == pytest.approx(ones.mean())


def by_hand(one, frames_TxBxI, factor_B, leave):
    """Class scores of a hard network whose first thresholds have a factor for each recording."""
    spikes = frames_TxBxI
    for layer, connection in enumerate(one.connections()):
        kernel, bias = (np.asarray(leaf, float) for leaf in (connection.kernel, connection.bias))
        threshold = factor_B[:, None] if layer == 0 else np.ones((len(factor_B), 1))
        u = s = np.zeros((len(factor_B), len(bias)))
        sent = []
        for x in spikes:
            u = leave(u, s, threshold) + x @ kernel + bias
            s = (u > threshold).astype(float)
            sent.append(s)
        spikes = np.array(sent)
    return 10 * spikes.mean(axis=0)


LEAVE = {
    "zero": lambda u, s, threshold: 0.9 * u * (1 - s),
    "subtract": lambda u, s, threshold: 0.9 * (u - threshold * s),
}


@pytest.mark.parametrize("reset", LEAVE)
def test_hard_networks_follow_as_a_loop_does(reset):
    model = small.recipe(neuron=neurons.LIF(reset=neurons.RESETS[reset]))
    one = small.trained(model, small.hyper(), epochs=4)[0]
    frames, following = thinned(0.1), Following.of(0.5, small.frames())
    packed = frames.packed_NxTxP
    inputs = np.unpackbits(packed, axis=-1, count=np.prod(small.SHAPE)).swapaxes(0, 1).astype(float)
    factor_B = np.minimum(1, inputs.sum(axis=(0, 2)) / following.reference) ** 0.5
    scores = by_hand(one, inputs, factor_B, LEAVE[reset])
    bench = Bench(one, Chip(), None, following)
    row = bench.as_trained(frames)
    expected = scores.argmax(axis=-1) == frames.truth_M
    np.testing.assert_array_equal(bench.right["as trained hard"], expected)
    constant = Bench(one, Chip(), None)
    assert constant.as_trained(frames)["hard_accuracy"] != row["hard_accuracy"]
    assert (constant.right["as trained hard"] != expected).any()
    # Devices of no mismatch are the network itself.
    keys_D = jax.random.split(jax.random.key(0), 2)
    assert bench.variation("weights", 0.0, keys_D, frames)["hard_accuracy"] == row["hard_accuracy"]


def test_integer_networks_follow_in_whole_thresholds():
    one = small.trained(small.recipe(), small.hyper(), epochs=4)[0]
    frames, following = thinned(0.1), Following.of(0.5, small.frames())
    chip = Chip(weight_bits=8)
    kernels = formats.kernels(
        one.connections(), chip, formats.grams(one, one.connections(), chip, None)
    )
    shared, layers = formats.to_integers(one, one.connections(), chip, kernels)
    unpacked = one.model.unpack(frames.packed_NxTxP, jnp.int8)
    factor_B = following.factor(unpacked)
    response, _ = integers.response_of(layers, shared, unpacked, factor_B=factor_B)
    for n in (0, small.N - 1):  # as a network of its own, with the thresholds of this recording
        own = np.maximum(np.round(np.asarray(layers[0].threshold) * np.float32(factor_B[n])), 1)
        first = layers[0]._replace(threshold=jnp.asarray(own, jnp.int32))
        alone, _ = integers.response_of([first, *layers[1:]], shared, unpacked[:, n : n + 1])
        for a, b in zip(alone.spikes, response.spikes, strict=True):
            np.testing.assert_array_equal(a[:, 0], b[:, n])
    scores = one.model.readout(response).argmax(axis=-1)
    bench = Bench(one, chip, None, following)
    bench.width(8, frames)
    np.testing.assert_array_equal(bench.right["INT8 integer"], scores == frames.truth_M)


def test_settings_make_thresholds_follow():
    one = small.trained(small.recipe(), small.hyper())
    given = Settings().changed({"hardware.follow": 0.5, "hardware.calibration": 4})
    (bench,) = measure.benches(one, small.frames(), given)
    assert bench._following == Following.of(0.5, small.frames())
    (bench,) = measure.benches(one, small.frames(), given.changed({"hardware.follow": 0.0}))
    assert bench._following is None
    with pytest.raises(InputError, match=r"hardware.follow=0.5 needs the recordings"):
        measure.benches(one, None, given)
