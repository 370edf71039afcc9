"""The convergence theorem on sums of quadratics, with exact expectations over all minibatches."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from theory_cases import few, many

from sast_jax.theory import convergence

N, D, STEPS = 3, 2, 3  # terms of the sum, dimensions, steps: 9^3 runs are all there can be
SETTINGS = {
    "seed": st.integers(0, 2**32 - 1),
    "fraction": st.floats(0.01, 1),  # of the largest step 1 / L
    "radius": st.floats(0, 2),
    "spread": st.floats(0, 3),
}


class Sum:
    """f = mean of (w - a_i) H_i (w - a_i) / 2, whose minibatches are single terms."""

    def __init__(self, seed, spread):
        rng = np.random.default_rng(seed)
        roots = rng.normal(size=(N, D, D))
        self.H, self.a = roots @ roots.swapaxes(1, 2), spread * rng.normal(size=(N, D))
        self.L = np.linalg.eigvalsh(self.H.mean(axis=0))[-1]
        self.start = rng.normal(size=D)
        best = np.linalg.lstsq(
            self.H.mean(axis=0), np.einsum("nij,nj->i", self.H, self.a) / N, rcond=None
        )[0]
        self.least = self.value(best)

    def value(self, w):
        away = w - self.a
        return 0.5 * np.einsum("ni,nij,nj->", away, self.H, away) / N

    def gradients(self, w):
        return np.einsum("nij,nj->ni", self.H, w - self.a)

    def ascents(self, w, radius):
        for g in self.gradients(w):
            yield w + radius * g / max(np.linalg.norm(g), 1e-300)

    def variance(self, w):
        g = self.gradients(w)
        return ((g - g.mean(axis=0)) ** 2).sum(axis=1).mean()


def hold_descent(seed, fraction, radius, spread):
    """One step, over all pairs of minibatches."""
    f = Sum(seed, spread)
    w, step = f.start, fraction / f.L
    m = f.gradients(w).mean(axis=0)
    for ahead in f.ascents(w, radius):
        g = f.gradients(ahead)
        reached = np.mean([f.value(w - step * one) for one in g])
        moved = ((g.mean(axis=0) - m) ** 2).sum()
        assert moved**0.5 <= f.L * radius + 1e-9
        allowed = convergence.descent(f.value(w), m @ m, moved, step, f.L, f.variance(ahead))
        assert reached <= allowed + 1e-9 * max(1, abs(allowed))


def hold_bound(seed, fraction, radius, spread):
    """A whole run, over all sequences of minibatches: the theorem's expectation, exactly."""
    f = Sum(seed, spread)
    step, here, gradients2, variances = fraction / f.L, [f.start], [], []
    for _ in range(STEPS):
        gradients2.append(np.mean([(f.gradients(w).mean(axis=0) ** 2).sum() for w in here]))
        aheads = [(w, ahead) for w in here for ahead in f.ascents(w, radius)]
        variances.append(max(f.variance(ahead) for _, ahead in aheads))
        here = [w - step * g for w, ahead in aheads for g in f.gradients(ahead)]
    reached, variance = np.mean(gradients2), max(variances)
    rest = step, STEPS, f.L * radius, f.L, variance
    bound = convergence.bound(f.value(f.start) - f.least, *rest).total
    tighter = convergence.bound(f.value(f.start) - np.mean([f.value(w) for w in here]), *rest).total
    assert reached <= tighter * (1 + 1e-9) + 1e-12
    assert tighter <= bound * (1 + 1e-9) + 1e-12


@few
@given(**SETTINGS)
def test_the_descent_lemma_holds(**settings):
    hold_descent(**settings)


@few
@given(**SETTINGS)
def test_the_bound_holds_in_expectation(**settings):
    hold_bound(**settings)


@pytest.mark.slow
@many
@given(**SETTINGS)
def test_the_descent_lemma_holds_a_thousand_times(**settings):
    hold_descent(**settings)


@pytest.mark.slow
@many
@given(**SETTINGS)
def test_the_bound_holds_in_expectation_a_thousand_times(**settings):
    hold_bound(**settings)


def test_descent_is_met_with_equality_by_a_parabola_at_the_largest_step():
    L, w, radius = 4.0, 0.7, 0.2
    step, m, p = 1 / L, L * w, L * (w + radius)
    reached = L / 2 * (w - step * p) ** 2
    allowed = convergence.descent(L / 2 * w**2, m**2, (p - m) ** 2, step, L, 0.0)
    assert reached == pytest.approx(allowed)
    rise = reached - L / 2 * w**2
    for wrong in (0.5, 0.0):  # half of the radius' share, or none of it, is no bound
        less = convergence.descent(L / 2 * w**2, m**2, wrong * (p - m) ** 2, step, L, 0.0)
        assert reached > less
    assert rise < 0


def test_half_of_each_term_of_the_bound_fails_on_a_run_that_is_built_for_it():
    L, T = 2.0, 400
    # With the largest step the iterate jumps to the other side, at the distance of the radius.
    w, radius, gradients2 = 0.3, 0.3, []
    for _ in range(T):
        gradients2.append((L * w) ** 2)
        w = w - (1 / L) * L * (w + radius * np.sign(w))
    terms = convergence.bound(L / 2 * 0.3**2, 1 / L, T, L * radius, L, 0.0)
    assert terms.total / 2 < np.mean(gradients2) <= terms.total
    assert np.mean(gradients2) > terms._replace(radius=terms.radius / 2).total
    # Without radius and with noise +-s: the stationary variance is all of the noise term.
    s, step = 1.0, 1 / L
    w2 = 0.0
    for _ in range(T):
        w2 = (1 - step * L) ** 2 * w2 + step**2 * s**2
    terms = convergence.bound(0.0, step, T, 0.0, L, s**2)
    assert terms.total / 2 < L**2 * w2 <= terms.total * (1 + 1e-9)
    # Without radius and noise: one step of the largest size.
    terms = convergence.bound(L / 2 * 0.3**2, step, 1, 0.0, L, 0.0)
    assert terms.total / 2 < (L * 0.3) ** 2 <= terms.total * (1 + 1e-9)


def test_with_the_schedules_the_bound_falls_with_the_root_of_the_steps():
    def bound(steps):
        step, radius = convergence.vanishing(steps, 0.1, 0.5)
        return np.array(convergence.bound(3.0, step, steps, 2.0 * radius, 2.0, 7.0))

    np.testing.assert_allclose(bound(1600), bound(100) / 4)
    np.testing.assert_allclose(bound(1), convergence.bound(3.0, 0.1, 1, 1.0, 2.0, 7.0))
