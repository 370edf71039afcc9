"""The page of an assessment: methods side by side, differences to SAST, conclusions."""

import json
import pathlib

import matplotlib.figure
import numpy as np

from experiments.assessment import decision, figures, findings, planned
from experiments.assessment.conclusions import (
    conclude,
    conclusions,
    interval_of,
    listed_points,
    signed,
)
from experiments.assessment.measures import (
    COMPARED,
    DEPLOYED,
    MEASURES,
    REFERENCE,
    SCORES,
    TABLES,
    Measure,
    differences,
    finite_values,
)
from sast_jax import files
from sast_jax.evaluation import intervals
from sast_jax.reports import pages, results, tables
from sast_jax.runs.study.landscape import RADIUS


def write_assessment(workdir: pathlib.Path, done: dict) -> None:
    """Writes ``assessment.json``, ``.md``, ``.html`` and the plots they show.

    Args:
      workdir: where.
      done: ``config``, ``data``, ``caveats``, ``environment`` and ``regimes``; of each ``about``
        (in words), ``left_out`` (names of methods) and ``methods``, whose rows hold ``about``,
        ``tuned``, ``taken`` (from SAST), ``trials``, ``gradients``, ``epochs``, ``environment``,
        ``remarks`` (lines), ``runs`` (:func:`experiments.assessment.measures.entry`) and, where
        measured, ``time`` (quartiles, divided by those of plain training).
    """
    folder = workdir / "plots"
    folder.mkdir(exist_ok=True)
    for regime, of_it in done["regimes"].items():
        files.write_figure(folder / f"{regime}.png", _figure(of_it["methods"]))
        for name, figure in figures.drawn(of_it["methods"]).items():
            files.write_figure(folder / f"{regime}_{name}.png", figure)
    compared = {
        regime: {
            key: {name: d._asdict() for name, d in found.items()}
            for key, found in differences(of_it["methods"]).items()
        }
        for regime, of_it in done["regimes"].items()
    }
    whole = done | {"differences": compared, "conclusions": conclusions(done)}
    files.write(workdir / "assessment.json", json.dumps(results.finite(whole), indent=2))
    pages.write_page(workdir, "assessment", _TITLE, _page(workdir, done))


def _estimate(row, key) -> tuple[float, list[float] | None] | None:
    """Mean over seeds and its interval, as they are shown; None without a finite run."""
    values = finite_values(row["runs"], key)
    if not values:
        return None
    mean, interval = intervals.student(values)
    measure = MEASURES[key]
    if measure.factor == 100 and key != "transfer_gap":  # a fraction
        interval = intervals.within(interval, 0.0, 1.0)
    return measure.factor * mean, interval and [measure.factor * end for end in interval]


def _page(workdir, done) -> str:
    config = done["config"]
    parts = [
        f"# {_TITLE}",
        f"Data: {done['data']}.",
        *done["caveats"],
    ]
    for regime, of_it in done["regimes"].items():
        methods = of_it["methods"]
        parts += [f"## {regime}", f"{of_it['about'][0].upper()}{of_it['about'][1:]}."]
        parts += [_DECISION, decision.table(config, regime, methods), decision.standing(methods)]
        if of_it["left_out"]:
            names = ", ".join(of_it["left_out"])
            parts += [f"**Left out**, as {config['minutes']} minutes were over: {names}."]
        parts += [f"![Accuracies by method](plots/{regime}.png)"]
        parts += [f"![{name}](plots/{regime}_{name}.png)" for name in figures.KINDS]
        parts += details(workdir / regime, methods, config["severities"])
    parts += [
        "## How it was measured",
        f"The learning rate of every method is tuned, and a setting of its "
        f"own if it has one, with {config['tuning_seeds']} seed(s) a trial on recordings held out "
        f"of the training split (data.validation={config['data']['validation']:.3g}). The score is "
        "the mean of six accuracies there: hard, INT4, INT2, mismatch 0.3 and 0.6, corrupted; of "
        "the trials within a standard error of the best, the one with the least setting of its "
        f"own is taken. Then {config['seeds']} "
        "networks are trained on the rest and measured on the test split, which chose no setting. "
        "Values are means over seeds with 95 % intervals (Student's t). Hard: with a threshold in "
        "place of the smooth spike. Calibrated: with a factor on each layer's threshold, chosen on "
        "the held-out recordings. INT: integer networks with weights of this width in bits. "
        "Mismatch and corrupted: hard networks, means over devices, and over kinds and severities. "
        "ECE: calibration error of hard networks, without and with a "
        "temperature chosen on the held-out recordings. Eigenvalue: the largest one of the Hessian "
        f"of the smooth training loss. Rise: of that loss within a radius of {RADIUS}. Both depend "
        "on slope and readout, so they compare only methods that share these. Gradients: mean "
        "norms over single recordings. Networks with a hard forward pass were never trained with "
        "smooth spikes; their soft accuracy, gap and losses are with a spike that is new to them. "
        "Time: of the whole training, median and quartiles.",
    ]
    parts += [*pages.settings(config, done["environment"]), *_elsewhere(done)]
    return "\n\n".join(parts) + "\n"


