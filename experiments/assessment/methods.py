"""What the assessment compares: each method as changes of a regime's config, and what it tunes."""

from collections.abc import Callable
from typing import NamedTuple

from ml_collections import ConfigDict

from experiments.assessment.measures import AS_LONG, MATCHED, PLAIN, REFERENCE
from experiments.configs import (
    dvs_gesture,
    dvs_gesture_paper,
    nmnist,
    nmnist_paper,
    theory_aligned,
)
from sast_jax.runs import settings, workdirs
from sast_jax.runs.settings import Settings


class Method(NamedTuple):
    """One method.

    Attributes:
      about: what it is, in words.
      changes: keys and values of the config, from the regime's without SAM.
      key: the key of the config that is tuned, in all combinations with the learning rate.
      values: by regime, the values to try; a regime without values leaves the method out. Radii are
        factors on the regime's radius, learning rates on the method's own. If only the learning
        rate is tuned, six of them are tried.
      longer: factor on the epochs.
      taken: a key that takes its value from SAST's row: ``rho`` the tuned radius, ``rates.target``
        the firing rate with smooth spikes on the validation split.
      rates: by regime, factors on the learning rate that replace the regime's.
    """

    about: str
    changes: dict
    key: str
    values: dict[str, tuple[float, ...]]
    longer: float = 1
    taken: str | None = None
    rates: dict[str, tuple[float, ...]] | None = None


class Regime(NamedTuple):
    """Settings under which methods are compared.

    Attributes:
      configs: by experiment, what gives its config.
      about: what it is, in words.
      rates: factors on the learning rate that are tried with each value of another key: that of
        the best rate of plain training on N-MNIST's validation split, and half of it.
    """

    configs: dict[str, Callable[[], ConfigDict]]
    about: str
    rates: tuple[float, ...]

    def config(self, experiment: str) -> ConfigDict:
        """That of an experiment; N-MNIST's on the recordings of one that has none of its own."""
        if experiment in self.configs:
            return self.configs[experiment]()
        made = self.configs["nmnist"]()
        made.data = settings.config(experiment).data
        return made


REGIMES = {
    "paper": Regime(
        {"nmnist": nmnist_paper.get_config, "dvs_gesture": dvs_gesture_paper.get_config},
        "the papers' regime, with settings of our choice: low slope, high readout scale, reset to "
        "zero",
        rates=(4.0, 8.0),
    ),
    "default": Regime(
        {"nmnist": nmnist.get_config, "dvs_gesture": dvs_gesture.get_config},
        "the default recipe: slope from 2 to 8, reset by subtraction",
        rates=(0.5, 1.0),
    ),
}


def _both(*values):
    return dict.fromkeys(REGIMES, values)


