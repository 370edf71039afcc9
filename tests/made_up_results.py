"""Results of runs that never were, for tables, reports and plots."""

import numpy as np

from sast_jax.reports import results


def run(rho, seed, hard, **more):
    """A run of this hard accuracy."""
    known = {"learning_rate": 1e-3, "slope": 1.0, "decay": 0.9, "warmup": 0.2}
    soft = {"soft_accuracy": 0.9, "soft_accuracy_ci95": [0.8, 0.95], "soft_rate": 0.1}
    hard = {"hard_accuracy": hard, "hard_accuracy_ci95": [0.7, 0.9], "hard_rate": 0.05}
    rest = {f"{kind}_{key}": 0.0 for kind in ("soft", "hard") for key in ("ties", "silent")}
    rest |= {f"{kind}_{key}": 0.25 for kind in ("soft", "hard") for key in ("ece", "nll", "brier")}
    rest["train_seconds"] = 10.0
    gap = {"transfer_gap": 0.9 - hard["hard_accuracy"]}
    return {"rho": rho, "seed": seed, **known, **soft, **hard, **gap, **rest, **more}


def diverged():
    """A run as ``swap.soft_and_hard`` describes one whose weights are NaN."""
    made = run(0.4, 1, 0.8, diverged=True)
    nothing = ("accuracy", "accuracy_ci95", "rate", "ties", "silent", "ece", "nll", "brier")
    made |= {f"{kind}_{key}": None for kind in ("soft", "hard") for key in nothing}
    return made | {"transfer_gap": None}


def collected(runs):
    return results.collect({"rho": 0.4}, {"experiment": "nmnist", "data": "made up"}, runs)


def entry(**changes):
    """A run with what plots show of it."""
    confusion = np.diag([3, 0, 4]).tolist()
    more = {"soft_confusion": confusion, "hard_confusion": confusion, "recordings": 7}
    more |= {"soft_rates": [0.1, 0.2], "hard_rates": [0.1, 0.3]}
    more |= {f"{kind}_accuracy_by_step": [0.5, 0.8] for kind in ("soft", "hard")}
    bins = [{"count": 0, "confidence": None, "accuracy": None}]
    bins += [{"count": 4, "confidence": 0.5, "accuracy": 0.75}]
    bins += [{"count": 12, "confidence": 0.9, "accuracy": 1.0}]
    more |= {f"{kind}_reliability": bins for kind in ("soft", "hard")}
    return run(0.4, 0, 0.8, **more) | changes


def curve(epoch, loss, run=entry()):  # noqa: B008
    """A line of a run's metrics."""
    known = {
        "run": (run["rho"], run["seed"]),
        **run,
        "epoch": epoch,
        "split": "test",
        "recordings": 7,
    }
    return known | {"loss": loss, "soft_accuracy": 0.9, "hard_accuracy": 0.8}


def rows(hard):
    """Conditions of hardware as :func:`sast_jax.hardware.bench.trials` lists them for one run."""

    def row(condition, kind, level, hard, integer=True):
        values = {"soft": hard + 0.1, "hard": hard, "integer": hard - 0.1 if integer else None}
        accuracies = {f"{name}_accuracy": value for name, value in values.items()}
        ends = {f"{key}_ci95": v and [v - 0.1, v + 0.1] for key, v in accuracies.items()}
        return {"condition": condition, "kind": kind, "level": level, **accuracies, **ends}

    return [
        row("INT8", "weight_bits", 8, hard) | {"clipped": [0.02, 0.0], "synops": 1234.4},
        row("INT2", "weight_bits", 2, hard - 0.1),
        row("weight mismatch 0.3", "weights", 0.3, hard, integer=False),
        row("dropped spikes 0.1", "dropped", 0.1, hard),
    ]
