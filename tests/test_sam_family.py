"""Every member of the family against its paper's recursion in NumPy, and optax's own checklist."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sam_members import CHAINS, FAMILY, MEMBERS, RATE, RHO, problem

from sast_jax.sharpness import (
    adaptive_scale_to_norm,
    bounded_scale_to_norm,
    eval_params,
    friendly_sam,
    gap_aware,
    momentum_sam,
    perturb_ahead,
    ramp,
    sam,
    scale_to_norm,
    shared_momentum_sam,
    vasso,
)

DECAY, STEPS = 0.2, 20
ADAM = optax.adam(RATE)


def size(tree):
    return np.sqrt(sum((leaf**2).sum() for leaf in tree.values()))


def combine(a, tree_a, b, tree_b):
    return {key: a * tree_a[key] + b * tree_b[key] for key in tree_a}


def times(a, tree):
    return {key: a * leaf for key, leaf in tree.items()}


def onto_sphere(tree):
    return times(RHO / size(tree), tree) if size(tree) else tree


def asam_perturbation(w, g, memory):
    norm = size({key: np.abs(w[key]) * g[key] for key in g})
    return {key: RHO * np.abs(w[key]) ** 2 * g[key] / norm for key in g}


def vasso_perturbation(w, g, memory):
    memory["d"] = combine(0.7, memory.get("d", times(0, g)), 0.3, g)
    return onto_sphere(memory["d"])


def friendly_perturbation(w, g, memory):
    memory["m"] = combine(0.7, memory.get("m", times(0, g)), 0.3, g)
    return onto_sphere(combine(1, g, -0.5, memory["m"]))


PERTURBATIONS = {
    "sam": lambda w, g, memory: onto_sphere(g),
    "asam": asam_perturbation,
    "unnormalised": lambda w, g, memory: times(RHO, g),
    "bounded": lambda w, g, memory: times(min(RHO / size(g), 0.1), g),
    "vasso": vasso_perturbation,
    "friendly": friendly_perturbation,
    "gsam": lambda w, g, memory: onto_sphere(g),
}


def two_gradients(name, w, gradient):
    """The paper's recursion with gradient descent and weight decay, in float64."""
    memory = {}
    for step in range(STEPS):
        g = gradient(step, w)
        descent = gradient(step, combine(1, w, 1, PERTURBATIONS[name](w, g, memory)))
        if name == "gsam":
            unit = times(1 / size(descent), descent)
            along = sum((g[key] * unit[key]).sum() for key in g)
            descent = combine(1, descent, -0.3, combine(1, g, -along, unit))
        w = combine(1 - RATE * DECAY, w, -RATE, descent)
    return w


def one_gradient(name, w, gradient):
    """Algorithm 1 of Momentum-SAM with weight decay, and the same with the last gradient."""
    v = perturbation = times(0, w)
    for step in range(STEPS):
        g = gradient(step, combine(1, w, 1, perturbation))
        w = combine(1 - RATE * DECAY, w, -RATE, g)
        v = g if name == "stale" else combine(0.8, v, 1, g)
        perturbation = times(1 if name == "stale" else -1, onto_sphere(v))
    return w


@pytest.mark.parametrize("name", CHAINS)
def test_equals_the_recursion_of_its_paper(name):
    with jax.enable_x64(True):
        params, loss, xs, ys = problem(jnp.float64)
        tx = MEMBERS[name](optax.chain(optax.add_decayed_weights(DECAY), optax.sgd(RATE)))
        w, state = params, tx.init(params)
        for x, y in zip(xs[:STEPS], ys[:STEPS], strict=True):
            grad_fn = jax.jit(jax.grad(lambda w, x=x, y=y: loss(w, x, y)))
            updates, state = tx.update(grad_fn(w), state, w, grad_fn=grad_fn)
            w = optax.apply_updates(w, updates)
        if name not in FAMILY:
            w = eval_params(state, w)

        def gradient(step, w):
            found = jax.grad(loss)({k: jnp.asarray(v) for k, v in w.items()}, xs[step], ys[step])
            return {k: np.asarray(v) for k, v in found.items()}

        start = {k: np.asarray(v) for k, v in params.items()}
        expected = (two_gradients if name in FAMILY else one_gradient)(name, start, gradient)
        other = two_gradients("sam" if name == "unnormalised" else "unnormalised", start, gradient)
    for key in w:
        np.testing.assert_allclose(w[key], expected[key], rtol=1e-10, atol=1e-12)
    assert size(combine(1, expected, -1, other)) > 1e-6