_RATES = {
    "paper": (0.5, 1.0, 2.0, 4.0, 8.0, 16.0),
    "default": (0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
}
# The default's own radius is for 45 epochs; in 12, smaller ones do better on the validation split.
_RADII = {"paper": (0.5, 1.0, 2.0), "default": (0.125, 0.25, 0.5)}
_TWICE = {"paper": (1.0, 2.0, 4.0), "default": (0.25, 0.5, 1.0)}
_PRACTICAL, _ALIGNED = (
    workdirs.flat(module.get_config().to_dict()) for module in (nmnist, theory_aligned)
)
_TO_THE_THEORY = {
    key: value for key, value in _ALIGNED.items() if value != _PRACTICAL[key] and key != "epochs"
}
# At 8 times the rate SAST has 70 to 82 % on the validation split, not 96 %.
_RATES_OF_SAM = {"paper": (2.0, 4.0)}
_WHOLE = {"sam.ascent_fraction": 1.0}
_EIGHTH = {"sam.ascent_fraction": 0.125}

METHODS = {
    PLAIN: Method("no SAM", {}, "learning_rate", _RATES),
    MATCHED: Method("no SAM, as many gradients as SAST", {}, "learning_rate", _RATES, longer=2),
    # In the default regime on N-MNIST, deforming digits takes a part of each step, so that SAST
    # takes 5/3 of the time of plain training. Elsewhere it takes about twice, as MATCHED does.
    AS_LONG: Method(
        "no SAM, about as long as SAST takes with deformed digits", {}, "learning_rate",
        {"default": _RATES["default"]}, longer=5 / 3,
    ),
    REFERENCE: Method(
        "SAM, both gradients on the whole batch", _WHOLE, "rho", _RADII, rates=_RATES_OF_SAM
    ),
    "SAST ascent on 1/8": Method(
        "SAM, ascent on an eighth of the batch", _EIGHTH, "rho", _RADII, rates=_RATES_OF_SAM
    ),
    "momentum-SAM": Method(
        "SAM's perturbation from earlier gradients", _WHOLE | {"sam.method": "momentum"}, "rho",
        _TWICE, rates=_RATES_OF_SAM,
    ),
    "random perturbation": Method(
        "a random direction in the place of SAM's, as far as SAST's",
        _WHOLE | {"sam.method": "random"}, "learning_rate", _RATES, taken="rho",
    ),
    "rate penalty": Method(
        "no SAM, smooth firing rate drawn to SAST's; trials within a tenth of it come first", {},
        "rates.weight", _both(10.0, 100.0, 1000.0), taken="rates.target",
    ),
    "hard forward": Method(
        "hard spikes in training, smooth derivative", {"forward": "hard"}, "slope",
        {"paper": (2.0, 4.0, 8.0), "default": (1.0, 2.0, 4.0)},
    ),
    "hard forward with SAM": Method(
        "hard spikes, derivative of slope 4, SAM",
        _WHOLE | {"forward": "hard", "slope": 4.0, "slope_end": 4.0}, "rho", _RADII,
        rates=_RATES_OF_SAM,
    ),
    "other slope": Method(
        "another slope of the smooth spike", {}, "slope",
        {"paper": (2.0, 4.0, 8.0), "default": (1.0, 4.0, 8.0)},
    ),
    "slope annealing": Method(
        "slope grown to this one during training", {}, "slope_end", {"paper": (4.0, 8.0, 16.0)}
    ),
    "mixed spikes": Method(
        "spikes hard with this probability in training (ASGL)", {}, "neurons.hard",
        _both(0.25, 0.5, 0.75),
    ),
    "noisy membrane": Method(
        "noise on potentials in training", {}, "neurons.noise", _both(0.1, 0.3, 0.6)
    ),
    "subtractive reset": Method(
        "reset by subtraction", {"lif.reset": "subtract"}, "learning_rate",
        {"paper": _RATES["paper"]},
    ),
    "adversarial weights": Method(
        "adversarial mismatch of weights in the loss", {"adversary.steps": 2}, "adversary.weight",
        _both(0.1, 0.3, 1.0),
    ),
    "weight noise": Method(
        "noise on weights in training", {}, "weights.noise", _both(0.1, 0.3, 0.6)
    ),
    "weight decay": Method("AdamW", {}, "weight_decay", _both(0.03, 0.3, 3.0)),
    "theory-aligned": Method(
        "SGD, independent batches, scores from currents, one slope, no deformation: what the "
        "convergence theorem assumes", _TO_THE_THEORY, "rho", {"default": (0.0625, 0.125, 0.25)},
        longer=2.5,
    ),
    "rounded weights": Method(
        "quantisation-aware training to 2 bits", {"weights.bits": 2}, "learning_rate", _RATES
    ),
}  # fmt: skip


def grid(
    experiment: str, made: Settings, regime: str, method: Method
) -> dict[str, tuple[float, ...]]:
    """The keys that are tuned for a method, with the values to try; ``made``: untuned settings."""
    own = REGIMES[regime]
    units = {"rho": own.config(experiment).rho, "learning_rate": made.learning_rate}
    rates = (method.rates or {}).get(regime, own.rates)
    tried = {"learning_rate": rates} | {method.key: method.values[regime]}
    return {
        key: tuple(units.get(key, 1) * value for value in values) for key, values in tried.items()
    }
