"""The figures of the results are drawn from what is kept of sweeps and studies."""

import json

import numpy as np
import pytest
from commands import command
from made_up_results import collected, run
from test_assessment import row

from experiments import plots
from experiments.assessment import decision, measures, page
from sast_jax.errors import InputError
from sast_jax.reports import tables

PLAIN_TRAINING = ("plain", "plain four times as long")
DEFAULT = "chip with momentum-SAM twice as long"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "RESULTS", tmp_path / "results")
    (tmp_path / "sweep").mkdir()
    runs = [run(rho, seed, 0.8 - rho) for rho in (0.4, 0.0) for seed in (0, 1)]
    text = json.dumps(collected(runs))
    (tmp_path / "sweep" / "results.json").write_text(text)
    return tmp_path


def test_the_summary_of_a_sweep_is_kept_and_drawn(kept):
    plots.keep(kept / "sweep", "rho_nmnist")
    stored = json.loads((kept / "results" / "sweeps" / "rho_nmnist.json").read_text())
    assert [(r["rho"], r["hard_accuracy_mean"]) for r in stored["summary"]] == [
        (0.4, 0.4),
        (0, 0.8),
    ]
    assert "hard_nll_mean" not in stored["summary"][0]
    made = plots.drawn(plots.studies())
    assert list(made) == ["rho"]
    (axis,) = made["rho"].axes
    _, hard, *published = axis.get_lines()
    assert hard.get_xydata().tolist() == [[0.0, 80.0], [0.4, 40.0]]  # in order
    assert [line.get_xdata()[0] for line in published] == [0.3, 0.4]
    with pytest.raises(InputError, match=r"nowhere: no results\.json; let the sweep end first"):
        plots.keep(kept / "nowhere", "rho")


def test_a_study_is_drawn_by_data_set_and_regime(kept):
    folder = kept / "results" / "assessment" / "nmnist" / "default"
    folder.mkdir(parents=True)
    own = row([0.8, 0.9])
    del own["time"]  # as it is kept; times are measured later
    rows = {name: {"about": {}, "row": own} for name in ("plain", "SAST")}
    (folder / "rows.json").write_text(json.dumps(rows))
    expected = [f"nmnist_default_{kind}" for kind in ("curves", "corruptions", "flatness")]
    made = plots.drawn(plots.studies())
    assert list(made) == expected and len(made["nmnist_default_curves"].axes) == 2
    times = {"plain": [1.0, 1.0, 1.0], "SAST": [1.7, 1.8, 1.9]}
    (folder / "times.json").write_text(json.dumps({"times": {"about": {}, "row": times}}))
    *_, axis = plots.drawn(plots.studies())["nmnist_default_curves"].axes
    assert {line.get_xdata()[0] for line in axis.get_lines()} == {1.0, 1.8}


def test_the_tables_are_those_of_the_rows():
    for file, written in plots.tables(plots.studies()).items():
        assert file.read_text() == written, "write it again: python -m experiments.plots"


@pytest.mark.parametrize(
    "page_name, regime, count", [("assessment", "default", 35), ("papers-regime", "paper", 12)]
)
def test_a_deployment_table_is_that_of_the_rows(page_name, regime, count):
    rows = plots.studies()[plots.RESULTS / "assessment" / "nmnist" / regime]
    text = (plots.RESULTS / f"{page_name}.md").read_text()
    table = text.partition("| | hard | INT4 |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(table) == len(rows) == count
    keys = (*measures.DEPLOYED, "synops", "INT2_synops")
    for line in table:
        name, *cells = (cell.strip() for cell in line.strip("| ").split("|"))
        shown = [page._shown(rows[name], key) for key in keys]
        assert cells == shown[:6] + [own.partition(" ")[0] for own in shown[6:]]


def test_the_answer_is_that_of_the_rows():
    rows = plots.studies()[plots.RESULTS / "assessment" / "nmnist" / "default"]
    text = (plots.RESULTS.parent / "RESULTS.md").read_text()
    table = text.partition("| what you need |")[2].partition("\n\n")[0].splitlines()[2:]
    for line, choice, need in zip(table, decision.choices(rows), decision.NEEDS, strict=True):
        *_, shown, plain, cost = (cell.strip() for cell in line.strip("| ").split("|"))
        ends = [100 * end for end in choice.ci95]
        assert shown == tables.decimals(100 * choice.mean, ends, 2)
        each = [decision.values_of(rows[name], need.key) for name in PLAIN_TRAINING]
        assert plain == ", ".join(f"{100 * np.mean(values):.2f}" for values in each)
        if choice.method != DEFAULT:  # whose shipped form is faster than the row's
            whole = rows[choice.method]["time"][1]
            assert cost == f"{whole / 4:.2f}, {whole:.1f}"  # of 48 epochs where plain has 12


def test_the_numbers_of_the_readme_are_those_of_the_rows():
    rows = plots.studies()[plots.RESULTS / "assessment" / "nmnist" / "default"]
    text = (plots.RESULTS.parents[1] / "README.md").read_text()
    table = text.partition("| clean | weights of 2 bits |")[2].partition("\n\n")[0].splitlines()[2:]
    half = DEFAULT.removesuffix(" twice as long")
    named = (DEFAULT, half, *reversed(PLAIN_TRAINING), "SAST ascent on 1/8")
    for line, name in zip(table, named, strict=True):
        _, *cells = (cell.strip() for cell in line.strip("| ").split("|"))
        keys = ("hard_accuracy", "INT2", "mismatch_0.6", "hard_corruption_accuracy")
        assert cells == [page._shown(rows[name], key) for key in keys]


def test_a_name_is_needed():
    code, _, err = command("plots", "--keep=somewhere")
    assert (code, err) == (2, "error: --keep=WORKDIR and --name=NAME belong together\n")