def rosenbrock(w):
    return (1 - w["x"]) ** 2 + (w["y"] - w["x"] ** 2) ** 2


START = {"x": jnp.float32(-0.5), "y": jnp.float32(0.8)}


def close(a, b):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), a, b)


def descend(tx, w, loss, steps, **extra):
    def step(carry, _):
        w, state = carry
        updates, state = tx.update(jax.grad(loss)(w), state, w, grad_fn=jax.grad(loss), **extra)
        return (optax.apply_updates(w, updates), state), None

    return jax.lax.scan(step, (w, tx.init(w)), None, steps)[0]


@pytest.mark.parametrize("name", CHAINS)
class TestEveryMember:
    """What optax asks of every contributed optimizer."""

    def member(self, name, rho=RHO):
        return CHAINS[name](rho)

    def test_converges_inside_a_scan(self, name):
        quadratic = lambda w: 0.5 * (w["x"] - 1) ** 2 + 0.5 * (w["y"] + 2) ** 2  # noqa: E731
        w, state = descend(self.member(name, 1e-3), START, quadratic, 200)
        w = w if name in FAMILY else eval_params(state, w)
        np.testing.assert_allclose([w["x"], w["y"]], [1, -2], atol=5e-3)

    def test_state_keeps_its_structure_shapes_and_dtypes(self, name):
        tx = self.member(name)
        state = tx.init(START)
        _, after = jax.eval_shape(
            lambda w, s: tx.update(w, s, w, grad_fn=lambda w: w), START, state
        )
        assert jax.tree.structure(after) == jax.tree.structure(state)
        for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)

    def test_unknown_extra_arguments_are_ignored(self, name):
        plain = descend(self.member(name), START, rosenbrock, 3)
        extra = descend(self.member(name), START, rosenbrock, 3, value=1.0, unknown=2)
        jax.tree.map(np.testing.assert_array_equal, plain, extra)

    def test_a_schedule_equals_its_constant(self, name):
        constant, _ = descend(self.member(name), START, rosenbrock, 5)
        scheduled, _ = descend(self.member(name, lambda count: RHO), START, rosenbrock, 5)
        jax.tree.map(np.testing.assert_array_equal, constant, scheduled)

    def test_radius_can_be_injected(self, name):
        injected = optax.inject_hyperparams(CHAINS[name])(rho=RHO)
        expected, _ = descend(self.member(name), START, rosenbrock, 5)
        found, state = descend(injected, START, rosenbrock, 5)
        np.testing.assert_allclose(state.hyperparams["rho"], RHO)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)

    def test_a_schedule_is_another_radius_at_each_step(self, name):
        radii = jnp.array([0.05, 0.0, 0.2, 0.1])
        scheduled, _ = descend(self.member(name, lambda count: radii[count]), START, rosenbrock, 4)
        w, state = START, self.member(name).init(START)
        for rho in radii:
            g = jax.grad(rosenbrock)
            updates, state = self.member(name, rho).update(g(w), state, w, grad_fn=g)
            w = optax.apply_updates(w, updates)
        close(scheduled, w)

    @jax.numpy_dtype_promotion("standard")  # of optax and of the schedule
    def test_a_radius_can_be_injected_changed_and_scheduled(self, name):
        inject, w = optax.inject_hyperparams(CHAINS[name]), START
        tx = inject(rho=RHO)
        state, own = tx.init(w), self.member(name).init(w)
        for rho in (RHO, 0.2):
            state.hyperparams["rho"] = jnp.asarray(rho)
            g = jax.grad(rosenbrock)
            expected, own = self.member(name, rho).update(g(w), own, w, grad_fn=g)
            found, state = tx.update(g(w), state, w, grad_fn=g)
            close(found, expected)
            w = optax.apply_updates(w, found)

        def radius(count):
            return 0.1 * (count + 1)

        injected, state = descend(inject(rho=radius), START, rosenbrock, 3)
        np.testing.assert_allclose(state.hyperparams["rho"], 0.3, rtol=1e-6)
        close(injected, descend(self.member(name, radius), START, rosenbrock, 3)[0])

    def test_jit_and_vmap_over_radii_and_starts(self, name):
        def end(rho, w):
            return descend(CHAINS[name](rho), w, rosenbrock, 5)[0]

        radii = jnp.array([0.01, 0.1])
        starts = {key: w + jnp.arange(3.0) for key, w in START.items()}
        together = jax.vmap(jax.vmap(end, (None, 0)), (0, None))(radii, starts)
        alone = jax.jit(end)
        for i, rho in enumerate(radii):
            for j in range(3):
                one = alone(rho, {key: w[j] for key, w in starts.items()})
                close({key: leaf[i, j] for key, leaf in together.items()}, one)

    @jax.numpy_dtype_promotion("standard")  # which mixed precision is
    def test_masters_stay_float32_under_bfloat16_gradients(self, name):
        tx, seen = self.member(name), []

        def rounded(w):
            seen.append(w)
            return jax.tree.map(lambda x: x.astype(jnp.bfloat16), jax.grad(rosenbrock)(w))

        def step(carry, _):  # a state that changes its types would not go round
            w, state = carry
            updates, state = tx.update(rounded(w), state, w, grad_fn=rounded)
            return (optax.apply_updates(w, updates), state), None

        (w, _), _ = jax.lax.scan(step, (START, tx.init(START)), None, 5)
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((w, seen)))
        exact, _ = descend(tx, START, rosenbrock, 5)
        for key in w:
            assert abs(w[key] - exact[key]) < 0.02 < 0.2 * abs(w[key] - START[key])

    def test_integer_parameters_stay_where_they_are(self, name):
        w = {"a": jnp.array([3.0, 4.0]), "steps": jnp.array(7)}

        def grad_fn(w):
            return jax.grad(lambda w: (w["a"] ** 2).sum() * w["steps"], allow_int=True)(w)

        def real(w):
            return {"a": jax.grad(lambda a: 7 * (a**2).sum())(w["a"])}

        base = optax.sgd(RATE) if name not in FAMILY else optax.identity()
        tx = MEMBERS[name](base)
        state, only = tx.init(w), {"a": w["a"]}
        own = tx.init(only)
        for _ in range(2):
            updates, state = tx.update(grad_fn(w), state, w, grad_fn=grad_fn)
            expected, own = tx.update(real(only), own, only, grad_fn=real)
            np.testing.assert_array_equal(updates["a"], expected["a"])
            assert jax.tree.structure(updates) == jax.tree.structure(w)
        if name not in FAMILY:
            assert optax.apply_updates(w, updates)["steps"] == 7
            assert eval_params(state, w)["steps"] == 7

    def test_accumulation_in_the_base_waits_for_every_micro_step(self, name):
        tx = MEMBERS[name](optax.MultiSteps(optax.sgd(RATE), 2))
        w, state = START, tx.init(START)
        for micro in range(2):
            updates, state = tx.update(START, state, w, grad_fn=lambda w: w)
            w = optax.apply_updates(w, updates)
            params = w if name in FAMILY else eval_params(state, w)
            assert (size(combine(1, params, -1, START)) < 1e-6) == (micro == 0)

    def test_composes_with_clipping_decay_and_apply_if_finite(self, name):
        base = optax.chain(optax.clip_by_global_norm(0.1), optax.add_decayed_weights(0.1))
        tx = optax.apply_if_finite(MEMBERS[name](optax.chain(base, optax.sgd(RATE))), 3)
        w, state = descend(tx, START, rosenbrock, 3)
        w = w if name in FAMILY else eval_params(state, w)
        step = RATE * (0.1 + 0.1 * 1.0)  # clipped gradient, and decay of weights below 1
        assert 0 < size(combine(1, w, -1, START)) <= 3 * step
        bad = jax.tree.map(lambda x: x * jnp.nan, START)
        updates, _ = tx.update(bad, tx.init(START), START, grad_fn=lambda w: bad)
        assert all(u == 0 for u in jax.tree.leaves(updates))

    @pytest.mark.parametrize("base", [optax.sgd(RATE), ADAM], ids=["sgd", "adam"])
    def test_a_radius_of_zero_is_the_base_optimizer_under_jit(self, name, base):
        params, loss, xs, ys = problem()

        def run(make, rho):
            @jax.jit
            def step(w, state, rho, x, y):
                def grad_fn(w):
                    return jax.grad(loss)(w, x, y)

                tx = optax.with_extra_args_support(make(rho))
                updates, state = tx.update(grad_fn(w), state, w, grad_fn=grad_fn)
                return optax.apply_updates(w, updates), state

            w, state = params, make(rho).init(params)
            for x, y in zip(xs[:10], ys[:10], strict=True):
                w, state = step(w, state, rho, x, y)
            return w

        def member(rho):
            return MEMBERS[name](base, rho)

        alone = run(lambda rho: base, 0.0)
        # Exactly, but for products that the compiler joins to others.
        exact = name in FAMILY and (name, base) != ("gsam", ADAM)
        atol = 0 if exact else 1e-6
        found = run(member, 0.0)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 0, atol), found, alone)
        assert size(combine(1, run(member, RHO), -1, alone)) > 1e-6

    def test_zero_gradient_and_empty_tree(self, name):
        tx = self.member(name)
        zero = jax.tree.map(jnp.zeros_like, START)
        updates, _ = tx.update(zero, tx.init(START), START, grad_fn=lambda w: zero)
        assert all(u == 0 for u in jax.tree.leaves(updates))
        updates, _ = tx.update({}, tx.init({}), {}, grad_fn=lambda w: {})
        assert updates == {}


