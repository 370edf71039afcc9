"""The report of a run: what is on its page."""

import pathlib
from collections.abc import Sequence

from sast_jax.reports import pages, plots, tables
from sast_jax.reports import results as results_lib

_OPERATIONS = (
    "Of the hard network, means per recording, in NeuroBench's terms. AC: a spike meets a weight "
    "that is not 0. MAC: the same where inputs are not all -1, 0 or 1. Dense: every input meets "
    "every weight at each step. Energies are of the effective operations alone, at 0.9 pJ an AC in "
    "float32 and 0.1 pJ in integers of 32 bits (45 nm, Horowitz, ISSCC 2014): without neurons, "
    "memory and transport."
)
_CORRUPTIONS = (
    "Each test recording's events, corrupted in one way at a time; severities go from 1 to 5, with "
    "levels as sast_jax.data.corruptions has them. Integer: the integer network, with "
    "weights of the first width above. Means are over the kinds and severities shown."
)


def write(
    workdir: pathlib.Path,
    results: dict,
    curves: Sequence[dict],
    examples: Sequence[plots.Example],
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
    folder = workdir / "plots"
    folder.mkdir(exist_ok=True)
    first = "run of " + results_lib.setting(results["runs"][0], ["rho", "seed"])
    confusion = plots.confusion(results["runs"][0], results["class_names"])
    figures = {
        "curves": ("Learning curves", plots.curves(curves)),
        "rates": ("Firing rates by layer", plots.rates(results["runs"])),
        "early": ("Early decisions", plots.early(results["runs"])),
        "reliability": ("Confidence", plots.reliability(results["runs"])),
        "confusion": (f"Confusion, {first}", confusion),
        "examples": (f"Example recordings, {first}", plots.examples(examples)),
    }
    if len(results["summary"]) > 1:
        figures["sweep"] = ("Accuracy and gap of the sweep", plots.sweep(results["summary"]))
    if any(row.get("hardware") for row in results["summary"]):
        hardware = plots.conditions(results["summary"], "hardware")
        figures["hardware"] = ("Conditions of hardware", hardware)
    if any(row.get("corruptions") for row in results["summary"]):
        corruptions = plots.conditions(results["summary"], "corruptions")
        figures["corruptions"] = ("Corrupted recordings", corruptions)
    for name, (_, figure) in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=110)
    text = _page(results, curves, notes, {name: title for name, (title, _) in figures.items()})
    pages.write(workdir, "report", f"{results['experiment']}: soft and hard spikes", text)


