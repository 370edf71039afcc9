"""Plots of runs: learning curves, firing rates, confusion, recordings, and sweeps."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sast_jax.evaluation import confidence, intervals
from sast_jax.reports import results
from sast_jax.reports.results import KINDS

if TYPE_CHECKING:  # loading it takes a third of a second, which no command should wait for at first
    from matplotlib.figure import Figure

SOFT, HARD, INTEGER = "#1f77b4", "#d62728", "#2ca02c"  # Matplotlib's own blue, red, green
_AXES = {
    "weight_bits": "bits of a weight",
    "weights": "mismatch of weights",
    "thresholds": "mismatch of thresholds",
    "leaks": "mismatch of leaks",
    "dead": "share of dead neurons",
    "dropped": "share of dropped spikes",
    "spurious": "spurious spikes a step",
}


class Example(NamedTuple):
    """A test recording, or a window of one, and how the layers responded to it.

    Attributes:
      label: name of its class.
      rises_TxHxW, falls_TxHxW: the input, 1 where brightness rises and where it falls.
      soft, hard: spikes of each layer, (T, neurons).
      soft_prediction, hard_prediction: names of the predicted classes.
    """

    label: str
    rises_TxHxW: np.ndarray
    falls_TxHxW: np.ndarray
    soft: Sequence[np.ndarray]
    hard: Sequence[np.ndarray]
    soft_prediction: str
    hard_prediction: str


def curves(log: Sequence[dict]) -> "Figure":
    """Loss, and soft and hard accuracy, over the epochs of every run, from a log's lines."""
    figure, (left, right) = _axes(1, 2, (11, 4))
    looks = _Looks(log)
    runs: dict[int, list[dict]] = {}
    for line in log:
        runs.setdefault(line["run"], []).append(line)
    for lines in runs.values():
        epochs = [line["epoch"] for line in lines]
        losses = [_number(line["loss"]) for line in lines]
        marker = "." if len(epochs) == 1 else ""
        left.plot(epochs, losses, color=looks.colour(lines[0], "0.3"), lw=1, marker=marker)
        for kind in KINDS:
            values = [100 * _number(line[f"{kind}_accuracy"]) for line in lines]
            right.plot(epochs, values, lw=1, marker=marker, **looks.line(lines[0], kind))
    left.set(xlabel="epoch", ylabel="loss in training", yscale="log")
    right.set(xlabel="epoch", ylabel="accuracy, %")
    _legend(right)
    return figure


def early(runs: Sequence[dict]) -> "Figure":
    """Accuracy if the input stopped after each step; one line a run."""
    figure, axis = _axes(1, 1, (7, 4))
    looks = _Looks(runs)
    for run in runs:
        for kind in results.kinds(runs):
            accuracies_T = run[f"{kind}_accuracy_by_step"] or [np.nan]
            steps = range(1, len(accuracies_T) + 1)
            axis.plot(steps, 100 * np.array(accuracies_T), lw=1, **looks.line(run, kind))
    axis.set(xlabel="steps of time seen", ylabel="accuracy, %")
    _legend(axis)
    return figure


