"""The page of an assessment: methods side by side, differences to SAST, and what they amount to.

All sentences of the conclusion are computed from the numbers.
"""

import json
import pathlib
from typing import NamedTuple

import matplotlib.figure

from sast_jax.evaluation import comparisons, intervals
from sast_jax.reports import pages, results, tables

PLAIN, MATCHED, REFERENCE = "plain", "plain twice as long", "SAST"
AS_LONG = "plain 1.7 times as long"
PLANNED = (PLAIN, MATCHED, AS_LONG)  # what SAST's hard accuracy is compared with first of all
ALIKE = "plain training of as many epochs"
RADIUS = 0.5  # of the ball in which the loss may rise


class Measure(NamedTuple):
    """A column: its title, the factor its values are shown with, digits, and if more is better.

    Where neither more nor less is better (``better`` is 0), no differences are shown.
    """

    title: str
    factor: float = 100
    digits: int = 2
    better: int = 1


TABLES = {
    "Accuracy and confidence": {
        "soft_accuracy": Measure("soft %"),
        "hard_accuracy": Measure("hard %"),
        "transfer_gap": Measure("gap, points", better=-1),
        "calibrated_hard_accuracy": Measure("calibrated hard %"),
        "hard_ece": Measure("ECE, points", better=-1),
        "hard_ece_scaled": Measure("ECE with temperature, points", better=-1),
    },
    "Hardware and corrupted recordings": {
        "INT8": Measure("INT8 %"),
        "INT4": Measure("INT4 %"),
        "INT2": Measure("INT2 %"),
        "mismatch_0.3": Measure("mismatch 0.3 %"),
        "mismatch_0.6": Measure("mismatch 0.6 %"),
        "hard_corruption_accuracy": Measure("corrupted %"),
    },
    "Activity and the loss around the minimum": {
        "synops": Measure("kSynOps", 1e-3, 0, -1),
        "soft_rate": Measure("soft rate %", better=0),
        "hard_rate": Measure("hard rate %", better=0),
        "eigenvalue": Measure("top eigenvalue", 1, 2, 0),
        "rise": Measure("rise", 1, 3, 0),
        "input_gradient": Measure("input gradient", 1, 3, 0),
        "parameter_gradient": Measure("weight gradient", 1, 2, 0),
    },
}
MEASURES = {key: measure for columns in TABLES.values() for key, measure in columns.items()}
COMPARED = tuple(key for key, measure in MEASURES.items() if measure.better)
KEPT = (  # of a run besides, for who wants to know more than the page shows
    *("seed", "validation_soft_rate", "validation_soft_accuracy", "validation_hard_accuracy"),
    *("hard_ties", "hard_silent", "hard_nll", "hard_brier", "soft_ece", "soft_nll"),
    *("hard_temperature", "threshold_factors"),
    *("soft_corruption_accuracy", "integer_corruption_accuracy"),
)
ROBUST = ("INT4", "INT2", "mismatch_0.3", "mismatch_0.6", "hard_corruption_accuracy")


def entry(run: dict, around: dict) -> dict:
    """What the assessment keeps of a run.

    Args:
      run: of ``results.json``.
      around: eigenvalue, rise and gradient norms of its loss.
    """
    kept = {key: run.get(key) for key in (*KEPT, *MEASURES)}
    for row in run["hardware"]:
        if row["kind"] == "weight_bits":
            kept[f"INT{row['level']}"] = row["integer_accuracy"]
            kept[f"INT{row['level']}_synops"] = row.get("synops")  # none without the network
        elif row["kind"] == "weights":
            kept[f"mismatch_{row['level']:g}"] = row["hard_accuracy"]
    kept |= {key: around[key] for key in (*MEASURES, "residual") if key in around}
    kept["corruptions"] = {row["condition"]: row["hard_accuracy"] for row in run["corruptions"]}
    return results.finite(kept)


def failures(runs: list[dict]) -> list[str]:
    """Why runs of ``results.json`` lack integer networks, each reason once."""
    found = [row["error"] for run in runs for row in run["hardware"] if "error" in row]
    return [f"no integer network: {reason}" for reason in dict.fromkeys(found)]


def held_out_rate(runs: list[dict]) -> float | None:
    """The runs' mean firing rate with smooth spikes on the validation split."""
    rates = _finite(runs, "validation_soft_rate")
    return sum(rates) / len(rates) if rates else None


