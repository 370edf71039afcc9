"""The main job in one process on a few recordings: files, sweeps, validation, divergence."""

import json
import random
import re

import jax
import nmnist_files
import numpy as np
import pytest
from jobs import settings, train

from sast_jax import files
from sast_jax.data.sets import selection
from sast_jax.errors import InputError
from sast_jax.hardware import integers
from sast_jax.runs import answers, build, run, workdirs
from sast_jax.runs.checkpoints import Checkpoints
from sast_jax.training import stepping


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    nmnist_files.dataset(folder / "data", per_class=8)
    config = settings(
        folder,
        **{"sweep.rho": (0.0, 0.3), "sweep.seeds": 2, "epochs": 8, "data.validation": 0.2},
        **{"hardware.weight_bits": (8,), "hardware.calibration": 10},
        **{"corruptions.kinds": "event_drop,noise", "corruptions.severities": (2, 5)},
    )
    return folder, config, train(config)


def test_the_answers_that_are_kept_are_those_of_the_results(swept):
    folder, _, done = swept
    kept = answers.read(folder / "run")
    assert len(kept) == len(done["runs"])
    for right, entry in zip(kept, done["runs"], strict=True):
        for network in ("soft", "hard"):
            found = right[f"as trained {network}"]
            assert found.shape == (entry["recordings"],)
            assert found.mean() == pytest.approx(entry[f"{network}_accuracy"])
        rows = [*entry["hardware"], *entry["corruptions"]]
        assert len(rows) == 5
        for row in rows:
            for network in ("soft", "hard", "integer"):
                if row[f"{network}_accuracy"] is not None:
                    share = right[f"{row['condition']} {network}"].mean()
                    assert share == pytest.approx(row[f"{network}_accuracy"])
    (folder / "run" / "answers.npz").rename(folder / "answers.npz")
    with pytest.raises(InputError, match=r"answers\.npz: not there or damaged"):
        answers.read(folder / "run")
    (folder / "answers.npz").rename(folder / "run" / "answers.npz")


def test_results_have_the_keys_that_scripts_rely_on(swept):
    folder, config, done = swept
    written = json.loads((folder / "run" / "results.json").read_text())
    assert written == json.loads(json.dumps(done))
    assert written["config"] == json.loads(json.dumps(config.as_dict()))
    members = [(entry["rho"], entry["seed"]) for entry in written["runs"]]
    assert members == [(0.0, 0), (0.0, 1), (0.3, 0), (0.3, 1)]
    for entry in written["runs"]:
        for key in ("soft_accuracy", "hard_accuracy", "soft_rate", "hard_rate"):
            assert 0 <= entry[key] <= 1
        assert entry["transfer_gap"] == entry["soft_accuracy"] - entry["hard_accuracy"]
        assert entry["train_seconds"] > 0
        assert entry["soft_accuracy"] > 0.8  # the digits are told apart by their rows
        assert entry["recordings"] == 80
        assert entry["validation_recordings"] == 16
        assert 0.5 < entry["validation_hard_accuracy"] <= 1
        assert len(entry["threshold_factors"]) == 2
        assert 0.5 < entry["calibrated_hard_accuracy"] <= 1
        assert entry["hard_nll_scaled"] < 1.1 * entry["hard_nll"]
    assert written["train_recordings"] == 64
    summary = {row["rho"]: row for row in written["summary"]}
    hard = [entry["hard_accuracy"] for entry in written["runs"][2:]]
    assert summary[0.3]["n"] == 2
    assert summary[0.3]["hard_accuracy_mean"] == pytest.approx(np.mean(hard))
    assert len(summary[0.3]["hard_accuracy_ci95"]) == 2


def test_every_epoch_and_run_is_a_line_of_metrics(swept):
    folder, _, _ = swept
    lines = [json.loads(s) for s in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["run"]) for line in lines] == [
        (epoch, member) for epoch in range(1, 9) for member in range(4)
    ]
    assert {line["split"] for line in lines} == {"validation"}
    assert lines[-4]["loss"] < lines[0]["loss"]
    assert {"seed", "rho", "soft_accuracy", "hard_accuracy", "epoch_seconds"} <= set(lines[0])


