"""The page of ``experiments.theory``: bounds, measured values, and assumptions that fail.

All sentences are computed from the numbers.
"""

import json
import pathlib

import matplotlib.figure
import numpy as np

from sast_jax import files
from sast_jax.reports import pages, results, tables
from sast_jax.theory import convergence
from sast_jax.theory.certificates import SLACKS

_ABOUT = (
    "The bounds are proven, up to rounding, in the docstrings of sast_jax.theory: lipschitz, "
    "smoothness, convergence, mechanism, enclosures and certificates. A measured L is the largest "
    "curvature that Lanczos iteration finds, along the run or in the ball; bounds that use it are "
    "as good as that. "
    "Potentials, step factors and gains hold for any frames in 0..1; those by intervals hold for "
    "the hull of the recordings measured. Crude: no supremum is taken. Gains are Lipschitz "
    "constants over all steps and neurons of a layer; the measured one is the largest found at "
    "some of the recordings. Smoothness holds within the radius around the trained parameters. "
    "Ratio: bound divided by measured."
)


def write_theory(workdir: pathlib.Path, done: dict) -> None:
    """Writes ``theory.json``, ``.md``, ``.html`` and the plots they show.

    Args:
      workdir: of the runs; plots go to ``plots/`` below it.
      done: ``experiment``, ``data``, ``about``, ``config``, ``environment``, ``assumptions``,
        ``groups`` and ``runs``, as ``experiments.theory`` makes them.
    """
    folder = workdir / "plots"
    folder.mkdir(exist_ok=True)
    for name, figure in (
        ("course", _course(done["runs"])),
        ("ratios", _ratios(done["runs"][0]["rows"])),
        ("mechanism", _mechanism(done["runs"])),
        ("certified", _certified(done["runs"])),
    ):
        files.write_figure(folder / f"theory_{name}.png", figure)
    whole = done | {"conclusions": conclusions(done)}
    files.write(workdir / "theory.json", json.dumps(results.finite(whole), indent=2))
    pages.write_page(workdir, "theory", f"{done['experiment']}: theory", _page(done))


def conclusions(done: dict) -> list[str]:
    """Sentences about the assumptions, the bounds that say nothing, and the certificate."""
    broken = [entry["text"] for entry in done["assumptions"] if not entry["met"]]
    kept = [entry["text"] for entry in done["assumptions"] if entry["met"]]
    said = [
        "Assumptions of the convergence theorem that are violated: " + ("; ".join(broken) or "none")
        + ".",
        "Met: " + ("; ".join(kept) or "none") + ".",
    ]  # fmt: skip
    q = max(run["contraction"] for run in done["runs"])
    said.append(
        f"Contraction, which that theorem does not need: q-hat = {q:.3g} at the end, "
        f"{'below 1' if q < 1 else 'not below 1, so that differences may grow'}."
    )
    rows = [row for run in done["runs"] for row in run["rows"]]
    rows += [row for group in done["groups"] for row in group["rows"]]
    if broken:
        said.append("So the convergence inequality, if it holds here, is not by the theorem.")
    failed = dict.fromkeys(r["name"] for r in rows if _fails(r))
    if failed:
        said.append(f"Not met by what was measured: {', '.join(failed)}.")
    empty = {row["name"]: row["vacuous"] for row in rows[::-1] if row["vacuous"]}
    listed = "; ".join(f"{name} ({why})" for name, why in reversed(empty.items()))
    said.append(f"Vacuous for one run at least: {listed or 'none'}.")
    for run in done["runs"]:
        swap = run["swap"]
        said.append(
            f"{run['name']}: of {swap['recordings']} recordings {_share(swap['agree'])} keep their "
            f"answer under the swap; {_share(swap['margins'])} are certified from the distances to "
            f"the threshold, and {_share(swap['devices'][0])} by intervals of the hard network, "
            f"with currents off by at most {SLACKS[0]:g}."
        )
    return said


def _fails(row) -> bool:
    return row["measured"] > row["bound"] * (1 + 1e-4)  # float32 measures to about this


def _share(value) -> str:
    return f"{100 * value:.1f} %"


def _page(done) -> str:
    parts = [
        f"# {done['experiment']}: theory",
        f"Data: {done['data']}. {done['about']}",
        *conclusions(done),
        _ABOUT,
    ]
    for group in done["groups"]:
        parts += [f"## Convergence, {group['name']}", _table(group["rows"]), _terms(group)]
    for run in done["runs"]:
        parts += [f"## {run['name'][0].upper()}{run['name'][1:]}", _table(run["rows"])]
        parts += ["### Along training", _moments(run)]
    captions = {
        "course": "Measured along training, on the recordings named above. Curvature: at the "
        "parameters, or at the radius along their gradient, where SAM looks, if it is larger "
        "there. Moved: how much the gradient differs where SAM takes it. Closest and median, "
        "above: of single recordings.",
        "ratios": "Bound divided by measured, of the first run. Grey: vacuous. Red: not met.",
        "mechanism": f"Single recordings, at the end of training. {_correlations(done)}",
        "certified": "Share of the recordings that provably keep their answer, on all devices with "
        "currents off by at most this much at each neuron and step. Changeable: share of spikes "
        "for which the distances to the threshold do not exclude a change, mean over layers. "
        "Changed: share of spikes that do change.\n\n" + _swap_table(done["runs"]),
    }
    titles = ("Along training", "Tightness", "Mechanism", "Certificate of the swap")
    for (name, caption), title in zip(captions.items(), titles, strict=True):
        parts += [f"## {title}", caption, f"![{title}](plots/theory_{name}.png)"]
    return "\n\n".join([*parts, *pages.settings(done["config"], done["environment"])]) + "\n"


