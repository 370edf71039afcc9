"""The public face: arrays in, numbers out, and one line for what is wrong with them."""

import dataclasses
import importlib
import inspect
import math
import re
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sast_jax
from sast_jax.data import packing
from sast_jax.errors import DivergedError, InputError

SIDE, DURATION = 8, 10_000


def recordings(count=32, seed=0):
    """Events of two classes, one in the upper half of the sensor and one in the lower."""
    rng, labels = np.random.default_rng(seed), np.arange(count) % 2
    events = []
    for label in labels:
        x, y = rng.integers(0, SIDE, 60), rng.integers(0, 4, 60) + 4 * label
        events.append(np.stack([x, y, rng.integers(0, DURATION, 60), rng.integers(0, 2, 60)], 1))
    return events, labels


def frames(count=32, seed=0):
    made = dict(sensor=(SIDE, SIDE), time_bins=5, duration=DURATION)
    return sast_jax.frames(*recordings(count, seed), **made)


RECIPE = sast_jax.Recipe(
    sast_jax.Model(sast_jax.MLP((16, 2), gain=2.0)), epochs=15, batches=sast_jax.Shuffled(8)
)


@pytest.fixture(scope="module")
def trained():
    return sast_jax.train(RECIPE, frames(), rho=(0.0, 0.1), seeds=range(2), learning_rate=1e-2)


def test_every_public_name_is_there_and_documented():
    for name in sast_jax.__all__:
        value = getattr(sast_jax, name)
        assert inspect.getdoc(value), name
        assert name in dir(sast_jax)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sast_jax.nothing  # noqa: B018


def test_a_grid_learns_and_prints_as_a_table(trained):
    found = sast_jax.evaluate(trained, frames(20, seed=1))
    assert [(run["rho"], run["seed"]) for run in found] == [(0.0, 0), (0.0, 1), (0.1, 0), (0.1, 1)]
    for run in found:
        assert run["recordings"] == 20
        assert run["soft_accuracy"] > 0.9
        assert run["transfer_gap"] == run["soft_accuracy"] - run["hard_accuracy"]
        low, high = run["hard_accuracy_ci95"]
        assert low <= run["hard_accuracy"] <= high
        assert isinstance(run["seed"], int) and run["learning_rate"] == 0.01
    header, rule, *rows = str(found).splitlines()
    assert header.split("  ")[0] == "rho" and "hard %" in header
    assert set(rule) == {"-", " "} and len(rows) == 4
    first = found[0]
    assert f"{100 * first['hard_accuracy']:.2f} [" in rows[0]


