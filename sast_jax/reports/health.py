"""What is wrong with a network that hardly answers, and the setting that most likely caused it."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

SILENT, FULL, TIED = 0.25, 0.9, 0.1
BUSY = 0.35  # of all steps; layers of trained networks on N-MNIST spike at 9 to 25 %
_FAR_OUT = {"learning_rate": 1.0, "rho": 10.0, "slope": 100.0}  # from which none trains well


class Fault(NamedTuple):
    """A fault of a network.

    Attributes:
      kind: ``infinite``, ``silent``, ``collapsed``, ``ties`` or ``saturated``, with soft or hard.
      text: what was seen and, of a run that was trained here, what to change.
      passing: whether it is common early in training, which often mends it.
    """

    kind: str
    text: str
    passing: bool = False


def faults(run: Mapping, kinds: Iterable[str] = ("soft", "hard")) -> list[Fault]:
    """The faults of a run.

    A network of sound settings leaves hardly a recording without an answer from its first epoch on;
    the limits here (``SILENT`` recordings without an output spike, ``TIED`` answers, layers that
    spike at ``FULL`` of all steps) are far from it.

    Args:
      run: what :func:`sast_jax.evaluation.swap.soft_and_hard` measures; of a run that was trained
        here with its ``rho`` and ``learning_rate``.
      kinds: spikes that it was measured with.
    """
    found = []
    for kind in kinds:
        if run[f"{kind}_confusion"] is None:
            radius = f" or rho from {run['rho']:g}" if run.get("rho") else ""
            advice = f"; lower learning_rate from {run['learning_rate']:g}{radius}"
            advice = advice if "rho" in run else ""
            return [Fault("infinite", f"the loss became infinite or no number{advice}")]
        rates = run.get(f"{kind}_rates") or ()
        full = [layer for layer, rate in enumerate(rates, start=1) if rate > FULL]
        if full:
            share = f"{100 * rates[full[0] - 1]:.0f} %"
            told = f"layer {full[0]} has {kind} spikes at {share} of all steps"
            found.append(_fault(run, "saturated", kind, told))
        if run[f"{kind}_ties"] > TIED and run[f"{kind}_silent"] > SILENT:
            dead = [layer for layer, rate in enumerate(rates, start=1) if not rate]
            first = f"; layer {dead[0]} never spikes" if dead else ""
            share = f"{100 * run[f'{kind}_silent']:.1f} %"
            told = f"{share} of the recordings leave the output silent with {kind} spikes{first}"
            found.append(_fault(run, "silent", kind, told))
            continue
        confusion_KxK = np.array(run[f"{kind}_confusion"])
        classes, answers = (np.flatnonzero(confusion_KxK.sum(axis=axis)) for axis in (1, 0))
        if len(answers) == 1 and len(classes) > 1:
            told = f"collapsed, {kind} spikes answer every recording with {answers[0]}"
            found.append(_fault(run, "collapsed", kind, told))
        elif run[f"{kind}_ties"] > TIED:
            told = f"{100 * run[f'{kind}_ties']:.1f} % of the {kind} answers are ties"
            found.append(_fault(run, "ties", kind, told))
    return found


def _fault(run, what, kind, told) -> Fault:
    text = told + (f"; {_advice(run, what)}" if "rho" in run else "")
    return Fault(f"{what} {kind}", text, passing=what == "ties")


def _advice(run, what) -> str:
    far_out = [key for key, most in _FAR_OUT.items() if run.get(key, 0.0) > most]
    if far_out:
        return "lower " + ", ".join(f"{key} from {run[key]:g}" for key in far_out)
    if what == "saturated":
        return f"lower network.gain, or learning_rate from {run['learning_rate']:g}"
    if what == "ties":
        busy = max(run.get("hard_rates") or (0.0,)) > BUSY
        first = "lower network.gain" if busy else "take more data.time_bins"
        return f"{first}, or take readout=current"
    if run["rho"]:
        return f"lower rho from {run['rho']:g} (0 trains without SAM), or train longer"
    if what == "silent":
        return "train longer, raise network.gain, or take readout=current"
    return f"train longer, or lower learning_rate from {run['learning_rate']:g}"