def test_accumulation_behind_the_link_is_the_mean_of_sam_gradients():
    params, loss, xs, ys = problem()
    tx = optax.chain(sam(RHO), optax.MultiSteps(optax.sgd(RATE), 4))
    w, state = params, tx.init(params)
    each = []
    for x, y in zip(xs[:4], ys[:4], strict=True):
        grad_fn = jax.grad(lambda w, x=x, y=y: loss(w, x, y))
        updates, state = tx.update(grad_fn(w), state, w, grad_fn=grad_fn)
        w = optax.apply_updates(w, updates)
        each.append(sam(RHO).update(grad_fn(params), sam(RHO).init(w), params, grad_fn=grad_fn)[0])
    expected = jax.tree.map(lambda p, *g: p - RATE * sum(g) / 4, params, *each)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), w, expected)


@pytest.mark.parametrize(
    ("start", "warmup", "expected"),
    [
        (0, 0, [2, 2, 2, 2, 2, 2]),
        (0, 4, [0.5, 1, 1.5, 2, 2, 2]),
        (3, 0, [0, 0, 0, 2, 2, 2]),
        (2, 4, [0, 0, 0.5, 1, 1.5, 2]),
    ],
)
def test_ramp(start, warmup, expected):
    radius = ramp(2.0, 6, start=start, warmup=warmup)
    np.testing.assert_allclose([radius(count) for count in range(6)], expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": 6}, "start is 6; it must be a number of steps, 0 to 5"),
        ({"start": -1}, "start is -1"),
        ({"start": 0.5}, "start is 0.5; it must be a number of steps"),
        ({"start": 3, "warmup": 4}, "warmup is 4; it must be from 0 to 3 steps"),
        ({"rho": -0.1}, "rho is -0.1; it must be finite and not negative"),
        ({"total_steps": 0}, "total_steps is 0; it must be a number of steps from 1"),
    ],
)
def test_a_ramp_past_the_end_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ramp(**({"rho": 0.1, "total_steps": 6} | arguments))


