"""The assessment: settings of every method, its page by hand, and a small one from end to end."""

import ast
import dataclasses
import itertools
import json
import math
import shlex
import shutil

import gesture_writing
import nmnist_files
import numpy as np
import pytest
from commands import command

from experiments import cli
from experiments.assessment import (
    command as command_module,
    conclusions,
    decision,
    findings,
    measures,
    methods,
    page as page_lib,
)
from experiments.configs import assessment as config_file, nmnist, nmnist_robust, theory_aligned
from sast_jax.data.corruptions import KINDS
from sast_jax.errors import InputError
from sast_jax.runs import build, settings, workdirs
from sast_jax.runs.study import trainings

IN_TURN = trainings.InTurn()
CONFIG = {"dataset": "nmnist", "base": "", "epochs": 12, "minutes": 15, "data": {"path": ""}}


def row(hard, time=1.0, gaps=(0.5, 0.5, 0.5), **changes):
    """A method's row, whose seeds have these hard accuracies."""
    runs = []
    for seed, value in enumerate(hard):
        known = dict.fromkeys(measures.MEASURES, 0.5) | {"seed": seed, "hard_accuracy": value}
        known["corruptions"] = {"noise 3": 0.5, "event drop 3": 0.4}
        runs.append(known | {"transfer_gap": gaps[seed]} | changes)
    quartiles = [time - 0.1, time, time + 0.1]
    radii = zip((0.2, 0.4, 0.8), (0.8, 0.9, None), strict=True)
    trials = [
        {"settings": {"rho": rho}, "scores": {"deployment": [hard, hard], "clean": [0.7, hard]}}
        for rho, hard in radii
    ]
    tuned = {"tuned": {"rho": 0.4}, "trials": trials, "remarks": ["odd."]}
    tuned |= {"taken": {}, "environment": {"device": "cpu"}}
    return {"about": "x", "gradients": 2, "epochs": 3, "runs": runs, "time": quartiles} | tuned


def done(methods_, **regime):
    config = CONFIG | {"tuning_seeds": 2, "seeds": 3, "data": {"validation": 0.2, "path": ""}}
    config |= {"severities": (3,)}
    about = {"about": "made up", "left_out": ["weight noise"], "methods": methods_} | regime
    made = {"config": config, "data": "none", "environment": {"device": "cpu"}}
    made["caveats"] = ("Few people.",)
    return made | {"regimes": {"paper": about}}


def test_the_conclusion_says_what_the_numbers_say():
    better = {
        "plain": row([0.80, 0.81, 0.82]),
        "SAST": row([0.90, 0.912, 0.922], time=2.0, gaps=(0.4, 0.38, 0.39)),
        "hard forward": row([0.95, 0.961, 0.972], time=1.1),
        "weight decay": row([0.70, 0.71, 0.72], time=1.05),
    }
    (said,) = conclusions.conclusions(done(better)).values()
    text = " ".join(said)
    assert "SAST is better than plain training: 91.13 against 81.00 %, +10.13 [" in text
    assert (
        "Better than plain training of as many epochs: gap, points -11.00 [-13.48, -8.52]." in text
    )
    assert "Not shown to differ from plain training of as many epochs: soft %; calibrated" in text
    assert "With as many gradients" not in text
    assert "Worse with SAST" not in text
    assert "More accurate than SAST with hard spikes: hard forward (+4.97)." in text
    assert "Less accurate than SAST with hard spikes: plain (-10.13), weight decay (-20.13)" in text
    assert "INT2 %: shown to be above SAST: none; below it: 0 of 3." in text
    assert "SAST takes 2.00 times as long" in text
    assert text.endswith("by the quartiles not clearly slower: hard forward (1.10).")
    worse = better | {"SAST": row([0.70, 0.712, 0.722], time=2.0, gaps=(0.9, 0.91, 0.92))}
    text = " ".join(conclusions.conclusions(done(worse))["paper"])
    assert "SAST is worse than plain training" in text
    assert "Worse than plain training of as many epochs: gap, points +41.00" in text
    equal = better | {"SAST": row([0.79, 0.81, 0.83])}
    text = " ".join(conclusions.conclusions(done(equal))["paper"])
    assert "no difference between SAST and plain training is shown: 81.00 against 81.00" in text
    lost = better | {"SAST": row([None, None, None])}
    assert conclusions.conclusions(done(lost))["paper"] == [
        "SAST and plain training have no finite runs of one seed, so nothing can be said."
    ]


