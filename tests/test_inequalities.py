"""The rows of the table: measured quantities against independent ones, bounds above them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from sast_jax.data import packing
from sast_jax.errors import InputError
from sast_jax.evaluation import sensitivity, swap
from sast_jax.snn import networks, neurons, readouts
from sast_jax.theory import certificates, gains, inequalities, moments

KINDS = {
    "MLP": {"neuron": neurons.LIF(reset=neurons.BySubtraction())},
    "ConvNet": {
        "network": networks.ConvNet((3,), (small.K,), kernel=3, gain=2.0),
        "readout": readouts.MeanCurrent(1.0),
    },
}


def fit(kind):
    return small.trained(small.recipe(**KINDS[kind]), small.hyper())[0]


@pytest.fixture(scope="module")
def trained():
    return fit("ConvNet")


@pytest.fixture(scope="module")
def mlp():
    return fit("MLP")


@pytest.fixture(scope="module")
def network(trained):
    return inequalities.describe(trained, small.T)


def frames(count=12):
    packed, labels = small.recordings()
    return packed[:count], labels[:count]


@pytest.mark.slow  # an MLP's are those of the command's test
def test_bounds_are_above_what_is_measured(trained, network):
    packed, labels = frames()
    moment = moments.measure_risk(trained, packed, labels, 0.05, jax.random.key(0))
    norms = [np.asarray(leaf) for leaf in sensitivity.gradient_norms(trained, packed, labels)]
    shown = np.asarray(packing.unpack(packed, small.SHAPE)).reshape(12, small.T, -1)
    rows = inequalities.of_states(network, packed)
    rows += inequalities.of_inputs(network, packed, labels)
    rows += inequalities.of_risk(network, moment, 0.05, 0.1, inequalities.frames_norm(shown))
    rows += inequalities.of_mechanism(network, *norms, shown)[0]
    assert len({row.name for row in rows}) == len(rows) > 20
    for row in rows:
        assert 0 < row.measured <= row.bound * (1 + 1e-4), row.name
    (mechanism,) = [row for row in rows if "proposition" in row.name]
    assert mechanism.vacuous  # in a convolution


@pytest.mark.slow
def test_gains_are_those_of_whole_jacobians(trained):
    packed, _ = frames(2)
    cell, sent = trained.soft_cell(), packing.time_first(packed, small.SHAPE)
    for connection, (l2, linf) in zip(
        trained.connections(), gains.of_layers(trained, packed), strict=True
    ):

        def layer(x, connection=connection):
            return neurons.integrate(cell, connection.sums(x))[1]

        for b in range(2):
            x = sent[:, b : b + 1]
            whole = np.asarray(jax.jacrev(layer)(x)).reshape(-1, x.size)
            exact = np.linalg.norm(whole, 2), np.abs(whole).sum(axis=1).max()
            assert 0.95 * exact[0] < float(l2[b]) <= exact[0] * (1 + 1e-4)
            assert 0.4 * exact[1] < float(linf[b]) <= exact[1] * (1 + 1e-4)
        sent = layer(sent)


def test_gains_of_scores_and_loss_are_exact(mlp):
    packed, labels = frames(3)
    found = gains.of_scores(mlp, packed, labels)

    def scores(x):
        return mlp.model.readout(mlp.respond(mlp.soft_cell(), x))[0]

    def loss_of(x, label):
        return -jax.nn.log_softmax(scores(x))[label]

    for n in range(3):
        x = packing.time_first(packed[n : n + 1], small.SHAPE)
        whole = np.asarray(jax.jacrev(scores)(x)).reshape(small.K, -1)
        loss = np.asarray(jax.grad(loss_of)(x, labels[n])).ravel()
        exact = np.linalg.norm(whole, 2), np.abs(whole).sum(1).max()
        exact += np.linalg.norm(loss), np.abs(loss).sum()
        np.testing.assert_allclose([leaf[n] for leaf in found], exact, rtol=1e-3, atol=1e-6)


def test_a_moment_is_what_its_parts_are(mlp):
    params = mlp.params
    packed, labels = frames()
    found = moments.measure_risk(mlp, packed, labels, 0.05, jax.random.key(0))

    def risk(w):
        there = dataclasses.replace(mlp, params=w)
        response = swap.apply(there, mlp.soft_cell(), packed)
        log_p = jax.nn.log_softmax(mlp.model.readout(response))
        return -jnp.take_along_axis(log_p, labels[:, None], axis=1).mean()

    flat, unravel = jax.flatten_util.ravel_pytree(params)
    g = jax.grad(lambda w: risk(unravel(w)))(flat)
    np.testing.assert_allclose(found.loss, risk(params), rtol=1e-5)
    np.testing.assert_allclose(found.gradient, np.linalg.norm(g), rtol=1e-4)
    ahead = flat + 0.05 * g / np.linalg.norm(g)
    rise = float(risk(unravel(ahead)) - risk(params))
    assert found.rise >= rise * 0.999
    # The remainder is second order: five times the radius makes some 25 times as much.
    less = moments.measure_risk(mlp, packed, labels, 0.01, jax.random.key(0))
    assert 12 < found.remainder / less.remainder < 50
    assert found.moved <= 0.05 * found.curvature * 1.5


def test_variance_is_that_of_minibatches_drawn_with_replacement(mlp):
    packed, labels = frames()
    found = moments.measure_risk(mlp, packed, labels, 1e-6, jax.random.key(0))

    def loss(w, packed_TxP, label):
        there = dataclasses.replace(mlp, params=w)
        response = swap.apply(there, mlp.soft_cell(), packed_TxP[None])
        return -jax.nn.log_softmax(mlp.model.readout(response))[0, label]

    singles = jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))(mlp.params, packed, labels)
    g_NxP = np.concatenate([leaf.reshape(12, -1) for leaf in jax.tree.leaves(singles)], axis=1)
    spread = ((g_NxP - g_NxP.mean(axis=0)) ** 2).sum(axis=1).mean()
    np.testing.assert_allclose(found.variance, spread / small.B, rtol=1e-3)


def test_certificates_promise_no_more_than_what_is_so(mlp):
    one_R = jax.tree.map(lambda leaf: leaf[None], mlp)
    (found,) = certificates.of_swap(one_R, small.recordings()[0])
    assert found["margins"] <= found["devices"][0] <= found["agree"]
    assert found["devices"] == sorted(found["devices"], reverse=True)
    assert found["devices"][0] > 0
    for may, does in zip(found["changeable"], found["changed"], strict=True):
        assert does <= may + 1e-6
    packed = jnp.asarray(small.recordings()[0])
    soft, hard = (swap.apply(mlp, c, packed).spikes for c in (mlp.soft_cell(), mlp.hard_cell()))
    by_hand = [((s > 0.5) != (h > 0)).mean() for s, h in zip(soft, hard, strict=True)]
    np.testing.assert_allclose(found["changed"], by_hand, rtol=1e-6)
    assert max(by_hand) > 0


def test_a_potential_near_its_threshold_changes_no_spike_by_itself(mlp):
    """Weights and decay of few binary places reach the threshold exactly, time and again."""
    coarse = jax.tree.map(lambda w: jnp.round(8 * w) / 8, mlp.params)
    hyper = mlp.hyper._replace(decay=jnp.float32(0.5))
    one_R = jax.tree.map(
        lambda leaf: leaf[None], dataclasses.replace(mlp, params=coarse, hyper=hyper)
    )
    (found,) = certificates.of_swap(one_R, small.recordings()[0])
    doubtful = swap.answer(
        certificates.Certifier(certificates.by_signs),
        (one_R, jnp.full(1, 1e-5)),
        small.recordings()[0],
    )
    assert found["changed"][0] < doubtful.changeable_BxL[0].mean(axis=0)[0]


def test_convergence_takes_means_over_runs_and_the_worst_of_what_bounds():
    def leaf(*values):
        return np.array(values, float)

    course = moments.Moment(
        loss=leaf([2.0, 1.5, 1.0], [4.0, 3.5, 3.0]),
        gradient=leaf([1.0, 0.5, 9.0], [3.0, 0.5, 9.0]),  # the last is after the last step
        curvature=leaf([1.0, 2.0, 4.0], [1.0, 1.0, 1.0]),
        moved=leaf([0.1, 0.1, 9.0], [0.2, 0.2, 9.0]),
        variance=leaf([0.5, 0.7, 9.0], [0.6, 0.1, 9.0]),
        **dict.fromkeys(("remainder", "rise", "parameters", "inputs"), np.zeros((2, 3))),
    )
    (plain, tighter), measured = inequalities.of_convergence(course, (0, 1, 2), 0.1, 100, 0.5)
    assert plain.measured == tighter.measured == np.mean([1, 0.25, 9, 0.25])
    assert plain.bound == pytest.approx(2 * 3.0 / 10 + (4 * 0.5) ** 2 + 4 * 0.1 * 0.7)
    assert tighter.bound == pytest.approx(2 * 1.0 / 10 + (0.01 + 0.04) / 2 + 4 * 0.1 * 0.7)
    assert measured["step_times_L"] == pytest.approx(0.4)
    assert not plain.vacuous
    (loose, _), _ = inequalities.of_convergence(course, (0, 1, 2), 1e-3, 1, 0.5)
    assert loose.vacuous
    (_, uneven), measured = inequalities.of_convergence(course, (0, 1, 4), 0.1, 100, 0.5)
    assert uneven.measured == pytest.approx((5 + 3 * 0.25) / 4)  # the second stands for three
    _, measured = inequalities.of_convergence(
        course._replace(moved=0 * course.moved), (0, 1, 2), 0.1, 100, 0.0
    )
    assert measured["terms"]["radius"] == measured["tighter_terms"]["radius"] == 0


def test_what_overflows_is_infinite_and_vacuous():
    for bound in (np.nan, np.inf):
        row = inequalities.Row("", bound, 1.0).as_dict()
        assert row["bound"] == row["ratio"] == np.inf and row["vacuous"] == "overflows"
    assert inequalities.Row("", np.inf, 1.0, "for a reason").as_dict()["vacuous"] == "for a reason"
    assert inequalities.Row("", 2.0, 1.0).as_dict()["vacuous"] == ""


class Last(readouts.Readout):
    """A readout of one's own."""

    def evidence(self, response):
        return response.spikes[-1][-1:]


def test_a_readout_without_bounds_is_named():
    one = small.untrained(small.recipe(readout=Last()), small.hyper())[0]
    with pytest.raises(InputError, match="the readout Last has no bounds in the theory"):
        inequalities.describe(one, small.T)


def test_without_a_radius_nothing_moves_and_sam_has_no_rows(mlp):
    packed, labels = small.recordings()
    network = inequalities.describe(mlp, packed.shape[1])
    moment = moments.measure_risk(mlp, packed, labels, 0.0, jax.random.key(0))
    assert moment.moved == 0 and moment.rise < 1e-6 and moment.remainder < 1e-6
    rows = inequalities.of_risk(network, moment, 0.0, 0.1, 1.0)
    assert len(rows) == 2 and not any("SAM" in row.name for row in rows)
    steep = network._replace(steps=500, neuron=network.neuron._replace(slope=1e3))
    rows = inequalities.of_risk(steep, moment, 0.05, 0.1, 1.0)
    assert all(row.as_dict()["bound"] == np.inf for row in rows[:3])