def _page(results, curves, notes, titles) -> str:
    runs = results["runs"]
    watched = curves[-1] if curves else None
    parts = [
        f"# {results['experiment']}: soft and hard spikes",
        f"Data: {results['data']}; trained on {results['train_recordings']}.{_held_out(runs[0])} "
        f"Accuracies are of the last epoch, on all {runs[0]['recordings']} test recordings: no "
        "epoch was chosen by them, and no setting should be; settings are chosen on recordings "
        "held out from training (config.data.validation).",
        "Soft: with the smooth spike. Hard: the same weights with a threshold (swap only). "
        "Calibrated: the same with a factor on each layer's threshold, chosen on the validation "
        "split. Gap: soft minus hard accuracy, in points. Rate: mean spike a step, each layer "
        "counting the same. Ties: recordings whose highest score several classes share, with hard "
        "spikes; the lowest of them is the answer. Silent: recordings at which no output neuron "
        "spikes. Seconds: of training, without compiling and evaluating; runs that are trained "
        "together share them evenly. Brackets: 95 % interval, Wilson over recordings for a single "
        "run, Student's t over seeds for a mean.",
        tables.runs(results, "github"),
        *(f"**Note.** {note}" for note in [*results_lib.remarks(runs), *notes]),
    ]
    captions = {
        "curves": watched
        and f"Each epoch is evaluated on {watched['recordings']} recordings of the "
        f"{watched['split']} split, as a progress report only. The loss is on the batch (or its "
        "part) that the ascent is taken on, on the whole batch without SAM.",
        "rates": "Mean spike of each layer over steps, neurons and recordings; dots: runs.",
        "early": "Of each run, if the recordings, or their windows, had ended after so many steps.",
        "reliability": f"{tables.confidence(results, 'github')}\n\nOf the answers that a network "
        "gives with a confidence (softmax of its scores), how many are right; runs of a setting "
        "together, in 15 bins. ECE: the expected calibration error, their mean distance from the "
        "diagonal in points. NLL: negative log likelihood of the true class, nats. Brier: squared "
        "distance of the probabilities from the true class, 0 to 2. With temperature: scores "
        "divided by the one with the least NLL on the validation split.",
        "confusion": "Of each true class (rows), the percentage that was answered with each class "
        "(columns).",
        "examples": "Left: the class, and what the network answers with soft and with hard spikes. "
        "Input: events summed over each third of the recording or window, blue where brightness "
        "rose and red where it fell. Then the layers' spikes over time (to the right), soft above "
        "hard: at most 64 neurons of each layer, evenly chosen from those that spike.",
        "sweep": "Means over seeds with 95 % intervals (none for a single seed), on the validation "
        "split if there is one.",
    }
    if "hardware" in titles:
        tried = tables.hardware(results, "github"), _hardware(results["config"])
        captions["hardware"] = "\n\n".join(tried)
    if "corruptions" in titles:
        captions["corruptions"] = f"{tables.corruptions(results, 'github')}\n\n{_CORRUPTIONS}"
    for name, title in titles.items():
        parts += [f"## {title}", f"![{title}](plots/{name}.png)", captions[name] or ""]
    if operations := tables.operations(results, "github"):
        who = [*results_lib.shown(results["summary"]), "seed"]
        parts += ["## Operations", operations, _OPERATIONS, *(_cost(run, who) for run in runs)]
    parts += pages.settings(results["config"], results["environment"])
    return "\n\n".join(parts) + "\n"


def _hardware(config) -> str:
    chip, decay = config["hardware"], config["lif"]["decay"]
    bits = chip["leak_bits"]
    chosen = {
        "error": f"the least error of the currents on {chip['calibration']} training recordings",
        "max": "the largest weight",
    }[chip["scale"]]
    return (
        "INT: weights of so many bits, symmetric, their scale set for "
        f"{'an output' if chip['per_channel'] else 'a layer'} by {chosen}. Soft and hard change "
        "the weights alone; integer is the integer network, with biases of 32 bits, potentials of "
        f"{chip['membrane_bits']} bits that hold at least {chip['headroom']:g} thresholds "
        f"and leaks of {bits} bits "
        f"({chip['leak']}: the decay {decay:g} is {round(decay * 2**bits)}/{2**bits}). Clipped: "
        "the share of its potentials that this word's range changed, by layer. SynOps: its "
        "effective operations. Mismatch: each weight and bias, or each neuron's threshold or leak "
        "(1 - decay), times a factor, normal around 1 with this standard deviation. Dead: this "
        "share of the neurons, outputs included. Dropped and spurious: of the spikes that a "
        "neuron sends, and at each step without one; integer networks meet them with weights of "
        "the first width. "
        f"Brackets: over {chip['draws']} devices for a single run (Student's t; over recordings "
        "for INT, Wilson), else over runs."
    )


def _cost(run, keys) -> str:
    counts = run["operations"]
    if counts is None:
        return ""
    low, middle, high = counts["effective_acs_quartiles"]
    who = results_lib.setting(run, keys)
    return (
        f"{who[0].upper()}{who[1:]}: {low:,.0f}, {middle:,.0f} and {high:,.0f} ACs are the "
        f"quartiles over recordings; activation sparsity "
        f"{counts['activation_sparsity']:.4f}, connection sparsity "
        f"{counts['connection_sparsity']:.4f}, {counts['footprint_bytes']:,} bytes of weights; "
        f"arithmetic {counts['energy_float32_pj'] / 1e3:,.0f} nJ in float32, "
        f"{counts['energy_integer_pj'] / 1e3:,.0f} nJ in integers."
    )


def _held_out(run) -> str:
    count = run.get("validation_recordings")
    return f" {count} more of the training split are held out for validation." if count else ""