def test_the_conclusion_compares_with_equal_cost_and_with_other_ways_to_be_robust():
    chips = {"plain": [0.30, 0.31, 0.32], "SAST": [0.50, 0.511, 0.52]}
    chips |= {"weight noise": [0.601, 0.612, 0.62], "plain twice as long": chips["plain"]}
    rows = {
        "plain": row([0.80, 0.81, 0.82]),
        "plain twice as long": row([0.95, 0.961, 0.972], time=2.05),
        "SAST": row([0.90, 0.912, 0.922], time=2.0),
        "weight noise": row([0.90, 0.912, 0.922], time=2.5),
    }
    for name, values in chips.items():
        for run, value in zip(rows[name]["runs"], values, strict=True):
            run["INT2"], run["INT4"] = value, None
    text = " ".join(conclusions.conclusions(done(rows))["paper"])
    assert "With as many gradients each, SAST is worse than plain training: -4.97 [" in text
    assert (
        "INT2 %: with as many gradients each, SAST is better than plain training: +20.03 [" in text
    )
    assert "]; shown to be above SAST: weight noise (+10.07); below it: 2 of 3." in text
    assert "INT4" not in text  # which has not been measured
    assert text.endswith("not clearly slower: plain twice as long (2.05).")


def test_what_only_an_uncorrected_interval_shows_is_said_to_be_so():
    """The same difference, alone and among three others that show nothing."""
    matched = row([0.5] * 4, gaps=[0.5] * 4)
    plain, sast = (
        [run | {"INT2": x} for run, x in zip(matched["runs"], values, strict=True)]
        for values in ((0.5, 0.5, 0.5, 0.5), (0.51, 0.53, 0.51, 0.53))
    )
    alone = {"plain": matched | {"runs": plain}, "SAST": matched | {"runs": sast}}
    assert "INT2 % +2.00 [+0.16, +3.84]." in " ".join(conclusions.conclusions(done(alone))["paper"])
    among = alone | {"plain twice as long": matched | {"runs": plain}, "weight decay": matched}
    text = " ".join(conclusions.conclusions(done(among))["paper"])
    told = "no difference between SAST and plain training is shown after correction for all methods"
    assert f"INT2 %: with as many gradients each, {told}: +2.00 [+0.16, +3.84]" in text


def test_hard_accuracy_is_corrected_over_all_methods_too():
    values = {"SAST": [0.90, 0.912, 0.922], "weight decay": [0.90, 0.913, 0.921]}
    values |= {name: [0.89, 0.9, 0.914] for name in ("plain", "plain twice as long")}
    rows = {name: row(hard) for name, hard in values.items()}
    found = measures.differences(rows)["hard_accuracy"]
    alone = measures.differences({k: rows[k] for k in ("SAST", "plain")})["hard_accuracy"]
    assert found["plain"].p == pytest.approx(3 * alone["plain"].p)


def test_means_are_those_of_the_seeds_that_are_compared():
    rows = {"plain": row([0.80, 0.82, None]), "SAST": row([0.90, 0.91, 0.2])}
    said = conclusions.conclusions(done(rows))["paper"][0]
    assert "90.50 against 81.00 %, +9.50" in said


def test_the_page_has_every_method_and_difference(tmp_path):
    made = done(
        {"plain": row([0.8, 0.81]), "SAST": row([0.9, 0.92]), "weight decay": row([None, 0.5])}
    )
    made["regimes"]["paper"]["methods"]["plain"]["environment"] = {"device": "gpu", "cores": 8}
    page_lib.write_assessment(tmp_path, made)
    text = (tmp_path / "assessment.md").read_text()
    assert text.endswith(
        "Machine: device cpu.\n\nTrained on device gpu, cores 8 instead: plain (paper).\n"
    )
    for one in made["regimes"]["paper"]["methods"].values():
        one["environment"] = {"device": "gpu", "cores": 8}
    page_lib.write_assessment(tmp_path, made)
    everywhere = (tmp_path / "assessment.md").read_text()
    assert everywhere.endswith("Trained on device gpu, cores 8 instead: all methods (paper).\n")
    cells = [line.split("|") for line in text.splitlines() if line.startswith("| plain")]
    assert cells[0][3].strip() == "80.50 [74.15, 86.85]"
    assert "\n\n- With hard spikes" in text
    assert conclusions.summary(made).startswith("none: test split, means of 3 seeds")
    assert "**Left out**, as 15 minutes were over: weight noise." in text
    assert "**Note.** SAST: odd." in text and "Few people." in text
    assert "(plots/paper_corruptions.png)" in text and "| hard spikes" in text
    assert "(plots/paper.png)" in text and (tmp_path / "plots" / "paper.png").stat().st_size > 5000
    assert (
        "rho 0.4: 90.00 / 80.00; rho 0.8: - / -" in text
        and "at the end of what was tried" not in text
    )
    assert "### Tuned for clean accuracy instead" in text
    assert "(n=1)" in text  # pairs in which both are finite
    html = (tmp_path / "assessment.html").read_text()
    assert "data:image/png;base64," in html and "<table>" in html and "<li>With hard" in html
    stored = json.loads((tmp_path / "assessment.json").read_text())
    difference = stored["differences"]["paper"]["hard_accuracy"]["plain"]
    assert difference["n"] == 2
    assert difference["mean"] == pytest.approx(-0.105)
    assert stored["conclusions"]["paper"][0].startswith("With hard spikes")


