"""The page of a network out of a file: what it answers, and how it fares on a chip."""

import pathlib
from collections.abc import Sequence

from sast_jax import files
from sast_jax.reports import pages, plots, run_page, tables
from sast_jax.reports.results import remarks


def write(folder: pathlib.Path, results: dict, notes: Sequence[str] = ()) -> None:
    """Writes ``report.md``, ``report.html`` and the plots they show.

    Args:
      folder: where; plots go to ``plots/`` below it.
      results: as ``experiments.bench`` collects them, with one run.
      notes: what else a reader must know, one paragraph each.
    """
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    (run,) = results["runs"]
    figures = {
        "rates": ("Firing rates by layer", plots.rates([run])),
        "early": ("Early decisions", plots.early([run])),
        "reliability": ("Confidence", plots.reliability([run])),
        "confusion": ("Confusion", plots.confusion(run, results["class_names"])),
        **run_page.of_conditions(results),
    }
    for old in (folder / "plots").glob("*.png"):  # of other conditions
        old.unlink()
    for name, (_, figure) in figures.items():
        files.write_figure(folder / "plots" / f"{name}.png", figure)
    captions = {
        "rates": "Mean spike of each layer over steps, neurons and recordings; layers that do not "
        "spike have none.",
        "early": "Accuracy if the input stopped after n steps.",
        "reliability": f"{tables.confidence(results, 'github')}\n\nThe share of right answers "
        "among those given with a certain confidence (softmax of the scores), in 15 bins, each "
        "with Wilson's 95 % interval. ECE: the mean distance from the diagonal, in points. NLL: "
        "negative log likelihood of the true class, in nats. Brier: squared distance of the "
        "probabilities from the true class, 0 to 2. Networks that were not trained for such "
        "scores need not be calibrated.",
        "confusion": "The percentage of each true class (rows) that was answered with each class "
        "(columns).",
    }
    decay = results["decay"]
    captions |= run_page.conditions(results, () if decay is None else (decay,), figures)
    title = f"{results['network']}: on a chip"
    parts = [
        f"# {title}",
        f"Data: {results['data']}. The network is that of the file, with hard spikes: "
        f"{results['meaning']}. Brackets: 95 % intervals, Wilson's over recordings.",
        tables.network(results, "github"),
        *(f"**Note.** {note}" for note in [*remarks([run]), *notes]),
    ]
    for name, (heading, _) in figures.items():
        parts += [f"## {heading}", f"![{heading}](plots/{name}.png)", captions[name]]
    parts += run_page.operations(results)
    parts += pages.settings(results["config"], results["environment"])
    pages.write_page(folder, "report", title, "\n\n".join(parts) + "\n")
