"""The report of a run: one Markdown page with plots, and the same page as a single HTML file."""

import base64
import itertools
import json
import mimetypes
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import markdown
import matplotlib
import matplotlib.figure
import numpy as np

from sast_jax import results as results_lib

SOFT, HARD = "#1f77b4", "#d62728"
_KINDS = ("soft", "hard")
_STYLE = """
body { font-family: sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } th, td { padding: .2em .7em; text-align: right }
tr:nth-child(even) { background: #f4f4f4 } th { border-bottom: 2px solid #888 }
img { max-width: 100% } pre { background: #f4f4f4; padding: 1em; overflow-x: auto }
"""


class Example(NamedTuple):
    """A test recording and what the layers did with it.

    Attributes:
      label: its class.
      frames_TxHxWxC: the input, 0 or 1.
      soft, hard: spikes of each layer, (T, neurons).
      soft_prediction, hard_prediction: classes.
    """

    label: int
    frames_TxHxWxC: np.ndarray
    soft: Sequence[np.ndarray]
    hard: Sequence[np.ndarray]
    soft_prediction: int
    hard_prediction: int


def write(
    workdir: pathlib.Path,
    results: dict,
    curves: Sequence[dict],
    examples: Sequence[Example],
    notes: Sequence[str] = (),
) -> None:
    """Writes ``report.md``, ``report.html`` and the plots they show.

    Args:
      workdir: where; plots go to ``plots/`` below it.
      results: the contents of ``results.json``.
      curves: the lines of ``metrics.jsonl``.
      examples: recordings to show.
      notes: what else a reader must know of the data, one paragraph each.
    """
    plots = workdir / "plots"
    plots.mkdir(exist_ok=True)
    first = "run of " + results_lib.setting(results["runs"][0], ["rho", "seed"])
    figures = {
        "curves": ("Learning curves", plot_curves(curves)),
        "rates": ("Firing rates by layer", plot_rates(results["runs"])),
        "confusion": (f"Confusion, {first}", plot_confusion(results["runs"][0])),
        "examples": (f"Example recordings, {first}", plot_examples(examples)),
    }
    if len(results["summary"]) > 1:
        figures["sweep"] = ("Accuracy and gap of the sweep", plot_sweep(results["summary"]))
    for name, (_, figure) in figures.items():
        figure.savefig(plots / f"{name}.png", dpi=110)
    text = _page(results, curves, notes, {name: title for name, (title, _) in figures.items()})
    (workdir / "report.md").write_text(text)
    html = markdown.markdown(text, extensions=["tables", "fenced_code"])
    html = re.sub(r'src="([^"]+)"', lambda m: f'src="{_inline(workdir / m[1])}"', html)
    title = f"{results['experiment']}: soft and hard spikes"
    (workdir / "report.html").write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>{html}</body></html>"
    )


def _page(results, curves, notes, titles) -> str:
    runs = results["runs"]
    watched = curves[-1] if curves else None
    parts = [
        f"# {results['experiment']}: soft and hard spikes",
        f"Data: {results['data']}; trained on {results['train_recordings']}.{_held_out(runs[0])} "
        f"Accuracies are of the last epoch, on all {runs[0]['recordings']} test recordings: no "
        "epoch was chosen by them, and no setting should be; hold out recordings for that "
        "(config.data.validation).",
        "Soft: with the smooth spike of training. Hard: the same weights with a threshold (swap "
        "only). Gap: soft minus hard accuracy, in points. Rate: mean spike a step, each layer "
        "counting the same. Ties: recordings whose highest score several classes share, with hard "
        "spikes; the lowest of them is the answer. Silent: recordings at which no output neuron "
        "spikes. Brackets: 95 % interval, Wilson over recordings for a single run, Student's t "
        "over seeds for a mean.",
        results_lib.table(results, "github"),
        *(f"**Note.** {note}" for note in [*results_lib.remarks(runs), *notes]),
    ]
    captions = {
        "curves": watched
        and f"Each epoch is evaluated on {watched['recordings']} recordings of the "
        f"{watched['split']} split, as a progress report only.",
        "rates": "Mean spike of each layer over steps, neurons and recordings; dots: runs.",
        "confusion": "Share of each true class (rows) given each prediction (columns), percent.",
        "examples": "Input: events summed over each third of the recording, blue where brightness "
        "rose and red where it fell. Then the layers' spikes over time (to the right), soft above "
        "hard, at most 64 neurons of each.",
        "sweep": "Means over seeds with 95 % intervals (none for a single seed).",
    }
    for name, title in titles.items():
        parts += [f"## {title}", f"![{title}](plots/{name}.png)", captions[name] or ""]
    machine = ", ".join(f"{key} {value}" for key, value in results["environment"].items())
    parts += ["## Settings", f"```json\n{json.dumps(results['config'], indent=2)}\n```"]
    parts += [f"Machine: {machine}."]
    return "\n\n".join(parts) + "\n"