def details(folder: pathlib.Path, methods: dict[str, dict], severities: list[int]) -> list[str]:
    """All tables of a regime, in Markdown, and what they show.

    Args:
      folder: of the regime, with the answers of its networks.
      methods: its rows, by name.
      severities: of the corruptions that they were measured on.
    """
    parts = ["### SAST against the others", listed_points(conclude(methods))]
    if compared := planned.kept(folder, methods, severities):
        parts = ["### Planned comparisons", _PLANNED, compared, *parts]
    parts += [
        f"**Note.** {name}: {remark}" for name, row in methods.items() for remark in row["remarks"]
    ]
    parts += ["### Beyond single columns", findings.told(methods)]
    for title, columns in TABLES.items():
        parts += [f"### {title}", table(methods, columns)]
    clean = {name: row | row.get("clean", {}) for name, row in methods.items()}
    columns = {key: MEASURES[key] for key in DEPLOYED}
    parts += ["### Tuned for clean accuracy instead", table(clean, columns)]
    parts += ["### What training costs", _cost_table(methods)]
    parts += ["### Minus SAST, seed by seed", _DIFFERENCES, _difference_table(methods)]
    parts += ["### What was tuned", _TUNED, _tuned_table(methods)]
    return parts


def _elsewhere(done) -> list[str]:
    """Which methods were trained and measured on another machine than the page's."""
    names: dict[str, list[str]] = {}
    for regime, of_it in done["regimes"].items():
        away: dict[str, list[str]] = {}
        for name, row in of_it["methods"].items():
            if row["environment"] != done["environment"]:
                away.setdefault(pages.listed(row["environment"]), []).append(name)
        for machine, found in away.items():
            everything = len(found) == len(of_it["methods"])
            said = "all methods" if everything else ", ".join(found)
            names.setdefault(machine, []).append(f"{said} ({regime})")
    return [f"Trained on {machine} instead: {', '.join(rows)}." for machine, rows in names.items()]


_TITLE = "Which training survives?"
_DECISION = (
    "For each need the method with the highest mean over seeds on the test split, beside plain "
    "training of the regime's own epochs; some methods train several times as long. It is shown "
    "on the recordings that this table picks it on, which flatters the best of many a little, and "
    "methods whose intervals overlap may be as good. Time: of the whole training. The command "
    "trains on all training recordings. Corruptions that lose events: event drop, dead pixels, "
    "interruption; that add some: noise, hot pixels."
)
_PLANNED = (
    "What experiments/PROTOCOL.md planned before any row, not corrected: the first method minus "
    "the second in points, with 95 % intervals over seeds (one variance for all methods; of "
    "thresholds that follow, Student's), and over seeds and recordings (bootstrap)."
)
_DIFFERENCES = (
    "Means of the differences between runs of the same seed, in the units of the tables above, "
    "with 95 % intervals over seeds, not over recordings; equal differences give no interval. An "
    "asterisk: p of the paired t-test is below 0.05 after Holm's correction over the methods. Each "
    "measure is corrected on its own, so among this many some asterisks are chance. Few seeds show "
    "large differences only: no asterisk is no proof of equality."
)
_TUNED = (
    "'At the end of what was tried' marks the least or the largest of three or more values. If two "
    "learning rates were tried, each of them is an end, and neither is marked."
)