@pytest.mark.parametrize("regime", methods.REGIMES)
def test_every_method_is_sound_and_one_of_a_kind(regime):
    config = config_file.get_config()
    seen, trials = [], set()
    for method in methods.METHODS.values():
        if regime not in method.values:
            continue
        made = command_module.untuned(config, regime, method)
        grid = methods.grid(config, made, regime, method)
        trials.add(math.prod(map(len, grid.values())))
        for values in itertools.product(*grid.values()):
            tuned = command_module._tuned(made, dict(zip(grid, values, strict=True)))
            build.recipe(tuned, (34, 34, 2), 10, 100)
            seen.append(tuned)
    assert len(seen) >= 12 * 6
    assert len(set(seen)) == len(seen)
    recipes = {1} if regime == "default" else set()  # nothing of which is tuned
    assert trials == {6} | recipes


def test_radii_and_rates_are_factors_of_the_regimes_own():
    config = config_file.get_config()
    config.dataset = "dvs_gesture"
    made = command_module.untuned(config, "paper", methods.METHODS["SAST"])
    found = methods.grid(config, made, "paper", methods.METHODS["SAST"])
    own = methods.REGIMES["paper"].configs["dvs_gesture"]()
    assert found["rho"] == (own.rho / 2, own.rho, 2 * own.rho)
    assert found["learning_rate"] == (2 * own.learning_rate, 4 * own.learning_rate)
    found = methods.grid(config, made, "paper", methods.METHODS["hard forward"])
    assert found["slope"] == (2.0, 4.0, 8.0)
    assert found["learning_rate"] == (4 * own.learning_rate, 8 * own.learning_rate)


def test_a_tuned_slope_takes_its_growth_along():
    config = config_file.get_config()
    made = command_module.untuned(config, "default", methods.METHODS["hard forward"])
    growth = made.slope_end / made.slope
    made = command_module._tuned(made, {"slope": 3.0, "learning_rate": 0.1})
    assert (made.slope, made.slope_end, made.learning_rate) == (3.0, 3.0 * growth, 0.1)


def test_a_rate_is_matched_before_it_is_accurate():
    runs = [
        {"validation_soft_rate": rate, "validation_hard_accuracy": hard}
        for rate, hard in ((0.2, 0.99), (0.11, 0.1), (0.105, 0.5), (0.15, 0.99))
    ]
    found = [command_module.scores(0.1, run, {"score": 0.3}) for run in runs]
    assert np.argsort([one["clean"] for one in found]).tolist() == [0, 3, 1, 2]
    assert [one["deployment"] for one in found] == [-0.1, 0.3, 0.3, pytest.approx(-0.05)]
    assert command_module.scores(None, runs[0], {"score": 0.3}) == {
        "deployment": 0.3,
        "clean": 0.99,
    }
    assert command_module.scores(0.1, {}, {}) == {"deployment": None, "clean": None}


def test_a_missed_rate_is_told():
    runs = [{"validation_soft_rate": rate} for rate in (0.1, None, 0.13)]
    assert measures.missed_rate(0.12, runs) == []
    said = "soft rate 11.50 % on validation, where SAST's is 15.00 %"
    assert measures.missed_rate(0.15, runs) == [said]


@pytest.mark.parametrize(
    "name, key, value", [("rate penalty", "rates.target", 0.3), ("random perturbation", "rho", 0.8)]
)
def test_what_is_taken_from_sast_is_in_trials_and_runs(tmp_path, monkeypatch, name, key, value):
    seen = []

    def searched(make, grid, workdir, score, measure, trained, further):
        settings_ = dict(zip(grid, (values[0] for values in grid.values()), strict=True))
        seen.append(make(settings_))
        return [{"settings": settings_, "scores": {by: [0.5] * 3 for by in measures.SCORES}}]

    def results_of(given, page):
        seen.append(given)
        return {"runs": []}, tmp_path

    monkeypatch.setattr(command_module.tuning, "searched", searched)
    monkeypatch.setattr(trainings.run, "results_of", results_of)
    for module, measure in (
        (command_module.landscape, "around"),
        (command_module.answers, "read"),
        (command_module.deployment, "following"),
    ):
        monkeypatch.setattr(module, measure, lambda workdir: [])
    config = config_file.get_config()
    sast = row([0.9], validation_soft_rate=0.3) | {"tuned": {"rho": 0.8, "learning_rate": 1.0}}
    made = command_module._assess(config, "paper", tmp_path, IN_TURN, name, {"SAST": sast})
    trial, final = seen  # both scores choose the same, which is trained once
    assert made["taken"] == {key: value} and "clean" not in made
    for config_ in (trial, final):
        assert workdirs.flat(config_.as_dict())[key] == value
    assert (trial.seed, trial.sweep.seeds) == (10, 3)  # other seeds choose
    assert (final.seed, final.sweep.seeds) == (0, 10)
    again = command_module._timed(config, "paper", name, made)
    assert (again.rates.target, again.rho) == (final.rates.target, final.rho)