def test_a_ramp_may_be_traced():
    for name, value in (("start", 2), ("total_steps", 6), ("warmup", 3), ("rho", 0.4)):
        given = {"rho": 2.0, "total_steps": 6, "start": 1, "warmup": 2}

        def radii(value, name=name, given=given):
            return ramp(**given | {name: value})(jnp.arange(6))

        np.testing.assert_allclose(jax.jit(radii)(value), radii(value), rtol=1e-6)


def test_the_optimizer_ahead_sees_parameters_without_the_perturbation_and_extra_arguments():
    seen = []

    def update(updates, state, params, *, value, **_):
        seen.append((np.asarray(params), value))
        return updates, state

    link = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    tx = perturb_ahead(optax.chain(link, optax.sgd(RATE)), optax.chain(scale_to_norm(RHO), link))
    w = jnp.array([0.0, 4.0])
    updates, state = tx.update(jnp.ones(2), tx.init(w), w, value=5)
    at = optax.apply_updates(w, updates)
    tx.update(jnp.ones(2), state, at, value=6)
    assert [value for _, value in seen] == [5, 5, 6, 6]
    plain = eval_params(state, at)
    for (found, _), expected in zip(seen, (w, w, plain, plain), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert (plain != at).all()


def test_complex_parameters_are_refused():
    w = jnp.array([1 + 1j])
    with pytest.raises(TypeError, match="real parameters"):
        sam(RHO).init(w)
    with pytest.raises(TypeError, match="real parameters"):
        CHAINS["stale"]().init(w)
    with pytest.raises(TypeError, match="real parameters"):
        CHAINS["shared_momentum"]().init(w)


def test_eval_params_says_what_it_misses():
    w = jnp.ones(2)
    with pytest.raises(ValueError, match="holds 0 optimizers of perturb_ahead"):
        eval_params(optax.adam(0.1).init(w), w)
    with pytest.raises(ValueError, match="holds 2 optimizers"):
        eval_params((CHAINS["stale"]().init(w), CHAINS["stale"]().init(w)), w)


@pytest.mark.parametrize("base", [optax.adam(0.1), optax.sgd(0.1, 0.9)], ids=["adam", "sgd"])
def test_the_optimizers_shared_momentum_is_the_same_without_copies(base):
    params, loss, xs, ys = problem()
    shared, apart = shared_momentum_sam(base, RHO), momentum_sam(base, RHO, 0.9)
    ends = []
    for tx in (shared, apart):
        w, state = params, tx.init(params)
        for x, y in zip(xs[:20], ys[:20], strict=True):
            updates, state = tx.update(jax.grad(loss)(w, x, y), state, w)
            w = optax.apply_updates(w, updates)
        ends.append((w, eval_params(state, w)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-5), *ends)
    at, plain = ends[0]
    assert size(combine(1, at, -1, plain)) == pytest.approx(RHO, rel=1e-4)
    numbers = [
        sum(x.size for x in jax.tree.leaves(tx.init(params))) for tx in (shared, apart, base)
    ]
    assert numbers[0] == numbers[2] + 2  # a scale and a count of steps
    assert numbers[1] == numbers[2] + 2 * sum(x.size for x in jax.tree.leaves(params))


@pytest.mark.parametrize("name", ["momentum_sam", "shared_momentum", "stale"])
def test_eval_params_takes_stacked_states(name):
    tx, w_R = CHAINS[name](), {"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(2)}
    state_R = jax.vmap(tx.init)(w_R)
    updates_R, state_R = jax.vmap(tx.update)(w_R, state_R, w_R)
    w_R = optax.apply_updates(w_R, updates_R)
    found, each = eval_params(state_R, w_R), jax.vmap(eval_params)(state_R, w_R)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-6), found, each)
    assert (found["b"] != w_R["b"]).all()


