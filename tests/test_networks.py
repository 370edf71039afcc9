"""Networks against flax's own layers and SpikingJelly, and one of the tests' own."""

import dataclasses
import functools
import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small

from sast_jax.errors import InputError
from sast_jax.evaluation import swap
from sast_jax.hardware import bench as bench_lib, models, nir_graph
from sast_jax.hardware.formats import Chip
from sast_jax.snn import connections, networks, neurons, readouts, spikes
from sast_jax.snn.connections import Connection, Full
from sast_jax.snn.model import Model
from sast_jax.snn.quantisation import Rounding
from sast_jax.theory import inequalities

T, B, K = 6, 4, 3
SLOPE = 4.0


def frames(seed, shape, dtype=np.float32):
    return (np.random.default_rng(seed).random((T, B, *shape)) < 0.3).astype(dtype)


def apply(model, params, x, cell, states=None):
    """What a model does with frames in their own precision."""
    listed = model.connections(params)
    return connections.respond(listed, connections.alike(cell, listed), x, states=states)


@pytest.mark.parametrize(("kernel", "side"), [(3, 34), (5, 34), (5, 17), (1, 8), (7, 9)])
def test_halving_conv_equals_flax_conv_values_and_gradients(kernel, side):
    x = jax.random.normal(jax.random.key(0), (2, side, side, 3))
    ours = networks.HalvingConv(7, kernel)
    params = ours.init(jax.random.key(1), x.shape[1:])
    theirs = nn.Conv(7, (kernel, kernel), strides=2, padding=kernel // 2)

    def sums(params, x):
        return ours.apply(params, x.shape[1:]).sums(x[None])[0]

    def loss(apply):
        return lambda params, x: (apply(params, x) ** 2).mean()

    np.testing.assert_allclose(sums(params, x), theirs.apply(params, x), atol=1e-5)
    got, want = (jax.grad(loss(apply), (0, 1))(params, x) for apply in (sums, theirs.apply))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want)


@pytest.mark.parametrize(
    "network",
    [networks.MLP((8, K)), networks.ConvNet((4, 6), (8, K), kernel=3)],
    ids=["mlp", "conv"],
)
def test_segments_of_time_equal_the_whole(network):
    x = jnp.asarray(frames(0, (10, 10, 2)))
    cell = neurons.LIF(0.3).smooth(0.9, SLOPE)
    model = Model(network).on(x.shape[2:])
    params = model.init(jax.random.key(0))
    whole = apply(model, params, x, cell)
    first = apply(model, params, x[:2], cell)
    second = apply(model, params, x[2:], cell, first.states)
    for a, b, c in zip(first.spikes, second.spikes, whole.spikes, strict=True):
        np.testing.assert_allclose(jnp.concatenate([a, b]), c, atol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), second.states, whole.states
    )


def test_swap_changes_the_spikes_and_nothing_else():
    x = jnp.asarray(frames(0, (10, 10, 2)))
    model = Model(networks.MLP((8, K), gain=3.0)).on(x.shape[2:])
    soft, hard = model.neuron.smooth(0.9, SLOPE), model.neuron.hard(0.9)
    assert soft.neuron is hard.neuron is model.neuron and soft.decay == hard.decay
    assert hard.spike is spikes.heaviside
    assert soft.spike is not hard.spike
    params = model.init(jax.random.key(0))
    response = model.respond(params, hard, x)
    assert set(np.unique(response.spikes[0])) == {0.0, 1.0}
    # The first layer's current does not depend on the spike function, so only the swap differs.
    kernel, bias = params["Dense_0"].values()
    current = x.reshape(T, B, -1) @ kernel + bias[None, None]
    _, expected = neurons.integrate(hard, current)
    np.testing.assert_array_equal(response.spikes[0], expected)
    _, smooth = neurons.integrate(soft, current)
    np.testing.assert_array_equal(model.respond(params, soft, x).spikes[0], smooth)


