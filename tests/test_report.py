"""A page that holds where runs diverged, epochs are few and classes are missing."""

import numpy as np
import pytest
import test_results

from sast_jax import report, results


def entry(**changes):
    confusion = np.diag([3, 0, 4]).tolist()
    more = {"soft_confusion": confusion, "hard_confusion": confusion, "recordings": 7}
    more |= {"soft_rates": [0.1, 0.2], "hard_rates": [0.1, 0.3]}
    return test_results.run(0.4, 0, 0.8, **more) | changes


def write(folder, runs, curves):
    about = {
        "experiment": "nmnist",
        "data": "made up",
        "train_recordings": 9,
        "environment": {"device": "cpu"},
    }
    example = report.Example(
        label=2,
        frames_TxHxWxC=np.zeros((4, 5, 5, 2), np.uint8),
        soft=[np.full((4, 90), 0.5), np.zeros((4, 3))],
        hard=[np.ones((4, 90)), np.zeros((4, 3))],
        soft_prediction=2,
        hard_prediction=0,
    )
    done = results.collect({"rho": 0.4}, about, runs)
    report.write(folder, done, curves, [example], ["This is <odd> & true."])
    return (folder / "report.md").read_text(), (folder / "report.html").read_text()


def curve(epoch, loss, run=entry()):  # noqa: B008
    known = {
        "run": (run["rho"], run["seed"]),
        **run,
        "epoch": epoch,
        "split": "test",
        "recordings": 7,
    }
    return known | {"loss": loss, "soft_accuracy": 0.9, "hard_accuracy": 0.8}


def test_numbers_notes_and_settings_are_on_the_page(tmp_path):
    text, html = write(tmp_path, [entry()], [curve(1, 0.5), curve(2, 0.4)])
    assert "80.00 [70.00, 90.00]" in text
    assert "**Note.** This is <odd> & true." in text
    assert '"rho": 0.4' in text
    assert "all 7 test recordings" in text
    assert "<table>" in html
    assert 'src="plots/' not in html


@pytest.mark.parametrize("bad_first", [True, False])
def test_diverged_runs_and_missing_epochs_do_not_break_it(tmp_path, bad_first):
    nothing = {f"{kind}_rates": [None, None] for kind in ("soft", "hard")}
    nothing |= {"soft_confusion": None, "hard_confusion": None}
    runs = [entry(), entry(**test_results.diverged() | nothing)]
    text, _ = write(tmp_path, runs[::-1] if bad_first else runs, [curve(1, None)])
    assert "diverged" in text


def test_a_sweep_is_drawn_over_the_key_that_was_swept():
    runs = [
        entry(slope=slope, decay=decay, hard_accuracy=0.1 * slope)
        for slope in (1.0, 2.0, 3.0)
        for decay in (0.8, 0.9)
    ]
    left, right = report.plot_sweep(results.summarise(runs)).axes
    assert (left.get_xlabel(), right.get_xlabel()) == ("slope", "slope")
    labels = left.get_legend_handles_labels()[1]
    assert labels == ["soft, decay 0.8", "hard, decay 0.8", "soft, decay 0.9", "hard, decay 0.9"]
    hard = left.containers[1].lines[0]
    np.testing.assert_allclose(np.array(hard.get_xdata(), float), [1, 2, 3])
    np.testing.assert_allclose(np.array(hard.get_ydata(), float), [10, 20, 30])


def test_settings_of_a_sweep_have_a_colour_each():
    runs = [entry(rho=rho, seed=seed) for rho in (0.0, 0.4) for seed in (0, 1)]
    _, right = report.plot_curves([curve(e, 0.1, run) for run in runs for e in (1, 2)]).axes
    by_setting = {}
    for line in right.lines:
        kind, setting = line.get_label().split(" ", 1)
        by_setting.setdefault(setting, set()).add(line.get_color())
        assert line.get_linestyle() == {"soft": "--", "hard": "-"}[kind]
    assert {key: len(colours) for key, colours in by_setting.items()} == {"rho 0": 1, "rho 0.4": 1}
    assert by_setting["rho 0"] != by_setting["rho 0.4"]
    labels = [text.get_text() for text in right.get_legend().get_texts()]
    assert labels == ["soft rho 0", "hard rho 0", "soft rho 0.4", "hard rho 0.4"]
    (axis,) = report.plot_rates(runs).axes
    assert len(axis.get_legend().get_texts()) == 4


def test_colours_tell_the_polarities_apart():
    events = np.zeros((1, 3, 2))
    events[0, 0, 0] = 2  # brightness rose
    events[0, 1, 1] = 2  # fell
    rise, fall, nothing = report._colours(events)[0]
    np.testing.assert_array_equal(rise, [0, 0, 1])
    np.testing.assert_array_equal(fall, [1, 0, 0])
    np.testing.assert_array_equal(nothing, [1, 1, 1])
