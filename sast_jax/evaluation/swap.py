"""Soft and hard accuracy, firing rates and confusion of trained networks, with intervals.

The swap: the same parameters run once with the smooth spike they were trained with and once with a
threshold, and nothing else changes. The transfer gap is soft minus hard accuracy.
"""

import functools
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data import packing
from sast_jax.evaluation import confidence, intervals
from sast_jax.snn import readouts
from sast_jax.snn.neurons import Cell
from sast_jax.snn.readouts import Response
from sast_jax.training import sweeps
from sast_jax.training.trained import Trained

BLOCK_BYTES = 2**28  # of packed recordings that lie on the device together
_BATCH = 128
_AT_ONCE = 16  # runs that an accelerator evaluates together
Array = TypeVar("Array", jax.Array, np.ndarray)  # within a program, and out of it


class Outcome(NamedTuple, Generic[Array]):
    """What networks answer; for R networks and N recordings with leading axes (R, N).

    Attributes:
      scores_BxK: class scores; the prediction is their argmax, the lowest class at a tie.
      rates_BxL: mean spike of each layer over steps and neurons.
      early_BxT: the class answered if the recording had ended after each step.
    """

    scores_BxK: Array
    rates_BxL: Array
    early_BxT: Array


class Both(NamedTuple):
    """What a network answers with the smooth spike of training, and with a threshold."""

    soft: Outcome
    hard: Outcome


def soft(trained: Trained, packed_BxTxP: jax.Array) -> Outcome[jax.Array]:
    """One run's network with its smooth spike: a model for :func:`answer`."""
    return read(trained.model.readout, apply(trained, trained.soft_cell(), packed_BxTxP))


def hard(trained: Trained, packed_BxTxP: jax.Array) -> Outcome[jax.Array]:
    """The same network with a threshold."""
    return read(trained.model.readout, apply(trained, trained.hard_cell(), packed_BxTxP))


def both(trained: Trained, packed_BxTxP: jax.Array) -> Both:
    """The same with both spikes.

    Given the very same frames, the compiler computes the first layer's current once for both.
    """
    frames = trained.model.unpack(packed_BxTxP, jnp.uint8)
    answers = (trained.respond(cell, frames) for cell in (trained.soft_cell(), trained.hard_cell()))
    return Both(*(read(trained.model.readout, response) for response in answers))


def apply(trained: Trained, cell: Cell, packed_BxTxP: jax.Array) -> Response:
    """Runs one run's network on packed recordings."""
    return trained.respond(cell, trained.model.unpack(packed_BxTxP, jnp.uint8))


def read(readout: readouts.Readout, response: Response) -> Outcome[jax.Array]:
    """Class scores, firing rates and early answers of a response."""
    early_BxT = readout.after_each_step(response).argmax(axis=-1).T.astype(jnp.int16)
    return Outcome(readout(response), readouts.firing_rates(response), early_BxT)


class Answering(Protocol):
    """What :func:`answer` runs: (network, packed (B, T, P)) -> its answer, each leaf (B, ...)."""

    def __call__(self, network: Any, packed_BxTxP: jax.Array, /) -> Any: ...


def answer(model: Answering, networks_R: Any, packed_NxTxP: np.ndarray) -> Any:
    """Runs R networks on recordings, never augmented.

    Args:
      model: what runs each of them. Hashable: equal ones are compiled once.
      networks_R: what the model takes, with a leading run axis.
      packed_NxTxP: the recordings; see :class:`sast_jax.data.packing.Frames`. They come to the
        device in blocks of at most ``BLOCK_BYTES`` or a batch, and are answered 128 at a time, or
        fewer where they are long or large.

    Returns:
      What the model returns, as NumPy arrays (R, N, ...).
    """
    batch_size = packing.at_once(packed_NxTxP, _BATCH)
    batch_bytes = batch_size * packed_NxTxP[0].nbytes
    block = max(BLOCK_BYTES // batch_bytes, 1) * batch_size
    parts = [
        _block(model, networks_R, packed_NxTxP[start : start + block], batch_size)
        for start in range(0, len(packed_NxTxP), block)
    ]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *parts)


def _block(model, networks_R, packed_NxTxP, batch_size):
    N = len(packed_NxTxP)
    batch_size = min(batch_size, N)
    # All batches have one size, so one program serves them. Where they do not fill the block, the
    # last one begins earlier instead of being padded.
    starts = np.minimum(np.arange(0, N, batch_size), N - batch_size)

    # Recordings that are in two batches are written twice; the later answer counts.
    def whole(x_RxSxBxD):
        out = np.empty((len(x_RxSxBxD), N, *x_RxSxBxD.shape[3:]), x_RxSxBxD.dtype)
        for i, start in enumerate(starts):
            out[:, start : start + batch_size] = x_RxSxBxD[:, i]
        return out

    return jax.tree.map(
        whole, _respond(model, batch_size, networks_R, packed_NxTxP, jnp.asarray(starts))
    )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _respond(model, batch_size, networks_R, packed_NxTxP, starts):
    def one_run(network):
        def one_batch(start):
            return model(network, jax.lax.dynamic_slice_in_dim(packed_NxTxP, start, batch_size))

        return jax.lax.map(one_batch, starts)

    return sweeps.over_runs(one_run, networks_R, _AT_ONCE)


