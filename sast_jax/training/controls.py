"""How training sees a network: what SAM is compared with, as values for ``Recipe.controls``."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sast_jax.fields import Checked, number
from sast_jax.snn import neurons, readouts, spikes, variation
from sast_jax.snn.neurons import Cell, Stochastic
from sast_jax.snn.readouts import Response

METHODS = ("weights", "cell", "loss")  # of a control


class Forward(NamedTuple):
    """A forward pass of training.

    Attributes:
      params: the parameters of the pass, rounded and changed by controls.
      response: what the network did.
      scores_BxK: class scores.
      cells: of the layers.
    """

    params: Any
    response: Response
    scores_BxK: jax.Array
    cells: Sequence[Cell | Stochastic] = ()

    def distances(self) -> list[jax.Array]:
        """Each layer's membrane potentials minus its threshold, (T, B, ...)."""
        rows = zip(self.cells, self.response.currents, strict=True)
        return [
            neurons.potentials(cell, current) - _plain(cell).neuron.threshold
            for cell, current in rows
        ]


class Control(Checked):
    """What training does to the forward pass or adds to the loss; evaluation does without it.

    A control is a frozen dataclass that overrides what it changes. The controls of a recipe act one
    after another, in its order. Each method gets a new key each step, which is the same for both
    gradients of SAM. Controls that override the same method get different keys.

    Attributes:
      grouped: whether it means the same for each group of a batch by itself; see ``Grouped``.
    """

    grouped: ClassVar[bool] = True

    @property
    def active(self) -> bool:
        """Whether it changes anything; a recipe made from settings leaves it out if not."""
        return True

    def weights(self, key: jax.Array, params: Any) -> Any:
        """The parameters that the forward pass takes."""
        return params

    def cell(self, key: jax.Array, cell: Cell) -> Cell | Stochastic:
        """The step of all neurons."""
        return cell

    def loss(
        self, key: jax.Array, forward: Forward, again: Callable[[Any], Forward]
    ) -> jax.typing.ArrayLike:
        """What is added to the loss of a batch.

        Args:
          key: to draw from.
          forward: the pass that the loss is computed from.
          again: parameters -> a pass of the same batch and neurons with these parameters.
        """
        return 0.0


def overriding(controls: Sequence[Control], method: str) -> list[Control]:
    """The controls that override a method."""
    plain = getattr(Control, method)
    return [control for control in controls if getattr(type(control), method) is not plain]


def keys(key: jax.Array, controls: Sequence[Control]) -> list[jax.Array]:
    """A key for each of some controls; the first one's is the key itself."""
    # A single control draws from the key as it is, so adding another one after it changes nothing.
    return [jax.random.fold_in(key, i) if i else key for i in range(len(controls))]


@dataclasses.dataclass(frozen=True)
class HardForward(Control):
    """Hard spikes forward with the derivative of the smooth ones: the usual surrogate gradient."""

    def cell(self, key, cell):
        return cell.with_spike(spikes.hard_forward)


@dataclasses.dataclass(frozen=True)
class StochasticNeurons(Control):
    """Noise on potentials, or smooth spikes made hard at random; see :class:`Stochastic`.

    Attributes:
      noise: standard deviation of what is added to a potential at each step.
      hard: probability that a spike is hard.
    """

    grouped = False  # the groups share a key, and with it what each of them draws

    noise: float = number(0.0, 0, math.inf, "standard deviation")
    hard: float = number(0.0, 0, 1, "probability")

    def cell(self, key, cell):
        return Stochastic(cell, key, self.noise, self.hard)


@dataclasses.dataclass(frozen=True)
class Bfloat16Products(Control):
    """Matrix products of bfloat16, which accelerators have units for; sums, potentials and all
    else stay float32, and so does evaluation.
    """

    def weights(self, key, params):
        # Kernels of this type make connections round the spikes as well.
        return jax.tree.map(lambda w: w.astype(jnp.bfloat16) if w.ndim > 1 else w, params)


@dataclasses.dataclass(frozen=True)
class WeightNoise(Control):
    """Multiplies each weight and bias by a factor, normal around 1 with deviation ``spread``.

    This is the mismatch of a device (:class:`sast_jax.snn.variation.Variation`), drawn anew each
    step.
    """

    spread: float = number(0.0, 0, math.inf, "standard deviation")

    def weights(self, key, params):
        return variation.mismatched(key, params, self.spread)


@dataclasses.dataclass(frozen=True)
class RatePenalty(Control):
    """Penalises the squared distance of the mean spike to a target; layers count the same.

    Training with SAM lowers firing rates; this penalty lowers them without SAM.

    Attributes:
      target: spikes a neuron and step, mean over the batch, 0..1.
      weight: of the penalty in the loss.
    """

    grouped = False  # the penalty of a mean is not the mean of penalties

    target: float = number(0.0, 0, 1, "mean spike of a neuron at a step that the penalty draws to")
    weight: float = number(
        0.0, 0, math.inf, "factor on the squared distance to it in the loss; 0: no penalty"
    )

    @property
    def active(self):
        return self.weight != 0

    def loss(self, key, forward, again):
        rate = readouts.firing_rates(forward.response).mean()
        return self.weight * (rate - self.target) ** 2


