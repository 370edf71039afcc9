"""The step against a plain loop, and runs that do not depend on how they are grouped or resumed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small

from sast_jax.data import augmentation, packing
from sast_jax.sharpness import scale_to_norm, sharpness_aware
from sast_jax.snn import connections, neurons, spikes
from sast_jax.training import epochs, links, stepping
from sast_jax.training.controls import HardForward
from sast_jax.training.gradients import Ahead, Grouped, Sharpness
from sast_jax.training.trained import Trained

step = jax.jit(stepping.train_step, static_argnums=0)
STALE = Ahead(links.Stale())


def sgd(rate, steps):
    return optax.sgd(1.0)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def momentum_ascent(radius):
    return sharpness_aware(optax.chain(optax.ema(0.6), scale_to_norm(radius)))


def differs(a, b):
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return any((np.asarray(x) != np.asarray(y)).any() for x, y in leaves)


def test_it_learns():
    _, first = small.fit(small.recipe(), small.hyper(), epochs=1)
    _, last = small.fit(small.recipe(), small.hyper(), epochs=12)
    assert last.loss[0] < 0.5 * first.loss[0]
    assert last.accuracy[0] > 0.9
    assert last.finite.all()


@pytest.mark.parametrize("ascend", [False, True])
def test_a_step_equals_a_plain_one(ascend):
    made, hypers = small.recipe(), small.hyper(rhos=(0.3,), decay=0.7)
    state = small.run_of(stepping.initialise(made, hypers), 0)
    h = small.run_of(hypers, 0)
    packed, labels = small.recordings()
    frames = jnp.moveaxis(packing.unpack(packed[: small.B], small.SHAPE), 1, 0).astype(jnp.float32)
    batch = frames, labels[: small.B]
    ascent = (frames[:, :3], labels[:3]) if ascend else None
    new, (loss, _) = step(made, state, h, batch, ascent)

    def plain(params, x, y):
        cell = neurons.Cell(neurons.LIF(1.0), 0.7, spikes.sigmoid(4.0))
        network = made.model.connections(params)
        scores = 10 * connections.respond(network, [cell] * 2, x).spikes[-1].mean(0)
        return -jax.nn.log_softmax(scores)[jnp.arange(len(y)), y].mean()

    at = state.params
    if ascend:
        g = jax.grad(plain)(state.params, *ascent)
        norm = jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(g)))
        at = jax.tree.map(lambda w, g: w + 0.3 * g / norm, at, g)
    np.testing.assert_allclose(loss, plain(state.params, *(ascent or batch)), rtol=1e-5)
    adam = optax.adam(1e-2)
    updates, _ = adam.update(jax.grad(plain)(at, *batch), adam.init(state.params))
    expected = optax.apply_updates(state.params, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), new.params, expected)


ONE_BY_ONE = pytest.mark.skipif(
    jax.default_backend() != "cpu", reason="elsewhere the runs of a grid are vectorised"
)


@ONE_BY_ONE
def test_members_of_a_grid_equal_the_same_runs_alone_bit_for_bit():
    grid = small.hyper(seeds=(0, 1, 0), rhos=(0.1, 0.1, 0.5))
    together, _ = small.fit(small.recipe(), grid)
    for i, (seed, rho) in enumerate(((0, 0.1), (1, 0.1), (0, 0.5))):
        alone, _ = small.fit(small.recipe(), small.hyper(seeds=(seed,), rhos=(rho,)))
        assert_same(small.run_of(together.params, i), small.run_of(alone.params, 0))
    assert differs(small.run_of(together.params, 0), small.run_of(together.params, 1))
    assert differs(small.run_of(together.params, 0), small.run_of(together.params, 2))


def test_a_radius_of_zero_equals_training_without_sam():
    with_link, _ = small.fit(small.recipe(), small.hyper(rhos=(0.0,)))
    without, _ = small.fit(small.recipe(), small.hyper(rhos=(0.0,)), ascend=False)
    assert_same(with_link.params, without.params)


@pytest.mark.parametrize(
    "changes",
    [
        {"sharpness": Sharpness(independent=True)},
        {"sharpness": Sharpness(part=2)},
        {"sharpness": Grouped(4)},
        {"augment": augmentation.Shift(1)},
        {"controls": (HardForward(),)},
        {"neuron": neurons.LIF(reset=neurons.BySubtraction())},
        {"sharpness": Sharpness(links.Sam(adaptive=True))},
        {"sharpness": Sharpness(links.Vasso())},
        {"sharpness": Ahead(links.Momentum())},
    ],
    ids=[
        "independent", "part", "groups", "augment", "forward", "reset", "adaptive", "vasso", "ahead"
    ],
)  # fmt: skip
def test_each_option_changes_the_run_and_stays_deterministic(changes):
    plain, _ = small.fit(small.recipe(), small.hyper())
    changed, metrics = small.fit(small.recipe(**changes), small.hyper())
    assert differs(plain.params, changed.params)
    assert metrics.finite.all()
    again, _ = small.fit(small.recipe(**changes), small.hyper())
    assert_same(changed.params, again.params)


def test_a_perturbation_made_ahead_is_in_the_parameters_but_not_in_those_to_evaluate():
    made, hypers = small.recipe(sharpness=STALE, optimizer=sgd), small.hyper(rhos=(0.3,))
    state, h = small.run_of(stepping.initialise(made, hypers), 0), small.run_of(hypers, 0)
    packed, labels = small.recordings()
    frames = jnp.moveaxis(packing.unpack(packed[: small.B], small.SHAPE), 1, 0).astype(jnp.float32)
    batch = frames, labels[: small.B]
    plain = small.recipe(optimizer=sgd)
    w = before = state.params
    for _ in range(3):
        state, _ = step(made, state, h, batch, None)
        # The same step of plain descent from where the gradient is taken.
        begun = stepping.initialise(plain, hypers)
        begun = small.run_of(begun, 0)._replace(params=before)
        g = jax.tree.map(jnp.subtract, before, step(plain, begun, h, batch, None)[0].params)
        norm = jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(g)))
        w = jax.tree.map(jnp.subtract, w, g)
        before = jax.tree.map(lambda w, g, norm=norm: w + 0.3 * g / norm, w, g)
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5)  # noqa: E731
    jax.tree.map(close, state.params, before)
    jax.tree.map(close, Trained.of(made, state, h).params, w)
    assert Trained.of(plain, state, h).params is state.params


def test_ahead_takes_one_gradient_a_step():
    def cost(made):
        hypers = small.hyper()
        state = stepping.initialise(made, hypers)
        packed, labels = small.recordings()
        lowered = epochs.train_epoch.lower(made, state, hypers, packed, labels, True)
        return lowered.compile().cost_analysis()["flops"]

    assert cost(small.recipe(sharpness=STALE)) < 0.7 * cost(small.recipe())


def test_groups_average_the_sam_gradients_of_their_parts():
    made = small.recipe(sharpness=Grouped(2), optimizer=sgd)
    hypers = small.hyper(rhos=(0.3,))
    state, h = small.run_of(stepping.initialise(made, hypers), 0), small.run_of(hypers, 0)
    packed, labels = small.recordings()
    frames = jnp.moveaxis(packing.unpack(packed[: small.B], small.SHAPE), 1, 0).astype(jnp.float32)
    halves = [(frames[:, part], labels[: small.B][part]) for part in (slice(0, 4), slice(4, 8))]
    one = dataclasses.replace(made, sharpness=Sharpness())
    steps = [step(one, state, h, half, half)[0].params for half in halves]
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *steps)
    batch = frames, labels[: small.B]
    grouped = step(made, state, h, batch, batch)[0].params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), grouped, mean)


def test_radius_ramps_and_slope_anneals():
    # A ramp over all of training starts close to no SAM.
    ramped, _ = small.fit(small.recipe(), small.hyper(rhos=(0.5,), warmup=1.0), epochs=1)
    constant, _ = small.fit(small.recipe(), small.hyper(rhos=(0.5,)), epochs=1)
    plain, _ = small.fit(small.recipe(), small.hyper(rhos=(0.5,)), epochs=1, ascend=False)

    def distance(a, b):
        return sum(
            float(jnp.abs(x - y).sum())
            for x, y in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True)
        )

    assert 0 < distance(ramped, plain) < distance(constant, plain)
    annealed, _ = small.fit(small.recipe(), small.hyper(slope=2.0, slope_end=8.0))
    assert differs(annealed.params, small.fit(small.recipe(), small.hyper())[0].params)


def test_the_old_state_is_given_up_for_the_new_one():
    state = stepping.initialise(small.recipe(), small.hyper())
    small.fit(small.recipe(), small.hyper(), epochs=1, state=state)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state.params, state.optimizer)))


@ONE_BY_ONE
def test_divergence_of_one_member_is_marked_and_leaves_the_others_alone():
    grid = small.hyper(seeds=(0, 0), rhos=(0.1, 1e38))
    together, metrics = small.fit(small.recipe(), grid)
    assert metrics.finite.tolist() == [True, False]
    alone, _ = small.fit(small.recipe(), small.hyper())
    assert_same(small.run_of(together.params, 0), small.run_of(alone.params, 0))


def test_after_a_late_start_the_ramp_begins_there():
    made = small.recipe(sharpness=Sharpness(start=3))
    h = small.run_of(small.hyper(rhos=(0.6,), warmup=0.5), 0)
    begin, ramp = 3 * made.batches.steps, 3 * made.batches.steps  # half of six epochs
    grads = {"w": jnp.array([3.0, 4.0])}

    def radius(step):
        seen = []
        link, _ = made.links(h, step)
        link.update(grads, link.init(grads), grads, grad_fn=lambda w: seen.append(w) or w)
        return float(jnp.linalg.norm(seen[0]["w"] - grads["w"]))

    expected = {0: 0.0, begin - 1: 0.0, begin: 0.6 / ramp, begin + ramp - 1: 0.6, 6 * ramp: 0.6}
    np.testing.assert_allclose([radius(s) for s in expected], [*expected.values()], atol=1e-6)


def test_an_independent_batch_only_chooses_the_perturbation():
    hypers = small.hyper(rhos=(0.0,))
    independent, _ = small.fit(small.recipe(sharpness=Sharpness(independent=True)), hypers)
    plain, _ = small.fit(small.recipe(), hypers, ascend=False)
    assert_same(independent.params, plain.params)


def test_a_stateful_ascent_goes_on_under_groups():
    smoothed = small.recipe(sharpness=Grouped(2, momentum_ascent))
    state, _ = small.fit(smoothed, small.hyper(), epochs=1)
    counts = [leaf for leaf in jax.tree.leaves(state.optimizer[0]) if leaf.shape == (1,)]
    assert [int(count[0]) for count in counts] == [smoothed.batches.steps]
    assert all(count.dtype == jnp.int32 for count in counts)


def test_the_slope_grows_geometrically():
    h = small.run_of(small.hyper(slope=2.0, slope_end=8.0), 0)
    total = small.recipe().epochs * small.recipe().batches.steps
    assert total == small.recipe().steps
    slopes = [small.recipe().slope_at(h, step) for step in (0, total // 2, total)]
    np.testing.assert_allclose(slopes, [2, 4, 8], rtol=1e-6)


def test_vmap_over_runs_equals_one_after_another_to_rounding(monkeypatch):
    grid = small.hyper(seeds=(0, 1))
    mapped, _ = small.fit(small.recipe(), grid, epochs=1)
    another = small.recipe(
        neuron=neurons.LIF(1.0 + 1e-9)
    )  # so that nothing compiled before is used
    state = stepping.initialise(another, grid)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax.lax, "map", None)
    vmapped, _ = small.fit(another, grid, epochs=1, state=state)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), mapped.params, vmapped.params
    )