def test_each_score_has_runs_of_its_own(tmp_path, monkeypatch):
    trials = [
        {"settings": {"learning_rate": rate}, "scores": {"deployment": [d] * 3, "clean": [c] * 3}}
        for rate, d, c in ((1e-3, 0.9, 0.6), (2e-3, 0.8, 0.7))
    ]
    seen = []
    monkeypatch.setattr(command_module.tuning, "searched", lambda *_: trials)
    monkeypatch.setattr(
        command_module,
        "_trained",
        lambda final, place, trained: (
            seen.append((final.learning_rate, place.name, final.sweep.seeds))
            or {"runs": [], "remarks": []}
        ),
    )
    made = command_module._assess(config_file.get_config(), "paper", tmp_path, IN_TURN, "plain", {})
    assert seen == [(1e-3, "deployment", 10), (2e-3, "clean", 5)]
    assert made["tuned"] == {"learning_rate": 1e-3}
    assert made["clean"]["tuned"] == {"learning_rate": 2e-3}


def test_a_method_that_diverges_is_a_row_without_numbers(tmp_path, monkeypatch):
    trials = [{"settings": {"rho": 1.0}, "scores": {key: [None, 0.5] for key in measures.SCORES}}]
    monkeypatch.setattr(command_module.tuning, "searched", lambda *_: trials)
    config = config_file.get_config()
    config.seeds = 5
    lost = command_module._assess(config, "paper", tmp_path, IN_TURN, "plain", {})
    assert lost["remarks"] == ["training diverges for everything that was tried"]
    assert lost["trials"] == trials
    lost |= {"time": [1, 1, 1]}
    rows = {"plain": lost, "SAST": row([0.9] * 5, gaps=[0.1] * 5)}
    assert "no finite runs" in conclusions.conclusions(done(rows))["paper"][0]
    page_lib.write_assessment(tmp_path, done(rows))
    text = (tmp_path / "assessment.md").read_text()
    assert "**Note.** plain: training diverges for everything that was tried" in text
    penalty = command_module._assess(
        config, "paper", tmp_path, IN_TURN, "rate penalty", {"SAST": lost}
    )
    assert penalty["remarks"] == ["no run of SAST is finite"]


def test_answers_are_kept_by_seed_and_condition(tmp_path):
    right = [{"as trained hard": np.ones(4), "INT8 integer": np.zeros(4)}, {}]
    right[0]["as trained soft"] = np.ones(4)  # of no planned comparison
    measures.keep_answers(tmp_path / "a.npz", right)
    with np.load(tmp_path / "a.npz") as kept:
        assert set(kept) == {"as trained hard", "INT8 integer"}
        np.testing.assert_array_equal(kept["as trained hard"], [np.ones(4), np.full(4, np.nan)])


def test_the_theory_aligned_method_is_the_theory_aligned_config():
    config = config_file.get_config()
    made = command_module.untuned(config, "default", methods.METHODS["theory-aligned"])
    expected = theory_aligned.get_config()
    deformed = {f"data.{key}": expected.data[key] for key in ("shift", "rotation", "zoom")}
    parts = ("data", "hardware", "corruptions")  # which the assessment sets for all methods
    same = {part: getattr(made, part) for part in parts} | {"resume": True}
    assert made == dataclasses.replace(settings.read(expected), **same).changed(deformed)


def test_the_default_is_the_recipe_that_was_measured():
    config = config_file.get_config()
    config.data.path = "data/nmnist"
    method = methods.METHODS["chip with momentum-SAM twice as long"]
    made = command_module.untuned(config, "default", method)
    measured, default = (
        workdirs.flat(given.as_dict()) for given in (made, settings.read(nmnist.get_config()))
    )
    differing = {key for key, value in measured.items() if value != default[key]}
    assert differing == {
        *("data.validation", "resume"),  # and what is measured
        *("hardware.weight_bits", "hardware.draws", "corruptions.kinds"),
        "sam.method",  # the same up to rounding, with Adam's own momentum
    }
    assert (measured["sam.method"], default["sam.method"]) == ("momentum", "shared_momentum")


def test_every_method_can_be_chosen_by_its_name():
    config = config_file.get_config()
    for name in methods.METHODS:
        config.methods = f"plain,SAST,{name}"
        assert name in command_module.chosen(config)[1]


