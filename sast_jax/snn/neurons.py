"""Spiking neurons: what one is asked for, its step as a cell, and the scan of a cell over time.

A :class:`Neuron` is a value. With a decay and a spike function it becomes a :class:`Cell`, the step
(state, current) -> (state, spikes) that :func:`jax.lax.scan` runs. The input current of a layer
does not depend on its neurons' state, so it is computed for all steps in one matrix product, and
only the cell's elementwise lines are scanned.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from sast_jax.errors import InputError
from sast_jax.snn import spikes


@dataclasses.dataclass(frozen=True)
class Neuron:
    """A kind of spiking neuron, all but its decay and slope: frozen, hashable, equal by value.

    A neuron of one's own overrides :meth:`step` and :meth:`rest`. What else the library asks of it,
    its integer form, its NIR node and the constants of its theory, is refused by name until it
    gives an answer of its own.

    Attributes:
      threshold: of the membrane potential, above which a hard neuron spikes.
      spike: family of its smooth spike.
    """

    threshold: jax.typing.ArrayLike = 1.0
    spike: spikes.Family = spikes.sigmoid

    def rest(self, like: jax.Array) -> Any:
        """The state of neurons shaped like an array before the first step."""
        raise NotImplementedError

    def step(
        self,
        state: Any,
        current: jax.Array,
        decay: jax.typing.ArrayLike,
        spike: spikes.Spike,
    ) -> tuple[Any, jax.Array]:
        """One step of time.

        Args:
          state: as :meth:`rest` gives it; its field ``potential`` is the membrane potential.
          current: input of this step.
          decay: share of the membrane potential that is left after one step, 0..1.
          spike: function of the distance to threshold, from :mod:`sast_jax.snn.spikes`.

        Returns:
          The new state, and the spikes in the shape of the current.
        """
        raise NotImplementedError

    def smooth(self, decay: jax.typing.ArrayLike, slope: jax.typing.ArrayLike) -> "Cell":
        """Its cell with the smooth spike of a slope, which trains."""
        return Cell(self, decay, self.spike(slope))

    def hard(self, decay: jax.typing.ArrayLike) -> "Cell":
        """Its cell with a hard spike: the swap, and nothing else."""
        return Cell(self, decay, spikes.heaviside)

    def scaled(self, factor: jax.typing.ArrayLike) -> "Neuron":
        """The same with its threshold times a factor, which may be traced or one a neuron."""
        return dataclasses.replace(self, threshold=self.threshold * factor)

    def integer(self, chip: Any, decay: float) -> Any:
        """What all neurons of its integer network share.

        Args:
          chip: number formats, which make the neurons that they know
            (:class:`sast_jax.hardware.formats.Chip`).
          decay: of the trained network.

        Raises:
          InputError: it has no integer form, or the formats cannot hold it.
        """
        raise self._refusal("no integer form")

    def nir(
        self, decay: float, dt: float, shape: tuple[int, ...], parameterisation: str
    ) -> tuple[Any, float]:
        """Its node in NIR for neurons of a shape.

        Args:
          decay: of the network.
          dt: seconds of a step.
          shape: of the layer.
          parameterisation: "A" for a resistance that leaves the weights as they are, "B" for a
            resistance of 1.

        Returns:
          The node, and what the weights and biases before it are divided by.

        Raises:
          InputError: NIR has no node for it.
        """
        raise self._refusal("no node in NIR")

    @classmethod
    def from_nir(cls, node: Any, dt: float) -> tuple["Neuron", float, float]:
        """What :meth:`nir` has made: the neuron, its decay, and a factor on the weights before it.

        Raises:
          TypeError: the node is of another kind.
          ValueError: it is of this kind, but says what no neuron here does.
        """
        raise TypeError(f"the neuron {cls.__name__} has no node in NIR")

    def theory(self, decay: jax.typing.ArrayLike, slope: jax.typing.ArrayLike) -> Any:
        """What bounds on a smooth network start from, as :mod:`sast_jax.theory.lipschitz` takes it.

        Raises:
          InputError: nobody has derived them for this neuron.
        """
        raise self._refusal("no bounds in the theory")

    def _refusal(self, lack: str) -> InputError:
        return InputError(f"the neuron {type(self).__name__} has {lack}")


@dataclasses.dataclass(frozen=True, eq=False)  # its decay and spike may be traced
class Cell:
    """A neuron with all that its step needs.

    Attributes:
      neuron: whose step it is.
      decay: share of the membrane potential that is left after one step; may be one a neuron.
      spike: smooth or hard.
    """

    neuron: Neuron
    decay: jax.typing.ArrayLike
    spike: spikes.Spike

    def __call__(self, state: Any, inputs: Any) -> tuple[Any, jax.Array]:
        """One step, from what :meth:`inputs` makes of its current."""
        return self.neuron.step(state, inputs, self.decay, self.spike)

    def rest(self, like: jax.Array) -> Any:
        """The state before the first step."""
        return self.neuron.rest(like)

    def inputs(self, current_TxBxN: jax.Array) -> Any:
        """What the steps take, with a leading time axis: the current, unless something is drawn."""
        return current_TxBxN

    def plus(self, inputs: Any, current: jax.Array) -> Any:
        """The inputs of a step with more current."""
        return inputs + current

    def of_part(self, number: jax.typing.ArrayLike) -> "Cell":
        """The cell of one layer, or one segment of time, of several; others if it draws."""
        return self

    def with_spike(self, change: Any) -> "Cell":
        """The cell with ``change(spike)`` for its spike."""
        return dataclasses.replace(self, spike=change(self.spike))


@dataclasses.dataclass(frozen=True, eq=False)
class Stochastic:
    """A cell whose potentials are noisy, or whose smooth spikes are hard now and then.

    Mixing hard spikes in, with the derivative of the smooth one, brings a smooth network closer to
    the hard one (Wang et al., Adaptive Smoothing Gradient Learning for Spiking Neural Networks,
    ICML 2023, who also learn the slope).

    Attributes:
      cell: the one without chance.
      key: of all that is drawn.
      noise: standard deviation of what is added to the input current at each step, and with it to
        the potential of a LIF neuron.
      hard: probability that a neuron's spike at a step is hard.
    """

    cell: Cell
    key: jax.Array
    noise: jax.typing.ArrayLike = 0.0
    hard: jax.typing.ArrayLike = 0.0

    def __call__(self, state: Any, inputs: Any) -> tuple[Any, jax.Array]:
        inputs, key = inputs
        noise_key, hard_key = jax.random.split(key)
        if self.noise:
            drawn = self.noise * jax.random.normal(noise_key, state.potential.shape)
            inputs = self.cell.plus(inputs, drawn)
        if not self.hard:
            return self.cell(state, inputs)
        chosen = jax.random.bernoulli(hard_key, self.hard, state.potential.shape)

        def mixed(spike):
            return lambda x: jnp.where(chosen, spikes.hard_forward(spike)(x), spike(x))

        return self.cell.with_spike(mixed)(state, inputs)

    def rest(self, like: jax.Array) -> Any:
        return self.cell.rest(like)

    def inputs(self, current_TxBxN: jax.Array) -> Any:
        keys = jax.random.split(self.key, len(current_TxBxN))
        return self.cell.inputs(current_TxBxN), keys

    def plus(self, inputs: Any, current: jax.Array) -> Any:
        return self.cell.plus(inputs[0], current), inputs[1]

    def of_part(self, number: jax.typing.ArrayLike) -> "Stochastic":
        key = jax.random.fold_in(self.key, number)
        return dataclasses.replace(self, cell=self.cell.of_part(number), key=key)

    def with_spike(self, change: Any) -> "Stochastic":
        return dataclasses.replace(self, cell=self.cell.with_spike(change))


def integrate(
    cell: Cell | Stochastic, current_TxBxN: jax.Array, state: Any = None
) -> tuple[Any, jax.Array]:
    """Runs a layer over time.

    Args:
      cell: its step.
      current_TxBxN: input current, time first; the other axes are the layer's own shape.
      state: where an earlier segment of time ended; None starts at rest.

    Returns:
      The state after the last step, and the spikes of all steps in the shape of the current.
    """
    state = cell.rest(current_TxBxN[0]) if state is None else state
    return jax.lax.scan(cell, state, cell.inputs(current_TxBxN))


def potentials(cell: Cell | Stochastic, current_TxBxN: jax.Array) -> jax.Array:
    """The membrane potentials of all steps, from rest; :func:`integrate` gives the spikes."""

    def body(state, inputs):
        state, _ = cell(state, inputs)
        return state, state.potential

    return jax.lax.scan(body, cell.rest(current_TxBxN[0]), cell.inputs(current_TxBxN))[1]