def table(methods: dict[str, dict], columns: dict[str, Measure]) -> str:
    """A row a method, in the form of a Markdown table."""
    rows = [[name, *(_shown(row, key) for key in columns)] for name, row in methods.items()]
    return tables.table(rows, ["", *(measure.title for measure in columns.values())], "github")


def _cost_table(methods) -> str:
    rows = []
    for name, row in methods.items():
        time = "{1:.2f} ({0:.2f}-{2:.2f})".format(*row["time"]) if "time" in row else "-"
        rows.append([name, f"{row['gradients']:g}", f"{row['epochs']}", time])
    return tables.table(rows, ["", "gradients a step", "epochs", "time over plain"], "github")


def _shown(row, key) -> str:
    mean, interval = _estimate(row, key) or (None, None)
    return tables.decimals(mean, interval, MEASURES[key].digits)


def _difference_table(methods) -> str:
    found = differences(methods)
    rows = []
    for name in methods:
        if name == REFERENCE:
            continue
        cells = []
        for key in COMPARED:
            measure, d = MEASURES[key], found[key][name]
            if d.mean is None:
                cells.append("-")
                continue
            shown = signed(key, d.mean)
            star = "*" if d.sign else ""
            few = f" (n={d.n})" if d.n < len(methods[name]["runs"]) else ""
            cells.append(f"{shown}{interval_of(d, measure.factor, measure.digits)}{star}{few}")
        rows.append([name, *cells])
    return tables.table(rows, ["", *(MEASURES[key].title for key in COMPARED)], "github")


def _tuned_table(methods) -> str:
    rows = []
    for name, row in methods.items():
        trials = "; ".join(
            f"{_settings(trial['settings'])}: {_scores(trial['scores'])}" for trial in row["trials"]
        )
        chosen = [_settings(one["tuned"] | row["taken"]) for one in (row, row.get("clean", row))]
        chosen[0] += _at_an_end(row)
        rows.append([name, row["about"], *chosen, trials])
    headers = ["", "what", "chosen", "for clean accuracy", "deployment / hard %, by what was tried"]
    return tables.table(rows, headers, "github")


def _settings(values) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in values.items()) or "-"


def _scores(scores) -> str:
    """The means of a trial's scores over its seeds; a dash where a run diverged."""
    return " / ".join(
        "-" if None in scores[by] else f"{100 * np.mean(scores[by]):.2f}" for by in SCORES
    )


def _at_an_end(row) -> str:
    """A note where a value that was chosen of three or more is the least or the largest tried."""
    notes = []
    for key, value in row["tuned"].items():
        tried = sorted({trial["settings"][key] for trial in row["trials"]})
        if len(tried) > 2 and value in (tried[0], tried[-1]):
            notes.append(f" ({key.replace('_', ' ')} at the end of what was tried)")
    return "".join(notes)


def _figure(methods) -> matplotlib.figure.Figure:
    """Means and intervals of the methods, a panel a measure; the band is SAST's interval."""
    shown = ["hard_accuracy", "transfer_gap", "INT4", "INT2", "mismatch_0.6"]
    shown += ["hard_corruption_accuracy", "hard_ece"]
    names = list(methods)[::-1]
    figure = matplotlib.figure.Figure(
        figsize=(2.2 * len(shown) + 2, 0.3 * len(names) + 1.2), layout="constrained"
    )
    axes = figure.subplots(1, len(shown), sharey=True)
    for axis, key in zip(axes, shown, strict=True):
        for place, name in enumerate(names):
            found = _estimate(methods[name], key)
            if found is None:
                continue
            mean, interval = found
            low, high = interval or (mean, mean)
            colour = "C3" if name == REFERENCE else "0.2"
            axis.plot([low, high], [place, place], color=colour, lw=1.5)
            axis.plot(mean, place, "o", color=colour, ms=4)
            if name == REFERENCE:
                axis.axvspan(low, high, color=colour, alpha=0.12)
        axis.set(title=MEASURES[key].title)
        axis.grid(axis="x", lw=0.3)
    axes[0].set_yticks(range(len(names)), names)
    return figure
