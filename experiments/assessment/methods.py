"""What the assessment compares: each method as changes of a regime's config, and what it tunes."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from experiments import cli
from experiments.assessment.measures import EIGHTH, MATCHED, PLAIN, REFERENCE
from experiments.configs import (
    dvs_gesture,
    dvs_gesture_paper,
    nmnist_paper,
    nmnist_robust,
    nmnist_sast,
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
        rate is tuned, six of them are tried. Where the best lies at an edge, further values are
        tried beyond it.
      longer: factor on the epochs.
      taken: a key that takes its value from SAST's row: ``rho`` the tuned radius, ``rates.target``
        the firing rate with smooth spikes on the validation split.
      rates: by regime, factors on the learning rate that replace the regime's.
    """

    about: str
    changes: dict
    key: str
    values: Mapping[str, Sequence[float]]
    longer: float = 1
    taken: str | None = None
    rates: Mapping[str, Sequence[float]] | None = None

    def untuned(self, epochs: int) -> dict:
        """Keys and values of its runs, where plain training has so many epochs."""
        return {"rho": 0.0, "epochs": round(self.longer * epochs)} | self.changes


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
        {"nmnist": nmnist_robust.get_config, "dvs_gesture": dvs_gesture.get_config},
        "the default regime: slope from 2 to 8, reset by subtraction",
        rates=(0.5, 1.0),
    ),
}


def _both(*values):
    return dict.fromkeys(REGIMES, values)