def test_readouts_and_rates():
    spikes_TxBxK = jnp.asarray(frames(1, (K,)))
    current = jax.random.normal(jax.random.key(0), (T, B, K))
    response = readouts.Response((spikes_TxBxK[..., :2], spikes_TxBxK), (current,), ())
    expected = 20 * np.asarray(spikes_TxBxK).sum(axis=0) / T
    np.testing.assert_allclose(readouts.MeanSpikes(20.0)(response), expected, rtol=1e-6)
    expected = 2 * np.asarray(current).mean(axis=0)
    np.testing.assert_allclose(readouts.MeanCurrent(2.0)(response), expected, atol=1e-6)
    rates_BxL = readouts.firing_rates(response)
    np.testing.assert_allclose(rates_BxL[:, 1], np.asarray(spikes_TxBxK).mean(axis=(0, 2)))


def test_initial_weights_have_the_documented_deviation():
    params = Model(networks.MLP((500, K), gain=2.0)).on((20, 20, 2)).init(jax.random.key(0))
    assert float(params["Dense_0"]["kernel"].std()) == pytest.approx(2 / np.sqrt(800), rel=0.02)


@pytest.mark.parametrize("reset_name", ["zero", "subtract"])
def test_soft_training_equals_spikingjelly_over_40_adam_steps(reset_name):
    """The independent reference: its surrogate run smooth, then swapped to spikes."""
    torch = pytest.importorskip("torch")
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    decay, threshold, scale, widths = 0.9, 1.0, 10.0, (20, 16, K)
    rng = np.random.default_rng(0)
    ys = rng.integers(0, K, (40, 32))
    rates = rng.uniform(0.1, 0.9, (K, widths[0]))  # of the inputs, by class
    xs = (rng.random((40, T, 32, widths[0])) < rates[ys][:, None]).astype(np.float32)
    own = neurons.LIF(threshold, reset=neurons.RESETS[reset_name])
    soft, hard = own.smooth(decay, SLOPE), own.hard(decay)

    network = Model(networks.MLP(widths[1:], gain=3.0)).on(widths[:1])
    params = network.init(jax.random.key(0))

    def node():
        # tau = 1 / (1 - decay) with decay_input=False is u = decay * u + current.
        return neuron.LIFNode(
            tau=1 / (1 - decay), decay_input=False, v_threshold=threshold,
            v_reset=0.0 if reset_name == "zero" else None,
            surrogate_function=surrogate.Sigmoid(alpha=SLOPE, spiking=False), step_mode="m",
        )  # fmt: skip

    linears = [layer.Linear(a, b, step_mode="m") for a, b in itertools.pairwise(widths)]
    for i, linear in enumerate(linears):
        weights = params[f"Dense_{i}"]
        linear.weight.data = torch.tensor(np.array(weights["kernel"]).T.copy())
        linear.bias.data = torch.tensor(np.array(weights["bias"]))
    model = torch.nn.Sequential(linears[0], node(), linears[1], node())
    their_adam = torch.optim.Adam(model.parameters(), lr=5e-3, eps=1e-8)

    def loss(params, x, y):
        scores = readouts.MeanSpikes(scale)(network.respond(params, soft, x))
        return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()

    tx = optax.adam(5e-3)
    state = tx.init(params)

    @jax.jit
    def step(params, state, x, y):
        value, grads = jax.value_and_grad(loss)(params, x, y)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    ours, theirs = [], []
    for x, y in zip(xs, ys, strict=True):
        params, state, value = step(params, state, x, y)
        ours.append(float(value))
        functional.reset_net(model)
        scores = scale * model(torch.tensor(x)).mean(0)
        their_loss = torch.nn.functional.cross_entropy(scores, torch.tensor(y))
        their_adam.zero_grad()
        their_loss.backward()
        their_adam.step()
        theirs.append(their_loss.item())
    np.testing.assert_allclose(ours, theirs, atol=5e-5)
    assert ours[0] - ours[-1] > 0.5  # it did train

    # The same weights on both sides, then the swap.
    for i, linear in enumerate(linears):
        weights = params[f"Dense_{i}"]
        linear.weight.data = torch.tensor(np.array(weights["kernel"]).T.copy())
        linear.bias.data = torch.tensor(np.array(weights["bias"]))
    for module in model.modules():
        if hasattr(module, "surrogate_function"):
            module.surrogate_function.set_spiking_mode(True)
    x = xs.reshape(-1, T, 32, widths[0]).transpose(1, 0, 2, 3).reshape(T, -1, widths[0])
    functional.reset_net(model)
    with torch.no_grad():
        their_spikes = model(torch.tensor(x)).numpy()
    our_spikes = network.respond(params, hard, x).spikes[-1]
    assert 0.02 < our_spikes.mean() < 0.98
    np.testing.assert_array_equal(our_spikes, their_spikes)