@dataclasses.dataclass(frozen=True)
class Guard(Control):
    """Penalises potentials near the threshold, the closer the more; layers count the same.

    The mean of max(0, 1 - |u - threshold| / margin) over neurons, steps and recordings.

    After Wang et al., Robust Spiking Neural Networks Against Adversarial Attacks (threshold
    guarding optimization), ICLR 2026, arXiv 2602.20548. Their second part, noisy neurons, is
    :class:`StochasticNeurons`. The form of the penalty and its margin are a choice made here.

    Attributes:
      weight: of the penalty in the loss.
      margin: distance from the threshold within which a potential is penalised.
    """

    weight: float = number(
        0.0,
        0,
        math.inf,
        "factor on the mean nearness of potentials to the threshold; 0: no guard",
        before=0.0,
    )
    margin: float = number(
        0.5, 0, math.inf, "how near, in units of the potential", above=True, before=0.5
    )

    @property
    def active(self):
        return self.weight != 0

    def loss(self, key, forward, again):
        near = [jax.nn.relu(1 - jnp.abs(d) / self.margin).mean() for d in forward.distances()]
        return self.weight * jnp.stack(near).mean()


@dataclasses.dataclass(frozen=True)
class Overlap(Control):
    """Penalises potentials where the smooth spike is steep; layers count the same.

    The mean over neurons, steps and recordings of the smooth spike's derivative over its peak: the
    overlap of the potentials' distribution with the range in which gradients flow.

    After Jiang et al., MPD-SGR: Robust Spiking Neural Networks with Membrane Potential
    Distribution-Driven Surrogate Gradient Regularization, AAAI 2026, arXiv 2511.12199. There the
    distribution is taken to be normal; here it is the potentials themselves.

    Attributes:
      weight: of the penalty in the loss.
    """

    weight: float = number(
        0.0,
        0,
        math.inf,
        "factor on the overlap of potentials and steep spikes; 0: no penalty",
        before=0.0,
    )

    @property
    def active(self):
        return self.weight != 0

    def loss(self, key, forward, again):
        found = []
        for cell, distance in zip(forward.cells, forward.distances(), strict=True):
            spike = _plain(cell).spike
            steep, peak = _derivative(spike, distance), _derivative(spike, jnp.zeros(()))
            found.append((steep / peak).mean())
        return self.weight * jnp.stack(found).mean()


def _derivative(spike, x):
    """The derivative of a spike, or of the smooth one behind a hard one, element by element."""
    return jax.jvp(spike, (x,), (jnp.ones_like(x),))[1]


def _plain(cell):
    return cell.cell if isinstance(cell, Stochastic) else cell


@dataclasses.dataclass(frozen=True)
class Adversary(Control):
    """Adds :func:`adversarial_divergence` to the loss.

    Attributes:
      weight: of the divergence.
      spread, steps: of the search.
    """

    grouped = False  # the worst mismatch of a group is not that of the batch

    weight: float = number(
        0.0, 0, math.inf, "factor on the divergence in the loss; 0: no adversary"
    )
    spread: float = number(
        0.1, 0, math.inf, "largest relative change of a weight; a tenth more is random", above=True
    )
    steps: int = number(3, 1, 100, "steps of the search for that change; each takes a gradient")

    @property
    def active(self):
        return self.weight != 0

    def loss(self, key, forward, again):
        return self.weight * adversarial_divergence(
            lambda params: again(params).scores_BxK, forward.params, key, self.spread, self.steps
        )


def adversarial_divergence(
    scores: Callable[[Any], jax.Array], params: Any, key: jax.Array, spread: float, steps: int
) -> jax.Array:
    """How much the worst mismatch of the weights within a spread changes a network's answers.

    Each weight gets a relative change of its own, found by ``steps`` signed gradient steps of
    ``spread / steps`` after a random start within a tenth of the spread. Gradients go through both
    networks, not through the choice of the change.

    Args:
      scores: parameters -> class scores (B, K) of a batch.
      params: of the network.
      key: of the start.
      spread: how large relative changes grow at most, but for the start.
      steps: of the search; each takes a gradient.

    Returns:
      The mean Kullback-Leibler divergence, nats, from the network's answers to the changed one's.

    Reference: Büchel et al., Network insensitivity to parameter noise via adversarial
    regularization, ICLR 2022, arXiv 2106.05009. There the search starts at a normal deviate.
    """

    def divergence(params, change):
        changed = jax.tree.map(lambda w, c: w * (1 + c), params, change)
        logs, others = (jax.nn.log_softmax(scores(w)) for w in (params, changed))
        return (jnp.exp(logs) * (logs - others)).sum(axis=-1).mean()

    within = functools.partial(jax.random.uniform, minval=-0.1 * spread, maxval=0.1 * spread)
    change = optax.tree.random_like(key, params, within)
    # The search sees constants: the loss is not differentiated through the choice of the change.
    fixed = jax.lax.stop_gradient(params)
    for _ in range(steps):
        gradient = jax.grad(divergence, argnums=1)(fixed, change)
        change = jax.tree.map(lambda c, g: c + spread / steps * jnp.sign(g), change, gradient)
    return divergence(params, jax.lax.stop_gradient(change))
