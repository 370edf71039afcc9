"""Rows of the tables by hand."""

from made_up_results import collected, diverged, rows, run

from sast_jax.reports import results, tables

OPERATIONS = {
    "effective_acs": 300.0,
    "effective_acs_by_layer": [200.0, 100.0],
    "effective_macs": 0.0,
    "effective_macs_by_layer": [0.0, 0.0],
    "dense": 3000.0,
    "dense_by_layer": [2000.0, 1000.0],
    "membrane_updates": 20.0,
    "membrane_updates_by_layer": [15.0, 5.0],
    "spikes": 4.0,
    "spikes_by_layer": [3.0, 1.0],
}


def test_conditions_of_one_run_have_its_own_intervals():
    done = collected([run(0.4, 0, 0.8, hardware=rows(0.7))])
    text = tables.hardware(done, "github").splitlines()
    assert text[2].split("|")[1:-1] == [
        " 0.4   ",
        " INT8                ",
        " 80.00 [70.00, 90.00] ",
        " 70.00 [60.00, 80.00] ",
        " 60.00 [50.00, 70.00] ",
        " 2.00 0.00   ",
        " 1,234    ",
    ]
    assert text[4].split("|")[-4].strip() == "-"  # mismatch of integers
    assert tables.hardware(collected([run(0.4, 0, 0.8)])) == ""


def test_conditions_of_several_runs_have_the_interval_over_them():
    runs = [run(0.4, i, 0.8, hardware=rows(h)) for i, h in enumerate((0.6, 0.7, 0.8))]
    (row,) = results.summarise(runs)
    trial = row["hardware"][0]
    assert (trial["condition"], trial["n"]) == ("INT8", 3)
    half = 4.302652729749464 * 0.1 / 3**0.5  # t of 2 degrees of freedom
    low, high = trial["hard_accuracy_ci95"]
    assert abs(low - (0.7 - half)) < 1e-9 and abs(high - (0.7 + half)) < 1e-9
    assert row["hardware"][2]["integer_accuracy_mean"] is None


def test_the_validation_split_comes_first():
    both = {"hardware": rows(0.7), "validation_hardware": rows(0.6)}
    text = tables.hardware(collected([run(0.4, 0, 0.8, **both)]), "github")
    cells = [[cell.strip() for cell in line.split("|")[1:5]] for line in text.splitlines()]
    assert cells[0][:3] == ["rho", "split", "condition"]
    assert cells[2] == ["0.4", "validation", "INT8", "70.00 [60.00, 80.00]"]
    assert cells[6] == ["0.4", "test", "INT8", "80.00 [70.00, 90.00]"]


def test_corruptions_are_a_row_a_kind_and_a_column_a_severity():
    def trial(kind, level, hard):
        values = {"soft_accuracy": hard, "hard_accuracy": hard, "integer_accuracy": None}
        ends = {f"{key}_ci95": None for key in values}
        return {"condition": f"{kind} {level}", "kind": kind, "level": level, **values, **ends}

    trials = [trial("hot_pixels", level, 0.9 - 0.1 * level) for level in (1, 3)]
    means = {"soft_corruption_accuracy": 0.7, "hard_corruption_accuracy": 0.7}
    runs = [
        run(0.4, seed, 0.8, corruptions=trials, integer_corruption_accuracy=None) | means
        for seed in (0, 1)
    ]
    text = tables.corruptions(collected(runs), "github")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert cells[0] == ["rho", "spikes", "corruption", "severity 1", "severity 3"]
    assert cells[2:] == [
        ["0.4", "soft", "hot pixels", "80.00", "60.00"],
        ["0.4", "soft", "mean 70.00 [70.00, 70.00]", "", ""],
        ["0.4", "hard", "hot pixels", "80.00", "60.00"],
        ["0.4", "hard", "mean 70.00 [70.00, 70.00]", "", ""],
    ]
    assert tables.corruptions(collected([run(0.4, 0, 0.8)])) == ""


def counted(operations):
    return collected([run(0.4, 0, 0.8, operations=operations)])


def test_a_diverged_setting_does_not_hide_the_others():
    runs = [diverged() | {"rho": 0.0, "hardware": []}]
    runs += [run(0.4, 0, 0.8, hardware=rows(0.7))]
    assert "INT8" in tables.hardware(collected(runs))


def test_operations_by_layer_and_in_all():
    text = tables.operations(counted(OPERATIONS), "github")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:]]
    assert cells == [
        ["rho 0.4, seed 0", "layer 1", "200", "0", "2,000", "15", "3"],
        ["rho 0.4, seed 0", "output", "100", "0", "1,000", "5", "1"],
        ["rho 0.4, seed 0", "in all", "300", "0", "3,000", "20", "4"],
    ]
    assert tables.operations(counted(None)) == ""
