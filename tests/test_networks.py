"""Networks against flax's own layers and against SpikingJelly."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sast_jax import lif, networks, spikes

T, B, K = 6, 4, 3
SLOPE = 4.0


def frames(seed, shape, dtype=np.float32):
    return (np.random.default_rng(seed).random((T, B, *shape)) < 0.3).astype(dtype)


@pytest.mark.parametrize(("kernel", "side"), [(3, 34), (5, 34), (5, 17), (1, 8), (7, 9)])
def test_halving_conv_equals_flax_conv_values_and_gradients(kernel, side):
    x = jax.random.normal(jax.random.key(0), (2, side, side, 3))
    ours = networks.HalvingConv(7, kernel)
    params = ours.init(jax.random.key(1), x)
    theirs = nn.Conv(7, (kernel, kernel), strides=2, padding=kernel // 2)

    def loss(module):
        return lambda params, x: (module.apply(params, x) ** 2).mean()

    np.testing.assert_allclose(ours.apply(params, x), theirs.apply(params, x), atol=1e-5)
    got, want = (jax.grad(loss(module), (0, 1))(params, x) for module in (ours, theirs))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want)


@pytest.mark.parametrize(
    "network",
    [networks.MLP((8, K)), networks.ConvNet((4, 6), (8, K), kernel=3)],
    ids=["mlp", "conv"],
)
def test_segments_of_time_equal_the_whole(network):
    x = jnp.asarray(frames(0, (10, 10, 2)))
    cell = lif.reset_to_zero(0.9, 0.3, spikes.sigmoid(SLOPE))
    params = network.init(jax.random.key(0), x, cell)
    whole = network.apply(params, x, cell)
    first = network.apply(params, x[:2], cell)
    second = network.apply(params, x[2:], cell, first.states)
    for a, b, c in zip(first.spikes, second.spikes, whole.spikes, strict=True):
        np.testing.assert_allclose(jnp.concatenate([a, b]), c, atol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), second.states, whole.states
    )


def test_swap_changes_the_spikes_and_nothing_else():
    x = jnp.asarray(frames(0, (10, 10, 2)))
    network = networks.MLP((8, K), gain=3.0)
    soft = lif.reset_to_zero(0.9, 1.0, spikes.sigmoid(SLOPE))
    hard = lif.reset_to_zero(0.9, 1.0, spikes.heaviside)
    params = network.init(jax.random.key(0), x, soft)
    assert jax.tree.structure(params) == jax.tree.structure(
        network.init(jax.random.key(0), x, hard)
    )
    response = network.apply(params, x, hard)
    assert set(np.unique(response.spikes[0])) == {0.0, 1.0}
    # The first layer's current does not depend on the spike function, so only the swap differs.
    kernel, bias = params["params"]["Dense_0"].values()
    current = x.reshape(T, B, -1) @ kernel + bias[None, None]
    _, expected = lif.integrate(hard, current)
    np.testing.assert_array_equal(response.spikes[0], expected)


def test_readouts_and_rates():
    spikes_TxBxK = jnp.asarray(frames(1, (K,)))
    current = jax.random.normal(jax.random.key(0), (T, B, K))
    response = networks.Response((spikes_TxBxK[..., :2], spikes_TxBxK), current, ())
    expected = 20 * np.asarray(spikes_TxBxK).sum(axis=0) / T
    np.testing.assert_allclose(networks.mean_spikes(20.0)(response), expected, rtol=1e-6)
    expected = 2 * np.asarray(current).mean(axis=0)
    np.testing.assert_allclose(networks.mean_current(2.0)(response), expected, atol=1e-6)
    rates_BxL = networks.firing_rates(response)
    np.testing.assert_allclose(rates_BxL[:, 1], np.asarray(spikes_TxBxK).mean(axis=(0, 2)))


def test_initial_weights_have_the_documented_deviation():
    x = jnp.zeros((1, 1, 20, 20, 2))
    cell = lif.reset_to_zero(0.9, 1.0, spikes.heaviside)
    params = networks.MLP((500, K), gain=2.0).init(jax.random.key(0), x, cell)["params"]
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
    reset = {"zero": lif.reset_to_zero, "subtract": lif.reset_by_subtraction}[reset_name]
    soft = reset(decay, threshold, spikes.sigmoid(SLOPE))
    hard = reset(decay, threshold, spikes.heaviside)

    network = networks.MLP(widths[1:], gain=3.0)
    params = network.init(jax.random.key(0), xs[0], soft)

    def node():
        # tau = 1 / (1 - decay) with decay_input=False is u = decay * u + current.
        return neuron.LIFNode(
            tau=1 / (1 - decay), decay_input=False, v_threshold=threshold,
            v_reset=0.0 if reset_name == "zero" else None,
            surrogate_function=surrogate.Sigmoid(alpha=SLOPE, spiking=False), step_mode="m",
        )  # fmt: skip

    linears = [layer.Linear(a, b, step_mode="m") for a, b in itertools.pairwise(widths)]
    for i, linear in enumerate(linears):
        weights = params["params"][f"Dense_{i}"]
        linear.weight.data = torch.tensor(np.array(weights["kernel"]).T.copy())
        linear.bias.data = torch.tensor(np.array(weights["bias"]))
    model = torch.nn.Sequential(linears[0], node(), linears[1], node())
    their_adam = torch.optim.Adam(model.parameters(), lr=5e-3, eps=1e-8)

    def loss(params, x, y):
        scores = networks.mean_spikes(scale)(network.apply(params, x, soft))
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
        weights = params["params"][f"Dense_{i}"]
        linear.weight.data = torch.tensor(np.array(weights["kernel"]).T.copy())
        linear.bias.data = torch.tensor(np.array(weights["bias"]))
    for module in model.modules():
        if hasattr(module, "surrogate_function"):
            module.surrogate_function.set_spiking_mode(True)
    x = xs.reshape(-1, T, 32, widths[0]).transpose(1, 0, 2, 3).reshape(T, -1, widths[0])
    functional.reset_net(model)
    with torch.no_grad():
        their_spikes = model(torch.tensor(x)).numpy()
    our_spikes = network.apply(params, x, hard).spikes[-1]
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
        cell = lif.reset_to_zero(0.9, 1.0, spikes.sigmoid(SLOPE))
        params = network.init(jax.random.key(0), x, cell)
        params = jax.tree.map(lambda w: jnp.asarray(w, jnp.float64), params)

        def loss(params):
            scores = networks.mean_spikes(10.0)(network.apply(params, x, cell))
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