def test_a_folder_of_something_else_is_refused(tmp_path):
    config = config_file.get_config()
    config.workdir = str(tmp_path / "a")
    assert command_module._workdir(config, "x") == command_module._workdir(config, "x")
    with pytest.raises(InputError, match="a: holds a run on other recordings"):
        command_module._workdir(config, "other recordings")
    config.epochs = 3
    with pytest.raises(InputError, match=r"holds another run \(epochs is 12 there and 3 here\)"):
        command_module._workdir(config, "x")
    config.epochs = 12
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / ".config.json.123").write_text("{")  # cut off while it was written
    config.workdir = str(tmp_path / "killed")
    assert command_module._workdir(config, "x").name == "killed"
    config.workdir = str(tmp_path / "a")
    (tmp_path / "a" / "config.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        command_module._workdir(config, "x")
    config.workdir = str(tmp_path)
    with pytest.raises(InputError, match="not empty"):
        command_module._workdir(config, "x")


def test_a_mistake_in_the_command_is_one_line():
    code, _, err = command("assessment", "--config.severities=9,", "--config.data.source=simulated")
    assert code == 2
    assert err.startswith("error: config.severities=(9,) must be") and err.count("\n") == 1


def test_an_entry_keeps_what_the_tables_show():
    measured = {key: 0.25 for key in measures.MEASURES} | {"seed": 3}
    measured["hardware"] = [
        {"kind": "weight_bits", "level": 4, "integer_accuracy": 0.9, "hard_accuracy": 0.8},
        {"kind": "weights", "level": 0.6, "integer_accuracy": None, "hard_accuracy": 0.7},
    ]
    measured["corruptions"] = [{"condition": "noise 3", "hard_accuracy": 0.6}]
    around = {"eigenvalue": 4.0, "rise": float("nan"), "residual": 1.0}
    measured["hardware"][0]["synops"] = 700.0
    kept = measures.entry(measured, around, {"following, INT8 integer": np.array([1, 0, 0, 1])})
    assert (kept["INT4"], kept["mismatch_0.6"], kept["eigenvalue"]) == (0.9, 0.7, 4.0)
    assert (kept["INT4_synops"], kept["residual"]) == (700.0, 1.0)
    assert kept["rise"] is None
    assert kept["corruptions"] == {"noise 3": 0.6}
    assert kept["following"] == {"following, INT8 integer": 0.5}
    more = {"corruptions", "following", "residual", "INT4_synops"}
    assert set(kept) == {*measures.MEASURES, *measures.KEPT, *more}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"methods": "plain,SAST,magic"}, "config.methods: 'magic' is none of plain"),
        ({"methods": "plain"}, "config.methods lacks 'SAST'"),
        ({"regimes": "best"}, "config.regimes: 'best' is none of paper, default"),
        ({"dataset": "cifar"}, "config.dataset='cifar' must be one of nmnist"),
        ({"seeds": 1}, "config.seeds=1 must be a whole number from 2"),
        ({"severities": (3, 3)}, r"config.severities=\(3, 3\) must be free of repetitions"),
        ({"data.validation": 0.0}, "leaves nothing to tune on"),
    ],
)
def test_a_mistake_is_named(changes, message):
    config = config_file.get_config()
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=message):
        command_module.chosen(config)


def test_a_config_of_something_else_is_refused():
    with pytest.raises(InputError, match=r"adversary is not known; .*configs\.assessment\.get"):
        command_module.chosen(nmnist_robust.get_config())


@pytest.fixture(scope="module")
def assessed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assessment")
    nmnist_files.dataset(folder / "data", per_class=8)
    config = config_file.get_config("quick")
    config.update_from_flattened_dict(
        {"methods": "plain,SAST,rate penalty", "epochs": 1, "rounds": 1, "draws": 2}
    )
    config.data.update(source="folder", path=str(folder / "data"), train_limit=0)
    return folder, config, assess(config, folder)


def assess(config, folder):
    made = command_module.untuned(config, "default", methods.METHODS["SAST"])
    source = made.data.load()
    return command_module._all(config, *command_module.chosen(config), source, folder / "run")