@pytest.mark.optimised  # bits of two programs agree
def test_runs_of_a_grid_are_the_same_alone(trained):
    alone = sast_jax.train(RECIPE, frames(), rho=0.1, seeds=[1], learning_rate=1e-2)
    for one, other in zip(
        jax.tree.leaves(alone.params), jax.tree.leaves(trained[3:].params), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_more_values_are_more_runs():
    runs = sast_jax.train(
        RECIPE, frames(), rho=0.0, slope=(2.0, 3.0), decay=(0.8, 0.9), warmup=0.1, slope_end=4.0
    )
    found = sast_jax.evaluate(runs, frames())
    assert [(run["slope"], run["decay"]) for run in found] == [
        (2.0, 0.8), (2.0, 0.9), (3.0, 0.8), (3.0, 0.9),
    ]  # fmt: skip
    np.testing.assert_allclose(runs.hyper.slope_end, [4.0, 4.0, 6.0, 6.0])  # the ratio stays
    header, _, first, *_ = str(found).splitlines()  # shows what tells the runs apart
    assert header.split()[:3] == ["slope", "decay", "rho"] and first.split()[:3] == [
        "2",
        "0.8",
        "0",
    ]


def test_a_progress_bar_is_shown_if_asked_for(capsys):
    sast_jax.train(RECIPE, frames(), rho=0.0, progress=True)
    assert "training" in capsys.readouterr().err
    sast_jax.train(RECIPE, frames(), rho=0.0)
    assert capsys.readouterr().err == ""


def by_hand(events, time_bins):
    """Frames (N, T, H, W, C), an event at a time."""
    made = np.zeros((len(events), time_bins, SIDE, SIDE, 2), np.uint8)
    for n, own in enumerate(events):
        for x, y, t, p in own:
            made[n, min(int(t) * time_bins // DURATION, time_bins - 1), y, x, p] = 1
    return made


def test_frames_are_those_of_a_loop_over_events():
    events, labels = recordings()
    made = frames()
    expected = by_hand(events, 5)
    unpacked = packing.unpack(jnp.asarray(made.packed_NxTxP), made.frame_shape)
    np.testing.assert_array_equal(unpacked, expected)
    assert made.labels_N.tolist() == labels.tolist()
    kind = [("t", "<i8"), ("p", "?"), ("y", "<u2"), ("x", "<u2")]  # in any order
    structured = [np.array([(t, p, y, x) for x, y, t, p in own], kind) for own in events]
    floats = [own.astype(float) for own in events]
    shuffled = [np.random.default_rng(0).permutation(own) for own in events]
    for other in (structured, floats, shuffled):
        again = sast_jax.frames(other, labels, sensor=(SIDE, SIDE), time_bins=5, duration=DURATION)
        np.testing.assert_array_equal(again.packed_NxTxP, made.packed_NxTxP)


def test_a_duration_that_is_not_given_is_rounded_up():
    events, labels = recordings()
    last = max(own[:, 2].max() for own in events)
    assert 9_900 <= last < 10_000
    made = sast_jax.frames(events, labels, sensor=(SIDE, SIDE), time_bins=5)
    np.testing.assert_array_equal(made.packed_NxTxP, frames().packed_NxTxP)


SOUND = np.array([[1, 2, 3, 1], [1, 2, 9, 0]])


def moved(pixels, microseconds=0):
    return SOUND + np.array([[pixels, 0, microseconds, 0]])


@pytest.mark.parametrize(
    "events, labels, more, message",
    [
        ([SOUND], [0, 1], {}, "1 recordings and 2 labels"),
        ([], [], {}, "0 recordings"),
        ([SOUND], [-1], {}, "labels must be whole numbers from 0"),
        ([SOUND], [0.5], {}, "labels must be whole numbers from 0"),
        ([SOUND[:, :3]], [0], {}, r"recording 0: an array of shape \(2, 3\)"),
        ([SOUND, moved(8)], [0, 1], {}, "recording 1: x=9 must be .* from 0 to 7"),
        ([SOUND - [[0, 3, 0, 0]]], [0], {}, "recording 0: y=-1 must be"),
        ([SOUND * [[1, 1, 1, 2]]], [0], {}, "recording 0: p=2 must be a whole number from 0 to 1"),
        ([moved(0.5)], [0], {}, "recording 0: x=1.5 must be a whole number"),
        ([SOUND * [[1, 1, np.nan, 1]]], [0], {}, "recording 0: t=nan must be"),
        ([moved(0, 10**12)], [0], {}, "recording 0: t=1000000000003 must be"),
        ([SOUND.astype(str)], [0], {}, "recording 0: its x is no number"),
        ([np.zeros(2, [("x", int), ("y", int), ("t", int)])], [0], {}, "has no field 'p'"),
        ([SOUND[:0]], [0], {}, "none of the recordings holds an event"),
        ([SOUND], [2**31], {}, "labels must be whole numbers from 0 to 2147483647"),
        ([SOUND], [[0]], {}, "labels must be whole numbers"),
        ([SOUND], [0], {"time_bins": 0}, "time_bins=0 must be"),
        ([SOUND], [0], {"time_bins": math.inf}, "time_bins=inf must be"),
        ([SOUND], [0], {"time_bins": "5"}, "time_bins='5' must be"),
        ([SOUND], [0], {"duration": math.inf}, "duration=inf must be a number of microseconds"),
        ([SOUND], [0], {"sensor": SIDE}, r"sensor=8 must be \(height, width\)"),
        ([SOUND], [0], {"sensor": (0, SIDE)}, r"sensor=\(0, 8\) must be"),
        ([SOUND], [0], {"duration": 3}, "duration=3 must be 5 microseconds or more"),
    ],
)  # fmt: skip
def test_what_is_no_recording_is_named(events, labels, more, message):
    with pytest.raises(InputError, match=message):
        sast_jax.frames(events, labels, **{"sensor": (SIDE, SIDE), "time_bins": 5} | more)


def test_a_recording_may_hold_no_event():
    made = sast_jax.frames([SOUND, [], SOUND[:0]], [0, 1, 1], sensor=(SIDE, SIDE), time_bins=5)
    assert made.events_NxC.sum(axis=1).tolist() == [2, 0, 0]
    assert not made.packed_NxTxP[1:].any()


def test_times_in_another_unit_are_noticed():
    events, labels = recordings()
    seconds = [own * np.array([[1, 1, 1e-6, 1]]) for own in events]
    with pytest.warns(UserWarning, match="all their events in one of 5 bins"):
        sast_jax.frames(seconds, labels, sensor=(SIDE, SIDE), time_bins=5, duration=DURATION)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames()


def test_a_recipe_that_does_not_fit_its_recordings_is_refused():
    with pytest.raises(InputError, match="a batch of 8 is larger than the training set of 4"):
        sast_jax.train(RECIPE, frames(4), rho=0.0)
    events, labels = recordings(16)
    three = sast_jax.frames(events, labels + 1, sensor=(SIDE, SIDE), time_bins=5)
    with pytest.raises(InputError, match="label 2, and the network has 2 outputs"):
        sast_jax.train(RECIPE, three, rho=0.0)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"seeds": ()}, "seeds has no value; give one at least"),
        ({"rho": []}, "rho has no value"),
        ({"rho": -0.1}, "rho=-0.1 must be a number from 0 up"),
        ({"rho": (0.0, math.nan)}, "rho=nan must be"),
        ({"rho": "0.1"}, "rho='0.1' must be a number"),
        ({"rho": None}, "rho=None must be a number"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 must be a number above 0"),
        ({"slope": 0}, "slope=0 must be a number above 0"),
        ({"slope_end": -1.0}, "slope_end=-1.0 must be a number above 0"),
        ({"slope_end": (4.0, 8.0)}, "slope_end is one number"),
        ({"decay": 1.1}, "decay=1.1 must be a number from 0 to 1"),
        ({"warmup": np.float32(2)}, "warmup=2.0 must be a number from 0 to 1"),
        ({"seeds": (0, 0.5)}, "seeds=0.5 must be a whole number"),
        ({"seeds": 5}, "seeds=5 must be several, such as range(5), or (5,) for seed 5"),
        ({"seeds": np.array(5)}, "must be several, such as range(5), or (5,) for seed 5"),
        ({"seeds": (2**31,)}, "seeds=2147483648 must be a number from 0 to 2147483647"),
        ({"seeds": [True]}, "seeds=True must be a number"),
    ],
    ids=str,
)
def test_values_of_runs_are_checked(given, message):
    with pytest.raises(InputError, match=re.escape(message)):
        sast_jax.train(RECIPE, frames(), **{"rho": 0.0} | given)