def _held_out(run) -> str:
    count = run.get("validation_recordings")
    return f" {count} more of the training split are held out for validation." if count else ""


def plot_curves(curves: Sequence[dict]) -> matplotlib.figure.Figure:
    """Loss, and soft and hard accuracy, over the epochs of every run."""
    figure, (left, right) = _axes(1, 2, (11, 4))
    looks = _Looks(curves)
    runs = {}
    for line in curves:
        runs.setdefault(line["run"], []).append(line)
    for lines in runs.values():
        epochs = [line["epoch"] for line in lines]
        losses = [_number(line["loss"]) for line in lines]
        left.plot(epochs, losses, color=looks.colour(lines[0], "0.3"), lw=1)
        for kind in _KINDS:
            values = [100 * _number(line[f"{kind}_accuracy"]) for line in lines]
            right.plot(epochs, values, lw=1, **looks.line(lines[0], kind))
    left.set(xlabel="epoch", ylabel="loss on the ascent batches", yscale="log")
    right.set(xlabel="epoch", ylabel="accuracy, %")
    _legend(right)
    return figure


def plot_rates(runs: Sequence[dict]) -> matplotlib.figure.Figure:
    """Mean spike of each layer, soft and hard: a dot a run, and a line for a setting's mean."""
    figure, axis = _axes(1, 1, (7, 4))
    looks = _Looks(runs)
    depth = len(runs[0]["soft_rates"])
    for setting in looks.settings:
        members = [run for run in runs if looks.setting(run) == setting]
        for kind in _KINDS:
            rates = [run[f"{kind}_rates"] for run in members]
            rates_RxL = 100 * np.array([r for r in rates if None not in r] or [[np.nan] * depth])
            line = looks.line(members[0], kind)
            axis.plot(range(depth), rates_RxL.mean(axis=0), **line)
            axis.plot(range(depth), rates_RxL.T, ".", color=line["color"])
    axis.set_xticks(range(depth), [f"layer {i + 1}" for i in range(depth - 1)] + ["output"])
    axis.set(ylabel="spikes per step, %")
    _legend(axis)
    return figure


class _Looks:
    """Lines of a plot: soft dashed, hard whole; a colour for each setting if there are several."""

    def __init__(self, rows):
        self._varied = results_lib.varied(rows)
        self.settings = list(dict.fromkeys(map(self.setting, rows)))

    def setting(self, row) -> str:
        return results_lib.setting(row, self._varied)

    def colour(self, row, alone) -> str:
        several = len(self.settings) > 1
        return f"C{self.settings.index(self.setting(row)) % 10}" if several else alone

    def line(self, row, kind) -> dict:
        colour, style = {"soft": (SOFT, "--"), "hard": (HARD, "-")}[kind]
        label = f"{kind} {self.setting(row)}".strip()
        return {"color": self.colour(row, colour), "ls": style, "label": label}