_RATES = {
    "paper": (0.5, 1.0, 2.0, 4.0, 8.0, 16.0),
    "default": (0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
}
_RADIUS = nmnist_sast.get_config().rho  # of a config without SAM; it is for 45 epochs
# In 12 epochs smaller ones do better on the validation split.
_RADII = {"paper": (0.5, 1.0, 2.0), "default": (0.125, 0.25, 0.5)}
_TWICE = {"paper": (1.0, 2.0, 4.0), "default": (0.25, 0.5, 1.0)}
_SLOPES = {"paper": (2.0, 4.0, 8.0), "default": (1.0, 2.0, 4.0)}
_PRACTICAL, _ALIGNED = (
    workdirs.flat(module.get_config().to_dict()) for module in (nmnist_robust, theory_aligned)
)
_TO_THE_THEORY = {
    key: value for key, value in _ALIGNED.items() if value != _PRACTICAL[key] and key != "epochs"
}
# SAM's best rate on the validation split is half of plain training's.
_RATES_OF_SAM = {"paper": (2.0, 4.0)}
_WHOLE = {"sam.ascent_fraction": 1.0}
_EIGHTH = {"sam.ascent_fraction": 0.125}
_HARD = {"forward": "hard", "slope": 4.0, "slope_end": 4.0}
_IN_THE_FIELD = {"data.lost": 0.6, "data.added": 0.25}  # what all recipes for chips have in common
_MOMENTUM = _WHOLE | {"sam.method": "momentum", "rho": 0.4}
_TWO_BITS = {"weights.bits": 2}

METHODS = {
    PLAIN: Method("no SAM", {}, "learning_rate", _RATES),
    MATCHED: Method("no SAM, as many gradients as SAST", {}, "learning_rate", _RATES, longer=2),
    "plain a sixth longer": Method(
        "no SAM, at least as long as SAST takes with its ascent on an eighth", {}, "learning_rate",
        _RATES, longer=7 / 6,
    ),
    "plain four times as long": Method("no SAM", {}, "learning_rate", _RATES, longer=4),
    REFERENCE: Method(
        "SAM, both gradients on the whole batch", _WHOLE, "rho", _RADII, rates=_RATES_OF_SAM
    ),
    EIGHTH: Method(
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
    "hard forward": Method(
        "hard spikes in training, smooth derivative", {"forward": "hard"}, "slope", _SLOPES
    ),
    "hard forward twice as long": Method(
        "the same", {"forward": "hard"}, "slope", _SLOPES, longer=2
    ),
    "hard forward with SAM": Method(
        "hard spikes, derivative of slope 4, SAM", _WHOLE | _HARD, "rho", _RADII,
        rates=_RATES_OF_SAM,
    ),
    "hard forward with SAM on 1/8": Method(
        "the same, ascent on an eighth of the batch", _EIGHTH | _HARD, "rho", _RADII,
        rates=_RATES_OF_SAM,
    ),
    "lost events": Method(
        "training recordings lose events, each up to this share", {}, "data.lost",
        _both(0.3, 0.6, 0.9),
    ),
    "added events": Method(
        "training recordings gain events, each up to this share of its own", {}, "data.added",
        _both(0.25, 0.5, 1.0),
    ),
    "lost and added events": Method(
        "the same, and they lose up to 60 %", {"data.lost": 0.6}, "data.added",
        _both(0.25, 0.5, 1.0),
    ),
    "SAST with lost and added events": Method(
        "the same, ascent on an eighth of the batch",
        _EIGHTH | {"data.lost": 0.6, "data.added": 0.5}, "rho", _RADII, rates=_RATES_OF_SAM,
    ),
    "weights averaged": Method(
        "an exponential mean of the weights (EMA)", {"average.start": 0.0}, "average.decay",
        _both(0.9, 0.99, 0.999),
    ),
    "weights averaged late": Method(
        "the mean of all weights from this share of the training on (SWA)", {}, "average.start",
        _both(0.25, 0.5, 0.75),
    ),
    "weights averaged with SAM": Method(
        "EMA of 0.99 and SAM", _EIGHTH | {"average.start": 0.0, "average.decay": 0.99}, "rho",
        _RADII, rates=_RATES_OF_SAM,
    ),
    "weight noise": Method(
        "noise on weights in training", {}, "weights.noise", _both(0.1, 0.3, 0.6)
    ),
    "adversarial weights": Method(
        "adversarial mismatch of weights in the loss", {"adversary.steps": 2}, "adversary.weight",
        _both(0.003, 0.02, 0.1),
    ),
    "rounded to 2 bits": Method(
        "quantisation-aware training", {"weights.bits": 2}, "learning_rate", _RATES
    ),
    "rounded to 4 bits": Method(
        "quantisation-aware training", {"weights.bits": 4}, "learning_rate", _RATES
    ),
    "rate penalty": Method(
        "no SAM, smooth firing rate drawn to SAST's; trials within a tenth of it come first", {},
        "rates.weight", _both(10.0, 100.0, 1000.0), taken="rates.target",
    ),
    "threshold guarding": Method(
        "potentials pushed off the threshold (after TGO)", {}, "guard.weight", _both(0.3, 1.0, 3.0)
    ),
    "gradient overlap": Method(
        "potentials pushed out of the steep range of the spike (after MPD-SGR)", {},
        "overlap.weight", _both(0.3, 1.0, 3.0),
    ),
    "slope annealing": Method(
        "slope grown to this one during training", {}, "slope_end",
        {"paper": (4.0, 8.0, 16.0), "default": (4.0, 16.0, 32.0)},
    ),
    "subtractive reset": Method(
        "reset by subtraction", {"lif.reset": "subtract"}, "learning_rate",
        {"paper": _RATES["paper"]},
    ),
    "theory-aligned": Method(
        "SGD, independent batches, scores from currents, one slope, no deformation: what the "
        "convergence theorem assumes", _TO_THE_THEORY, "rho", {"default": (0.0625, 0.125, 0.25)},
        longer=2.5,
    ),
}  # fmt: skip


def _recipe(changes: dict, longer: int = 4) -> Method:
    """A recipe for chips, with one learning rate and nothing tuned."""
    about = "a recipe for chips: long training, with lost and added events"
    changes = _IN_THE_FIELD | changes
    return Method(about, changes, "learning_rate", {"default": (1.0,)}, longer=longer)


METHODS |= {
    "chip": _recipe({}),
    "chip with hard forward": _recipe({"forward": "hard"}),
    "chip with momentum-SAM": _recipe(_MOMENTUM),
    "chip at 2 bits": _recipe(_TWO_BITS),
    "chip with momentum-SAM at 2 bits": _recipe(_MOMENTUM | _TWO_BITS),
    "chip with hard forward at 2 bits": _recipe({"forward": "hard"} | _TWO_BITS),
    "chip with momentum-SAM twice as long": _recipe(_MOMENTUM, longer=8),
}


def with_slope_end(best: dict, slope: float, slope_end: float) -> dict:
    """Tuned values, to which a tuned slope adds its end: their ratio stays, as in a sweep of it."""
    return best | {"slope_end": slope_end / slope * best["slope"]} if "slope" in best else best


def base(dataset: str, regime: str, file: str = "") -> ConfigDict:
    """The config of runs that a regime's methods are changes of.

    Args:
      dataset: whose recordings they take.
      regime: whose config it is where no file is named.
      file: ``config.base`` of an assessment: of another config, whose keys of data are taken if
        they are the data set's.

    Raises:
      InputError: there is no such file, or it returns no config of runs.
    """
    if not file:
        return REGIMES[regime].config(dataset)
    made = cli.load_config(file)
    if settings.read(made).data.name != dataset:
        made.data = settings.config(dataset).data
    return made


def start(dataset: str, regime: str, file: str = "") -> tuple[str, ConfigDict]:
    """The config file of :func:`base` as a command line names it, and the config in it.

    There is no such file where the keys of data are another config's. Then the name is empty, and
    the config is the data set's own, from which its command starts.
    """
    if file:
        made = cli.load_config(file)
        if settings.read(made).data.name == dataset:
            return file, made
    elif make := REGIMES[regime].configs.get(dataset):
        return make.__module__.rpartition(".")[2], make()
    return "", settings.config(dataset)


def grid(
    config: ConfigDict, made: Settings, regime: str, method: Method
) -> dict[str, tuple[float, ...]]:
    """The keys that are tuned for a method, with the values to try; ``made``: untuned settings."""
    radius = base(config.dataset, regime, config.base).rho or _RADIUS
    units = {"rho": radius, "learning_rate": made.learning_rate}
    rates = (method.rates or {}).get(regime, REGIMES[regime].rates)
    tried = {"learning_rate": rates} | {method.key: method.values[regime]}
    return {
        key: tuple(units.get(key, 1) * value for value in values) for key, values in tried.items()
    }
