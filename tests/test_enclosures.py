"""Intervals and the certificate of the swap, against the networks that they speak of."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import theory_cases as cases
from hypothesis import given
from theory_cases import CASES, FEWER, ROUNDING, Case, few, many

from sast_jax.snn import neurons, readouts, spikes
from sast_jax.snn.connections import Full
from sast_jax.theory import certificates, enclosures, lipschitz
from sast_jax.theory.enclosures import Interval


def traced_neuron(kind, scalars):
    reset, family, _ = cases.KINDS[kind]
    return neurons.Smooth(reset, family, *scalars)


@functools.partial(jax.jit, static_argnums=0)
def _enclose(kind, network, factors, low, high, scalars):
    neuron = traced_neuron(kind, scalars)
    first = enclosures.currents(network[0], Interval(low, high))
    return enclosures.soft_network(neuron, network, factors, first)


def hold_enclosures(case):
    """All potentials of recordings in the hull of two lie in the intervals of the hull."""
    one, other = case.frames(), case.frames(1)
    mix = np.random.default_rng(case.seed).random(one.shape)
    middle = mix * one + (1 - mix) * other
    low, high = np.minimum(one, other), np.maximum(one, other)
    with jax.enable_x64(True):
        found = _enclose(case.kind, case.network(), case.factors(), low, high, case.scalars()[0])
        run = cases.run_of(
            case.kind, case.network(), middle, case.labels(), *case.scalars(), case.reads_current
        )
    for interval, u, layer in zip(found, run.potentials, case.layers(), strict=True):
        low, high, u = (cases.before(case, x) for x in (*interval, u))
        assert (low - ROUNDING <= u).all() and (u <= high + ROUNDING).all()
        bound = lipschitz.state_bound(case.neuron, layer.current, case.length)
        assert max(high.max(), -low.min()) <= bound + ROUNDING  # so that it is never worse


@functools.partial(jax.jit, static_argnums=(0, 6))
def _certify(kind, network, frames, scalars, slack, reads, enclose):
    class Either(readouts.Readout):
        def evidence(self, response):
            return jnp.where(reads, response.current_TxBxK, response.spikes[-1])

    readout = Either(cases.SCALE)
    neuron = traced_neuron(kind, scalars)
    return certificates.certify(neuron, network, readout, frames, slack, enclose)


def hold_certificate(case):
    """A hard network whose currents are off by at most the slack agrees where it was promised."""
    case = case._replace(length=cases.T)
    slack = 0.05 * case.threshold * np.random.default_rng(case.seed).random()
    soft, hard = cases.run(case), off(case, slack)
    for enclose in (certificates.by_margins, certificates.by_signs):
        with jax.enable_x64(True):
            found = _certify(
                case.kind, case.network(), case.frames(), case.scalars()[0], slack + 1e-9,
                case.reads_current, enclose,
            )  # fmt: skip
        agrees = np.asarray(found.agrees_B)
        same = hard.scores.argmax(axis=-1) == soft.scores.argmax(axis=-1)
        assert same[agrees].all()
        for layer, (s, u) in enumerate(zip(hard.spikes, soft.potentials, strict=True)):
            changed = (s > 0.5) != (u > case.threshold)
            share = changed.mean(axis=(0, *range(2, changed.ndim)))
            assert (share <= found.changeable_BxL[:, layer] + ROUNDING).all()


def off(case, slack):
    """The hard network whose currents are off by random amounts up to the slack."""
    scalars, length = case.scalars()
    with jax.enable_x64(True):
        found = _off(
            case.kind, case.network(), case.frames(), scalars, length, case.reads_current, slack,
            case.seed,
        )  # fmt: skip
    return jax.tree.map(np.asarray, found)


@functools.partial(jax.jit, static_argnums=0)
def _off(kind, network, frames, scalars, length, reads_current, slack, seed):
    (reset, family, _), (_, decay, threshold) = cases.KINDS[kind], scalars
    cell, sent = neurons.LIF(threshold, family, reset).hard(decay), frames
    run, key = cases.Run([], [], [], None), jax.random.key(seed)
    for layer, connection in enumerate(network):
        current = connection.sums(sent)
        drawn = jax.random.uniform(jax.random.fold_in(key, layer), current.shape, float, -1, 1)
        current = current + slack * drawn
        _, sent = neurons.integrate(cell, current)
        run.spikes.append(sent)
    counted = jnp.where(reads_current, current, sent)
    return run._replace(scores=cases.SCALE * counted.mean(axis=0))


@few
@given(FEWER)
def test_intervals_hold_every_potential(case):
    hold_enclosures(case)


@few
@given(FEWER)
def test_what_is_certified_agrees(case):
    hold_certificate(case)


@pytest.mark.slow
@many
@given(CASES)
def test_intervals_hold_a_thousand_times(case):
    hold_enclosures(case)


@pytest.mark.slow
@many
@given(CASES)
def test_what_is_certified_agrees_a_thousand_times(case):
    hold_certificate(case)


CASE = Case("zero sigmoid MLP", 7, 4.0, 0.9, 1.0, 2.0, cases.T, False)


def certified(case, slack, enclose):
    with jax.enable_x64(True):
        return _certify(
            case.kind, case.network(), case.frames(), case.scalars()[0], slack, False, enclose
        )


def test_without_slack_signs_know_the_hard_network():
    agreed, promised = 0, 0
    for seed in range(20):
        case = CASE._replace(seed=seed)
        soft, hard = cases.run(case), cases.run(case, hard=True)
        found = certified(case, 1e-12, certificates.by_signs)
        scores = np.sort(hard.scores, axis=-1)
        clear = scores[:, -1] > scores[:, -2]  # a tie is never certified
        same = (hard.scores.argmax(-1) == soft.scores.argmax(-1)) & clear
        np.testing.assert_array_equal(found.agrees_B, same)
        agreed, promised = agreed + same.sum(), promised + int(found.agrees_B.sum())
    assert 0 < promised == agreed < 60


def test_margins_promise_less_and_slack_promises_less():
    for seed in range(5):
        case = CASE._replace(seed=seed)
        signs = certified(case, 1e-12, certificates.by_signs)
        margins = certified(case, 1e-12, certificates.by_margins)
        loose = certified(case, 0.3, certificates.by_signs)
        for less in (margins, loose):
            assert (np.asarray(less.agrees_B) <= np.asarray(signs.agrees_B)).all()
            assert (less.changeable_BxL >= signs.changeable_BxL).all()
    assert (margins.changeable_BxL[:, 0] == signs.changeable_BxL[:, 0]).all()  # frames are exact


def test_a_steep_smooth_network_far_from_its_threshold_is_certified_by_margins():
    network = [Full(jnp.array([[3.0, -3.0]]), jnp.zeros(2))]
    neuron = neurons.Smooth(neurons.BySubtraction(), spikes.sigmoid, 50.0, 0.5, 1.0)
    frames = jnp.ones((4, 1, 1, 1, 1))
    readout = readouts.MeanSpikes(1.0)
    found = certificates.certify(neuron, network, readout, frames, 0.1, certificates.by_margins)
    assert found.agrees_B.all() and not found.changeable_BxL.any()
    found = certificates.certify(neuron, network, readout, frames, 2.5, certificates.by_margins)
    assert not found.agrees_B.any() and found.changeable_BxL.any()


def test_a_step_of_the_derivation_left_out_fails(monkeypatch):
    """Without the spread of what neurons before may do, a promise is broken."""

    def wrong(connection, current, soft, hard):
        return Interval(current, current)

    broken = 0
    for seed in range(20):
        case = CASE._replace(seed=seed)
        soft, hard = cases.run(case), cases.run(case, hard=True)
        same = hard.scores.argmax(-1) == soft.scores.argmax(-1)
        broken += (~same[np.asarray(certified(case, 1e-12, wrong).agrees_B)]).sum()
    assert broken


def test_intervals_of_a_point_are_the_run_itself():
    case = CASE
    with jax.enable_x64(True):
        frames = case.frames()
        found = _enclose(
            case.kind, case.network(), case.factors(), frames, frames, case.scalars()[0]
        )
    for interval, u in zip(found, cases.run(case).potentials, strict=True):
        np.testing.assert_allclose(interval.low, u, atol=1e-12)
        np.testing.assert_allclose(interval.high, u, atol=1e-12)