@pytest.mark.slow
def test_every_method_is_tuned_and_measured_alike(assessed):
    folder, _, found = assessed
    rows = found["regimes"]["default"]["methods"]
    assert list(rows) == ["plain", "SAST", "rate penalty"]
    for row_ in rows.values():
        assert len(row_["trials"]) == 6
        assert [run["seed"] for run in row_["runs"]] == [0, 1]
        missing = [k for run in row_["runs"] for k, v in run.items() if v is None]
        assert not missing
        assert len(row_["runs"][0]["corruptions"]) == len(KINDS)
        assert all(0 <= share <= 1 for share in row_["runs"][0]["following"].values())
        assert "following, event drop 3 integer" in row_["runs"][0]["following"]
        assert len(row_["time"]) == 3
    assert rows["SAST"]["gradients"] == 2
    final = folder / "run" / "default" / "rate_penalty" / "deployment" / "config.json"
    rates = [run["validation_soft_rate"] for run in rows["SAST"]["runs"]]
    target = json.loads(final.read_text())["rates"]["target"]
    assert target == pytest.approx(np.mean(rates), abs=1e-4)
    (one, *_) = (folder / "run" / "default" / "SAST" / "trials").rglob("results.json")
    trials = json.loads(one.read_text())
    assert {run["recordings"] for run in trials["runs"]} == {80}
    assert trials["runs"][0]["hardware"] == []


@pytest.mark.slow
def test_an_interrupted_assessment_ends_with_the_same_numbers(assessed):
    folder, config, found = assessed
    of_it = folder / "run" / "default"
    shutil.rmtree(of_it / "rate_penalty" / "deployment")
    (of_it / "SAST" / "deployment" / "landscape.json").unlink()
    next((of_it / "SAST" / "trials").rglob("deployment.json")).unlink()
    rows = json.loads((of_it / "rows.json").read_text())
    (of_it / "rows.json").write_text(json.dumps({"plain": rows["plain"]}))
    again = assess(config, folder)
    assert again["regimes"] == found["regimes"]
    assert (of_it / "rate_penalty" / "deployment" / "results.json").exists()
    assert (of_it / "SAST" / "deployment" / "landscape.json").exists()


@pytest.mark.slow
def test_gestures_are_assessed_on_the_same_path(tmp_path, monkeypatch):
    monkeypatch.setattr(command_module.landscape, "RECORDINGS", 8)
    gesture_writing.dataset(tmp_path / "data")
    config = config_file.get_config("quick")
    config.update(dataset="dvs_gesture", methods="plain,SAST", epochs=1, rounds=1)
    config.data.update(source="auto", path=str(tmp_path / "data"), train_limit=0, validation=0.25)
    found = assess(config, tmp_path)
    rows = found["regimes"]["default"]["methods"]
    assert [len(row_["trials"]) for row_ in rows.values()] == [6, 6]
    missing = [k for row_ in rows.values() for one in row_["runs"] for k in one if one[k] is None]
    assert not missing
    page = (tmp_path / "run" / "assessment.md").read_text()
    assert "people" in page and "| SAST" in page


def corrupted(hard, rise, under, **kinds):
    """A row with these accuracies, the rise of its loss, and accuracies by kind of corruption."""
    made = row(hard, rise=rise)
    for run, value in zip(made["runs"], under, strict=True):
        run["mismatch_0.6"] = value
        run["corruptions"] = {f"{kind} {s}": acc for kind, acc in kinds.items() for s in (1, 3)}
    return made | {"tuned": {"learning_rate": 1e-3}}


def test_flatness_is_ranked_over_methods_that_share_the_loss():
    methods_ = {
        "plain": corrupted([0.9, 0.9], 1.0, [0.80, 0.82]),
        "SAST": corrupted([0.9, 0.9], 0.2, [0.88, 0.88]),
        "weight noise": corrupted([0.9, 0.92], 0.3, [0.88, 0.87]),
        "momentum-SAM": corrupted([0.9, 0.9], 0.5, [0.85, 0.84]),
        "hard forward": corrupted([0.9, 0.9], 9.0, [0.9, 0.9]),
    }
    methods_["other slope"] = methods_["plain"] | {"tuned": {"slope": 1.0}}
    shared = ["plain", "SAST", "weight noise", "momentum-SAM"]
    assert findings.sharing_the_loss(methods_) == shared
    found = findings.flatness(methods_)
    assert found["mismatch"][:2] == (4, pytest.approx(1.0))
    assert findings.flatness({name: methods_[name] for name in shared[:3]}) == {}


def test_corruptions_are_compared_by_kind():
    methods_ = {
        "plain": corrupted([0.9, 0.9, 0.9], 1.0, [0.8] * 3, noise=0.5, event_drop=0.7),
        "SAST": corrupted([0.9, 0.9, 0.9], 0.2, [0.8] * 3, noise=0.6, event_drop=0.4),
    }
    methods_["SAST"]["runs"][0]["corruptions"]["noise 3"] = 0.8
    found = findings.differences_by_kind(methods_)[("SAST", "plain")]
    mean, ends = found["event_drop"]
    assert (mean, *ends) == pytest.approx((-0.3, -0.3, -0.3))  # all seeds alike
    assert found["noise"][0] == pytest.approx((0.2 + 0.1 + 0.1) / 3)
    assert found["mean"][0] == pytest.approx((found["noise"][0] - 0.3) / 2)
    assert "-30.0 [-30.0, -30.0]" in findings.told(methods_)