@pytest.mark.parametrize(
    "base, said",
    [
        (optax.sgd(0.1), "keeps 0; use momentum_sam"),
        (optax.chain(ADAM, ADAM), "keeps 2; use momentum_sam"),
        (optax.sm3(0.1), "is not of all parameters"),
        (optax.masked(ADAM, {"x": True, "y": False}), "is not of all parameters"),
    ],
    ids=["none", "two", "sums of squares", "masked"],
)
def test_an_optimizer_without_one_momentum_shares_none(base, said):
    with pytest.raises(ValueError, match=said):
        shared_momentum_sam(base, RHO).init(START)


@jax.numpy_dtype_promotion("standard")  # which mixed precision is
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("base", [optax.adam(0.1, mu_dtype=jnp.bfloat16), optax.sgd(0.1, 0.9)])
def test_a_shared_momentum_keeps_the_type_of_parameters(base, dtype):
    with jax.enable_x64(dtype == jnp.float64):
        w, tx = jnp.array([3.0, 4.0], dtype), shared_momentum_sam(base, RHO)

        def step(carry, _):
            w, state = carry
            updates, state = tx.update(w, state, w)
            return (optax.apply_updates(w, updates), state), None

        (end, state), _ = jax.lax.scan(step, (w, tx.init(w)), None, 3)
        assert end.dtype == eval_params(state, end).dtype == dtype


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: optax.chain(optax.clip_by_global_norm(1.0), tx),
        lambda tx: optax.MultiSteps(tx, 2),
        lambda tx: optax.apply_if_finite(tx, 3),
        lambda tx: optax.inject_hyperparams(lambda rho: CHAINS["stale"](rho))(rho=RHO),
    ],
    ids=["chain", "MultiSteps", "apply_if_finite", "inject_hyperparams"],
)
def test_eval_params_finds_the_perturbation_inside(wrap):
    w = {"perturbation": jnp.array([0.0, 4.0])}
    tx = wrap(CHAINS["stale"]())
    state, at = tx.init(w), w
    for _ in range(2):
        updates, state = tx.update(jax.tree.map(jnp.ones_like, w), state, at)
        at = optax.apply_updates(at, updates)
    moved = eval_params(state, at)["perturbation"] - at["perturbation"]
    np.testing.assert_allclose(moved, -RHO / np.sqrt(2) * np.ones(2), rtol=1e-4)


