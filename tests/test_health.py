"""A network that hardly answers is named, with what to change; a sound one is not."""

import jobs
import nmnist_files
import pytest
from made_up_results import entry

from sast_jax.reports import health

ALIKE = [[3, 0, 0], [2, 0, 0], [4, 0, 0]]


@pytest.mark.parametrize(
    "changes, kinds, said",
    [
        ({}, [], ""),
        ({"hard_silent": 1.0}, [], ""),  # scores of currents need no output spikes
        ({"hard_ties": 0.2}, ["ties hard"], "20.0 % of the hard answers are ties; take more"),
        (
            {"hard_ties": 0.2, "hard_rates": [0.38, 0.49]},
            ["ties hard"],
            "20.0 % of the hard answers are ties; lower network.gain, or take readout=current",
        ),
        (
            {"hard_ties": 0.8, "hard_silent": 0.7, "hard_rates": [0.1, 0.0]},
            ["silent hard"],
            "70.0 % of the recordings leave the output silent with hard spikes; layer 2 never "
            "spikes; lower rho from 0.4",
        ),
        (
            {"rho": 0.0, "soft_ties": 0.8, "soft_silent": 0.7},
            ["silent soft"],
            "train longer, raise network.gain, or take readout=current",
        ),
        ({"soft_confusion": ALIKE}, ["collapsed soft"], "soft spikes answer every recording with"),
        ({"hard_rates": [0.1, 0.95]}, ["saturated hard"], "layer 2 has hard spikes at 95 %"),
        ({"hard_ties": 0.2, "rho": 1e6}, ["ties hard"], "are ties; lower rho from 1e+06"),
        (
            {"soft_confusion": ALIKE, "learning_rate": 1e30, "slope": 1e3},
            ["collapsed soft"],
            "; lower learning_rate from 1e+30, slope from 1000",
        ),
        ({"soft_confusion": None}, ["infinite"], "lower learning_rate from 0.001 or rho from 0.4"),
    ],
)
def test_each_fault_is_named_with_what_to_change(changes, kinds, said):
    found = health.faults(entry(**changes))
    assert [fault.kind for fault in found] == kinds
    assert said in " ".join(fault.text for fault in found)


def test_a_network_of_a_file_is_given_no_advice_on_training():
    run = entry(hard_ties=0.8, hard_silent=0.7)
    del run["rho"]
    (fault,) = health.faults(run, ("hard",))
    assert fault.text == "70.0 % of the recordings leave the output silent with hard spikes"


def test_a_dying_network_is_told_of_in_its_first_epoch(tmp_path, capsys, no_pages):
    nmnist_files.dataset(tmp_path / "data")
    silent = {"rho": 0.3, "network.gain": 0.3, "learning_rate": 1e-4, "epochs": 2, "brief": True}
    jobs.train(jobs.settings(tmp_path, **silent))
    lines = capsys.readouterr().out.splitlines()
    warned = [line for line in lines if line.startswith("warning: epoch ")]
    assert warned[0].startswith(
        "warning: epoch 1, rho 0.3, seed 0: 100.0 % of the recordings leave"
    )
    assert warned[0].endswith("lower rho from 0.3 (0 trains without SAM), or train longer")
    faults = [line.partition("seed 0: ")[2] for line in warned]
    assert len(faults) == len(set(faults))
    jobs.train(jobs.settings(tmp_path, epochs=2, rho=0.0, brief=True, workdir=str(tmp_path / "b")))
    assert "warning: epoch" not in capsys.readouterr().out
