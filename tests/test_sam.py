"""The SAM link against optax's own, a float64 loop, closed forms, and the traps of others."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from sam_members import RHO, problem

import sast_jax
from sast_jax.sharpness import (
    adaptive_scale_to_norm,
    gap_aware,
    sam,
    scale_to_norm,
    sharpness_aware,
    within,
)


def train(tx, params, loss, xs, ys, **extra):
    @jax.jit
    def step(params, state, x, y):
        def grad_fn(w, *_):
            return jax.grad(loss)(w, x, y)

        updates, state = tx.update(grad_fn(params), state, params, grad_fn=grad_fn, **extra)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for x, y in zip(xs, ys, strict=True):
        params, state = step(params, state, x, y)
    return params


@pytest.mark.parametrize(
    "base",
    [optax.sgd(0.1), optax.sgd(0.1, momentum=0.9), optax.adam(1e-2)],
    ids=["sgd", "momentum", "adam"],
)
def test_equals_optax_opaque_mode_bit_for_bit_over_60_steps(base):
    params, loss, xs, ys = problem()
    adversary = optax.chain(optax.contrib.normalize(), optax.sgd(RHO))
    reference = optax.contrib.sam(base, adversary, sync_period=2, opaque_mode=True)
    theirs = train(reference, params, loss, xs, ys)
    ours = train(optax.chain(sam(RHO), base), params, loss, xs, ys)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize("adaptive", [False, True])
def test_equals_a_plain_float64_loop(adaptive):
    with jax.enable_x64(True):
        params, loss, xs, ys = problem(jnp.float64)
        ours = train(optax.chain(sam(RHO, adaptive=adaptive), optax.sgd(0.1)), params, loss, xs, ys)
        w = {k: np.array(v) for k, v in params.items()}
        for x, y in zip(xs, ys, strict=True):
            g = {k: np.array(v) for k, v in jax.grad(loss)(w, x, y).items()}
            scale = {k: np.abs(v) if adaptive else np.ones_like(v) for k, v in w.items()}
            norm = np.sqrt(sum(((scale[k] * g[k]) ** 2).sum() for k in g))
            moved = {k: w[k] + RHO * scale[k] ** 2 * g[k] / norm for k in w}
            g = jax.grad(loss)(moved, x, y)
            w = {k: w[k] - 0.1 * np.array(g[k]) for k in w}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), ours, w)


def test_closed_form_on_a_quadratic():
    # For L = w'Hw/2 the link returns H (w + rho Hw / |Hw|).
    h = jnp.array([1.0, 4.0])
    w = jnp.array([3.0, -2.0])
    g = h * w
    updates, _ = sam(RHO).update(g, sam(RHO).init(w), w, grad_fn=lambda w: h * w)
    np.testing.assert_allclose(updates, h * (w + RHO * g / jnp.linalg.norm(g)), rtol=1e-6)


@pytest.mark.parametrize("base", [optax.sgd(0.1), optax.adam(1e-2)], ids=["sgd", "adam"])
def test_a_traced_radius_of_zero_is_exactly_the_base_optimizer(base):
    params, loss, xs, ys = problem()

    @jax.jit
    def step(params, state, x, y, rho=None):
        tx = optax.with_extra_args_support(base) if rho is None else optax.chain(sam(rho), base)

        def grad_fn(w):
            return jax.grad(loss)(w, x, y)

        updates, state = tx.update(grad_fn(params), state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state

    def run(rho):
        w, state = params, (base if rho is None else optax.chain(sam(rho), base)).init(params)
        for x, y in zip(xs[:20], ys[:20], strict=True):
            w, state = step(w, state, x, y, rho)
        return w

    jax.tree.map(np.testing.assert_array_equal, run(0.0), run(None))
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), run(1.0), run(None))
    assert max(jax.tree.leaves(moved)) > 1e-3


def test_zero_gradient_stays_zero_with_a_finite_derivative():
    ascent = scale_to_norm(RHO)

    def perturbation(g):
        return ascent.update({"w": g}, ascent.init(g), {"w": g})[0]["w"].sum()

    zero = jnp.zeros(3)
    assert perturbation(zero) == 0
    np.testing.assert_allclose(jax.grad(perturbation)(zero), RHO)  # the norm stands still at 1


def test_half_precision_gradient_gets_the_right_norm():
    g = jnp.full(10_000, 30.0, jnp.float16)  # the square sum overflows float16
    perturbation, _ = scale_to_norm(1.0).update(g, optax.EmptyState(), g)
    assert perturbation.dtype == jnp.float16
    norm = jnp.linalg.norm(perturbation.astype(jnp.float32))
    np.testing.assert_allclose(norm, 1.0, rtol=1e-3)


@jax.numpy_dtype_promotion("standard")  # of its schedule or noise
def test_schedule_counts_updates():
    ascent = scale_to_norm(lambda count: 1.0 + count)
    g, state = jnp.array([3.0, 4.0]), None
    state = ascent.init(g)
    norms = []
    for _ in range(3):
        perturbation, state = ascent.update(g, state)
        norms.append(float(jnp.linalg.norm(perturbation)))
    np.testing.assert_allclose(norms, [1, 2, 3], rtol=1e-6)


def test_vmap_over_radii_equals_each_alone():
    params, loss, xs, ys = problem()

    def run(rho):
        return train(optax.chain(sam(rho), optax.sgd(0.1)), params, loss, xs[:10], ys[:10])

    radii = jnp.array([0.0, 0.1, 0.5])
    together = jax.vmap(run)(radii)
    for i, rho in enumerate(radii):
        jax.tree.map(
            lambda many, one, i=i: np.testing.assert_allclose(many[i], one, rtol=1e-4, atol=1e-5),
            together,
            run(rho),
        )


@pytest.mark.parametrize("masked", ["tree", "function"])
def test_mask_perturbs_only_what_it_marks(masked):
    params = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    mask = {"a": True, "b": False}
    by_value = lambda params: jax.tree.map(lambda w: bool(w.sum() < 4), params)  # noqa: E731
    link = sam(RHO, mask=mask if masked == "tree" else by_value)
    seen = []

    def grad_fn(w):
        seen.append(w)
        return w

    grads = jax.tree.map(lambda w: w + 10, params)  # of which the mask sees nothing
    link.update(grads, link.init(params), params, grad_fn=grad_fn)
    np.testing.assert_allclose(seen[0]["a"], 3 + RHO, rtol=1e-6)  # the whole radius
    np.testing.assert_array_equal(seen[0]["b"], 4.0)


@jax.numpy_dtype_promotion("standard")  # of its schedule or noise
def test_an_ascent_that_adds_something_stays_within_the_mask():
    params = {"a": jnp.ones(3), "b": jnp.ones(2)}
    ascent = within({"a": True, "b": False}, optax.add_noise(1.0, 0.0, 0))
    moved, _ = ascent.update(params, ascent.init(params), params)
    assert (moved["a"] != params["a"]).all()
    np.testing.assert_array_equal(moved["b"], 0.0)


@pytest.mark.parametrize(
    "mask",
    [
        True,
        "a",
        {"a": True},
        {"a": "yes", "b": ""},
        {"a": np.ones(1, bool), "b": True},
        lambda params: True,
        lambda params: {"a": True, "c": True},
    ],
)
def test_what_is_no_mask_is_refused(mask):
    params = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    link = sam(RHO, mask=mask)
    with pytest.raises(ValueError, match="the mask must be a tree of booleans shaped like the par"):
        link.update(params, link.init(params), params, grad_fn=lambda w: w)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda g: (1.0, g), r"its shape at \['a'\] is missing, theirs \(2,\)"),
        (lambda g: {"a": g["a"][0], "b": g["b"]}, r"its shape at \['a'\] is \(\), theirs \(2,\)"),
        (lambda g: g | {"c": g["a"]}, r"its shape at \['c'\] is \(2,\), theirs missing"),
    ],
    ids=["value", "shape", "leaf"],
)
def test_what_is_no_gradient_is_refused(wrong, message):
    w = {"a": jnp.ones(2), "b": jnp.ones(())}
    link = sam(RHO)
    with pytest.raises(TypeError, match=f"what update is given must be a gradient .*{message}"):
        link.update(wrong(w), link.init(w), w, grad_fn=lambda w: w)
    with pytest.raises(TypeError, match=f"what grad_fn returns must be a gradient .*{message}"):
        link.update(w, link.init(w), w, grad_fn=wrong)


def test_composes_with_other_ascents():
    w = jnp.array([1.0, 2.0])
    link = sharpness_aware(optax.chain(optax.ema(0.5, debias=False), scale_to_norm(RHO)))
    state = link.init(w)
    seen = []

    def grad_fn(w):
        seen.append(w)
        return w

    g1, g2 = jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])
    _, state = link.update(g1, state, w, grad_fn=grad_fn)
    link.update(g2, state, w, grad_fn=grad_fn)
    average = 0.5 * (0.5 * g1) + 0.5 * g2
    np.testing.assert_allclose(seen[1], w + RHO * average / jnp.linalg.norm(average), rtol=1e-6)


def test_extra_arguments_reach_the_ascent_and_no_further():
    seen = {}

    def update(updates, state, params=None, *, value=None, **extra):
        seen.update(value=value)
        return updates, state

    init = optax.identity().init
    link = sharpness_aware(optax.GradientTransformationExtraArgs(init, update))
    w = jnp.ones(2)
    link.update(w, link.init(w), w, grad_fn=lambda w: w, value=7, unknown=1)
    assert seen == {"value": 7}


def test_forgotten_arguments_fail_at_once():
    w = jnp.ones(2)
    with pytest.raises(TypeError, match="grad_fn"):
        sam(RHO).update(w, sam(RHO).init(w), w)
    with pytest.raises(ValueError, match="parameters"):
        sam(RHO).update(w, sam(RHO).init(w), grad_fn=lambda w: w)


def test_chains_that_are_wrong_without_an_error_are_told_in_bold():
    w = jnp.array([3.0, 4.0])
    behind = optax.chain(optax.sgd(0.1), sam(RHO))
    updates, _ = behind.update(w, behind.init(w), w, grad_fn=lambda w: w)
    np.testing.assert_allclose(updates, w * (1 - RHO / 5), rtol=1e-6)  # uphill by a whole gradient
    around = optax.MultiSteps(optax.chain(sam(RHO), optax.sgd(0.1)), 2)
    state = around.init(w)
    for size in (1.0, 3.0):
        grad_fn = lambda w, size=size: size * w  # noqa: E731
        updates, state = around.update(grad_fn(w), state, w, grad_fn=grad_fn)
    np.testing.assert_allclose(updates, -0.1 * 3 * w * (1 + RHO / 5), rtol=1e-6)  # 3, not 2
    page = pathlib.Path(sast_jax.__file__).parent / "sharpness" / "sam.md"
    for text in (sam.__doc__, sharpness_aware.__doc__, page.read_text()):
        words = " ".join(text.replace("`", "").split())
        assert (
            "**The link comes first in its chain, before any optimizer, and accumulation goes "
            "behind it.**"
        ) in words
        assert "optax.MultiSteps(optax.chain(sam(0.1), base), 4)" in words
        assert "optax.chain(sam(0.1), optax.MultiSteps(base, 4)) is right" in words


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: optax.masked(tx, {"a": True, "b": False}),
        lambda tx: optax.partition({"x": tx, "y": optax.set_to_zero()}, {"a": "x", "b": "y"}),
        lambda tx: optax.selective_transform(tx, freeze_mask={"a": False, "b": True}),
    ],
    ids=["masked", "partition", "selective_transform"],
)
@pytest.mark.parametrize(
    "link", [sam(RHO), gap_aware(scale_to_norm(RHO), 0.3)], ids=["sam", "gsam"]
)
def test_wrappers_that_take_parameters_out_are_refused(wrap, link):
    w = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    said = r"(?s)optax\.masked, optax\.partition .* optax\.selective_transform do not go around .*"
    said += r"optax\.chain\(sam\(\.\.\.\), optax\.adam\(\.\.\.\), optax\.freeze\(mask\)\)"
    said += r".* sam\(rho, mask=\.\.\.\)"
    with pytest.raises(TypeError, match=said):
        wrap(optax.chain(link, optax.sgd(0.1))).init(w)

    # A state of all parameters, as from a checkpoint that was written without the wrapper.
    tx = wrap(optax.GradientTransformationExtraArgs(lambda params: link.init(w), link.update))
    with pytest.raises(TypeError, match=said):
        tx.update(w, tx.init(w), w, grad_fn=jax.grad(lambda w: jnp.sum(w["a"] * w["b"])))


def test_wrappers_go_behind_the_link_and_around_it_if_they_take_nothing_out():
    w = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}

    def updates(*links):
        tx = optax.chain(*links)
        return tx.update(w, tx.init(w), w, grad_fn=lambda w: w)[0]

    adam = optax.adam(0.1)
    expected = updates(sam(RHO), adam)
    groups = {"x": adam, "y": optax.set_to_zero()}
    for found in (
        updates(sam(RHO), adam, optax.freeze({"a": False, "b": True})),
        updates(sam(RHO), optax.partition(groups, {"a": "x", "b": "y"})),
    ):
        np.testing.assert_array_equal(found["a"], expected["a"])
        np.testing.assert_array_equal(found["b"], 0.0)
    whole = optax.masked(optax.chain(sam(RHO), adam), {"a": True, "b": True})
    jax.tree.map(np.testing.assert_array_equal, updates(whole), expected)


def test_package_exports_the_link():
    assert sast_jax.sam is sam
    assert sast_jax.adaptive_scale_to_norm is adaptive_scale_to_norm
