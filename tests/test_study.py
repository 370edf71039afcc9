"""Tuning, times and landscapes in one process on a few recordings."""

import dataclasses

import jax
import jax.numpy as jnp
import jobs
import nmnist_files
import numpy as np
import optax
import pytest

from sast_jax.data.sets import selection
from sast_jax.errors import DivergedError, InputError
from sast_jax.evaluation import swap
from sast_jax.hardware import bench
from sast_jax.runs import build, measure, reloaded
from sast_jax.runs.settings import Settings
from sast_jax.runs.study import cost, deployment, kept_rows, landscape, trainings, tuning


@pytest.fixture(scope="module")
def folder(tmp_path_factory, no_pages):
    folder = tmp_path_factory.mktemp("study")
    nmnist_files.dataset(folder / "data", per_class=4)
    return folder


def settings(folder, **changes):
    return jobs.settings(folder, **{"resume": True, "rho": 0.0} | changes)


@pytest.mark.slow
def test_a_key_that_no_sweep_takes_is_tuned_on_validation(folder, monkeypatch):
    config = settings(folder, **{"data.validation": 0.2, "sweep.seeds": 2})
    grid = {"neurons.hard": (1.0, 0.0), "learning_rate": (1e-3, 1e-2)}
    best, found = tuning.tuned(config, grid, folder / "trials")
    assert len(found) == 4
    accuracies = [trial["hard_accuracy"] for trial in found]
    assert best == found[int(np.argmax(accuracies))]["settings"]
    alone = {"neurons.hard": 1.0, "learning_rate": 1e-2, "workdir": str(folder / "alone")}
    (row,) = jobs.train(config.changed(alone))["summary"]
    assert {
        "settings": {"neurons.hard": 1.0, "learning_rate": 1e-2},
        "hard_accuracy": row["validation_hard_accuracy_mean"],
    } in found
    monkeypatch.setattr(trainings.run.fit, "fit", None)  # nothing is trained again
    assert tuning.tuned(config, grid, folder / "trials") == (best, found)
    worst, _ = tuning.tuned(
        config, grid, folder / "trials", score=lambda row: -tuning.most_accurate(row)
    )
    assert worst == found[int(np.argmin(accuracies))]["settings"]


def test_keys_of_a_sweep_are_tuned_in_one_program(folder):
    config = settings(folder, **{"data.validation": 0.2})
    grid = {"lif.decay": (0.5, 0.9), "learning_rate": (1e-3, 1e-2)}
    best, found = tuning.tuned(config, grid, folder / "sweep")
    tried = [tuple(trial["settings"][key] for key in grid) for trial in found]
    assert set(tried) == {(0.5, 1e-3), (0.5, 1e-2), (0.9, 1e-3), (0.9, 1e-2)}
    assert best in [trial["settings"] for trial in found]
    assert (folder / "sweep" / "results.json").exists()


def test_settings_that_diverge_are_tried_and_left(folder, monkeypatch):
    config = settings(folder, **{"data.validation": 0.2})
    summaries, known = [], trainings.run.results_of

    def results_of(given, page):
        if given.neurons.hard:
            raise DivergedError("every loss is infinite")
        summaries.append(known(given, page=page))
        return summaries[-1]

    monkeypatch.setattr(trainings.run, "results_of", results_of)
    grid = {"neurons.hard": (0.5, 0.0), "learning_rate": (1e-3, 1e-2)}
    best, found = tuning.tuned(config, grid, folder / "left")
    assert best["neurons.hard"] == 0.0 and len(summaries) == 1
    assert [trial["hard_accuracy"] is None for trial in found] == [True, True, False, False]
    with pytest.raises(DivergedError, match=r"diverges for every neurons.hard of \(0.5,\)"):
        tuning.tuned(config, grid | {"neurons.hard": (0.5,)}, folder / "left")


@pytest.mark.slow
def test_the_landscape_is_that_of_the_training_loss(folder):
    config = settings(folder, workdir=str(folder / "run"), **{"data.validation": 0.2})
    jobs.train(config)
    (found,) = landscape.around(folder / "run")
    assert found == landscape.around(folder / "run")[0]
    run = reloaded.load(folder / "run")
    one = run.trained[0]
    train, _ = selection.hold_out(run.settings.data.load().train, 0.2, 0)

    def loss(w, n):
        there = dataclasses.replace(one, params=w)
        response = swap.apply(there, one.soft_cell(), jnp.asarray(train.packed_NxTxP)[n])
        logs = jax.nn.log_softmax(one.model.readout(response))
        return -logs[jnp.arange(len(n)), jnp.asarray(train.labels_N)[n]].mean()

    everyone = np.arange(len(train.labels_N))
    single = jax.jit(lambda n: optax.tree.norm(jax.grad(loss)(one.params, n[None])))
    norms = [float(single(n)) for n in everyone]
    assert found["parameter_gradient"] == pytest.approx(np.mean(norms), rel=1e-3)
    whole = jax.grad(loss)(one.params, everyone)
    norm = optax.tree.norm(whole)
    ahead = jax.tree.map(lambda w, g: w + landscape.RADIUS * g / norm, one.params, whole)
    assert found["rise"] >= 0.999 * float(loss(ahead, everyone) - loss(one.params, everyone)) > 0
    assert found["eigenvalue"] > 0
    assert found["input_gradient"] > 0
    (folder / "run" / "landscape.json").write_text("[{")
    with pytest.raises(InputError, match=r"landscape\.json: damaged"):
        landscape.around(folder / "run")