def _legend(axis):
    handles, labels = axis.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axis.legend(once.values(), once.keys(), fontsize="small", ncols=-(-len(once) // 10))


def plot_confusion(run: dict) -> matplotlib.figure.Figure:
    """Confusion matrices of a run, soft and hard, in percent of the true class."""
    figure, axes = _axes(1, 2, (11, 5))
    for axis, kind in zip(axes, _KINDS, strict=True):
        if run[f"{kind}_confusion"] is None:
            axis.set(title=f"{kind}: diverged")
            continue
        counts = np.array(run[f"{kind}_confusion"])
        share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axis.imshow(share, cmap="Blues", vmin=0, vmax=100)
        for (row, column), value in np.ndenumerate(share):
            if value >= 0.05:
                colour = "white" if value > 50 else "black"
                axis.text(
                    column, row, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=7
                )
        axis.set_xticks(range(len(counts)))
        axis.set_yticks(range(len(counts)))
        accuracy = 100 * run[f"{kind}_accuracy"]
        axis.set(title=f"{kind}, {accuracy:.2f} %", xlabel="predicted", ylabel="true")
    return figure


def plot_examples(examples: Sequence[Example]) -> matplotlib.figure.Figure:
    """A row a recording: its input in three parts of time, the layers' spikes, soft and hard."""
    depth = len(examples[0].soft)
    figure, axes = _axes(2 * len(examples), 3 + depth, (2 * (3 + depth), 2.3 * len(examples)))
    for row, example in enumerate(examples):
        upper, lower = axes[2 * row], axes[2 * row + 1]
        for part, frames in enumerate(np.array_split(example.frames_TxHxWxC, 3)):
            grid = upper[part].get_gridspec()
            upper[part].remove()
            lower[part].remove()
            axis = figure.add_subplot(grid[2 * row : 2 * row + 2, part])
            axis.imshow(_colours(frames.sum(axis=0)))
            axis.set_xticks([])
            axis.set_yticks([])
            if part == 0:
                axis.set_ylabel(
                    f"{example.label}: soft {example.soft_prediction}, "
                    f"hard {example.hard_prediction}"
                )
        for kind, line, spikes in (("soft", upper, example.soft), ("hard", lower, example.hard)):
            for layer, spikes_TxN in enumerate(spikes):
                axis = line[3 + layer]
                axis.imshow(
                    spikes_TxN[:, :64].T, aspect="auto", cmap="Greys", vmin=0, vmax=1,
                    interpolation="nearest",
                )  # fmt: skip
                axis.set_xticks([])
                axis.set_yticks([])
                if row == 0 and kind == "soft":
                    axis.set_title("output" if layer == depth - 1 else f"layer {layer + 1}")
                if layer == 0:
                    axis.set_ylabel(kind)
    return figure


def plot_sweep(summary: Sequence[dict]) -> matplotlib.figure.Figure:
    """Accuracies and gap over the first key that was swept, a line for each value of the others."""
    figure, (left, right) = _axes(1, 2, (11, 4))
    swept, *others = results_lib.varied(summary)
    lines = {}
    for row in sorted(summary, key=lambda row: row[swept]):
        if row["hard_accuracy_mean"] is not None:
            lines.setdefault(tuple(row[key] for key in others), []).append(row)
    styles = itertools.cycle(("-", "--", ":", "-."))
    for (setting, rows), style in zip(lines.items(), styles, strict=False):
        suffix = "".join(f", {key} {v}" for key, v in zip(others, setting, strict=True))
        for axis, key, colour in (
            (left, "soft_accuracy", SOFT),
            (left, "hard_accuracy", HARD),
            (right, "transfer_gap", "0.2"),
        ):
            means = np.array([100 * row[f"{key}_mean"] for row in rows])
            ends = [row[f"{key}_ci95"] or [row[f"{key}_mean"]] * 2 for row in rows]
            error = np.abs(100 * np.array(ends).T - means)
            label = key.partition("_")[0] + suffix
            x = [row[swept] for row in rows]
            axis.errorbar(x, means, error, fmt="o" + style, color=colour, capsize=3, label=label)
    left.set(xlabel=swept, ylabel="accuracy, %")
    right.set(xlabel=swept, ylabel="transfer gap, points")
    _legend(left)
    _legend(right)
    return figure


def _axes(rows, columns, size):
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns)


def _colours(events_HxWxC) -> np.ndarray:
    strength = np.minimum(events_HxWxC / max(events_HxWxC.max(), 1), 1)
    rise, fall = strength[..., 0], strength[..., 1]
    return np.stack([1 - rise, 1 - np.maximum(rise, fall), 1 - fall], axis=-1)


def _number(value) -> float:
    return float("nan") if value is None else value


def _inline(path: pathlib.Path) -> str:
    kind = mimetypes.guess_type(path.name)[0]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