def _finite(runs, key) -> list[float]:
    return [run[key] for run in runs if run[key] is not None]


def missed_rate(target: float, runs: list[dict]) -> list[str]:
    """What must be said of runs that do not fire as they should."""
    rate = held_out_rate(runs)
    if rate is None or abs(rate - target) <= 0.1 * target:
        return []
    return [f"soft rate {100 * rate:.2f} % on validation, where SAST's is {100 * target:.2f} %"]


def differences(methods: dict[str, dict]) -> dict[str, dict[str, comparisons.Difference]]:
    """Of each compared measure, each method minus SAST; hard accuracy has ``PLANNED`` ones."""
    return {
        key: comparisons.against(
            {name: [run[key] for run in row["runs"]] for name, row in methods.items()},
            REFERENCE,
            planned=PLANNED if key == "hard_accuracy" else (),
        )
        for key in COMPARED
    }


def write(workdir: pathlib.Path, done: dict) -> None:
    """Writes ``assessment.json``, ``.md``, ``.html`` and the plots they show.

    Args:
      workdir: where.
      done: ``config``, ``data``, ``caveats``, ``environment`` and ``regimes``; of each ``about``
        and ``methods``, whose rows hold ``about``, ``tuned``, ``taken`` (from SAST),
        ``trials``, ``gradients``, ``epochs``, ``environment``, ``remarks`` (lines), ``runs``
        (:func:`entry`) and, where measured, ``time`` (quartiles over plain training).
    """
    folder = workdir / "plots"
    folder.mkdir(exist_ok=True)
    for regime, of_it in done["regimes"].items():
        _figure(of_it["methods"]).savefig(folder / f"{regime}.png", dpi=110)
    compared = {
        regime: {
            key: {name: d._asdict() for name, d in found.items()}
            for key, found in differences(of_it["methods"]).items()
        }
        for regime, of_it in done["regimes"].items()
    }
    whole = done | {"differences": compared, "conclusions": conclusions(done)}
    (workdir / "assessment.json").write_text(json.dumps(results.finite(whole), indent=2))
    pages.write(workdir, "assessment", "Is SAST worth it?", _page(done))


def summary(done: dict) -> str:
    """The conclusion, as it is printed."""
    of = f"{done['data']}: test split, means of {done['config']['seeds']} seeds, 95 % intervals."
    found = conclusions(done).items()
    return "\n\n".join([of, *(f"{regime}:\n{_points(said)}" for regime, said in found)])