def test_rows_are_made_once_and_kept(tmp_path, capsys):
    file, made = tmp_path / "paper" / "rows.json", []

    def make(name, before):
        made.append((name, list(before)))
        if name == "cut off":
            raise KeyboardInterrupt
        return {"value": len(made)}

    def abouts(*names):
        return {name: {"seeds": (1, 2), "of": name} for name in names}

    with pytest.raises(KeyboardInterrupt):
        kept_rows.made(file, abouts("a", "b", "cut off"), make)
    found = kept_rows.made(file, abouts("a", "b", "c"), make)
    assert found == {"a": {"value": 1}, "b": {"value": 2}, "c": {"value": 4}}
    assert made == [("a", []), ("b", ["a"]), ("cut off", ["a", "b"]), ("c", ["a", "b"])]
    said = ["paper: a, 1 of 3", "paper: b, 2 of 3", "paper: cut off, 3 of 3", "paper: c, 3 of 3"]
    assert capsys.readouterr().out.splitlines() == said
    assert kept_rows.made(file, abouts("b"), make) == {"b": {"value": 2}}
    before = len(made)
    with pytest.raises(InputError, match=r"rows\.json: its row 'b' rests on other settings"):
        kept_rows.made(file, abouts("new") | {"b": {"seeds": (1,)}}, make)
    assert len(made) == before  # nothing is made for a table that cannot be
    for damaged in ("{", "[]", '{"a": {"value": 1}}'):
        file.write_text(damaged)
        with pytest.raises(InputError, match=r"rows\.json: damaged"):
            kept_rows.made(file, abouts("a"), make)


def test_times_are_measured_again_for_other_configs(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(cost, "time_over", lambda *a: asked.append(a[0]) or dict.fromkeys(a[0], 1))
    configs = {name: Settings() for name in ("a", "b")}
    file = tmp_path / "times.json"
    for measured in (1, 1):
        assert cost.times(file, configs, "a", 3).keys() == {"a", "b"}
        assert len(asked) == measured
    configs["b"] = configs["b"].changed({"workdir": "elsewhere", "data.path": "too"})
    cost.times(file, configs, "a", 3)
    assert len(asked) == 1
    configs["b"] = configs["b"].changed({"rho": 0.7})
    cost.times(file, configs, "a", 3)
    cost.times(file, configs, "a", 5)
    assert len(asked) == 3
    other = cost.machine.environment() | {"cores": 100}
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(cost.machine, "environment", lambda: other)
        cost.times(file, configs, "a", 5)
    assert len(asked) == 4
    file.write_text("{")
    with pytest.raises(InputError, match=r"times\.json: damaged"):
        cost.times(file, configs, "a", 3)


SAM = {"rho": 0.3, "sam.ascent_fraction": 1.0}


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({}, 1),
        (SAM, 2),
        (SAM | {"sam.ascent_fraction": 0.125}, 1.125),
        (SAM | {"sam.start": 0.5, "epochs": 4}, 1.5),
        (SAM | {"sam.method": "momentum"}, 1),
        (SAM | {"sam.method": "random"}, 1),
        ({"adversary.weight": 0.1, "adversary.steps": 2}, 4),
    ],
)
def test_gradients_of_a_step(folder, changes, expected):
    assert cost.gradients(settings(folder, **changes)) == expected


def test_time_counts_every_epoch(folder, monkeypatch):
    late = SAM | {"sam.start": 0.5}
    changes = {"Adam": {}, "Adam, twice as long": {"epochs": 8}, "SAM": SAM, "second half": late}
    configs = {name: settings(folder, **{"epochs": 4} | c) for name, c in changes.items()}

    def in_turns(functions, rounds):
        return {
            name: np.full(rounds, 2.0 if configs[name].rho else 1.0)
            * np.isfinite(np.asarray(f().loss))[0]
            for name, f in functions.items()
        }

    monkeypatch.setattr(cost.timing, "in_turns", in_turns)
    quartiles = cost.time_over(configs, "Adam", rounds=3)
    assert {name: middle for name, (_, middle, _) in quartiles.items()} == {
        "Adam": 1,
        "Adam, twice as long": 2,
        "SAM": 2,
        "second half": 1.5,
    }


def trial(values, **scores):
    return {"settings": values, "scores": scores}