def conditions(summary: Sequence[dict], key: str) -> "Figure":
    """Accuracy over the levels of each kind of condition, starting with the trained network.

    Args:
      summary: rows of ``results.json``.
      key: "hardware" or "corruptions".
    """
    tried = [row for row in summary if row.get(key)]
    looks = _Looks(summary)
    kinds = list(dict.fromkeys(trial["kind"] for row in tried for trial in row[key]))
    columns = min(len(kinds), 4)  # panels of 3.2 by 2.8 inches: four fill the width of a page
    lines = -(-len(kinds) // columns)
    figure, axes = _axes(lines, columns, (3.2 * columns, 2.8 * lines), squeeze=False, sharey=True)
    for axis, kind in itertools.zip_longest(axes.flat, kinds):
        if kind is None:
            axis.remove()
            continue
        for row in tried:
            trials = [trial for trial in row[key] if trial["kind"] == kind]
            for network in results.networks(summary):
                means = [100 * _number(trial[f"{network}_accuracy_mean"]) for trial in trials]
                levels = [trial["level"] for trial in trials]
                # Level 0 is the network as it was trained. Word widths have no such level, and an
                # integer network differs from the trained one even without faults.
                if network in KINDS and kind != "weight_bits":
                    levels = [0, *levels]
                    means = [100 * _number(row[f"{network}_accuracy_mean"]), *means]
                axis.plot(levels, means, marker=".", lw=1, **looks.line(row, network))
        axis.set(xlabel=_AXES.get(kind, f"{kind.replace('_', ' ')}, severity"))
    for axis in axes[:, 0]:
        axis.set(ylabel="accuracy, %")
    _legend(axes[0, 0])
    return figure


def reliability(runs: Sequence[dict]) -> "Figure":
    """Accuracy of answers over their confidence; the runs of a setting are taken together.

    A vertical line is Wilson's 95 % interval of that many answers.
    """
    figure, axis = _axes(1, 1, (5, 4.5))
    looks = _Looks(runs)
    axis.plot([0, 100], [0, 100], color="0.7", lw=1)
    for setting in looks.settings:
        members = [run for run in runs if looks.setting(run) == setting]
        for kind in results.kinds(runs):
            bins = [bin_ for run in members for bin_ in enumerate(run[f"{kind}_reliability"] or ())]
            sums = np.zeros((3, confidence.BINS))
            for i, bin_ in bins:
                sums[:, i] += bin_["count"] * np.array(
                    [1, bin_["confidence"] or 0, bin_["accuracy"] or 0]
                )
            count, *shares = sums[:, sums[0] > 0]
            sure, right = (100 * share / count for share in shares)
            line = looks.line(members[0], kind)
            axis.plot(sure, right, marker=".", **line)
            hits = zip(shares[1], count, strict=True)
            ends = [intervals.wilson(round(share), round(all_)) for share, all_ in hits]
            low, high = 100 * np.array(ends).reshape(-1, 2).T
            axis.vlines(sure, low, high, color=line["color"], lw=0.7)
    axis.set(xlabel="confidence, %", ylabel="accuracy, %")
    _legend(axis)
    return figure


def rates(runs: Sequence[dict]) -> "Figure":
    """Mean spike of each layer, soft and hard: a dot for each run, a line for a setting's mean."""
    figure, axis = _axes(1, 1, (7, 4))
    looks = _Looks(runs)
    depth = len(runs[0]["hard_rates"])
    for setting in looks.settings:
        members = [run for run in runs if looks.setting(run) == setting]
        for kind in results.kinds(runs):
            # Diverged runs, and layers that do not spike, have no rate.
            rates_RxL = 100 * np.array([run[f"{kind}_rates"] for run in members], float)
            means_L = np.ma.masked_invalid(rates_RxL).mean(axis=0).filled(np.nan)
            line = looks.line(members[0], kind)
            axis.plot(range(depth), means_L, **line)
            axis.plot(range(depth), rates_RxL.T, ".", color=line["color"])
    axis.set_xticks(range(depth), [f"layer {i + 1}" for i in range(depth - 1)] + ["output"])
    axis.set(ylabel="spikes per step, %")
    _legend(axis)
    return figure


class _Looks:
    """Soft dashed, hard whole, integers dotted; a colour for each setting if there are several."""

    def __init__(self, rows):
        self._varied = results.varied(rows)
        self.settings = list(dict.fromkeys(map(self.setting, rows)))

    def setting(self, row) -> str:
        return results.setting(row, self._varied)

    def colour(self, row, alone) -> str:
        if len(self.settings) == 1:
            return alone
        import matplotlib

        place = self.settings.index(self.setting(row)) / (len(self.settings) - 1)
        return matplotlib.colors.to_hex(matplotlib.colormaps["turbo"](place))

    def line(self, row, kind) -> dict:
        colour, style = {"soft": (SOFT, "--"), "hard": (HARD, "-"), "integer": (INTEGER, ":")}[kind]
        label = f"{kind} {self.setting(row)}".strip()
        return {"color": self.colour(row, colour), "ls": style, "label": label}


def _legend(axis):
    handles, labels = axis.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    # Ten lines a column, which is what the height of these plots holds.
    axis.legend(once.values(), once.keys(), fontsize="small", ncols=-(-len(once) // 10))


def confusion(run: dict, class_names: Sequence[str]) -> "Figure":
    """Confusion matrices of a run, soft and hard, in percent of the true class."""
    kinds = results.kinds([run])
    figure, axes = _axes(1, len(kinds), (5.5 * len(kinds), 5), squeeze=False)
    turned = 0 if max(map(len, class_names)) < 3 else 90
    for axis, kind in zip(axes.flat, kinds, strict=True):
        if run[f"{kind}_confusion"] is None:
            axis.set(title=f"{kind}: diverged")
            continue
        counts = np.array(run[f"{kind}_confusion"])
        share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axis.imshow(share, cmap="Blues", vmin=0, vmax=100)
        for (row, column), value in np.ndenumerate(share):
            if value >= 0.05:  # less would be printed as 0.0
                colour = "white" if value > 50 else "black"
                axis.text(
                    column, row, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=7
                )
        axis.set_xticks(range(len(counts)), class_names, rotation=turned)
        axis.set_yticks(range(len(counts)), class_names)
        accuracy = 100 * run[f"{kind}_accuracy"]
        axis.set(title=f"{kind}, {accuracy:.2f} %", xlabel="predicted", ylabel="true")
    return figure


def examples(recordings: Sequence[Example]) -> "Figure":
    """One row a recording: its input in three parts of time, and the layers' spikes."""
    # Each recording has two lines of axes, soft above hard; its three pictures of the input take
    # the place of both.
    depth = len(recordings[0].soft)
    figure, axes = _axes(2 * len(recordings), 3 + depth, (2 * (3 + depth), 2.3 * len(recordings)))
    for row, example in enumerate(recordings):
        upper, lower = axes[2 * row], axes[2 * row + 1]
        thirds = (np.array_split(x, 3) for x in (example.rises_TxHxW, example.falls_TxHxW))
        for part, (rises, falls) in enumerate(zip(*thirds, strict=True)):
            grid = upper[part].get_gridspec()
            upper[part].remove()
            lower[part].remove()
            axis = figure.add_subplot(grid[2 * row : 2 * row + 2, part])
            axis.imshow(_colours(rises.sum(axis=0), falls.sum(axis=0)))
            axis.set_xticks([])
            axis.set_yticks([])
            if part == 0:
                axis.set_ylabel(
                    f"{example.label}\nsoft: {example.soft_prediction}\n"
                    f"hard: {example.hard_prediction}",
                    fontsize=7,
                )
        both = zip(example.soft, example.hard, strict=True)
        shown = [_active(soft + hard) for soft, hard in both]
        for kind, line, spikes in (("soft", upper, example.soft), ("hard", lower, example.hard)):
            for layer, spikes_TxN in enumerate(spikes):
                axis = line[3 + layer]
                axis.imshow(
                    spikes_TxN[:, shown[layer]].T, aspect="auto", cmap="Greys", vmin=0, vmax=1,
                    interpolation="nearest",
                )  # fmt: skip
                axis.set_xticks([])
                axis.set_yticks([])
                if row == 0 and kind == "soft":
                    axis.set_title("output" if layer == depth - 1 else f"layer {layer + 1}")
                if layer == 0:
                    axis.set_ylabel(kind)
    return figure


def sweep(summary: Sequence[dict]) -> "Figure":
    """Accuracies and gap over the first key that was swept, a line for each value of the others.

    They are of the validation split if there is one, else of the test split.
    """
    figure, (left, right) = _axes(1, 2, (11, 4))
    swept, *others = results.varied(summary)
    lines: dict[tuple, list[dict]] = {}
    for row in sorted(summary, key=lambda row: row[swept]):
        if row["hard_accuracy_mean"] is not None:
            lines.setdefault(tuple(row[key] for key in others), []).append(row)
    prefix = "validation_" if "validation_hard_accuracy_mean" in summary[0] else ""
    styles = itertools.cycle(("-", "--", ":", "-."))
    for (setting, rows), style in zip(lines.items(), styles, strict=False):
        suffix = "".join(f", {key} {v}" for key, v in zip(others, setting, strict=True))
        for axis, key, name, colour in (
            (left, "soft_accuracy", "soft", SOFT),
            (left, "hard_accuracy", "hard", HARD),
            (right, "transfer_gap", "gap", "0.2"),
        ):
            means = np.array([100 * row[f"{prefix}{key}_mean"] for row in rows])
            ends = [row[f"{prefix}{key}_ci95"] or [row[f"{prefix}{key}_mean"]] * 2 for row in rows]
            error = np.abs(100 * np.array(ends).T - means)
            label = name + suffix
            x = [row[swept] for row in rows]
            axis.errorbar(x, means, error, fmt="o" + style, color=colour, capsize=3, label=label)
    split = "validation" if prefix else "test"
    left.set(xlabel=swept, ylabel=f"{split} accuracy, %")
    right.set(xlabel=swept, ylabel=f"{split} gap, points")
    _legend(left)
    _legend(right)
    return figure


def _axes(rows, columns, size, **options):
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def _active(spikes_TxN, most=64) -> np.ndarray:
    """Indices of neurons to show: all of a small layer, else an even choice of those that spike."""
    # 64 lines are about what a raster of two inches can still show apart.
    everyone = np.arange(spikes_TxN.shape[1])
    if len(everyone) <= most:
        return everyone
    active = np.flatnonzero(spikes_TxN.max(axis=0) > 0.5)
    active = active if len(active) else everyone
    return active[np.linspace(0, len(active) - 1, min(most, len(active))).astype(int)]


def _colours(rises_HxW, falls_HxW) -> np.ndarray:
    # White without events. Rises take away red and green, which leaves blue; falls leave red.
    most = max(rises_HxW.max(), falls_HxW.max(), 1)
    rise, fall = rises_HxW / most, falls_HxW / most
    return np.stack([1 - rise, 1 - np.maximum(rise, fall), 1 - fall], axis=-1)


def _number(value) -> float:
    return float("nan") if value is None else value