def test_conditions_of_hardware_are_in_results_and_report(swept):
    folder, _, done = swept
    expected = [("weight_bits", 8)]
    for run_ in done["runs"]:
        for key in ("hardware", "validation_hardware"):
            assert [(row["kind"], row["level"]) for row in run_[key]] == expected
        acs = run_["operations"]["effective_acs"]
        assert run_["synops"] == acs > 0
    for row in done["summary"]:
        members = [r for r in done["runs"] if r["rho"] == row["rho"]]
        for i, trial in enumerate(row["hardware"]):
            values = [r["hardware"][i]["hard_accuracy"] for r in members]
            np.testing.assert_allclose(trial["hard_accuracy_mean"], np.mean(values))
            assert trial["n"] == 2
        np.testing.assert_allclose(row["synops_mean"], np.mean([r["synops"] for r in members]))
    text = (folder / "run" / "report.md").read_text()
    (leak,) = integers.fraction(0.9, 8)
    said = f"the decay 0.9 is {leak.factor}/{2**leak.shift})"
    for words in ("| INT8 ", "membrane updates", "nJ in integers", said):
        assert words in text


def test_corrupted_recordings_are_in_results_and_report(swept):
    folder, _, done = swept
    expected = [("event_drop", 2), ("event_drop", 5), ("noise", 2), ("noise", 5)]
    for entry in done["runs"]:
        assert [(row["kind"], row["level"]) for row in entry["corruptions"]] == expected
        for network in ("soft", "hard", "integer"):
            values = [row[f"{network}_accuracy"] for row in entry["corruptions"]]
            assert entry[f"{network}_corruption_accuracy"] == pytest.approx(np.mean(values))
        assert entry["hard_corruption_accuracy"] < entry["hard_accuracy"]
    for row in done["summary"]:
        members = [r["hard_corruption_accuracy"] for r in done["runs"] if r["rho"] == row["rho"]]
        assert row["hard_corruption_accuracy_mean"] == pytest.approx(np.mean(members))
        assert [trial["n"] for trial in row["corruptions"]] == [2] * 4
    text = (folder / "run" / "report.md").read_text()
    assert "severity 2" in text and "(plots/corruptions.png)" in text


def test_the_report_stands_alone_and_shows_every_plot(swept):
    folder, _, _ = swept
    html = (folder / "run" / "report.html").read_text()
    sources = re.findall(r'src="([^"]{30})', html)
    assert len(sources) == 9
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    text = (folder / "run" / "report.md").read_text()
    for plot in re.findall(r"\(plots/(\w+\.png)\)", text):
        assert (folder / "run" / "plots" / plot).stat().st_size > 5000
    assert "; trained on 64. 16 more of the training split are held out for validation." in text
    assert "hard % validation" in text and "hard %, calibrated" in text
    assert "with temperature" in text
    assert "80 test recordings" in text
    assert "simulated" not in text


def test_a_finished_run_is_reported_again_not_trained(swept, capsys):
    folder, config, done = swept
    before = {p: p.stat().st_mtime_ns for p in (folder / "run").rglob("*") if p.is_file()}
    again = train(config)
    assert json.loads(json.dumps(again)) == json.loads(json.dumps(done))
    assert {p: p.stat().st_mtime_ns for p in (folder / "run").rglob("*") if p.is_file()} == before
    assert "is finished" in capsys.readouterr().out


def test_results_of_a_run_that_were_damaged_are_named(tmp_path):
    nmnist_files.dataset(tmp_path / "data")
    given = settings(tmp_path, epochs=1, brief=True)
    file, done = tmp_path / "run" / "results.json", train(given)
    whole, rng = file.read_text(), random.Random(1)
    keys = re.findall(r'"\w+": ', whole)
    read = refused = 0
    for number in range(60):
        key, other = rng.choice(keys), rng.choice(('"x": ', '"seed": [],', '"hard_rates": 3,', ""))
        file.write_text(whole.replace(key, other + key * (other != '"x": '), rng.choice((1, -1))))
        try:
            train(given)
            read += 1
        except InputError as error:
            assert str(file) in str(error), number
            refused += 1
    assert read and refused
    for broken in ({"runs": [{"seed": 0}]}, {"runs": [3]}, {"summary": [1]}):
        file.write_text(json.dumps(done | broken))
        with pytest.raises(InputError, match=r"results\.json: damaged, or of another version"):
            train(given)


