"""Measures trained networks under conditions: word widths, mismatch, faults, corruptions."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data import packing
from sast_jax.errors import InputError, UnsupportedError
from sast_jax.evaluation import intervals, swap
from sast_jax.hardware import formats, operations
from sast_jax.hardware.following import Following
from sast_jax.hardware.formats import Chip
from sast_jax.hardware.models import Device, OnChip
from sast_jax.snn.variation import Variation
from sast_jax.training.recipe import Hyperparameters
from sast_jax.training.trained import Trained

if TYPE_CHECKING:  # it needs nir, which training does without
    from sast_jax.hardware.graphs.network import GraphDevice, GraphNetwork
    from sast_jax.hardware.graphs.neurons import Numbers

FAULTS = ("dead", "dropped", "spurious")  # which integer networks suffer as well
NAMES = {  # of a condition, before its level
    "weight_bits": "INT",
    "weights": "weight mismatch ",
    "thresholds": "threshold mismatch ",
    "leaks": "leak mismatch ",
    "dead": "dead neurons ",
    "dropped": "dropped spikes ",
    "spurious": "spurious spikes ",
}


@dataclasses.dataclass(frozen=True)
class Conditions:
    """The conditions that networks are measured under.

    Attributes:
      weight_bits: word widths of weights to try.
      variations: fields of :class:`sast_jax.snn.variation.Variation` and levels of them, one at a
        time.
      draws: devices of each level.
    """

    weight_bits: tuple[int, ...] = (8, 4, 3, 2)
    variations: tuple[tuple[str, float], ...] = ()
    draws: int = 5


class Bench:
    """A network, and its weights in the number formats of a chip.

    Args:
      tried: one run, or a :class:`sast_jax.hardware.graphs.network.GraphNetwork`.
      chip: number formats of the integer network.
      calibration: recordings to choose scales on, none of them of a test split; None takes all
        inputs to be equally active.
      following: how thresholds follow events, in all that is tried; None for constant ones.

    Raises:
      InputError: thresholds are to follow events in a network that was not trained here.

    Attributes:
      right: which recordings were answered right, (M,): for each condition that was tried and each
        kind of network, such as ``"INT4 integer"``, the share of the devices that did.
    """

    def __init__(
        self,
        tried: "Trained | GraphNetwork",
        chip: Chip,
        calibration: packing.Frames | None,
        following: Following | None = None,
    ):
        self.tried, self.chip = tried, chip
        self.right: dict[str, np.ndarray] = {}
        self._following = following
        self.network = tried.connections()
        self._device: Device | GraphDevice
        self._numbers: Callable[[int | None], Hyperparameters | list[Numbers]]
        if isinstance(tried, Trained):
            self._device, self._numbers = Device(tried.model, following), lambda bits: tried.hyper
            self.seed = tried.hyper.seed
        elif following is not None:
            raise InputError("thresholds follow events in runs of this library alone")
        else:
            self._device, self.seed = tried.device, 0
            self._numbers = lambda bits: tried.rounded(bits, chip.per_channel)
        # Made when first asked for, and then kept: grams run the network over all calibration
        # recordings, and many conditions share a word width.
        grams = functools.cache(lambda: formats.grams(tried, self.network, chip, calibration))
        self._kernels = functools.cache(
            lambda narrow: formats.kernels(self.network, narrow, grams())
        )

    def as_trained(self, frames: packing.Frames) -> dict:
        """A row for the network as it is."""
        row = _row("as trained", "as_trained", 0)
        return row | self._over_recordings(row, self._floats(self.network, None, frames), frames)

    def width(self, bits: int, frames: packing.Frames) -> dict:
        """A row for weights rounded to this width."""
        chip = dataclasses.replace(self.chip, weight_bits=bits)
        rounded = formats.rounded(self.network, self._kernels(chip))
        row = _row(f"{NAMES['weight_bits']}{bits:g}", "weight_bits", bits)
        answers = self._floats(rounded, None, frames, bits)
        answers |= self._integers(row, chip, None, frames)
        neurons = [neuron for neuron, _ in self.tried.layers()]
        weights, biases = operations.parameters(self.network, neurons)
        row["weight_bytes"] = weights * bits / 8 + 4 * biases
        return row | self._over_recordings(row, answers, frames)

    def variation(self, kind: str, level: float, keys_D: jax.Array, frames: packing.Frames) -> dict:
        """A row for devices that differ; see :class:`sast_jax.snn.variation.Variation`."""
        row = _row(f"{NAMES[kind]}{level:g}", kind, level)
        devices = keys_D, Variation(**{kind: level})
        answers = self._floats(self.network, devices, frames)
        if kind in FAULTS:
            answers |= self._integers(row, self.chip, devices, frames)
        for name, answer in answers.items():
            share_D = self._right(row, name, answer, frames).mean(axis=-1).tolist()
            mean, interval = intervals.student(share_D)
            row[f"{name}_accuracy"] = mean
            row[f"{name}_accuracy_ci95"] = intervals.within(interval, 0.0, 1.0)
        return row

    def corruption(self, kind: str, severity: int, frames: packing.Frames) -> dict:
        """A row for corrupted recordings; see :mod:`sast_jax.data.corruptions`."""
        row = _row(f"{kind.replace('_', ' ')} {severity}", kind, severity)
        answers = self._floats(self.network, None, frames)
        answers |= self._integers(row, self.chip, None, frames)
        return row | self._over_recordings(row, answers, frames)

    def _over_recordings(self, row, answers, frames) -> dict:
        found: dict[str, float | list[float]] = {}
        size = len(frames.truth_M)
        for name, answer in answers.items():
            hits = int(self._right(row, name, answer, frames).sum())
            found[f"{name}_accuracy"] = hits / size
            found[f"{name}_accuracy_ci95"] = intervals.wilson(hits, size)
        return found

    def _right(self, row, name, answer, frames) -> np.ndarray:
        """Whether each of D devices answers each recording right, (D, M)."""
        right_DxM = frames.vote(answer.scores_BxK).argmax(axis=-1) == frames.truth_M
        self.right[f"{row['condition']} {name}"] = right_DxM.mean(axis=0, dtype=np.float32)
        return right_DxM

    def _floats(self, network, devices, frames, bits=None) -> dict:
        return _respond(self._device, devices, frames, network, self._numbers(bits))._asdict()

    def _integers(self, row, chip, devices, frames) -> dict:
        """What the integer network answers. If the formats cannot hold it, the row says why."""
        try:
            kernels = self._kernels(chip)
            neurons, layers = formats.to_integers(self.tried, self.network, chip, kernels)
        except InputError as error:
            row["error"] = str(error)
            if isinstance(error, UnsupportedError):
                row["unsupported"] = True
            return {}
        model = OnChip(self.tried.model, neurons, self._following)
        answer = _respond(model, devices, frames, layers)
        row["clipped"] = answer.clipped_BxL.mean(axis=(0, 1), dtype=np.float64).tolist()
        row["synops"] = float(frames.total(answer.acs_BxL).sum(axis=-1).mean(dtype=np.float64))
        return {"integer": answer}


def benches(
    trained: Trained,
    chip: Chip,
    calibration: packing.Frames | None,
    following: Following | None = None,
) -> list[Bench | None]:
    """A bench for each of R runs; None for a run with weights that are not finite."""
    return [
        Bench(trained[r], chip, calibration, following) if sound else None
        for r, sound in enumerate(trained.finite())
    ]


def trials(
    benches_R: Sequence[Bench | None], frames: packing.Frames, conditions: Conditions
) -> list[list[dict]]:
    """Accuracy of trained networks under each condition, with soft and hard spikes and in integers.

    A word width rounds the weights of all three networks; the integer network also has the membrane
    and leak of the chip. Variations draw devices. They are the same for all levels and radii of a
    seed, and others for the next seed. Spikes are lost and added at the same places in each batch
    of :func:`sast_jax.evaluation.swap.answer`. Integer networks are tried with faults only: their
    weights, thresholds and leaks are numbers and do not vary.

    Args:
      benches_R: of the runs.
      frames: to measure on.
      conditions: what to try.

    Returns:
      For each run a list of rows: ``condition`` (its name), ``kind``, ``level``;
      ``soft_accuracy``, ``hard_accuracy``, ``integer_accuracy`` (fractions, None where there is no
      such network) and the same with ``_ci95`` (Wilson's over recordings for a width, Student's
      over draws for a variation). With an integer network also ``clipped`` (share of each layer's
      potentials that saturated) and ``synops`` (effective operations per recording). For a width
      also ``weight_bytes`` (weights, and biases of 32 bits). Where the formats cannot hold an
      integer network, ``error`` says why, with ``unsupported`` True if no formats could. A run
      without a bench has no rows.
    """
    rows_R: list[list[dict]] = []
    for bench in benches_R:
        rows_R.append([])
        if bench is None:
            continue
        rows_R[-1] += [bench.width(bits, frames) for bits in conditions.weight_bits]
        # Keyed by the seed alone: radii and levels are compared on the same devices.
        key = jax.random.fold_in(jax.random.key(0), bench.seed)
        keys_D = jax.random.split(key, conditions.draws)
        for kind, level in conditions.variations:
            rows_R[-1].append(bench.variation(kind, level, keys_D, frames))
    return rows_R


def corruptions(
    benches_R: Sequence[Bench | None], corrupted: Iterable[tuple[str, int, packing.Frames]]
) -> list[list[dict]]:
    """Accuracy of trained networks on corrupted recordings, in rows as those of :func:`trials`.

    Args:
      benches_R: of the runs.
      corrupted: kind, severity and frames of each corruption.
    """
    rows_R: list[list[dict]] = [[] for _ in benches_R]
    for kind, severity, frames in corrupted:
        for bench, rows in zip(benches_R, rows_R, strict=True):
            if bench is not None:
                rows.append(bench.corruption(kind, severity, frames))
    return rows_R


def _respond(model, devices, frames, *network):
    # swap.answer runs R networks, each leaf with a leading run axis. Here D devices pose as runs:
    # the one trained network is copied D times, and each copy has a key of its own. Without devices
    # a single copy runs; its key and variation are None, which has no leaves to copy.
    keys_D, variation = (None, None) if devices is None else devices
    draws = 1 if keys_D is None else len(keys_D)
    shared = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (draws, *jnp.shape(leaf))), (variation, *network)
    )
    return swap.answer(model, (keys_D, *shared), frames.packed_NxTxP)


def _row(condition, kind, level) -> dict:
    return {
        "condition": condition,
        "kind": kind,
        "level": level,
        "soft_accuracy": None,
        "hard_accuracy": None,
        "integer_accuracy": None,
        "integer_accuracy_ci95": None,
    }