@pytest.mark.parametrize(
    "network",
    [networks.MLP((5, K), gain=3.0), networks.ConvNet((3,), (K,), kernel=3, gain=3.0)],
    ids=["mlp", "conv"],
)
def test_gradient_of_the_loss_equals_finite_differences(network):
    with jax.enable_x64(True):
        x = jnp.asarray(frames(0, (6, 6, 2), np.float64))
        y = jnp.array([0, 1, 2, 0])
        cell = neurons.LIF().smooth(0.9, SLOPE)
        model = Model(network).on(x.shape[2:])
        params = model.init(jax.random.key(0))
        params = jax.tree.map(lambda w: jnp.asarray(w, jnp.float64), params)

        def loss(params):
            scores = readouts.MeanSpikes(10.0)(apply(model, params, x, cell))
            return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()

        loss, step = jax.jit(loss), 1e-6
        gradient = jax.grad(loss)(params)
        for seed in range(10):
            leaves, treedef = jax.tree.flatten(params)
            rng = np.random.default_rng(seed)
            direction = treedef.unflatten([jnp.asarray(rng.normal(size=w.shape)) for w in leaves])
            up = jax.tree.map(lambda w, d: w + step * d, params, direction)
            down = jax.tree.map(lambda w, d: w - step * d, params, direction)
            numeric = float(loss(up) - loss(down)) / (2 * step)
            products = jax.tree.map(lambda g, d: float((g * d).sum()), gradient, direction)
            assert sum(jax.tree.leaves(products)) == pytest.approx(numeric, rel=1e-6)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rows(Connection):
    """Each row of a frame meets the same weights; the kernel is (width * channels, outputs)."""

    def receptive(self, spikes_BxS):
        B, H, *_ = spikes_BxS.shape
        return spikes_BxS.reshape(B, H, -1)

    def outputs(self, shape):
        return shape[0], self.kernel.shape[-1]

    def met(self, shape):
        return shape[0] * math.prod(self.kernel.shape)


class OfRows(nn.Module):
    """A network of the tests' own, with names of parameters that no other has.

    Attributes:
      width: outputs of a row.
      classes: K.
    """

    width: int
    classes: int

    @nn.compact
    def __call__(self, frame_shape):
        H, W, C = frame_shape
        start, zeros = nn.initializers.normal(0.1), nn.initializers.zeros
        return [
            Rows(
                self.param("strength", start, (W * C, self.width)),
                self.param("push", zeros, (self.width,)),
            ),
            Full(
                self.param("verdict", start, (H * self.width, self.classes)),
                self.param("lean", zeros, (self.classes,)),
            ),
        ]


WIDTH = 8


@functools.cache
def of_rows(rounding=None):
    made = small.recipe(network=OfRows(WIDTH, small.K), rounding=rounding)
    return small.trained(made, small.hyper((0, 1)), epochs=12)


def test_a_network_of_ones_own_trains_and_is_evaluated():
    made, hyper_R = small.recipe(network=OfRows(WIDTH, small.K)), small.hyper((0, 1))
    _, first = small.fit(made, hyper_R, epochs=1)
    _, last = small.fit(made, hyper_R, epochs=12)
    assert (last.loss < 0.5 * first.loss).all() and (last.accuracy > 0.9).all()
    trained = of_rows()
    assert set(trained.params) == {"strength", "push", "verdict", "lean"}
    data = small.frames()
    x = np.asarray(trained.model.unpack(data.packed_NxTxP))
    for run, measured in zip(trained, swap.soft_and_hard(trained, data), strict=True):
        sent = np.einsum("tbhwc,wcn->tbhn", x, run.params["strength"].reshape(6, 2, WIDTH))
        sent = sent + np.asarray(run.params["push"])
        _, sent = neurons.integrate(run.hard_cell(), jnp.asarray(sent))
        current = sent.reshape(*sent.shape[:2], -1) @ run.params["verdict"]
        _, sent = neurons.integrate(run.hard_cell(), current + run.params["lean"][None, None])
        accuracy = (sent.mean(axis=0).argmax(axis=-1) == data.labels_N).mean()
        assert measured["hard_accuracy"] == pytest.approx(float(accuracy))
        assert measured["soft_accuracy"] > 0.9 and measured["hard_accuracy"] > 0.6


