"""A sweep and an assessment that are killed and started again end with the same numbers."""

import json
import time

import nmnist_files
import pytest
from commands import SMALL, command, kill, start, wait_for_epochs

pytestmark = pytest.mark.usefixtures("own_programs")

TIMES = ("train_seconds", "epoch_seconds")


def without_times(value):
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if not k.startswith(TIMES)}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def finished(*arguments):
    code, _, err = command(*arguments)
    assert code == 0, err


def read(file):
    return without_times(json.loads(file.read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["never", "always"])
def test_a_killed_sweep(tmp_path, stream):
    nmnist_files.dataset(tmp_path / "data", per_class=8)
    grid = "--config.sweep.rho=0.0,0.3", "--config.sweep.seeds=2", "--config.resume=True"
    grid = *grid, f"--config.data.stream={stream}"
    flags = *SMALL, *grid, f"--config.data.path={tmp_path / 'data'}"
    whole, cut = (tmp_path / name for name in ("whole", "cut"))
    finished("nmnist", *flags, f"--config.workdir={whole}")
    process = start("nmnist", *flags, f"--config.workdir={cut}")
    wait_for_epochs(process, cut)
    kill(process)
    assert not (cut / "results.json").exists()
    finished("nmnist", *flags, f"--config.workdir={cut}")
    found, expected = read(cut / "results.json"), read(whole / "results.json")
    assert len(found["runs"]) == 4
    for key in ("runs", "summary"):
        assert found[key] == expected[key]


@pytest.mark.slow
def test_a_killed_assessment(tmp_path):
    nmnist_files.dataset(tmp_path / "data", per_class=8)
    flags = (
        "--config.methods=plain,SAST,random perturbation",
        "--config.regimes=default",
        "--config.seeds=2",
        "--config.tuning_seeds=1",
        "--config.epochs=2",
        "--config.rounds=0",
        "--config.draws=2",
        "--config.severities=3,",
        f"--config.data.path={tmp_path / 'data'}",
    )
    whole, cut = (tmp_path / name for name in ("whole", "cut"))
    finished("assessment", *flags, f"--config.workdir={whole}")
    of_it = cut / "default"
    signs = (  # files, and the lines that they have when it is time
        ("plain/trials/0.001/metrics.jsonl", 1),  # a trial's first epoch
        ("plain/deployment/metrics.jsonl", 2),
        ("plain/deployment/metrics.jsonl", 4),  # measured are the two runs after their last epoch
        ("plain/deployment/results.json", 1),  # the loss around them
        ("rows.json", 1),  # SAST's trials
        ("random_perturbation/trials/0.001/metrics.jsonl", 1),  # at SAST's radius
    )
    for sign, lines in signs:
        process = start("assessment", *flags, f"--config.workdir={cut}")
        while not (of_it / sign).exists() or (of_it / sign).read_text().count("\n") < lines:
            assert process.poll() is None, f"ended before {sign} had {lines} lines"
            time.sleep(0.01)
        kill(process)
        assert not (cut / "assessment.json").exists()
    finished("assessment", *flags, f"--config.workdir={cut}")
    found, expected = read(cut / "assessment.json"), read(whole / "assessment.json")
    assert list(found["regimes"]["default"]["methods"]) == ["plain", "SAST", "random perturbation"]
    for key in ("regimes", "differences", "conclusions"):
        assert found[key] == expected[key]
