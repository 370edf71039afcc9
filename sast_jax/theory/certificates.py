"""How many recordings keep their answer under the swap, and how many of them provably."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.evaluation import swap
from sast_jax.snn import neurons
from sast_jax.snn.connections import Connection
from sast_jax.snn.readouts import Readout, Response
from sast_jax.theory import enclosures
from sast_jax.theory.enclosures import Interval
from sast_jax.training.trained import Trained


class Certificate(NamedTuple):
    """What is proven about the hard network without running it, for each recording.

    Attributes:
      agrees_B: its answer is proven to be that of the smooth network.
      changeable_BxL: share of each layer's spikes that can differ from those of the smooth network,
        which count as 1 where its potential is above the threshold.
    """

    agrees_B: jax.Array
    changeable_BxL: jax.Array


Enclose = Callable[[Connection, jax.Array, jax.Array, Interval], Interval]


def by_margins(connection, current_TxBxN, soft_TxBxS, hard_TxBxS) -> Interval:
    r"""Intervals of a layer's hard currents, around those of the smooth network.

    If spikes that lead into it are off by at most D, currents are off by at most :math:`|W| D`.

    Args:
      connection: into the layer.
      current_TxBxN: of the smooth network.
      soft_TxBxS: its spikes, or the frames, that lead into the layer.
      hard_TxBxS: interval of the hard network's.
    """
    magnitudes = connection.replace(
        kernel=jnp.abs(connection.kernel), bias=jnp.zeros_like(connection.bias)
    )
    away = jnp.maximum(soft_TxBxS - hard_TxBxS.low, hard_TxBxS.high - soft_TxBxS)
    reach = magnitudes.sums(away)
    return Interval(current_TxBxN - reach, current_TxBxN + reach)


def by_signs(connection, current_TxBxN, soft_TxBxS, hard_TxBxS) -> Interval:
    """The same from intervals of the hard spikes alone; arguments as of :func:`by_margins`.

    With no slack this is next to running the hard network.
    """
    return enclosures.currents(connection, hard_TxBxS)


def certify(
    neuron: neurons.Smooth,
    network: Sequence[Connection],
    readout: Readout,
    frames_TxBxHxWxC: jax.Array,
    slack: jax.typing.ArrayLike,
    enclose: Enclose,
) -> Certificate:
    """What the swap can change, on every device with currents that are off by at most the slack.

    Proof. The frames are the same for both networks. Layer by layer, the hard currents lie in what
    ``enclose`` gives, widened by the slack, so that the distance of the potential to the threshold
    tells which spikes a neuron can have (:func:`sast_jax.theory.enclosures.hard_spikes`). The
    answers agree if the least score that the smooth network's class can have is above the highest
    of all others. This is sufficient and not necessary.

    Args:
      neuron: of all layers, smooth.
      network: its connections.
      readout: of the scores.
      frames_TxBxHxWxC: recordings.
      slack: how far each current may be off, at each neuron and step, in any way.
      enclose: :func:`by_margins` or :func:`by_signs`.
    """
    soft, hard, changeable = frames_TxBxHxWxC, Interval(*[frames_TxBxHxWxC] * 2), []
    for connection in network:
        current = connection.sums(soft)
        within = enclose(connection, current, soft, hard)
        within = Interval(within.low - slack, within.high + slack)
        hard = enclosures.hard_spikes(neuron, within)
        u = neurons.potentials(neuron.cell(), current)
        soft = neuron.spike(neuron.slope)(u - neuron.threshold)
        differs = jnp.where(u > neuron.threshold, hard.low < 1, hard.high > 0)
        changeable.append(differs.mean(axis=(0, *range(2, differs.ndim))))
    answer_B = readout(Response((soft,), (current,), ())).argmax(axis=-1)
    agrees_B = _above(readout, hard, within, answer_B)
    return Certificate(agrees_B, jnp.stack(changeable, axis=-1))


def _above(readout, spikes: Interval, current: Interval, answer_B) -> jax.Array:
    """Whether the least score of the answer is above the highest of all other classes."""
    low_BxK, high_BxK = (
        readout(Response((s,), (i,), ())) for s, i in zip(spikes, current, strict=True)
    )
    own_BxK = jax.nn.one_hot(answer_B, low_BxK.shape[-1], dtype=bool)
    least_B = jnp.where(own_BxK, low_BxK, jnp.inf).min(axis=-1)
    return least_B > jnp.where(own_BxK, -jnp.inf, high_BxK).max(axis=-1)


class Certifier(NamedTuple):
    """A model for :func:`sast_jax.evaluation.swap.answer`: certificates of the swap."""

    enclose: Enclose

    def __call__(self, network: tuple[Trained, jax.Array], packed_BxTxP: jax.Array) -> Certificate:
        trained, slack = network
        return certify(
            smooth_neuron(trained),
            trained.connections(),
            trained.model.readout,
            trained.model.unpack(packed_BxTxP),
            slack,
            self.enclose,
        )


def smooth_neuron(trained: Trained) -> neurons.Smooth:
    """The smooth neuron of one run at the end of its training; its scalars may be traced."""
    return trained.model.neuron.theory(trained.hyper.decay, trained.hyper.slope_end)


def changed(trained: Trained, packed_BxTxP: jax.Array) -> jax.Array:
    """Share of each layer's spikes (B, L) that the swap changes, of one run.

    A smooth spike counts as 1 where its potential is above the threshold.
    """
    frames = trained.model.unpack(packed_BxTxP, jnp.uint8)
    soft, hard = trained.soft_cell(), trained.hard_cell()
    middle = soft.spike(jnp.float32(0))
    layers = zip(*(trained.respond(cell, frames).spikes for cell in (soft, hard)), strict=True)
    return jnp.stack(
        [((s > middle) != (h > 0)).mean(axis=(0, *range(2, s.ndim))) for s, h in layers], axis=-1
    )


SLACKS = (1e-5, 1e-3, 3e-3, 1e-2, 3e-2)  # of a current, in thresholds; the first is for rounding


def of_swap(trained: Trained, packed_NxTxP: np.ndarray) -> list[dict]:
    """How many recordings keep their answer under the swap, and how many of them provably.

    Returns:
      For each run ``recordings`` (their number), ``agree`` (share of the recordings with the same
      soft and hard answer), ``margins`` (share certified from the distances to the
      threshold, with the first slack), ``changeable`` (share of the spikes for which
      this certificate does not exclude a change, by layer), ``changed`` (share of the spikes that
      do change, by layer), and ``devices`` (share certified for all devices within each of
      ``SLACKS``).
    """
    threshold, R = trained.model.neuron.threshold, len(trained)

    def certified(enclose, slack):
        slack_R = jnp.full(R, slack * threshold)
        return swap.answer(Certifier(enclose), (trained, slack_R), packed_NxTxP)

    both = swap.answer(swap.both, trained, packed_NxTxP)
    changes_RxNxL = swap.answer(changed, trained, packed_NxTxP)
    soft, hard = (answer.scores_BxK.argmax(axis=-1) for answer in both)
    margins = certified(by_margins, SLACKS[0])
    signs = [certified(by_signs, slack) for slack in SLACKS]
    return [
        {
            "recordings": len(packed_NxTxP),
            "agree": float((soft[r] == hard[r]).mean()),
            "margins": float(margins.agrees_B[r].mean()),
            "changeable": margins.changeable_BxL[r].mean(axis=0).tolist(),
            "changed": changes_RxNxL[r].mean(axis=0).tolist(),
            "devices": [float(found.agrees_B[r].mean()) for found in signs],
        }
        for r in range(R)
    ]