def _table(rows) -> str:
    cells = [
        [
            row["name"],
            *(f"{row[key]:.4g}" for key in ("bound", "measured", "ratio")),
            row["vacuous"],
        ]
        for row in rows
    ]
    return tables.table(cells, ["", "bound", "measured", "ratio", "vacuous because"], "github")


def _terms(group) -> str:
    m = group["measured"]
    shares = [
        f"{kind}: {m[key]['start']:.3g} + {m[key]['radius']:.3g} + {m[key]['noise']:.3g}"
        for kind, key in (("bound", "terms"), ("tighter", "tighter_terms"))
    ]
    step, radius = convergence.vanishing(100, m["step"], m["radius"])
    return (
        f"Mean over {m['runs']:.0f} run{'s' if m['runs'] > 1 else ''}, and over the moments below "
        "but the last, each of which stands for the steps until the next. Start + radius + noise, "
        f"{'; '.join(shares)}. "
        f"Risk {m['start']:.3f} at the start and {m['end']:.3f} at the end, L = {m['L']:.3g} "
        f"(measured along the run), variance {m['variance']:.3g} (the largest measured), "
        f"{m['steps']:.0f} steps of {m['step']:g}, which is {m['step_times_L']:.2f} / L. A hundred "
        f"times the steps, with steps of {step:.3g} and a radius of {radius:.3g}, would bound it "
        "by a tenth of that."
    )


def _moments(run) -> str:
    keys = ["loss", "gradient", "curvature", "moved", "variance", "parameters", "inputs"]
    rows = [
        [epoch, *(f"{run['course'][key][i]:.4g}" for key in keys)]
        for i, epoch in enumerate(run["epochs"])
    ]
    headers = ["epoch", "risk", "gradient", "curvature (L)", "moved", "variance"]
    return tables.table(rows, [*headers, "weight gradients", "input gradients"], "github")


def _correlations(done) -> str:
    found = [
        f"{run['name']}: {run['rank_recordings']:.2f} over recordings and "
        f"{run['rank_training']:.2f} along training"
        for run in done["runs"]
    ]
    across = done["rank_runs"]
    more = "" if across is None else f"; {across:.2f} over the runs' means at the end"
    return (
        "Spearman correlation of the norms of weight and input gradients, "
        + "; ".join(found) + more + "."
    )  # fmt: skip


def _swap_table(runs) -> str:
    rows = [
        [run["name"], *(_share(run["swap"][key]) for key in ("agree", "margins"))]
        + [_share(np.mean(run["swap"][key])) for key in ("changeable", "changed")]
        + [_share(value) for value in run["swap"]["devices"]]
        for run in runs
    ]
    headers = ["", "agree", "by distances", "changeable", "changed"]
    return tables.table(rows, [*headers, *(f"off by {slack:g}" for slack in SLACKS)], "github")


def _course(runs) -> matplotlib.figure.Figure:
    shown = {"loss": "risk", "gradient": "gradient norm", "curvature": "curvature (L)"}
    shown |= {"parameters": "weight gradients", "inputs": "input gradients"}
    figure = matplotlib.figure.Figure(figsize=(3 * len(shown), 3), layout="constrained")
    for axis, (key, title) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        for run in runs:
            axis.plot(run["epochs"], run["course"][key], marker=".", lw=1, label=run["name"])
        axis.set(title=title, xlabel="epoch", yscale="log")
    axis.legend(fontsize=7)
    return figure


def _ratios(rows) -> matplotlib.figure.Figure:
    kept = [row for row in rows if np.isfinite(row["ratio"]) and row["ratio"] > 0][::-1]
    figure = matplotlib.figure.Figure(figsize=(9, 0.22 * len(kept) + 1), layout="constrained")
    axis = figure.subplots()
    colours = ["C3" if _fails(row) else "0.75" if row["vacuous"] else "C0" for row in kept]
    values = [np.log10(row["ratio"]) for row in kept]
    axis.barh(range(len(kept)), values, color=colours)
    axis.set_yticks(range(len(kept)), [row["name"] for row in kept], fontsize=7)
    axis.set(xlabel="orders of magnitude between bound and measured", ylim=(-1, len(kept)))
    return figure


def _mechanism(runs) -> matplotlib.figure.Figure:
    figure = matplotlib.figure.Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for number, run in enumerate(runs):
        singles = run["singles"]
        axis.plot(
            singles["parameters"], singles["inputs"], ".", ms=3, color=f"C{number}",
            label=run["name"],
        )  # fmt: skip
    axis.set(xlabel="weight gradient of a recording", ylabel="input gradient")
    axis.set(xscale="log", yscale="log")
    axis.legend(fontsize=7)
    return figure


def _certified(runs) -> matplotlib.figure.Figure:
    figure = matplotlib.figure.Figure(figsize=(6, 3.5), layout="constrained")
    axis = figure.subplots()
    for run in runs:
        shares = [100 * value for value in run["swap"]["devices"]]
        axis.plot(SLACKS, shares, marker="o", label=run["name"])
    axis.set(xscale="log", xlabel="a current is off by at most, thresholds", ylabel="certified, %")
    axis.legend(fontsize=7)
    return figure
