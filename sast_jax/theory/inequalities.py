"""Rows of a table: each bound beside the measured value that it bounds."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.errors import InputError
from sast_jax.snn import connections, neurons
from sast_jax.snn.readouts import MeanCurrent, MeanSpikes
from sast_jax.theory import (
    convergence,
    enclosures,
    gains,
    lipschitz,
    mechanism,
    smoothness as smoothness_lib,
)
from sast_jax.theory.moments import Moment
from sast_jax.training.trained import Trained

JACOBIANS = 64  # recordings whose Jacobians are measured


class Row(NamedTuple):
    """A line of the table.

    Attributes:
      name: what is bounded.
      bound, measured: where the bound is valid, it is at least the measured value.
      vacuous: why the bound says nothing here; empty if it says something.
    """

    name: str
    bound: float
    measured: float
    vacuous: str = ""

    def as_dict(self) -> dict:
        """As it stands in a file."""
        # Differences and products of infinite bounds are NaN; they say as little as infinity.
        bound = np.inf if np.isnan(self.bound) else self.bound
        vacuous = self.vacuous or _why(not np.isfinite(bound), "overflows")
        ratio = bound / self.measured if self.measured else np.nan
        return {**self._asdict(), "bound": bound, "vacuous": vacuous, "ratio": ratio}


class Network(NamedTuple):
    """A trained network, and the constants that bounds on it start from.

    Attributes:
      trained: one run.
      neuron, layers: the network in the form that the theory takes.
      steps: T.
      states, factors: U and q (lower and upper) of each layer, for any frames in 0..1.
      reads_current: scores are read from the last layer's current, not from its spikes.
    """

    trained: Trained
    neuron: neurons.Smooth
    layers: list[lipschitz.Layer]
    steps: int
    states: list[float]
    factors: list[lipschitz.Enclosed]
    reads_current: bool

    @property
    def scale(self) -> float:
        """The readout's factor on class scores."""
        return self.trained.model.readout.scale


def describe(trained: Trained, steps: int) -> Network:
    """The network of one run, for recordings of this number of steps.

    Raises:
      InputError: its neuron, its readout or one of its connections has no bounds.
    """
    readout = trained.model.readout
    if not isinstance(readout, MeanCurrent | MeanSpikes):
        raise InputError(f"the readout {type(readout).__name__} has no bounds in the theory")
    plain = jax.tree.map(float, trained.hyper)
    neuron = trained.model.neuron.theory(plain.decay, plain.slope_end)
    layers = lipschitz.layers(trained.connections(), trained.model.known_shape)
    states = [lipschitz.state_bound(neuron, layer.current, steps) for layer in layers]
    factors = [lipschitz.contraction(neuron, state) for state in states]
    reads_current = isinstance(readout, MeanCurrent)
    return Network(trained, neuron, layers, steps, states, factors, reads_current)


