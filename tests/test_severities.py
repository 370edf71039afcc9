"""How much a corruption costs a trained run, and which level costs how much."""

import json
import math

import nmnist_files
import numpy as np
import pytest
from commands import SMALL, command

from experiments import severities
from sast_jax.data import corruptions, recordings


def test_levels_are_where_a_known_curve_has_these_points():
    tried = []

    def lost(level):
        tried.append(level)
        return 60 * level**2

    found = severities.levels(lost, 1.0)
    assert len(found) == len(severities.POINTS)
    for (level, cost), points in zip(found, severities.POINTS, strict=True):
        assert level == pytest.approx(math.sqrt(points / 60), rel=severities.TOLERANCE)
        assert cost == 60 * level**2
    assert len(tried) == len(set(tried)) < 50


def test_what_a_kind_cannot_cost_is_left_out():
    assert severities.levels(lambda level: 0.5, 1.0) == []
    assert [round(cost) for _, cost in severities.levels(lambda level: 11 * level, 1.0)] == [
        1,
        3,
        10,
    ]


def test_some_recordings_are_the_same_among_all():
    rng = np.random.default_rng(0)
    counts = [3, 0, 4, 2, 5]

    def chunks():
        for part in (counts[:2], counts[2:]):
            recording_M = np.repeat(np.arange(len(part)), part)
            t_M = np.sort(rng.integers(100, size=len(recording_M)))
            columns = [t_M, *np.zeros((3, len(t_M)), np.int64)]
            yield recordings.Events(recording_M, *columns, np.zeros(len(part), bool))

    numbers = np.arange(5)
    data = corruptions.in_memory(recordings.Recordings(numbers, numbers, 10 + numbers, chunks))
    few = recordings.take(data, np.array([0, 3, 4]))
    assert few.labels_N.tolist() == [0, 3, 4] and few.seeds_N.tolist() == [10, 13, 14]
    first, second = few.events()
    assert np.bincount(first.recording_M).tolist() == [3]
    assert np.bincount(second.recording_M).tolist() == [2, 5]
    whole = list(data.events())
    np.testing.assert_array_equal(second.t_M, whole[1].t_M[4:])
    assert len(first.unsorted_N) == 1 and len(second.unsorted_N) == 2
    (only,) = recordings.take(data, np.array([3])).events()  # of the first part there is none
    np.testing.assert_array_equal(only.t_M, whole[1].t_M[4:6])


@pytest.mark.slow
def test_the_command_measures_on_what_a_run_held_out(tmp_path):
    nmnist_files.dataset(tmp_path / "data")
    run = f"--config.data.path={tmp_path / 'data'}", "--config.hardware.weight_bits=()"
    for name, validation in (("all", 0.0), ("some", 0.25)):
        workdir = f"--config.workdir={tmp_path / name}"
        done = command("nmnist", *SMALL, *run, workdir, f"--config.data.validation={validation}")
        assert done[0] == 0, done[2]
    code, _, err = command("severities", f"--checkpoint={tmp_path / 'all'}")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "held no recordings out; train with --config.data.validation=0.2" in err
    some = f"--checkpoint={tmp_path / 'some'}"
    code, _, err = command("severities", some, "--kinds=rain")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "--kinds=rain: not known; choose from event_drop" in err
    code, out, err = command("severities", some, "--kinds=event_drop")
    assert code == 0, err
    known = json.loads((tmp_path / "some" / "results.json").read_text())["runs"][0]
    clean = 100 * known["validation_hard_accuracy"]
    assert out.splitlines()[0] == f"hard accuracy of recordings as they are: {clean:.2f} %"
    assert out.splitlines()[-1].startswith("| event_drop | share of the events lost |")
