"""The report of a run: what is on its page."""

import pathlib
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from sast_jax import files
from sast_jax.reports import pages, plots, results as results_lib, tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OPERATIONS = (
    "Operations of the hard network: means per recording, in NeuroBench's terms. AC (accumulate): "
    "a spike meets a weight that is not 0. MAC (multiply-accumulate): the same, where not all "
    "inputs are -1, 0 or 1. Dense: the number if every input met every weight at each step. "
    "Energies count the effective operations alone, at 0.9 pJ an AC in float32 and 0.1 pJ in "
    "integers of 32 bits (45 nm, Horowitz, ISSCC 2014). They leave out neurons, memory and "
    "transport."
)
_CORRUPTIONS = (
    "The events of each test recording are corrupted in one way at a time, with severities from 1 "
    "to 5; sast_jax.data.corruptions lists their levels. Integer: the integer network, with "
    "weights of the first width above. Means are over the kinds and severities shown."
)


def write_report(
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
    first = "run with " + results_lib.setting(results["runs"][0], ["rho", "seed"])
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
    figures |= of_conditions(results)
    for name, (_, figure) in figures.items():
        files.write_figure(folder / f"{name}.png", figure)
    text = _page(results, curves, notes, {name: title for name, (title, _) in figures.items()})
    pages.write_page(workdir, "report", f"{results['experiment']}: soft and hard spikes", text)


def _page(results, curves, notes, titles) -> str:
    runs = results["runs"]
    watched = curves[-1] if curves else None
    parts = [
        f"# {results['experiment']}: soft and hard spikes",
        f"Data: {results['data']}; trained on {results['train_recordings']}.{_held_out(runs[0])} "
        f"Accuracies are those of the last epoch, on all {runs[0]['recordings']} test recordings. "
        "They chose no epoch, and should choose no setting; choose settings on recordings held out "
        "from training (config.data.validation).",
        "Soft: with the smooth spike of training. Hard: the same weights with a threshold in its "
        "place (the swap, and nothing else). Calibrated: hard, with a factor on each layer's "
        "threshold that is chosen on the validation split. Gap: soft minus hard accuracy, in "
        "points. Rate: mean spike of a neuron at a step, each layer counting the same. Ties: "
        "recordings at which several classes share the highest score, with hard spikes; the lowest "
        "of these classes is the answer. Silent: recordings at which no output neuron spikes. "
        "Seconds: time of training, without compiling and evaluating; runs that are trained "
        "together share it evenly. Brackets: 95 % intervals, Wilson's over recordings for a single "
        "run, Student's t over seeds for a mean.",
        tables.runs(results, "github"),
        *(f"**Note.** {note}" for note in [*results_lib.remarks(runs), *notes]),
    ]
    captions = {
        "curves": watched
        and f"Each epoch is evaluated on {watched['recordings']} recordings of the "
        f"{watched['split']} split, as a progress report only. The loss is that of the recordings "
        "on which SAM's ascent is taken, the batch or a part of it; without SAM, of the batch.",
        "rates": "Mean spike of each layer over steps, neurons and recordings. Dots: runs.",
        "early": "Accuracy if the input stopped after n steps; one curve a run.",
        "reliability": f"{tables.confidence(results, 'github')}\n\nThe share of right answers "
        "among those given with a certain confidence (softmax of the scores); runs of a setting "
        "together, in 15 bins, each with Wilson's 95 % interval. ECE: the expected calibration "
        "error, the mean distance from the "
        "diagonal, in points. NLL: negative log likelihood of the true class, in nats. Brier: "
        "squared distance of the probabilities from the true class, 0 to 2. With temperature: "
        "after dividing the scores by the temperature with the least NLL on the validation split.",
        "confusion": "The percentage of each true class (rows) that was answered with each class "
        "(columns).",
        "examples": "Left: the class, and what the network answers with soft and with hard spikes. "
        "Input: events summed over each third of the recording or window, blue where brightness "
        "rose and red where it fell. Then the layers' spikes over time (to the right), soft above "
        "hard: at most 64 neurons of each layer, evenly chosen from those that spike.",
        "sweep": "Means over seeds with 95 % intervals (none for a single seed). They are of the "
        "validation split if there is one, else of the test split.",
    }
    captions |= conditions(results, sorted({run["decay"] for run in runs}), titles)
    for name, title in titles.items():
        parts += [f"## {title}", f"![{title}](plots/{name}.png)", captions[name] or ""]
    parts += operations(results)
    parts += pages.settings(results["config"], results["environment"])
    return "\n\n".join(parts) + "\n"


def of_conditions(results: dict) -> dict[str, tuple[str, "Figure"]]:
    """Title and plot of each kind of conditions that networks were tried under."""
    titles = {"hardware": "Conditions of hardware", "corruptions": "Corrupted recordings"}
    return {
        key: (title, plots.conditions(results["summary"], key))
        for key, title in titles.items()
        if any(row.get(key) for row in results["summary"])
    }


def conditions(results: dict, decays: Sequence[float], titles: Container[str]) -> dict[str, str]:
    """What stands below these plots.

    Args:
      results: the contents of ``results.json``.
      decays: of the integer networks.
      titles: keys of the plots that there are.
    """
    found = {}
    if "hardware" in titles:
        tried = tables.hardware(results, "github"), _hardware(results["config"], decays)
        found["hardware"] = "\n\n".join(tried)
    if "corruptions" in titles:
        found["corruptions"] = f"{tables.corruptions(results, 'github')}\n\n{_CORRUPTIONS}"
    return found


def operations(results: dict) -> list[str]:
    """The part of a page about operations; empty if none were counted."""
    table = tables.operations(results, "github")
    if not table:
        return []
    costs = (_cost(run, results["summary"]) for run in results["runs"])
    return ["## Operations", table, _OPERATIONS, *costs]


def _hardware(config, decays) -> str:
    chip = config["hardware"]
    bits = chip["leak_bits"]
    leaks = [f"the decay {d:g} is {round(d * 2**bits)}/{2**bits}" for d in decays]
    leak = ": ".join([chip["leak"], *([", ".join(leaks)] if leaks else [])])
    chosen = {
        "error": f"the least error of the currents on at most {chip['calibration']} training "
        "recordings",
        "max": "the largest weight",
    }[chip["scale"]]
    return (
        "INT: weights rounded to this width in bits, with symmetric levels; their scale is set for "
        f"{'each output' if chip['per_channel'] else 'a layer'} by {chosen}. In the soft and the "
        "hard network only the weights change. Integer: the integer network, with biases of 32 "
        f"bits, potentials of {chip['membrane_bits']} bits that hold at least "
        f"{chip['headroom']:g} thresholds and leaks of {bits} bits ({leak}). "
        "Clipped: the share of its potentials that saturated, by layer. SynOps: its effective "
        "operations. Mismatch: each weight and bias, or each neuron's threshold or leak (1 - "
        "decay), is multiplied by a factor, normal around 1 with this standard deviation. Dead: "
        "this share of the neurons, outputs included, sends no spikes. Dropped: a spike is lost "
        "with this probability. Spurious: a spike is added with this probability at each step "
        "without one. Integer networks meet these three faults with weights of the first width. "
        f"Brackets: over {chip['draws']} devices for a single run (Student's t; over recordings "
        "for INT, Wilson), else over runs."
    )


def _cost(run, rows) -> str:
    counts = run["operations"]
    if counts is None:
        return ""
    low, middle, high = counts["effective_acs_quartiles"]
    who = results_lib.named(run, rows)
    return (
        f"{who[0].upper()}{who[1:]}: {low:,.0f}, {middle:,.0f} and {high:,.0f} ACs are the "
        f"quartiles over recordings; activation sparsity "
        f"{tables.decimals(counts['activation_sparsity'], None, 4)}, connection sparsity "
        f"{counts['connection_sparsity']:.4f}, {counts['footprint_bytes']:,} bytes of weights; "
        f"arithmetic {counts['energy_float32_pj'] / 1e3:,.0f} nJ in float32, "
        f"{counts['energy_integer_pj'] / 1e3:,.0f} nJ in integers."
    )


def _held_out(run) -> str:
    count = run.get("validation_recordings")
    return f" {count} more of the training split are held out for validation." if count else ""
