"""Networks that are computed in segments of time: the same, in less memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from sast_jax.evaluation import swap
from sast_jax.runs import timing
from sast_jax.snn import connections, networks, neurons, readouts
from sast_jax.snn.model import Model
from sast_jax.training import stepping
from sast_jax.training.trained import Trained

CELL = neurons.LIF().smooth(0.9, 4.0)
FRAMES = jax.random.bernoulli(jax.random.key(1), 0.3, (12, 2, 8, 8, 2)).astype(jnp.float32)
MODEL = Model(networks.ConvNet((3, 4), (5, 3), 3, 2.0)).on(FRAMES.shape[2:])


def init():
    return MODEL.init(jax.random.key(0))


def respond(params, steps, cell=CELL):
    network = MODEL.connections(params)

    def apply(cell, frames, states):
        cells = connections.alike(cell, network)
        return connections.respond(network, cells, frames, states=states)

    if steps is None:
        return apply(cell, FRAMES, None)
    return connections.in_segments(apply, cell, FRAMES, steps)


@pytest.mark.parametrize("steps", [1, 4, 12])
def test_response_and_gradient_are_those_of_the_whole(steps):
    def loss(params, steps):
        response = respond(params, steps)
        scores = readouts.MeanSpikes(10.0)(response)
        return (scores**2).sum() + response.spikes[0][3:].mean(), response

    gradient = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
    whole, parts = (gradient(init(), s) for s in (None, steps))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), whole, parts)
    shapes = [jax.tree.map(jnp.shape, found) for found in (whole, parts)]
    assert shapes[0] == shapes[1]


class Charged(neurons.LIF):
    """A neuron that does not begin at 0."""

    def rest(self, like):
        return super().rest(like)._replace(potential=jnp.full_like(like, 0.8))


def test_the_first_segment_begins_at_rest():
    cell, params = Charged().hard(0.9), init()
    whole, parts = (respond(params, steps, cell).spikes for steps in (None, 4))
    jax.tree.map(np.testing.assert_array_equal, whole, parts)
    plain = respond(params, None, neurons.LIF().hard(0.9)).spikes
    assert any((a != b).any() for a, b in zip(whole, plain, strict=True))


def test_noise_is_each_segments_own():
    cell = neurons.Stochastic(CELL, jax.random.key(3), noise=0.5)
    still = jax.tree.map(jnp.zeros_like, init())
    (layer, *_) = respond(still, 6, cell).spikes
    assert (layer[0] != layer[6]).mean() > 0.9
    assert (layer[:, 0] != layer[:, 1]).mean() > 0.9


def test_segments_must_divide_the_time():
    with pytest.raises(ValueError, match="12 steps of time cannot be cut into segments of 5"):
        respond(init(), 5)


def test_training_and_evaluation_in_segments(monkeypatch):
    cut, of_segment = connections.in_segments, []

    def in_segments(respond, cell, frames, steps):
        of_segment.append(steps)
        return cut(respond, cell, frames, steps)

    monkeypatch.setattr(connections, "in_segments", in_segments)
    found = []
    for made in (small.recipe(epochs=7), small.recipe(epochs=7, segment=1)):
        state_R, _ = small.fit(made, small.hyper())
        trained = Trained.of(made, state_R, small.hyper())
        (run,) = swap.soft_and_hard(trained, small.frames())
        found.append((state_R.params, run["soft_accuracy"], run["hard_accuracy"]))
        assert set(of_segment) == ({1} if made.model.segment else set())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), *found)


T = 100


def long_step(batch, segment):
    """A compiled step of SAM's two gradients at 64 x 64 and T = 100, and its arguments."""
    made = small.recipe(
        network=networks.ConvNet((16, 32), (128, 11), 5, 3.0),
        frame_shape=(64, 64, 2),
        segment=segment,
    )
    hyper, state = small.run_of((small.hyper(), stepping.initialise(made, small.hyper())), 0)
    frames = jax.random.bernoulli(jax.random.key(0), 0.03, (T, batch, 64, 64, 2)).astype(jnp.uint8)
    both = frames, jnp.arange(batch) % 11
    step = jax.jit(stepping.train_step, static_argnums=0).lower(made, state, hyper, both, both)
    return step.compile(), (state, hyper, both, both)


@pytest.mark.slow
def test_segments_take_a_third_of_the_memory():
    memory = [long_step(2, s)[0].memory_analysis().temp_size_in_bytes for s in (None, 10)]
    assert memory[1] < memory[0] / 3


@pytest.mark.slow
def test_segments_take_little_more_time():
    steps = {name: long_step(8, s) for name, s in (("whole", None), ("segments", 10))}
    seconds = timing.in_turns(
        {name: functools.partial(step, *args) for name, (step, args) in steps.items()}, 7
    )
    assert np.median(seconds["segments"] / seconds["whole"]) < 1.4