def of_states(network: Network, packed_NxTxP: jax.Array) -> list[Row]:
    """Potentials and step factors of each layer, for any frames and for these recordings' hull.

    In the hull the first layer's currents lie between their extremes over the recordings. The
    intervals that follow, layer by layer, hold for every mixture of the recordings.
    """
    neuron = network.neuron
    potentials, low, high = _states(network.trained, packed_NxTxP)
    tight = enclosures.soft_network(
        neuron,
        network.trained.connections(),
        [factor.upper for factor in network.factors],
        enclosures.Interval(low, high),
    )
    rows = []
    for number, (u, interval) in enumerate(zip(potentials, tight, strict=True)):
        most = float(jnp.abs(u).max())
        reach = float(jnp.maximum(-interval.low.min(), interval.high.max()))
        # A million or two are enough: a measured value is a lower bound anyway.
        sampled = np.asarray(u).ravel()[:: max(1, u.size // 10**6)]
        steepest = float(np.abs(lipschitz.step_factor(neuron, sampled)).max())
        q, state = network.factors[number], network.states[number]
        tight_q = lipschitz.contraction(neuron, float(np.fmin(reach, state))).upper
        crude = lipschitz.crude_contraction(neuron, state)
        layer = f"layer {number + 1}"
        rows += [
            Row(f"potential, {layer}", state, most),
            Row(f"potential, {layer}, by intervals", reach, most),
            Row(f"step factor, {layer}", q.upper, steepest, _expands(q.upper)),
            Row(f"step factor, {layer}, by intervals", tight_q, steepest, _expands(tight_q)),
            Row(f"step factor, {layer}, crude", crude, steepest, _expands(crude)),
        ]
    return rows


def _expands(factor) -> str:
    return _why(factor >= 1, "1 or above: no contraction")


def _why(vacuous, reason) -> str:
    return reason if vacuous else ""


@jax.jit
def _states(trained, packed_NxTxP):
    """Potentials of all layers, and the extremes over recordings of the first one's current."""
    cell, found = trained.soft_cell(), []
    sent = trained.model.unpack(packed_NxTxP)
    for number, connection in enumerate(trained.connections()):
        current = connection.sums(sent)
        if number == 0:
            low, high = (f(current, axis=1, keepdims=True) for f in (jnp.min, jnp.max))
        found.append(neurons.potentials(cell, current))
        sent = neurons.integrate(cell, current)[1]
    return found, low, high


def of_inputs(network: Network, packed_NxTxP: jax.Array, labels_N: jax.Array) -> list[Row]:
    """Spectral norms, and Lipschitz constants of layers, scores and loss, in l2 and l-infinity.

    Measured at ``JACOBIANS`` of the recordings: for layers the largest gain that power iteration
    finds, for scores and loss the whole Jacobian.
    """
    trained, neuron, T = network.trained, network.neuron, network.steps
    q = [factor.upper for factor in network.factors]
    few = np.linspace(0, len(labels_N) - 1, min(JACOBIANS, len(labels_N))).astype(int)
    rows, connected = [], trained.connections()
    parts = zip(connected, network.layers, gains.of_layers(trained, packed_NxTxP[few]), strict=True)
    for number, (weights, layer, reached) in enumerate(parts):
        allowed = lipschitz.spikes_of_frames(neuron, layer, q[number], T)
        name = f"layer {number + 1}"
        attained = gains.of_weights(weights, layer.shape)
        rows.append(Row(f"l2 norm of the weights, {name}", layer.norm.upper, attained))
        for norm, most, gain in zip(("l2", "l-infinity"), allowed, reached, strict=True):
            rows.append(Row(f"{norm} gain, {name}", most, float(gain.max())))
    scale = network.scale
    bound = lipschitz.scores_of_frames(neuron, network.layers, q, T, scale, network.reads_current)
    # Two scores of one class differ by at most this: means of currents, or of spikes in 0..1.
    spread = 2 * scale * network.layers[-1].current if network.reads_current else scale
    measured = [
        float(leaf.max()) for leaf in gains.of_scores(trained, packed_NxTxP[few], labels_N[few])
    ]
    classes = len(connected[-1].bias)
    # Different binary frames are at least 1 apart. So a Lipschitz constant that is as large as any
    # difference of scores allows everything, and says nothing.
    for name, index, most in (("l2", 0, spread * np.sqrt(classes)), ("l-infinity", 1, spread)):
        why = _why(
            bound[index] >= most, "binary frames differ by 1 or more, and no two scores by so much"
        )
        rows.append(Row(f"{name} gain, scores", bound[index], measured[index], why))
        factor, dual = ((np.sqrt(2), "l2"), (2.0, "l1"))[index]
        rows.append(
            Row(f"{dual} input gradient, loss", factor * bound[index], measured[2 + index], why)
        )
    return rows


def of_risk(
    network: Network, moment: Moment, radius: float, step: float, input_norm: float
) -> list[Row]:
    """Smoothness of the risk and SAM's inequalities around the parameters of a moment.

    Without a radius nothing is perturbed, and SAM's are left out.

    Args:
      network: at that moment.
      moment: what was measured then.
      radius: of the ball, and of the perturbation in the moment.
      step: learning rate, to compare 1 / L with.
      input_norm: the largest l2 norm of a recording's frames.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        jet = smoothness_lib.of_ball(
            network.neuron, network.layers, radius, network.steps, input_norm,
            network.scale, network.reads_current,
        )  # fmt: skip
    g, L = float(moment.gradient), float(moment.curvature)
    first_order, beyond = radius * g, jet.third * radius**2 / 2
    rises = {"certified": jet.second, "measured": L}
    rows = [
        Row("gradient of the risk", jet.first, g),
        Row(
            "curvature of the risk (L)", jet.second, L,
            _why(step * jet.second > 1, f"it would ask for steps of {1 / jet.second:.1g}"),
        ),
    ]  # fmt: skip
    perturbed = [
        Row("SAM gradient beyond first order", beyond, float(moment.remainder),
            _why(beyond > g, "more than the gradient itself")),
        *(
            Row(f"rise of the risk in the ball, {name} L", first_order + L * radius**2 / 2,
                float(moment.rise), _why(L * radius / 2 > g, "second order exceeds first"))
            for name, L in rises.items()
        ),
    ]  # fmt: skip
    return [*rows, *perturbed] if radius else rows


def of_mechanism(
    network: Network, parameters_N: np.ndarray, inputs_N: np.ndarray, frames_NxTxP: np.ndarray
) -> tuple[list[Row], np.ndarray]:
    """The proposition of :mod:`sast_jax.theory.mechanism`, and its bound for each recording."""
    if isinstance(network.trained.connections()[0], connections.Full):
        conditioning = mechanism.conditioning(frames_NxTxP)
    else:
        conditioning = np.zeros(len(parameters_N))
    bound_N = mechanism.input_bound(parameters_N, conditioning, network.layers[0].norm.upper)
    finite = np.isfinite(bound_N)
    if not finite.any():
        why = "its Jacobian is singular for every recording"
        most = float(inputs_N.max())
        return [Row("input gradient by the proposition", np.inf, most, why)], bound_N
    # Infinite bounds are sorted to the end, so the median is taken over the finite ones.
    order = np.argsort(bound_N / np.maximum(inputs_N, np.finfo(np.float32).tiny))
    return [
        Row(f"input gradient by the proposition, {name}", float(bound_N[i]), float(inputs_N[i]))
        for name, i in (("closest", order[0]), ("median", order[finite.sum() // 2]))
    ], bound_N


def of_convergence(
    course_RxP: Moment[np.ndarray], times_P: Sequence[float], step: float, steps: int, radius: float
) -> tuple[list[Row], dict]:
    """The convergence inequality, which holds in expectation, with means over runs.

    The least value of the risk is taken to be 0. The tighter version takes the risk that the runs
    reached instead, and the measured movement of the gradient. L and the variance are the largest
    that were measured.

    Args:
      course_RxP: of R runs that differ in their seeds, at P moments from the first step to after
        the last, which does not count as one.
      times_P: when these are, in any unit; each stands for the steps until the next.
      step, steps, radius: of the runs.

    Returns:
      The rows, and the numbers that they are computed from.
    """
    seen = Moment(*(leaf_RxP[:, :-1] for leaf_RxP in course_RxP))
    start, end = course_RxP.loss[:, 0].mean(), course_RxP.loss[:, -1].mean()
    L, variance = course_RxP.curvature.max(), seen.variance.max()
    moved, gradient = (
        np.average((leaf_RxP**2).mean(axis=0), weights=np.diff(times_P))
        for leaf_RxP in (seen.moved, seen.gradient)
    )
    reached = float(gradient)
    plain = convergence.bound(start, step, steps, L * radius, L, variance)
    tighter = convergence.bound(start - end, step, steps, np.sqrt(moved), L, variance)
    largest = (seen.gradient**2).max()
    rows = [
        Row(
            name,
            float(terms.total),
            reached,
            _why(terms.total >= largest, "above all that were met"),
        )
        for name, terms in (
            ("mean squared gradient, measured L", plain),
            ("mean squared gradient, tighter", tighter),
        )
    ]
    measured: dict[str, float] = {"runs": len(seen.loss), "L": L, "variance": variance}
    measured |= {"start": start, "end": end}
    measured |= {"step": step, "steps": steps, "radius": radius, "step_times_L": step * L}
    named = {"terms": plain, "tighter_terms": tighter}
    return rows, {key: float(value) for key, value in measured.items()} | {
        key: {term: float(value) for term, value in terms._asdict().items()}
        for key, terms in named.items()
    }


def frames_norm(frames_NxTxP: np.ndarray) -> float:
    """The largest l2 norm of a recording's frames."""
    return float(np.sqrt((frames_NxTxP.astype(np.float64) ** 2).sum(axis=(1, 2)).max()))
