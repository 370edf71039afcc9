"""Plots of an assessment."""

from collections.abc import Mapping

import matplotlib.figure
import matplotlib.ticker
import numpy as np

from experiments.assessment.decision import values_of
from experiments.assessment.findings import by_kind, sharing_the_loss
from experiments.assessment.measures import PLAIN, REFERENCE, mean_of

LEVELS = {0.0: "hard_accuracy", 0.1: "mismatch_0.1", 0.3: "mismatch_0.3", 0.6: "mismatch_0.6"}
WIDTHS = ("INT8", "INT4", "INT2")
SHOWN = 10  # methods in a plot of curves, at most


def flatness(methods: Mapping[str, dict]) -> matplotlib.figure.Figure:
    """The rise of the loss against what a mismatch costs, and against the gap of the swap."""
    figure = matplotlib.figure.Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, name in enumerate(sharing_the_loss(methods), start=1):
        rise, hard, under, gap = (
            mean_of(methods[name], key)
            for key in ("rise", "hard_accuracy", "mismatch_0.6", "transfer_gap")
        )
        colour = {REFERENCE: "C3", PLAIN: "k"}.get(name, "C0")
        for axis, value in ((left, hard - under), (right, gap)):
            # Names would lie on each other: a point bears its method's number.
            point = (rise, 100 * value)
            axis.plot(*point, "o", color=colour, ms=4, label=f"{number} {name}")
            axis.annotate(f"{number}", point, fontsize=7, xytext=(3, 2), textcoords="offset points")
    left.set(xlabel="rise of the loss", ylabel="lost at mismatch 0.6, points")
    right.set(xlabel="rise of the loss", ylabel="gap of the swap, points")
    for axis in (left, right):
        _logarithmic(axis)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=7, handlelength=0)
    return figure


def corruptions(methods: Mapping[str, dict]) -> matplotlib.figure.Figure:
    """A heat map of methods and kinds of corruption: hard accuracy minus plain training's."""
    sound = {name: row for name, row in methods.items() if row["runs"][0]["corruptions"]}
    known = {name: by_kind(row) for name, row in sound.items()}
    if PLAIN not in known:  # none of its runs is finite
        return matplotlib.figure.Figure(figsize=(1, 1))
    kinds = list(known[PLAIN])
    table = 100 * np.array(
        [[np.mean(of_it[kind] - known[PLAIN][kind]) for kind in kinds] for of_it in known.values()]
    )
    figure = matplotlib.figure.Figure(
        figsize=(0.8 * len(kinds) + 3, 0.26 * len(known) + 1.6), layout="constrained"
    )
    axis, most = figure.subplots(), max(1.0, float(np.nanmax(np.abs(table))))
    image = axis.imshow(table, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
    for (y, x), value in np.ndenumerate(table):
        shade = "w" if abs(value) > 0.6 * most else "k"
        axis.text(x, y, f"{value:+.0f}", ha="center", va="center", fontsize=6, color=shade)
    axis.set_xticks(range(len(kinds)), kinds, rotation=35, ha="right", fontsize=7)
    axis.set_yticks(range(len(known)), list(known), fontsize=7)
    figure.colorbar(image, label="points above plain training")
    return figure


def curves(methods: Mapping[str, dict]) -> matplotlib.figure.Figure:
    """The best methods: accuracy against mismatch, operations and, where measured, time."""
    scores = {name: values_of(row, "deployment") for name, row in methods.items()}
    best = sorted((name for name in scores if scores[name]), key=lambda n: -np.mean(scores[n]))
    chosen = list(dict.fromkeys([PLAIN, REFERENCE, *best]))[:SHOWN]
    figure = matplotlib.figure.Figure(figsize=(10, 4), layout="constrained")
    timed = any("time" in methods[name] for name in chosen)
    left, middle, *more = figure.subplots(1, 3 if timed else 2)
    for name in chosen:
        row = methods[name]
        levels = {level: mean_of(row, key) for level, key in LEVELS.items()}
        left.plot(list(levels), [100 * value for value in levels.values()], "o-", ms=3, label=name)
        operations = [1e-3 * mean_of(row, f"{width}_synops") for width in WIDTHS]
        middle.plot(operations, [100 * mean_of(row, width) for width in WIDTHS], "o-", ms=3)
        for axis in more if "time" in row else ():
            axis.plot(row["time"][1], 100 * np.mean(scores[name] or [np.nan]), "o", ms=5)
    left.set(xlabel="mismatch of weights", ylabel="hard, %")
    middle.set(xlabel="operations a recording, thousands (8, 4, 2 bits)", ylabel="integer, %")
    for axis in more:
        axis.set(xlabel="time of training over plain", ylabel="deployment score, %")
        _logarithmic(axis)
    left.legend(fontsize=6)
    return figure


KINDS = {"curves": curves, "corruptions": corruptions, "flatness": flatness}


def drawn(methods: Mapping[str, dict]) -> dict[str, matplotlib.figure.Figure]:
    """The figures of a regime's rows, by their names."""
    return {name: draw(methods) for name, draw in KINDS.items()}


def _logarithmic(axis):
    """Makes the x axis logarithmic, with plain numbers that leave each other room."""
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axis.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
