"""Tables of ``results.json``: runs, confidence, hardware, corruptions, operations."""

from collections.abc import Sequence

import tabulate

from sast_jax.reports import results as results_lib
from sast_jax.reports.results import KINDS

OPERATIONS = {  # keys of a run's ``operations``
    "effective_acs": "ACs",
    "effective_macs": "MACs",
    "dense": "dense",
    "membrane_updates": "membrane updates",
    "spikes": "spikes",
}


def runs(results: dict, style: str = "simple") -> str:
    """The results as a table: a row for each run, then means if there are several seeds.

    Args:
      results: as :func:`sast_jax.reports.results.collect` returns them.
      style: a table format of the package tabulate.
    """
    runs, summary = results["runs"], results["summary"]
    shown = results_lib.shown(summary)
    validated = [f"validation_{kind}_accuracy" for kind in KINDS]
    validated = [key for key in validated if key in runs[0]]
    calibrated = [key for key in ("calibrated_hard_accuracy",) if key in runs[0]]
    rows = [
        [*(run[key] for key in shown), run["seed"]]
        + [_percent(run[key], run[f"{key}_ci95"]) for key in validated]
        + [_percent(run[f"{kind}_accuracy"], run[f"{kind}_accuracy_ci95"]) for kind in KINDS]
        + [_percent(run[key], run[f"{key}_ci95"]) for key in calibrated]
        + [_percent(run["transfer_gap"], None)]
        + [_percent(run[f"{kind}_rate"], None) for kind in KINDS]
        + [_percent(run["hard_ties"], None), _percent(run["hard_silent"], None)]
        + ["diverged" if run.get("diverged") else f"{run['train_seconds']:.0f}"]
        for run in runs
    ]
    if len(runs) > len(summary):
        rows += [
            [*(row[key] for key in shown), f"mean of {row['n']}"]
            + [_percent(*_pair(row, key)) for key in validated]
            + [_percent(*_pair(row, f"{kind}_accuracy")) for kind in KINDS]
            + [_percent(*_pair(row, key)) for key in calibrated]
            + [_percent(*_pair(row, "transfer_gap"))]
            + [_percent(row[f"{kind}_rate_mean"], None) for kind in KINDS]
            + ["", "", f"{row['train_seconds_mean']:.0f}" if row["n"] else ""]
            for row in summary
        ]
    headers = [*shown, "seed", *("soft % validation", "hard % validation")[: len(validated)]]
    test = " test" if validated else ""
    headers += [f"soft %{test}", f"hard %{test}", *("hard %, calibrated" for _ in calibrated)]
    headers += ["gap", "soft rate %", "hard rate %"]
    headers += ["ties %", "silent %", "seconds"]
    return table(rows, headers, style)


def network(results: dict, style: str = "simple") -> str:
    """The hard network of a file, as a row."""
    (run,) = results["runs"]
    row = [_percent(run["hard_accuracy"], run["hard_accuracy_ci95"])]
    row += [_percent(run[f"hard_{key}"], None) for key in ("rate", "ties", "silent")]
    return table([row], ["hard %", "rate %", "ties %", "silent %"], style)


def hardware(results: dict, style: str = "simple") -> str:
    """Accuracies of each setting under each condition of hardware; empty if none was tried.

    They are of the test split, and of the validation split too if there is one.
    """
    summary = results["summary"]
    shown = results_lib.shown(summary)
    splits = {"validation": "validation_hardware", "test": "hardware"}
    splits = {s: key for s, key in splits.items() if any(row.get(key) for row in summary)}
    several, networks = len(splits) > 1, results_lib.networks(summary)
    rows = [
        [*(f"{row[key]:g}" for key in shown), *([split] if several else []), trial["condition"]]
        + [_percent(*_pair(trial, f"{network}_accuracy")) for network in networks]
        + [" ".join(_percent(share, None) for share in trial.get("clipped_mean", ()))]
        + [f"{trial['synops_mean']:,.0f}" if "synops_mean" in trial else ""]
        for row in summary
        for split, key in splits.items()
        for trial in row.get(key, ())
    ]
    headers = [*shown, *(["split"] if several else []), "condition"]
    headers += [*(f"{network} %" for network in networks), "clipped %", "SynOps"]
    return table(rows, headers, style) if rows else ""