def test_a_run_is_calibrated_on_what_it_holds_out(tmp_path, monkeypatch):
    nmnist_files.dataset(tmp_path / "data", per_class=4)
    config = settings(tmp_path, **{"data.validation": 0.2, "epochs": 1})
    known, given = run.calibration.after_training, []
    spy = lambda *a: given.append(a[-2:]) or known(*a)  # noqa: E731
    monkeypatch.setattr(run.calibration, "after_training", spy)
    train(config)
    source = config.data.load()
    _, held_out = selection.hold_out(source.train, 0.2, config.data.seed)
    ((chooses, measures),) = given
    np.testing.assert_array_equal(chooses.packed_NxTxP, held_out.packed_NxTxP)
    np.testing.assert_array_equal(measures.packed_NxTxP, source.test.packed_NxTxP)


def test_validation_recordings_are_not_trained_on(swept):
    _, config, _ = swept
    source = config.data.load()
    train_set, held_out = selection.hold_out(source.train, 0.2, config.data.seed)
    numbers = [set(zip(f.labels_N, f.numbers_N, strict=True)) for f in (train_set, held_out)]
    assert not numbers[0] & numbers[1]
    assert [len(n) for n in numbers] == [64, 16]
    other, _ = selection.hold_out(source.train, 0.2, 1)
    assert (other.numbers_N != train_set.numbers_N).any()


def test_simulated_recordings_are_called_so(tmp_path, capsys):
    config = settings(
        tmp_path,
        **{
            "data.source": "simulated",
            "data.train_limit": 60,
            "data.test_limit": 30,
            "epochs": 1,
        },
    )
    train(config)
    assert capsys.readouterr().out.startswith("Data: simulated N-MNIST, no real recordings (60")
    text = (tmp_path / "run" / "report.md").read_text()
    assert "Data: simulated N-MNIST" in text
    assert "are not N-MNIST's" in text
    assert "fall" in text


def test_a_loss_that_is_no_number_names_the_last_good_checkpoint(tmp_path):
    nmnist_files.dataset(tmp_path / "data")
    said = r"no longer finite in epoch 1; lower learning_rate from 1e\+38( or rho .*)?\. .*/0$"
    with pytest.raises(InputError, match=said):
        train(settings(tmp_path, learning_rate=1e38))
    kept = Checkpoints(tmp_path / "run" / "checkpoints")
    config = settings(tmp_path, learning_rate=1e38)
    made = build.recipe(config, (34, 34, 2), 10, 40)
    like = stepping.initialise(made, build.hyperparameters(config))
    _, state = kept.restore(lambda record: like)
    kept.close()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


def test_a_finished_run_is_shown_where_nothing_can_be_locked_or_written(tmp_path, monkeypatch):
    nmnist_files.dataset(tmp_path / "data")
    given = settings(tmp_path, epochs=1)
    done = train(given)

    def refuse(*_, **__):
        raise InputError("cannot be locked")

    monkeypatch.setattr(workdirs, "held", refuse)
    monkeypatch.setattr(files, "write", refuse)
    assert train(given) == json.loads(json.dumps(done))
    (tmp_path / "run" / "report.html").unlink()
    with pytest.raises(InputError, match="cannot be locked"):
        train(given)


def test_a_brief_run_measures_the_swap_alone_and_the_rest_when_asked(tmp_path, capsys):
    nmnist_files.dataset(tmp_path / "data")
    whole = {"hardware.weight_bits": (8,), "corruptions.kinds": "noise", "epochs": 1}
    given = settings(tmp_path, **whole, brief=True)
    (run_,) = train(given)["runs"]
    assert (run_["hardware"], run_["corruptions"]) == ([], [])
    assert not (tmp_path / "run" / "report.html").exists()
    said = capsys.readouterr()
    assert "report:" not in said.out and "test split, with hardware" not in said.err
    (again,) = train(given.changed({"brief": False}))["runs"]
    assert [row["condition"] for row in again["hardware"]] == ["INT8"]
    assert len(again["corruptions"]) and again["hard_accuracy"] == run_["hard_accuracy"]
    assert (tmp_path / "run" / "report.html").exists()
    said = capsys.readouterr()
    assert "test split, with hardware" in said.err and "report:" in said.out


