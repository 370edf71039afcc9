"""Counts against loops over every connection and against NeuroBench."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
import small_networks
import small_runs
import torch
import torch_networks
from neurobench.metrics.static import ConnectionSparsity
from neurobench.metrics.workload import SynapticOperations
from neurobench.models import TorchModel

from sast_jax.evaluation import swap
from sast_jax.hardware import models as models_lib, operations
from sast_jax.snn.connections import Full

pytestmark = pytest.mark.optimised


def by_loops(kernel, x):
    """Non-zero inputs of one step that meet non-zero weights, connection by connection."""
    if kernel.ndim == 2:
        flat = x.reshape(-1)
        return sum(int(np.count_nonzero(kernel[i])) for i in np.flatnonzero(flat))
    side, (H, W, C), total = kernel.shape[0], x.shape, 0
    for row in range(-(-H // 2)):
        for column in range(-(-W // 2)):
            for i in range(side):
                for j in range(side):
                    y, z = 2 * row + i - side // 2, 2 * column + j - side // 2
                    if 0 <= y < H and 0 <= z < W:
                        for c in range(C):
                            total += bool(x[y, z, c]) * np.count_nonzero(kernel[i, j, c])
    return total


@pytest.mark.parametrize("name", small_networks.NETWORKS)
def test_effective_and_dense_operations(name):
    whole, frames = small_networks.network(name)
    listed = [c.replace(kernel=jnp.where(abs(c.kernel) > 0.1, c.kernel, 0)) for c in whole]
    spikes = small_networks.respond(listed, frames).spikes
    found = operations.count(listed, frames, spikes)
    inputs = [np.asarray(x) for x in (frames, *spikes[:-1])]
    for layer, (connection, x) in enumerate(zip(listed, inputs, strict=True)):
        kernel = np.asarray(connection.kernel)
        expected = [sum(by_loops(kernel, x[t, b]) for t in range(5)) for b in range(4)]
        np.testing.assert_array_equal(found.acs_BxL[:, layer], expected)
        everything = 5 * by_loops(np.ones_like(kernel), np.ones_like(x[0, 0]))
        assert 5 * operations.dense(listed, frames.shape[2:])[layer] == everything
        assert 0 < sum(expected) < 4 * everything
        fired = np.asarray(spikes[layer]).sum(axis=(0, *range(2, spikes[layer].ndim)))
        np.testing.assert_array_equal(found.spikes_BxL[:, layer], fired)
        np.testing.assert_array_equal(found.neurons_BxL[:, layer], spikes[layer][0, 0].size)
    assert not found.macs_BxL.any()


def test_inputs_that_are_not_binary_count_as_macs():
    listed, frames = small_networks.network("MLP")
    spikes = small_networks.respond(listed, frames).spikes
    binary = operations.count(listed, frames, spikes)
    found = operations.count(listed, 0.5 * frames, spikes)
    np.testing.assert_array_equal(found.macs_BxL[:, 0], binary.acs_BxL[:, 0])
    np.testing.assert_array_equal(found.acs_BxL[:, 1], binary.acs_BxL[:, 1])
    assert not found.macs_BxL[:, 1].any() and not found.acs_BxL[:, 0].any()


class Whole(torch.nn.Module):
    """A network that takes whole recordings, (B, T, ...)."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, frames_BxTxS):
        torch_networks.respond(self.network, frames_BxTxS.transpose(0, 1))