def test_the_mildest_within_a_standard_error_is_chosen():
    trials = [
        trial({"rho": 0.1, "learning_rate": 1.0}, clean=[0.90, 0.91, 0.92]),
        trial({"rho": 0.2, "learning_rate": 1.0}, clean=[0.93, 0.95, 0.97]),
        trial({"rho": 0.2, "learning_rate": 2.0}, clean=[0.94, 0.94, 0.94]),
        trial({"rho": 0.4, "learning_rate": 1.0}, clean=[0.94, 0.95, 0.965]),
        trial({"rho": 0.8, "learning_rate": 1.0}, clean=[0.99, None, 0.99]),
    ]
    # The best mean is 0.9517 with an error of 0.0073, so 0.95 and 0.94 are near and 0.91 is not.
    assert tuning.chosen(trials, "clean", "rho") == {"rho": 0.2, "learning_rate": 1.0}
    # The learning rate is the setting of its own where there is no other.
    assert tuning.chosen(trials, "clean", "learning_rate")["rho"] == 0.4
    with pytest.raises(DivergedError, match="diverges for everything"):
        tuning.chosen(trials[-1:], "clean", "rho")


class Made:
    """Trainings that are not done: a run's accuracy is told by its settings."""

    at_once = 2

    def __init__(self, accuracy):
        self.seen, self.urgent, self._accuracy = [], [], accuracy

    def train(self, given, measures, urgency):
        self.urgent.append(urgency)
        self.seen.append((given.rho, given.learning_rate))
        found = self._accuracy(given)
        if found is None:
            raise DivergedError("infinite")
        return trainings.Result([{"accuracy": found}] * given.sweep.seeds, ([{}, {}],))


def search(folder, accuracy, grid, further=2):
    made = Made(accuracy)
    given = settings(folder, **{"sweep.seeds": 2})
    found = tuning.searched(
        given.changed, grid, folder / "searched", lambda run, _: {"a": run.get("accuracy")},
        lambda workdir: [{}], made, further,
    )  # fmt: skip
    return found, made


def test_a_grid_goes_on_where_the_best_lies_at_its_edge(folder):
    grid = {"rho": (0.1, 0.2, 0.4), "learning_rate": (1e-3, 2e-3)}
    best = {"rho": 1.6, "learning_rate": 1e-3}

    def accuracy(given):
        return 1 / (1 + abs(np.log2(given.rho / best["rho"])) + 1000 * given.learning_rate)

    found, made = search(folder, accuracy, grid)
    beyond = [tuple(one["settings"].values()) for one in found[6:]]
    np.testing.assert_allclose(beyond, [(0.8, 1e-3), (0.4, 5e-4), (1.6, 1e-3)])
    assert sorted(made.seen) == sorted(tuple(one["settings"].values()) for one in found)
    assert made.urgent == [0] * 6 + [1] * 3  # rows that have begun are ended first
    assert len(search(folder, accuracy, grid, further=0)[0]) == 6
    found, _ = search(folder, lambda given: 1 - abs(given.rho - 0.2), {"rho": (0.1, 0.2, 0.4)})
    assert len(found) == 3  # its best is not at an edge


def test_a_grid_goes_on_neither_past_a_range_nor_past_what_diverges(folder):
    grid = {"neurons.hard": (0.25, 0.5, 1.0)}
    found, _ = search(folder, lambda given: given.neurons.hard, grid)
    assert len(found) == 3
    found, _ = search(
        folder, lambda given: None if given.rho > 0.2 else given.rho, {"rho": (0.1, 0.2, 0.4)}
    )
    assert [one["scores"]["a"] for one in found] == [[0.1] * 2, [0.2] * 2, [None] * 2]


@pytest.mark.slow
def test_deployment_is_measured_on_what_was_held_out(folder):
    config = settings(folder, workdir=str(folder / "held"), **{"data.validation": 0.3})
    jobs.train(config)
    (found,) = deployment.on_validation(folder / "held")
    assert found == deployment.on_validation(folder / "held")[0]  # from its file
    run = reloaded.load(folder / "held")
    source = run.settings.data.load()
    train, held_out = selection.hold_out(source.train, 0.3, 0)
    (row,) = swap.soft_and_hard(run.trained, held_out)
    assert found["hard"] == row["hard_accuracy"]
    one = bench.Bench(run.trained[0], build.chip(run.settings), train.spread(256))
    for bits in (4, 2):
        assert found[f"INT{bits}"] == one.width(bits, held_out)["integer_accuracy"]
    (follow,) = deployment.following(folder / "held")
    given = run.settings.changed({"hardware.follow": deployment.EXPONENT})
    (one,) = measure.benches(run.trained, train, given)
    assert one.width(8, source.test)["integer_accuracy"] == pytest.approx(
        follow["following, INT8 integer"].mean()
    )
    assert len(follow) == 4 + 3 * 3 * len(given.corruptions.severities) + 1
    columns = [found[key] for key in deployment.COLUMNS]
    assert found["score"] == pytest.approx(np.mean(columns))
    assert len(columns) == 6 and None not in columns