def test_one_diverged_member_does_not_end_the_sweep(tmp_path):
    nmnist_files.dataset(tmp_path / "data")
    done = train(settings(tmp_path, **{"sweep.learning_rate": (1e38, 1e-2)}))
    assert [entry["diverged"] for entry in done["runs"]] == [True, False]
    assert [entry["hard_accuracy"] is None for entry in done["runs"]] == [True, False]
    assert [row["n"] for row in done["summary"]] == [0, 1]
    json.dumps(done, allow_nan=False)
    assert "diverged" in (tmp_path / "run" / "report.md").read_text()


def test_members_without_sam_are_neither_trained_nor_timed_with_it(swept, tmp_path):
    _, config, done = swept
    alone = {"rho": 0.3, "seed": 1, "sweep.rho": (), "sweep.seeds": 1}
    (single,) = train(config.changed(alone | {"workdir": str(tmp_path / "run")}))["runs"]
    (member,) = [r for r in done["runs"] if (r["rho"], r["seed"]) == (0.3, 1)]
    assert {k: v for k, v in single.items() if k != "train_seconds"} == {
        k: v for k, v in member.items() if k != "train_seconds"
    }
    seconds = {r["rho"]: r["train_seconds"] for r in done["runs"]}
    assert seconds[0.0] != seconds[0.3]


SLOWER_OPTIONS = [
    {"schedule": "constant", "sam.start": 0.5, "sam.ascent_batch": "independent"},
    {"sam.group_size": 4, "sam.ascent_fraction": 1.0, "lif.reset": "zero"},
]


@pytest.mark.parametrize(
    "changes",
    [
        {"network.channels": (3, 4), "network.hidden": (), "readout": "current", "data.shift": 1},
        {"forward": "hard", "spike": "arctan", "sam.adaptive": True, "average.start": 0.5},
        *(pytest.param(changes, marks=pytest.mark.slow) for changes in SLOWER_OPTIONS),
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_option_goes_from_the_config_to_the_report(tmp_path, changes):
    nmnist_files.dataset(tmp_path / "data")
    (entry,) = train(settings(tmp_path, **changes, **{"epochs": 2}))["runs"]
    assert 0 <= entry["hard_accuracy"] <= 1
    assert len(entry["hard_rates"]) == (3 if "network.channels" in changes else 2)
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize("neuron", ["synaptic", "adaptive"])
def test_a_neuron_without_an_integer_form_is_a_note_and_no_failure(tmp_path, neuron, capsys):
    nmnist_files.dataset(tmp_path / "data")
    changes = {"lif.neuron": neuron, "hardware.weight_bits": (8, 4), "corruptions.kinds": "noise"}
    (entry,) = train(settings(tmp_path, **changes, **{"epochs": 1}))["runs"]
    for row in [*entry["hardware"], *entry["corruptions"]]:
        assert row["unsupported"] is True and row["integer_accuracy"] is None
        assert 0 <= row["hard_accuracy"] <= 1
    said = f"no integer network: the neuron {neuron.capitalize()} has no integer form"
    assert capsys.readouterr().out.count(f"note: {said}") == 1
    assert (tmp_path / "run" / "report.md").read_text().count(said) == 1


def test_a_validation_split_too_small_is_refused(tmp_path):
    nmnist_files.dataset(tmp_path / "data")
    with pytest.raises(InputError, match=r"validation=0.001 holds out 0 of 40"):
        train(settings(tmp_path, **{"data.validation": 0.001}))


def test_nothing_is_written_before_the_recordings_are_known_to_be_good(tmp_path):
    nmnist_files.dataset(tmp_path / "data", splits=("test",))
    with pytest.raises(InputError, match="no train split"):
        train(settings(tmp_path))
    nmnist_files.dataset(tmp_path / "data", splits=("train", "test"), per_class=1)
    with pytest.raises(InputError, match=r"config.batch_size=11 is larger .* 10 recordings"):
        train(settings(tmp_path, batch_size=11))
    assert not (tmp_path / "run").exists()