@pytest.mark.parametrize("kind", ["MLP", pytest.param("ConvNet", marks=pytest.mark.slow)])
def test_equals_neurobench_on_the_exported_network(tmp_path, kind, digits):
    run = small_runs.train(kind, digits)
    pruned = [c.replace(kernel=jnp.where(abs(c.kernel) > 0.02, c.kernel, 0)) for c in run.network]
    run = run._replace(network=pruned)
    torch_networks.write(tmp_path / "a.nir", run, "A")
    model = TorchModel(Whole(torch_networks.load("snnTorch", tmp_path / "a.nir")))
    model.register_hooks()
    counter = SynapticOperations()
    x_TxNxS = torch_networks.channels_first(run, small_runs.frames(run))
    for start in range(0, 200, 10):  # few at a time, so that its float32 sums are exact
        batch = x_TxNxS[:, start : start + 10].transpose(0, 1)
        model(batch)
        expected = counter(model, None, (batch,))
        model.reset_hooks()
    frames = jnp.asarray(small_runs.frames(run), jnp.float32)
    spikes = small_networks.respond(pruned, frames, run.trained.hard_cell()).spikes
    counts = operations.count(pruned, frames, spikes)
    found = operations.report(pruned, counts, run.trained.model.frame_shape, len(frames))
    assert found["effective_acs"] == expected["Effective_ACs"] > 0
    assert found["effective_macs"] == expected["Effective_MACs"] == 0
    assert found["dense"] == expected["Dense"]
    assert round(found["connection_sparsity"], 4) == ConnectionSparsity()(model) > 0


def test_a_report_of_trained_networks(digits):
    run = small_runs.train("MLP", digits)
    one_R = jax.tree.map(lambda leaf: leaf[None], run.trained)
    (found,) = models_lib.count(one_R, run.test)
    acs = sum(found["effective_acs_by_layer"])
    np.testing.assert_allclose(found["effective_acs"], acs)
    low, middle, high = found["effective_acs_quartiles"]
    assert low < middle < high
    assert found["membrane_updates"] == 6 * (64 + 32 + 10)
    assert found["footprint_bytes"] == 4 * (2312 * 64 + 64 * 32 + 32 * 10 + 64 + 32 + 10)
    np.testing.assert_allclose(found["energy_float32_pj"], 0.9 * acs)
    np.testing.assert_allclose(found["energy_integer_pj"], 0.1 * acs)
    answers = swap.answer(swap.hard, one_R, run.test.packed_NxTxP)
    rates_L = answers.rates_BxL[0].mean(axis=0)
    fired = 6 * (rates_L * np.array([64, 32, 10]))
    np.testing.assert_allclose(found["spikes_by_layer"], fired, rtol=1e-5)
    np.testing.assert_allclose(found["activation_sparsity"], 1 - fired.sum() / (6 * 106), rtol=1e-5)


def test_a_recording_costs_what_its_windows_cost():
    models = small.untrained(small.recipe(), small.hyper(seeds=(0, 1)))
    alone, frames = small.frames(), small.windows()
    counted = models_lib.count(models, frames)
    counts = swap.answer(models_lib.operations_of, models, alone.packed_NxTxP)
    acs_RxN = counts.acs_BxL.sum(axis=2)
    by_hand = [
        [acs_N[frames.numbers_N == m].sum() for m in range(small.N // 2)] for acs_N in acs_RxN
    ]
    for two, one, acs_M in zip(counted, models_lib.count(models, alone), by_hand, strict=True):
        assert two["effective_acs"] == np.mean(acs_M) > 0
        assert two["effective_acs_quartiles"] == np.percentile(acs_M, (25, 50, 75)).tolist()
        for key in ("effective_acs", "dense", "membrane_updates", "spikes", "energy_float32_pj"):
            np.testing.assert_allclose(two[key], 2 * one[key], rtol=1e-12)
        for key in ("activation_sparsity", "connection_sparsity", "footprint_bytes"):
            np.testing.assert_allclose(two[key], one[key], rtol=1e-12)


def test_counts_are_exact_where_floats_are_not():
    wide = [Full(jnp.ones((4097, 4099)), jnp.zeros(4099))]
    frames = jnp.ones((3, 1, 1, 1, 4097))
    found = operations.count(wide, frames, [jnp.zeros((3, 1, 4099))])
    assert int(found.acs_BxL[0, 0]) == 3 * 4097 * 4099
    report = operations.report(wide, found, (1, 1, 4097), 1000)
    assert report["dense"] == 1000 * 4097 * 4099