def test_a_network_of_ones_own_is_counted():
    trained, data = of_rows(), small.frames()
    x = trained.model.unpack(data.packed_NxTxP)
    for run, found in zip(trained, models.count(trained, data), strict=True):
        first = run.respond(run.hard_cell(), x).spikes[0]
        assert first.shape == (small.T, small.N, 6, WIDTH)
        fired = np.array([float(x.sum()), float(first.sum())]) / small.N
        np.testing.assert_allclose(
            found["effective_acs_by_layer"], fired * [WIDTH, small.K], rtol=1e-6
        )
        assert found["dense_by_layer"] == [small.T * 6 * 12 * WIDTH, small.T * 6 * WIDTH * small.K]
        assert found["membrane_updates_by_layer"] == [small.T * 6 * WIDTH, small.T * small.K]
        weights, biases = 12 * WIDTH + 6 * WIDTH * small.K, WIDTH + small.K
        assert found["footprint_bytes"] == 4 * (weights + biases)


@pytest.mark.slow
def test_a_network_of_ones_own_is_put_on_the_bench():
    data, keys = small.frames(), jax.random.split(jax.random.key(0), 2)
    benches = bench_lib.benches(of_rows(), Chip(), data)
    exact = swap.soft_and_hard(of_rows(), data)
    for bench, own in zip(benches, exact, strict=True):
        row = bench.width(8, data)
        assert "error" not in row
        for kind in ("soft", "hard"):
            assert row[f"{kind}_accuracy"] == pytest.approx(own[f"{kind}_accuracy"], abs=0.1)
        assert row["integer_accuracy"] == pytest.approx(own["hard_accuracy"], abs=0.1)
        weights, biases = 12 * WIDTH + 6 * WIDTH * small.K, WIDTH + small.K
        assert row["weight_bytes"] == weights + 4 * biases
        rows = bench_lib.trials([bench], data, bench_lib.Conditions((4,), (("dead", 0.2),), 2))[0]
        rows += [bench.variation(kind, 0.2, keys, data) for kind in ("weights", "thresholds")]
        for row in rows:
            assert 0 <= row["hard_accuracy"] <= 1 and "error" not in row
    rounded = of_rows(Rounding(2))[0].connections()
    assert max(len(np.unique(column)) for column in rounded[0].kernel.T) <= 3


def test_what_a_connection_of_ones_own_has_not_is_refused_by_name():
    run = of_rows()[0]
    hard = nir_graph.HardNetwork(run.connections(), run.model.neuron, 0.9, small.SHAPE)
    with pytest.raises(InputError, match="the connection Rows has no node in NIR"):
        nir_graph.to_graph(hard)
    with pytest.raises(InputError, match="the connection Rows has no bound on its norm"):
        inequalities.describe(run, small.T)


class Returning(nn.Module):
    """A module that lists no connections.

    Attributes:
      what: it returns.
    """

    what: str

    @nn.compact
    def __call__(self, frame_shape):
        kernel = self.param("kernel", nn.initializers.normal(), (math.prod(frame_shape), K))
        full = Full(kernel, self.param("bias", nn.initializers.zeros, (K,)))
        return {
            "array": kernel,
            "nothing": None,
            "no connection": [],
            "arrays": [kernel, kernel],
            "one among others": [full, kernel],
            "one alone": full,
        }[self.what]


@pytest.mark.parametrize(
    "what", ["array", "nothing", "no connection", "arrays", "one among others", "one alone"]
)
def test_a_module_that_lists_no_connections_is_named(what):
    message = "the network Returning returns .*; it must return the list of its connections"
    with pytest.raises(TypeError, match=message):
        Model(Returning(what)).on(small.SHAPE).init(jax.random.key(0))
    with pytest.raises(TypeError, match=message):
        small.fit(small.recipe(network=Returning(what)), small.hyper())