def confidence(results: dict, style: str = "simple") -> str:
    """Calibration of each setting, soft and hard."""
    summary = results["summary"]
    shown = results_lib.shown(summary)
    scaled = "hard_ece_scaled_mean" in summary[0]
    rows = [
        [*(f"{row[key]:g}" for key in shown), kind]
        + [_percent(*_pair(row, f"{kind}_ece"))]
        + ([_percent(*_pair(row, f"{kind}_ece_scaled"))] if scaled else [])
        + [decimals(*_pair(row, f"{kind}_{key}")) for key in ("nll", "brier")]
        for row in summary
        for kind in results_lib.kinds(summary)
    ]
    headers = [*shown, "spikes", "ECE, points", *(["with temperature"] if scaled else [])]
    return table(rows, [*headers, "NLL", "Brier"], style)


def corruptions(results: dict, style: str = "simple") -> str:
    """Accuracies of each setting by kind and severity of corruption; empty if none was tried."""
    summary = results["summary"]
    shown = results_lib.shown(summary)
    rows = []
    severities: list[int] = []
    for row in summary:
        trials = row.get("corruptions", ())
        severities = severities or list(dict.fromkeys(trial["level"] for trial in trials))
        kinds = dict.fromkeys(trial["kind"] for trial in trials)
        for network in results_lib.networks(summary):
            accuracy = f"{network}_accuracy_mean"
            if all(trial[accuracy] is None for trial in trials):
                continue
            who = [*(f"{row[key]:g}" for key in shown), network]
            for kind in kinds:
                own = [_percent(t[accuracy], None) for t in trials if t["kind"] == kind]
                rows.append([*who, kind.replace("_", " "), *own])
            means = _percent(*_pair(row, f"{network}_corruption_accuracy"))
            rows.append([*who, f"mean {means}", *[""] * len(severities)])
    headers = [*shown, "spikes", "corruption", *(f"severity {level}" for level in severities)]
    return table(rows, headers, style) if rows else ""


def operations(results: dict, style: str = "simple") -> str:
    """Means per recording of each run's hard network, by layer and in all."""
    rows = []
    for run in results["runs"]:
        counts = run.get("operations")
        if not counts:
            continue
        named = [(name, counts[f"{name}_by_layer"]) for name in OPERATIONS]
        depth = len(named[0][1])
        who = results_lib.named(run, results["summary"])
        layers = [f"layer {i + 1}" for i in range(depth - 1)] + ["output"]
        for i, layer in enumerate(layers):
            rows.append([who, layer, *(f"{by_layer[i]:,.0f}" for _, by_layer in named)])
        rows.append([who, "in all", *(f"{counts[name]:,.0f}" for name in OPERATIONS)])
    return table(rows, ["", "", *OPERATIONS.values()], style) if rows else ""


def table(rows: Sequence[Sequence], headers: Sequence[str], style: str) -> str:
    """A table of these texts; tabulate does not reformat numbers in them."""
    return tabulate.tabulate(rows, headers, tablefmt=style, disable_numparse=True)


def _pair(row, key):
    return row[f"{key}_mean"], row[f"{key}_ci95"]


def _percent(value, interval):
    return decimals(value, interval, 2, 100)


def decimals(
    value: float | None, interval: Sequence[float] | None, digits: int = 3, factor: float = 1
) -> str:
    """A number and its interval, times a factor, rounded to ``digits``."""
    if value is None:
        return "-"
    shown = f"{factor * value:.{digits}f}"
    if interval is None:
        return shown
    low, high = (f"{factor * end:.{digits}f}" for end in interval)
    return f"{shown} [{low}, {high}]"