def by_recording(answers: Outcome[np.ndarray], frames: packing.Frames) -> Outcome[np.ndarray]:
    """The answers with scores and rates averaged over the windows of each recording (R, M, ...).

    Early answers stay those of the windows.
    """
    scores_RxNxK, rates_RxNxL, early_RxNxT = answers
    return Outcome(frames.vote(scores_RxNxK), frames.vote(rates_RxNxL), early_RxNxT)


def soft_and_hard(trained: Trained, frames: packing.Frames) -> list[dict]:
    """Soft and hard (swap-only) results of each run on the same recordings, as plain numbers.

    The windows of a recording answer together, with the mean of their scores.

    Returns:
      For each run: ``recordings`` (their number), ``transfer_gap`` (soft minus hard accuracy), and
      for both ``soft_`` and ``hard_``: ``accuracy`` (fraction), ``accuracy_ci95`` (its Wilson
      interval), ``accuracy_by_step`` (if the input, or each window of it, stopped after each step),
      ``rate`` (mean spike over all layers, each layer counting the same), ``rates`` (by layer),
      ``ties`` (fraction of the recordings with several classes at the highest score), ``silent``
      (fraction of the recordings at which no output neuron spikes), ``confusion`` (counts, true
      class by predicted class), and the keys of
      :func:`sast_jax.evaluation.confidence.calibration_of`.
    """
    sound_R = trained.finite()
    runs: list[dict] = [{"recordings": len(frames.truth_M)} for _ in sound_R]
    answered = answer(both, trained, frames.packed_NxTxP)
    for name, answers in answered._asdict().items():
        # A diverged run has potentials that are NaN. A threshold makes silence of them, as NaN > 0
        # is false, and that must not pass for an answer.
        answers.scores_BxK[~sound_R] = np.nan
        for run, *own in zip(runs, *by_recording(answers, frames), strict=True):
            measured = summary_of(Outcome(*own), frames.truth_M, frames.labels_N)
            run |= {f"{name}_{key}": value for key, value in measured.items()}
    for run in runs:
        sound = None not in (run["soft_accuracy"], run["hard_accuracy"])
        run["transfer_gap"] = run["soft_accuracy"] - run["hard_accuracy"] if sound else None
    return runs


def summary_of(
    answers: Outcome[np.ndarray], labels_N: np.ndarray, early_labels: np.ndarray | None = None
) -> dict:
    """The results of :func:`soft_and_hard` for one run and one spike function.

    All of them are None if a score is not finite.

    Args:
      answers: of one run.
      labels_N: true classes.
      early_labels: true classes of the early answers, if these are of windows; None: ``labels_N``.
    """
    early_labels = labels_N if early_labels is None else early_labels
    scores_NxK, rates_NxL, early_NxT = answers
    if not np.isfinite(scores_NxK).all():
        nothing = ("accuracy", "accuracy_ci95", "accuracy_by_step", "rate", "ties", "silent")
        rates = [None] * rates_NxL.shape[-1]
        unsure = dict.fromkeys(("nll", "brier", "ece", "reliability"))
        return dict.fromkeys(nothing) | {"rates": rates, "confusion": None} | unsure
    classes = scores_NxK.shape[-1]
    predicted_N = scores_NxK.argmax(axis=-1)
    tied_N = (scores_NxK == scores_NxK.max(axis=-1, keepdims=True)).sum(axis=-1) > 1
    confusion_KxK = np.zeros((classes, classes), int)
    np.add.at(confusion_KxK, (labels_N, predicted_N), 1)
    rates_L = rates_NxL.mean(axis=0, dtype=np.float64)
    hits = int((predicted_N == labels_N).sum())
    return {
        "accuracy": hits / len(labels_N),
        "accuracy_ci95": intervals.wilson(hits, len(labels_N)),
        "accuracy_by_step": (early_NxT == early_labels[:, None]).mean(axis=0).tolist(),
        "rate": float(rates_L.mean()),
        "rates": rates_L.tolist(),
        "ties": float(tied_N.mean()),
        "silent": float((rates_NxL[:, -1] == 0).mean()),
        "confusion": confusion_KxK.tolist(),
        **confidence.calibration_of(scores_NxK, labels_N),
    }