def test_values_may_be_numbers_or_arrays_of_any_kind(trained):
    kinds = {"rho": np.array([0.0, 0.1], np.float32), "seeds": np.arange(2)}
    kinds |= {"learning_rate": jnp.float32(1e-2), "decay": np.array(0.9), "slope": 2}
    again = sast_jax.train(RECIPE, frames(), **kinds)
    for one, other in zip(again.hyper, trained.hyper, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    one = sast_jax.train(RECIPE, frames(), rho=0.0, seeds=(np.int64(seed) for seed in (3,)))
    assert one.hyper.seed.tolist() == [3]


def mlp():
    return sast_jax.MLP((4, 2))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: sast_jax.LIF(reset="subtract"), "reset='subtract' must be an instance of Reset"),
        (lambda: sast_jax.LIF(reset=sast_jax.ToZero), "of Reset, such as ToZero()"),
        (lambda: sast_jax.Model(mlp(), "lif"), "neuron='lif' must be an instance of Neuron"),
        (lambda: sast_jax.Model(mlp(), sast_jax.LIF), "of Neuron, such as LIF()"),
        (lambda: sast_jax.Model(mlp(), readout="spikes"), "of Readout"),
        (lambda: sast_jax.Model((4, 2)), "network=(4, 2) must be an instance of Module"),
        (lambda: sast_jax.Model(mlp(), rounding=4), "rounding=4 must be a function"),
        (lambda: sast_jax.Recipe(mlp()), "must be an instance of Model"),
        (lambda: sast_jax.Recipe(RECIPE.model, "adam"), "optimizer='adam' must be a function"),
        (lambda: sast_jax.Recipe(RECIPE.model, sast_jax.Adam), "call it first: Adam()"),
        (lambda: sast_jax.Recipe(RECIPE.model, augment=3), "augment=3 must be a function"),
        (lambda: sast_jax.Recipe(RECIPE.model, controls=sast_jax.WeightNoise(0.1)), "of Sequence"),
        (lambda: sast_jax.Recipe(RECIPE.model, controls=[sast_jax.Control()]), "overrides none of"),
        (lambda: sast_jax.Sharpness("vasso"), "link='vasso' must be a function"),
        (lambda: sast_jax.train(RECIPE.model, frames(), rho=0.0), "must be an instance of Recipe"),
        (lambda: sast_jax.train(RECIPE, recordings(), rho=0.0), "must be an instance of Frames"),
        (lambda: sast_jax.evaluate([RECIPE], frames()), "must be an instance of Trained"),
    ],
)
def test_what_is_of_another_kind_is_named(make, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        make()


def test_plain_training_takes_no_radius():
    plain = dataclasses.replace(RECIPE, sharpness=sast_jax.Plain())
    with pytest.raises(InputError, match="Plain trains without SAM; take rho=0"):
        sast_jax.train(plain, frames(), rho=(0.0, 0.1))


def test_frames_and_runs_are_told_in_a_line(trained):
    assert repr(frames()) == "Frames: 32 recordings of 5 time bins, 8 x 8 x 2, classes 0 to 1"
    assert repr(trained) == "Trained: 4 runs, rho 0 to 0.1, seeds 0 to 1"
    assert repr(trained[2]) == "Trained: a single run, rho 0.1, seed 0"


def test_runs_that_diverge_are_told():
    with pytest.raises(DivergedError, match="no longer finite"):
        sast_jax.train(RECIPE, frames(), rho=0.0, learning_rate=1e38)
    with pytest.warns(UserWarning, match="1 of 2 runs are no longer finite"):
        runs = sast_jax.train(RECIPE, frames(), rho=0.0, learning_rate=(1e38, 1e-2))
    found = sast_jax.evaluate(runs, frames())
    assert [run["hard_accuracy"] is None for run in found] == [True, False]
    assert "-" in str(found).splitlines()[2]


def test_one_run_is_evaluated_like_all(trained):
    found, test = sast_jax.evaluate(trained, frames()), frames()
    assert [sast_jax.evaluate(run, test) for run in trained] == [[one] for one in found]
    assert sast_jax.evaluate(trained[1:3], test) == found[1:3]
    assert sast_jax.evaluate(trained[np.int64(-1)], test) == found[3:]
    for outside in (4, -5, np.int64(4)):
        with pytest.raises(IndexError, match=f"run {outside} of 4"):
            trained[outside]
    with pytest.raises(TypeError, match="a single run"):
        len(trained[0])


def test_a_recipe_of_trained_models_takes_a_larger_set(trained):
    runs = sast_jax.train(trained.recipe, frames(48), rho=0.0)
    assert (trained.recipe.batches.steps, runs.recipe.batches.steps) == (4, 6)
    assert sast_jax.train(trained.recipe, frames(16), rho=0.0).recipe.batches.steps == 2


def test_recordings_of_another_length_are_answered_and_not_trained_on_in_odd_segments():
    events, labels = recordings()
    longer = sast_jax.frames(events, labels, sensor=(SIDE, SIDE), time_bins=7, duration=DURATION)
    model = sast_jax.Model(sast_jax.MLP((16, 2), gain=2.0), segment=5)
    recipe = sast_jax.Recipe(model, epochs=15, batches=sast_jax.Shuffled(8))
    with pytest.raises(InputError, match="segment=5 must divide the 7 time bins"):
        sast_jax.train(recipe, longer, rho=0.0)
    runs = sast_jax.train(recipe, frames(), rho=0.0, learning_rate=1e-2)
    whole = dataclasses.replace(recipe, model=dataclasses.replace(model, segment=None))
    same = dataclasses.replace(runs, recipe=whole.on(longer.frame_shape, 32))
    (found,), (expected,) = (sast_jax.evaluate(each, longer) for each in (runs, same))
    assert found["hard_accuracy"] == expected["hard_accuracy"] > 0.8
    assert len(found["hard_accuracy_by_step"]) == 7


def test_a_warm_up_that_never_ends_is_refused():
    late = dataclasses.replace(RECIPE, sharpness=sast_jax.Sharpness(start=9))
    with pytest.raises(InputError, match=r"start=9 and warmup=0\.5 end after the 15 epochs"):
        sast_jax.train(late, frames(), rho=0.1, warmup=(0.4, 0.5))
    sast_jax.train(late, frames(), rho=0.1, warmup=0.4)


def test_labels_without_an_output_are_refused(trained):
    events, labels = recordings()
    made = sast_jax.frames(events, labels + 1, sensor=(SIDE, SIDE), time_bins=5)
    with pytest.raises(InputError, match="label 2, and the network has 2 outputs"):
        sast_jax.evaluate(trained, made)


def test_frames_of_another_shape_are_refused(trained):
    events, labels = recordings()
    other = sast_jax.frames(events, labels, sensor=(SIDE, 2 * SIDE), time_bins=5)
    with pytest.raises(InputError, match=r"frames of \(8, 16, 2\), and .* \(8, 8, 2\)"):
        sast_jax.evaluate(trained, other)


@pytest.mark.parametrize("neuron", [sast_jax.Synaptic(), sast_jax.Adaptive()])
def test_other_neurons_are_a_word_away(neuron):
    model = sast_jax.Model(sast_jax.ConvNet((4,), (2,), kernel=3, gain=2.0), neuron)
    recipe = sast_jax.Recipe(model, epochs=10, batches=sast_jax.Shuffled(8))
    runs = sast_jax.train(recipe, frames(), rho=0.05, learning_rate=1e-2)
    (found,) = sast_jax.evaluate(runs, frames())
    assert found["soft_accuracy"] > 0.8


def test_importing_the_link_loads_nothing_else():
    program = (
        "import sys; from sast_jax import sam; "
        "print([m for m in sys.modules if m.startswith('sast_jax.') and 'sharpness' not in m])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_stub_names_what_is_there():
    for name, module in sast_jax._MODULES.items():
        assert getattr(importlib.import_module(module), name) is getattr(sast_jax, name)