def test_ranks_are_means_over_the_columns_and_what_is_better_is_tested():
    def one(shift, **columns):
        made = row([0.9, 0.91, 0.92], **dict.fromkeys(measures.DEPLOYED, 0.8 + shift))
        for i, run in enumerate(made["runs"]):
            run |= {"hard_accuracy": 0.9 + shift + 0.01 * i}
            run |= {key: value + 0.001 * i for key, value in columns.items()}
        return made

    few = {"plain": one(0.0), "SAST": one(-0.01), "chip": one(0.02, INT2=0.7)}
    few["plain"]["runs"][1]["INT2"] += 0.004  # seeds that scatter, so that there is a test
    assert decision.mean_ranks(few) == {"chip": 8 / 6, "plain": 11 / 6, "SAST": 3 - 1 / 6}
    assert decision.shown_better(few, "chip") == {"INT2": ["plain", "SAST"]}
    assert decision.standing(few).endswith("Shown better than chip: INT2 % plain, SAST.")
    few["chip"] = one(0.02, INT2=0.9)
    assert decision.standing(few).endswith("Shown better than chip: no method in any of them.")
    lost = {"plain": few["plain"], "SAST": row([None, None, None])}
    assert decision.standing(lost) == ""


def test_the_decision_names_the_best_for_each_need():
    methods_ = {
        "plain": corrupted([0.90, 0.91], 1.0, [0.80, 0.82], **dict.fromkeys(decision.LOST, 0.5)),
        "SAST": corrupted([0.92, 0.93], 0.2, [0.70, 0.70], **dict.fromkeys(decision.LOST, 0.4)),
    }
    for name, row_ in methods_.items():
        for run in row_["runs"]:
            run.pop("INT2")
            run["INT4"] = {"plain": 0.8, "SAST": 0.9}[name]
    methods_["SAST"] |= {"tuned": {"rho": 0.05, "learning_rate": 5e-4}}
    found = {choice.need: choice for choice in decision.choices(methods_)}
    assert found["hard spikes"].method == "SAST"
    assert found["hard spikes"][2:] == (pytest.approx(0.925), found["hard spikes"].ci95, 0.905)
    assert found["devices that differ by 0.6"].method == "plain"
    assert found["events that are lost"].method == "plain"
    unknown = {"weights of 2 bits", "events that are added"} | {decision.NEEDS[0].title}
    assert not unknown & found.keys()  # of which something is not measured
    made = decision.command_of(CONFIG, "default", "SAST", methods_["SAST"])
    assert made.split() == [
        *("python", "-m", "experiments.nmnist", "--config=nmnist_robust", "--config.epochs=12"),
        *("--config.learning_rate=0.0005", "--config.rho=0.05", "--config.sam.ascent_fraction=1"),
    ]
    assert f"| `{made}`" in decision.table(CONFIG, "default", methods_)


BASE_OF_GESTURES = """
from experiments.configs import dvs_gesture

def get_config():
    config = dvs_gesture.get_config()
    config.network.hidden = (32,)
    return config
"""


@pytest.mark.parametrize("name", ["plain", "hard forward", "momentum-SAM", "rate penalty", "chip"])
@pytest.mark.parametrize(
    "dataset, regime, based",
    [("nmnist", "default", 0), ("recordings", "default", 0), ("recordings", "default", 1),
     ("nmnist", "paper", 0), ("dvs_gesture", "default", 1)],
)  # fmt: skip
def test_a_command_of_the_decision_trains_what_the_row_was(tmp_path, name, dataset, regime, based):
    method = methods.METHODS[name]
    if regime not in method.values:
        pytest.skip("not of this regime")
    file = tmp_path / "my base.py"
    file.write_text(BASE_OF_GESTURES)
    config = config_file.get_config()
    config.update(dataset=dataset, base=str(file) if based else "", epochs=0)
    config.data.path = "a folder"
    own = {"tuned": {"learning_rate": 3e-4, method.key: 3e-4}, "taken": {}}
    if method.taken:
        own["taken"] = {method.taken: 0.07}
    words = shlex.split(decision.command_of(config.to_dict(), regime, name, own))
    assert words[:3] == ["python", "-m", f"experiments.{dataset}"]
    begins = words[3].removeprefix("--config=") if words[3].startswith("--config=") else dataset
    made = workdirs.flat(cli.load_config(begins).to_dict())
    for word in words[3:]:
        key, _, value = word.removeprefix("--config.").partition("=")
        if word.startswith("--config."):
            assert key in made or key.startswith("data.")
            made[key] = value if isinstance(made.get(key, ""), str) else ast.literal_eval(value)
    wanted = command_module._timed(config, regime, name, own).as_dict()
    wanted = {k: v for k, v in workdirs.flat(wanted).items() if k in made}
    ours = ("data.validation", "data.source", "resume", "workdir", "corruptions.kinds")
    for key in [*ours, "hardware.weight_bits", "hardware.draws"]:
        made.pop(key, None)
        wanted.pop(key, None)
    assert {k: tuple(v) if isinstance(v, list) else v for k, v in made.items()} == wanted


