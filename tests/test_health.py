"""A network that hardly answers is named, with what to change; a sound one is not."""

import pytest
from commands import command
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


def test_a_dying_network_is_told_of_in_its_first_epoch(tmp_path):
    few = ("--config.data.source=simulated", "--config.data.train_limit=400", "--config.epochs=2")
    few += ("--config.data.test_limit=100", "--config.hardware.draws=1", "--config.rho=1.0")
    few += ("--config.sam.warmup=0.0", "--config.corruptions.kinds=")
    code, out, _ = command("nmnist", *few, f"--config.workdir={tmp_path / 'run'}")
    assert code == 0
    warned = [line for line in out.splitlines() if line.startswith("warning: epoch ")]
    assert warned[0].startswith("warning: epoch 1, rho 1, seed 0: ")
    assert warned[0].endswith("lower rho from 1 (0 trains without SAM), or train longer")
