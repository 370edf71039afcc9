"""A page that holds where runs diverged, epochs are few and classes are missing."""

import numpy as np
import pytest
from made_up_results import curve, diverged, entry

from sast_jax.reports import plots, results, run_page


def write(folder, runs, curves):
    about = {
        "experiment": "nmnist",
        "data": "made up",
        "train_recordings": 9,
        "class_names": ["0", "1", "2"],
        "environment": {"device": "cpu"},
    }
    example = plots.Example(
        label="2",
        rises_TxHxW=np.zeros((4, 5, 5), np.uint8),
        falls_TxHxW=np.zeros((4, 5, 5), np.uint8),
        soft=[np.full((4, 90), 0.5), np.zeros((4, 3))],
        hard=[np.ones((4, 90)), np.zeros((4, 3))],
        soft_prediction="2",
        hard_prediction="0",
    )
    done = results.collect({"rho": 0.4}, about, runs)
    run_page.write_report(folder, done, curves, [example], ["This is <odd> & true."])
    return (folder / "report.md").read_text(), (folder / "report.html").read_text()


def test_numbers_notes_and_settings_are_on_the_page(tmp_path):
    text, html = write(tmp_path, [entry()], [curve(1, 0.5), curve(2, 0.4)])
    assert "80.00 [70.00, 90.00]" in text
    assert "**Note.** This is <odd> & true." in text
    assert '"rho": 0.4' in text
    assert "all 7 test recordings" in text
    assert "<table>" in html
    assert 'src="plots/' not in html


def test_the_leak_of_each_decay_is_told():
    chip = {"scale": "max", "per_channel": True, "membrane_bits": 16, "headroom": 16.0}
    chip |= {"leak": "shifts", "leak_bits": 4, "draws": 1, "calibration": 0}
    text = run_page._hardware({"hardware": chip, "lif": {"decay": 0.9}}, [0.5, 0.8])
    assert "leaks of 4 bits (shifts: the decay 0.5 is 8/16, the decay 0.8 is 13/16)." in text


@pytest.mark.parametrize("bad_first", [True, False])
def test_diverged_runs_and_missing_epochs_do_not_break_it(tmp_path, bad_first):
    nothing = {f"{kind}_rates": [None, None] for kind in ("soft", "hard")}
    unknown = ("confusion", "reliability")
    nothing |= {f"{kind}_{key}": None for kind in ("soft", "hard") for key in unknown}
    runs = [entry(), entry(**diverged() | nothing)]
    text, _ = write(tmp_path, runs[::-1] if bad_first else runs, [curve(1, None)])
    assert "diverged" in text