def in_time(config, tmp_path, monkeypatch, seconds):
    """Rows within a budget, where each method takes so many seconds a unit of work."""
    clock = [0.0]
    monkeypatch.setattr(command_module.time, "monotonic", lambda: clock[0])

    def make(name, rows):
        method = methods.METHODS[name]
        work = method.longer * (2 if name == "SAST" else 1)
        clock[0] += seconds * work
        return {"tuned": {}, "took": seconds * work}

    _, names = command_module.chosen(config)
    abouts = {
        name: command_module._about(config, "default", methods.METHODS[name]) for name in names
    }
    return command_module._in_time(config, "default", tmp_path / "rows.json", abouts, make)


def test_methods_that_would_not_end_in_time_are_left_out_and_named(tmp_path, monkeypatch):
    config = config_file.get_config("own")
    config.methods = "plain,plain twice as long,SAST,hard forward,weight noise"
    config.minutes = 8
    rows, left_out = in_time(config, tmp_path, monkeypatch, 60)  # 1, 2, 2, 1, 1 minutes
    assert list(rows) == ["plain", "plain twice as long", "SAST", "hard forward", "weight noise"]
    assert left_out == []
    (tmp_path / "rows.json").unlink()
    config.minutes = 4
    rows, left_out = in_time(config, tmp_path, monkeypatch, 60)
    assert list(rows) == ["plain", "SAST", "hard forward"]
    assert left_out == ["plain twice as long", "weight noise"]
    rows, left_out = in_time(config, tmp_path, monkeypatch, 90)  # the same command goes on
    assert [row["took"] for row in rows.values()] == [60, 180, 120, 60]
    assert left_out == ["weight noise"]


def test_a_budget_too_short_for_both_that_are_compared_is_told(tmp_path, monkeypatch):
    config = config_file.get_config("own")
    config.minutes = 2
    told = r"config.minutes=2: plain alone took 1.0, and SAST would take 2.0 more; give it"
    with pytest.raises(InputError, match=told):
        in_time(config, tmp_path, monkeypatch, 60)


BASE = """
from experiments.configs import nmnist_robust
def get_config():
    config = nmnist_robust.get_config()
    config.network.hidden = (32,)
    config.rho = 0.0
    config.data.time_bins = 4
    return config
"""


def test_a_config_of_ones_own_is_the_base_of_all_methods(tmp_path):
    (tmp_path / "mine.py").write_text(BASE)
    config = config_file.get_config()
    config.base, config.regimes, config.epochs = str(tmp_path / "mine.py"), "default", 0
    _, names = command_module.chosen(config)
    for name in names:
        if "default" in methods.METHODS[name].values:
            made = command_module.untuned(config, "default", methods.METHODS[name])
            assert (made.network.hidden, made.data.time_bins) == ((32,), 4)
            assert made.epochs == round(
                methods.METHODS[name].longer * nmnist_robust.get_config().epochs
            )
    grid = methods.grid(config, made, "default", methods.METHODS["SAST"])
    assert grid["rho"] == (0.05, 0.1, 0.2)  # factors of the regime's, as its own is 0
    config.dataset = "recordings"
    made = command_module.untuned(config, "default", methods.METHODS["plain"])
    assert (made.network.hidden, made.data.name, made.data.time_bins) == ((32,), "recordings", 10)
    row_ = {"tuned": {"learning_rate": 2e-3}, "taken": {}}
    made = decision.command_of(config.to_dict(), "default", "plain", row_)
    assert made.startswith("python -m experiments.recordings --config.")
    assert "--config.learning_rate=0.002" in made and "'--config.network.hidden=(32,)'" in made


@pytest.mark.parametrize(
    "text, told",
    [
        ("x = 1", r"no get_config\(\)"),
        ("def get_config(): return 3", "must return a ConfigDict"),
        ("def get_config(): return 1 / 0", "ZeroDivisionError: division by zero"),
        (None, "no such file"),
    ],
)
def test_a_base_that_is_no_config_is_named(tmp_path, text, told):
    if text is not None:
        (tmp_path / "odd.py").write_text(text)
    config = config_file.get_config()
    config.base = str(tmp_path / "odd.py")
    config.regimes = "default"
    with pytest.raises(InputError, match=rf"odd\.py: .*{told}"):
        command_module.untuned(config, "default", methods.METHODS["plain"])
    config.regimes = "all"
    with pytest.raises(InputError, match=r"add --config\.regimes=default"):
        command_module.chosen(config)
