"""The proposition against the gradients of single recordings, on random networks in float64."""

import functools

import jax
import numpy as np
import pytest
import theory_cases as cases
from hypothesis import given
from theory_cases import CASES, few, many

from sast_jax.theory import mechanism, spectral

MLPS = CASES.filter(lambda case: case.kind.endswith("MLP"))


@functools.partial(jax.jit, static_argnums=0)
def _gradients(kind, network, frames, labels, *rest):
    def one(network, x, label):
        return cases.loss(kind, network, x[:, None], label[None], *rest)[0]

    return jax.vmap(jax.grad(one, argnums=(0, 1)), in_axes=(None, 1, 0))(network, frames, labels)


def measured(case):
    """Norms of the gradients of each recording, and its frames (B, T, P) that count."""
    with jax.enable_x64(True):
        network, frames = _gradients(
            case.kind, case.network(), case.frames(), case.labels(), *case.scalars(),
            case.reads_current,
        )  # fmt: skip
    squares = [(np.asarray(leaf) ** 2).reshape(cases.B, -1).sum(1) for leaf in
               jax.tree.leaves(network)]  # fmt: skip
    first = np.sqrt(sum(squares[:2]))
    shown = np.moveaxis(cases.before(case, case.frames()), 1, 0).reshape(cases.B, case.length, -1)
    gradients = np.asarray(frames).reshape(cases.B, -1)
    return np.linalg.norm(gradients, axis=1), first, np.sqrt(sum(squares)), shown


def hold_proposition(case):
    inputs, first, parameters, frames = measured(case)
    norm = spectral.matrix_norm(case.network()[0].kernel).upper
    conditioning = mechanism.conditioning(frames)
    for gradient in (first, parameters):
        assert (inputs <= mechanism.input_bound(gradient, conditioning, norm) + 1e-9).all()


@few
@given(MLPS)
def test_the_proposition_holds(case):
    hold_proposition(case)


@pytest.mark.slow
@many
@given(MLPS)
def test_the_proposition_holds_a_thousand_times(case):
    hold_proposition(case)


def test_one_step_reaches_it_and_the_largest_singular_value_would_be_too_small():
    # T = 1, a square orthogonal W: only |(x, 1)| stands between the two gradients.
    x, delta = np.array([[[3.0, 4.0]]]), np.array([0.6, -0.8])
    parameters = np.linalg.norm(np.append(x, 1)) * np.linalg.norm(delta)
    reached = np.linalg.norm(delta)
    bound = mechanism.input_bound(np.array([parameters]), mechanism.conditioning(x), 1.0)[0]
    assert bound / 2 < reached <= bound * (1 + 1e-12)
    # Two steps whose gradient lies where the frames are nearly equal.
    x = np.array([[[1.0, 0.0], [1.0, 0.1]]])
    left, values, _ = np.linalg.svd(np.append(x[0], [[1.0], [1.0]], axis=1))
    delta = left[:, -1:] @ np.ones((1, 1))
    parameters = np.linalg.norm(np.append(x[0], [[1.0], [1.0]], axis=1).T @ delta)
    bound = mechanism.input_bound(np.array([parameters]), mechanism.conditioning(x), 1.0)[0]
    assert np.linalg.norm(delta) <= bound * (1 + 1e-9)
    assert np.linalg.norm(delta) > parameters / values[0]  # the wrong end of the spectrum


def test_equal_frames_or_too_many_of_them_say_nothing():
    x = np.zeros((1, 2, 5))
    assert np.isinf(mechanism.input_bound(np.ones(1), mechanism.conditioning(x), 1.0))
    assert (mechanism.conditioning(np.ones((3, 7, 5))) == 0).all()