@pytest.mark.parametrize(
    "bad_radius, wanted",
    [
        *((number, "") for number in (-0.1, float("nan"), float("inf"), np.float32(-1))),
        (jnp.array(-0.1), ""),
        *((other, "one number, ") for other in (None, "0.05", 1j, np.ones(2))),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "make", [sam, vasso, lambda rho: momentum_sam(optax.sgd(RATE), rho)], ids=["sam", "vasso", "m"]
)
def test_what_cannot_be_a_radius_is_refused(make, bad_radius, wanted):
    said = f"radius is .*; it must be {wanted}finite and not negative"
    with pytest.raises(ValueError, match=said):
        make(bad_radius)


def test_other_numbers_out_of_range_are_refused():
    for make, name in (
        (lambda: vasso(RHO, 0.0), "theta"),
        (lambda: friendly_sam(RHO, 1.0), "decay"),
        (lambda: friendly_sam(RHO, 0.0), "decay"),  # which would leave nothing
        (lambda: friendly_sam(RHO, 0.6, float("nan")), "weight"),
        (lambda: bounded_scale_to_norm(RHO, -1.0), "bound"),
        (lambda: bounded_scale_to_norm(RHO, float("nan")), "bound"),
        (lambda: momentum_sam(optax.sgd(RATE), RHO, 1.5), "momentum"),
        (lambda: gap_aware(scale_to_norm(RHO), float("nan")), "alpha"),
        (lambda: gap_aware(scale_to_norm(RHO), -1.0), "alpha"),
        (lambda: gap_aware(scale_to_norm(RHO), None), "alpha"),
    ):
        with pytest.raises(ValueError, match=f"{name} is"):
            make()


def test_gsam_subtracts_nothing_from_a_gradient_of_zero():
    w = jnp.array([3.0, 4.0])
    link = gap_aware(scale_to_norm(RHO), 0.3)
    updates, _ = link.update(w, link.init(w), w, grad_fn=jnp.zeros_like)
    np.testing.assert_array_equal(updates, 0)


def test_finite_checks_around_chain_and_base_skip_either_bad_gradient():
    w = jnp.array([3.0, 4.0])
    base = optax.apply_if_finite(optax.sgd(RATE), 3)
    tx = optax.apply_if_finite(optax.chain(vasso(RHO), base), 3)
    state = tx.init(w)
    updates, state = tx.update(w * jnp.nan, state, w, grad_fn=lambda w: w)
    np.testing.assert_array_equal(updates, 0)
    updates, state = tx.update(w, state, w, grad_fn=lambda w: w * jnp.nan)
    np.testing.assert_array_equal(updates, 0)
    updates, state = tx.update(w, state, w, grad_fn=lambda w: w)
    np.testing.assert_allclose(updates, -RATE * w * (1 + RHO / 5), rtol=1e-6)


def test_a_grad_fn_that_returns_something_else_is_named():
    w = {"a": jnp.ones(2)}
    for wrong in (lambda w: (w, 0.0), lambda w: {"a": jnp.ones(3)}):
        with pytest.raises(TypeError, match="what grad_fn returns must be a gradient shaped"):
            sam(RHO).update(w, sam(RHO).init(w), w, grad_fn=wrong)


@jax.tree_util.register_pytree_node_class
class Unequal:
    """Parameters in a container that equals nothing but itself."""

    def __init__(self, w):
        self.w = w

    def tree_flatten(self):
        return (self.w,), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


def test_containers_need_no_equality():
    w = Unequal(jnp.array([3.0, 4.0]))
    updates, _ = sam(RHO).update(w, sam(RHO).init(w), w, grad_fn=lambda w: w)
    np.testing.assert_allclose(updates.w, w.w * (1 + RHO / 5), rtol=1e-6)
    with pytest.raises(TypeError, match="what grad_fn returns must"):
        sam(RHO).update(w, sam(RHO).init(w), w, grad_fn=lambda w: w.w)


def test_numbers_are_parameters_too():
    for link in (sam(RHO), sam(RHO, adaptive=True)):
        w = {"a": 3.0}
        updates, _ = link.update(
            {"a": jnp.array(2.0)}, link.init(w), w, grad_fn=jax.grad(lambda w: w["a"] ** 2)
        )
        assert updates["a"] > 6


def test_gsam_is_sam_where_the_projection_overflows():
    w, g = jnp.array([3.0, 4.0]), jnp.array([1e20, 1e20])
    link = gap_aware(scale_to_norm(RHO), 0.3)
    updates, _ = link.update(g, link.init(w), w, grad_fn=lambda w: 2 * g)
    np.testing.assert_array_equal(updates, 2 * g)


@jax.numpy_dtype_promotion("standard")  # which mixed precision is
def test_a_perturbation_keeps_the_type_of_its_parameters():
    w = jnp.array([3.0, 4.0])
    tx = perturb_ahead(optax.sgd(RATE), optax.scale(RHO))

    def step(carry, _):
        w, state = carry
        updates, state = tx.update(w.astype(jnp.bfloat16), state, w)
        return (optax.apply_updates(w, updates), state), None

    (end, state), _ = jax.lax.scan(step, (w, tx.init(w)), None, 3)
    assert end.dtype == state.perturbation.dtype == jnp.float32


@pytest.mark.parametrize(
    "link", [sam(RHO), gap_aware(scale_to_norm(RHO), 0.0)], ids=["sam", "gsam"]
)
def test_integer_leaves_stay_where_they_are(link):
    w = {"a": jnp.array([3.0, 4.0]), "steps": jnp.array(7)}

    def grad_fn(w):
        return jax.grad(lambda w: (w["a"] ** 2).sum() * w["steps"], allow_int=True)(w)

    seen = []
    updates, _ = link.update(
        grad_fn(w), link.init(w), w, grad_fn=lambda w: seen.append(w) or grad_fn(w)
    )
    assert seen[0]["steps"] == 7
    np.testing.assert_allclose(seen[0]["a"], w["a"] * (1 + RHO / 5), rtol=1e-6)
    assert updates["steps"].dtype == jax.dtypes.float0


def test_asam_leaves_integers_out_of_its_norm():
    w = {"a": jnp.array([3.0, 4.0]), "steps": jnp.array(7)}
    g = {"a": jnp.array([1.0, 2.0]), "steps": np.zeros((), jax.dtypes.float0)}
    link, seen = sam(RHO, adaptive=True), []
    link.update(g, link.init(w), w, grad_fn=lambda w: seen.append(w) or g)
    moved = RHO * jnp.array([9.0, 32.0]) / jnp.sqrt(9.0 + 64.0)
    np.testing.assert_allclose(seen[0]["a"], w["a"] + moved, rtol=1e-6)
    assert seen[0]["steps"] == 7


def test_asam_without_parameters_says_so():
    ascent = adaptive_scale_to_norm(RHO)
    with pytest.raises(ValueError, match="ASAM needs the parameters"):
        ascent.update(jnp.ones(2), ascent.init(jnp.ones(2)))


def test_a_gradient_that_is_not_finite_shows():
    w = jnp.array([3.0, 4.0])
    for bad in (jnp.nan, jnp.inf):
        updates, _ = sam(RHO).update(w.at[0].set(bad), sam(RHO).init(w), w, grad_fn=lambda w: w)
        assert not jnp.isfinite(updates).all()