def _points(said: list[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in said)


def conclusions(done: dict) -> dict[str, list[str]]:
    """For each regime sentences computed from its numbers."""
    return {regime: _conclude(of_it["methods"]) for regime, of_it in done["regimes"].items()}


def _conclude(methods) -> list[str]:
    every = differences(methods)
    found = {key: per_method[PLAIN] for key, per_method in every.items()}
    others = every["hard_accuracy"]
    hard = others[PLAIN]
    if hard.mean is None:
        return ["SAST and plain training have no finite runs of one seed, so nothing can be said."]
    own, plain = _means_of_pairs(methods, "hard_accuracy")
    said = [
        f"With hard spikes {_verdict(hard, 'plain training')}: {own:.2f} against {plain:.2f} %, "
        f"{_turned('hard_accuracy', hard)} points."
    ]
    if told := _matched(others, "hard_accuracy"):
        said.append(f"{told[0].upper()}{told[1:]} points.")
    longer = others.get(AS_LONG)
    if longer is not None and longer.mean is not None and "time" in methods[AS_LONG]:
        taken, own = (methods[name]["time"][1] for name in (AS_LONG, REFERENCE))
        said.append(
            f"In {taken:.2f} times plain training's time, where SAST takes {own:.2f}, "
            f"{_verdict(longer, 'plain training')}: {_turned('hard_accuracy', longer)} points."
        )
    compared = {key: d for key, d in found.items() if key != "hard_accuracy" and d.mean is not None}
    for word, wanted in (("Better", -1), ("Worse", 1)):
        listed = [
            f"{MEASURES[key].title} {_turned(key, d)}"
            for key, d in compared.items()
            if d.sign * MEASURES[key].better == wanted
        ]
        if listed:
            said.append(f"{word} than {ALIKE}: {'; '.join(listed)}.")
    unclear = [MEASURES[key].title for key, d in compared.items() if not d.sign]
    if unclear:
        said.append(f"Not shown to differ from {ALIKE}: {'; '.join(unclear)}.")
    for word, sign in (("More", 1), ("Less", -1)):
        named = _listed(others, "hard_accuracy", sign) or "no method shown"
        said.append(f"{word} accurate than SAST with hard spikes: {named}.")
    for key in ROBUST:
        matched = _matched(every[key], key)
        first = matched and f"{matched}; "
        above = _listed(every[key], key, 1) or "none"
        below = sum(d.sign < 0 for d in every[key].values())
        measured = sum(d.mean is not None for d in every[key].values())
        if measured:
            said.append(
                f"{MEASURES[key].title}: {first}shown to be above SAST: {above}; below it: {below} "
                f"of {measured}."
            )
    return said + (_cost(methods, others) if "time" in methods[REFERENCE] else [])


def _matched(found, key) -> str:
    """What SAST is worth where plain training takes as many gradients; nothing if not measured."""
    longer = found.get(MATCHED)
    if longer is None or longer.mean is None:
        return ""
    verdict = _verdict(longer, "plain training")
    return f"with as many gradients each, {verdict}: {_turned(key, longer)}"


def _verdict(difference, other) -> str:
    """What a method's difference to SAST says of SAST."""
    low, high = difference.ci95 or (0, 0)
    corrected = " after correction for all methods" if low > 0 or high < 0 else ""
    return {
        1: f"SAST is worse than {other}",
        -1: f"SAST is better than {other}",
        0: f"no difference between SAST and {other} is shown{corrected}",
    }[difference.sign]


def _means_of_pairs(methods, key) -> tuple[float, float]:
    """SAST's mean and plain training's over the seeds in which both are finite, as shown."""
    both = ([run[key] for run in methods[name]["runs"]] for name in (REFERENCE, PLAIN))
    pairs = [pair for pair in zip(*both, strict=True) if None not in pair]
    own, plain = (
        MEASURES[key].factor * sum(side) / len(pairs) for side in zip(*pairs, strict=True)
    )
    return own, plain


def _listed(found, key, sign) -> str:
    """The methods on one side of SAST with how far they are from it, the largest first."""
    listed = sorted((d.mean, name) for name, d in found.items() if d.sign == sign)
    return ", ".join(f"{name} ({_signed(key, mean)})" for mean, name in listed[::-1])


def _turned(key, difference) -> str:
    """A difference the other way round, as SAST minus a method."""
    measure = MEASURES[key]
    shown = _signed(key, -difference.mean)
    return shown + _interval(difference, -measure.factor, measure.digits)


def _signed(key, value) -> str:
    return f"{MEASURES[key].factor * value:+.{MEASURES[key].digits}f}"


def _cost(methods, hard) -> list[str]:
    _, own, most = methods[REFERENCE]["time"]
    said = f"Training with SAST takes {own:.2f} times as long as plain training."
    cheaper = [
        f"{name} ({methods[name]['time'][1]:.2f})"
        for name, d in hard.items()
        if d.sign > 0 and methods[name]["time"][0] <= most
    ]
    named = ", ".join(cheaper) or "no method shown"
    return [said, f"More accurate, and by the quartiles not clearly slower: {named}."]


def _interval(difference, factor, digits=2) -> str:
    if difference.ci95 is None:
        return ""
    low, high = sorted(factor * end for end in difference.ci95)
    return f" [{low:+.{digits}f}, {high:+.{digits}f}]"


def _estimate(row, key) -> tuple[float, list[float] | None] | None:
    """Mean over seeds and its interval, as they are shown; None without a finite run."""
    values = _finite(row["runs"], key)
    if not values:
        return None
    mean, interval = intervals.student(values)
    measure = MEASURES[key]
    if measure.factor == 100 and key != "transfer_gap":  # a fraction
        interval = intervals.within(interval, 0.0, 1.0)
    return measure.factor * mean, interval and [measure.factor * end for end in interval]


def _page(done) -> str:
    config = done["config"]
    parts = [
        "# Is SAST worth it?",
        f"Data: {done['data']}. Every method has its learning rate, and a setting of its own "
        "where there is one, tuned in as many trials as the others, by the mean hard accuracy over "
        f"{config['tuning_seeds']} seed(s) on what is held out of the training recordings "
        f"(data.validation={config['data']['validation']:.3g}); then {config['seeds']} networks "
        "are trained on the rest and measured on the test split, which chose nothing. Means over "
        "seeds with 95 % intervals (Student's t). Hard: with a threshold in the place of the "
        "smooth spike. Calibrated: with a factor on each layer's threshold, chosen on the held-out "
        "recordings. INT: integer networks with weights of so many bits. Mismatch and corrupted: "
        "hard networks, over "
        "devices, and over kinds and severities, with the settings that clean accuracy chose, "
        "whatever others would be best there. ECE: calibration error of hard networks, as "
        "they are and with a temperature chosen on the held-out recordings. Eigenvalue: the "
        "largest one of the smooth training loss's Hessian. Rise: of that loss within a radius of "
        f"{RADIUS}; both depend on slope and readout, so they compare methods that share these. "
        "Gradients: mean norms of single recordings'. Networks of hard forward passes were never "
        "trained with smooth spikes, and their soft accuracy, gap and losses are of that. Time: of "
        "the whole training, median and quartiles.",
        *done["caveats"],
    ]
    for regime, of_it in done["regimes"].items():
        methods = of_it["methods"]
        parts += [f"## {regime}", f"{of_it['about'][0].upper()}{of_it['about'][1:]}."]
        parts += [_points(_conclude(methods))]
        parts += [
            f"**Note.** {name}: {remark}"
            for name, row in methods.items()
            for remark in row["remarks"]
        ]
        parts += [f"![Accuracies by method](plots/{regime}.png)"]
        for title, columns in TABLES.items():
            parts += [f"### {title}", table(methods, columns)]
        parts += ["### What training costs", _cost_table(methods)]
        parts += ["### Minus SAST, seed by seed", _DIFFERENCES, _difference_table(methods)]
        parts += ["### What was tuned", _TUNED, _tuned_table(methods)]
    parts += [*pages.settings(config, done["environment"]), *_elsewhere(done)]
    return "\n\n".join(parts) + "\n"


def _elsewhere(done) -> list[str]:
    """Which methods were trained and measured on another machine than the page's."""
    names = {}
    for regime, of_it in done["regimes"].items():
        away = {}
        for name, row in of_it["methods"].items():
            if row["environment"] != done["environment"]:
                away.setdefault(pages.listed(row["environment"]), []).append(name)
        for machine, found in away.items():
            everything = len(found) == len(of_it["methods"])
            said = "all methods" if everything else ", ".join(found)
            names.setdefault(machine, []).append(f"{said} ({regime})")
    return [f"Trained on {machine} instead: {', '.join(rows)}." for machine, rows in names.items()]


_DIFFERENCES = (
    "Means of the differences between runs of the same seed, in the units of the tables above, "
    "with 95 % intervals over seeds, not over recordings; equal differences tell no interval. An "
    "asterisk where the paired t-test is below 0.05 after Holm's correction over the methods, but "
    "for the hard accuracy of plain training for as many epochs, gradients or as much time, which "
    "are the planned comparisons. Each measure is corrected on its own: among this many, some "
    "asterisks are chance. Few seeds tell large differences only: no asterisk is no proof of "
    "equality."
)
_TUNED = (
    "At the end of what was tried: the least or the largest of three values or more. Where two "
    "learning rates were tried, each is an end."
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
    return tables.decimals(*(_estimate(row, key) or (None, None)), MEASURES[key].digits)


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
            shown = _signed(key, d.mean)
            star = "*" if d.sign else ""
            few = f" (n={d.n})" if d.n < len(methods[name]["runs"]) else ""
            cells.append(f"{shown}{_interval(d, measure.factor, measure.digits)}{star}{few}")
        rows.append([name, *cells])
    return tables.table(rows, ["", *(MEASURES[key].title for key in COMPARED)], "github")


def _tuned_table(methods) -> str:
    rows = []
    for name, row in methods.items():
        trials = "; ".join(
            f"{_settings(trial['settings'])}: {_percent(trial['hard_accuracy'])}"
            for trial in row["trials"]
        )
        chosen = _settings(row["tuned"] | row["taken"]) + _at_an_end(row)
        rows.append([name, row["about"], chosen, trials])
    headers = ["", "what", "chosen", "hard % on validation, by what was tried"]
    return tables.table(rows, headers, "github")


def _settings(values) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in values.items()) or "-"


def _percent(accuracy) -> str:
    return "-" if accuracy is None else f"{100 * accuracy:.2f}"


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
