"""Spiking neurons: what one is asked for, its step as a cell, and the scan of a cell over time.

A :class:`Neuron` is a value. With a decay and a spike function it becomes a :class:`Cell`, the step
(state, current) -> (state, spikes) that :func:`jax.lax.scan` runs. The input current of a layer
does not depend on its neurons' state, so it is computed for all steps in one matrix product, and
only the cell's elementwise lines are scanned.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.errors import UnsupportedError
from sast_jax.fields import Checked, setting
from sast_jax.snn import spikes


@dataclasses.dataclass(frozen=True)
class Neuron(Checked):
    """A kind of spiking neuron, without its decay and slope. Frozen, hashable, equal by value.

    A neuron of your own overrides :meth:`step` and :meth:`rest`. The library also asks a neuron for
    its integer form, its NIR node and the constants of its theory; until you override these methods
    they raise :class:`sast_jax.errors.UnsupportedError`, an InputError, with the neuron's name.

    Attributes:
      threshold: of the membrane potential, above which a hard neuron spikes.
      spike: family of the smooth spike.
    """

    threshold: jax.Array | np.ndarray | float = setting(
        1.0,
        "potential above which a hard neuron spikes",
        lambda value: None if value >= 0 else "a number from 0 up",  # infinity included
    )
    spike: spikes.Family = spikes.sigmoid

    @property
    def fires(self) -> bool:
        """Whether what it sends are spikes; else its potential."""
        return True

    @property
    def integrates(self) -> bool:
        """Whether it keeps a potential from one step to the next."""
        return True

    @property
    def recurrent(self) -> tuple[jax.Array | np.ndarray, jax.Array | np.ndarray] | None:
        """Weights (neurons, neurons) of its layer's spikes on the layer itself, and biases."""
        return None

    def returned(self, lose: Callable[[jax.Array, jax.Array], jax.Array]) -> "Neuron":
        """The same with faults in the spikes that return to its layer.

        Args:
          lose: (step, spikes) -> the spikes that arrive.
        """
        return self

    def rest(self, like: jax.Array) -> Any:
        """The state before the first step, for neurons in the shape of an array."""
        raise NotImplementedError(f"{type(self).__name__} defines no rest")

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
        raise NotImplementedError(f"{type(self).__name__} defines no step")

    def smooth(self, decay: jax.typing.ArrayLike, slope: jax.typing.ArrayLike) -> "Cell":
        """The cell with a smooth spike of this slope, as it is trained."""
        return Cell(self, decay, self.spike(slope))

    def hard(self, decay: jax.typing.ArrayLike) -> "Cell":
        """The cell with a hard spike in place of the smooth one: the swap, and nothing else."""
        return Cell(self, decay, spikes.heaviside)

    def scaled(self, factor: jax.Array | float) -> "Neuron":
        """The same with its threshold times a factor, which may be traced or an array."""
        return dataclasses.replace(self, threshold=self.threshold * factor)

    def integer(self, chip: Any, decay: float) -> Any:
        """What all neurons of the integer network share.

        Args:
          chip: number formats, a :class:`sast_jax.hardware.formats.Chip`; it has a method for each
            neuron that it can build.
          decay: of the trained network.

        Raises:
          InputError: it has no integer form, or the formats cannot hold it.
        """
        raise self._refusal("no integer form")

    def nir(
        self, decay: float, dt: float, shape: tuple[int, ...], parameterisation: str
    ) -> tuple[Any, float]:
        """The NIR node for a layer of these neurons.

        Args:
          decay: of the network.
          dt: seconds of a step.
          shape: of the layer.
          parameterisation: "A" for a resistance that leaves the weights as they are, "B" for a
            resistance of 1.

        Returns:
          The node, and the number that weights and biases leading into it must be divided by.

        Raises:
          InputError: NIR has no node for it.
        """
        raise self._refusal("no node in NIR")

    def theory(self, decay: jax.typing.ArrayLike, slope: jax.typing.ArrayLike) -> Any:
        """What bounds on a smooth network start from; see :mod:`sast_jax.theory.lipschitz`.

        Raises:
          InputError: nobody has derived them for this neuron.
        """
        raise self._refusal("no bounds in the theory")

    def _refusal(self, lack: str) -> UnsupportedError:
        return UnsupportedError(f"the neuron {type(self).__name__} has {lack}")


@dataclasses.dataclass(frozen=True, eq=False)  # its decay and spike may be traced
class Cell:
    """The step of a neuron, with everything that it needs.

    Attributes:
      neuron: the neuron that takes the step.
      decay: share of the membrane potential that is left after one step; may be one a neuron.
      spike: smooth or hard.
    """

    neuron: Neuron
    decay: jax.typing.ArrayLike
    spike: spikes.Spike

    def __call__(self, state: Any, inputs: Any) -> tuple[Any, jax.Array]:
        """One step; ``inputs`` is one time step of what :meth:`inputs` returns."""
        return self.neuron.step(state, inputs, self.decay, self.spike)

    def rest(self, like: jax.Array) -> Any:
        """The state before the first step."""
        return self.neuron.rest(like)

    def inputs(self, current_TxBxN: jax.Array) -> Any:
        """The inputs of all steps, time first: the current, with keys beside it where it draws."""
        return current_TxBxN

    def plus(self, inputs: Any, current: jax.Array) -> Any:
        """The inputs of a step with more current."""
        return inputs + current

    def of_part(self, number: jax.typing.ArrayLike) -> "Cell":
        """The cell for one of several layers or segments of time; each draws numbers of its own."""
        return self

    def with_spike(self, change: Any) -> "Cell":
        """The cell with the spike function ``change(spike)``."""
        return dataclasses.replace(self, spike=change(self.spike))


@dataclasses.dataclass(frozen=True, eq=False)
class Stochastic:
    """A cell with noise on its potentials, or with some smooth spikes made hard at random.

    Mixing hard spikes in, with the derivative of the smooth one, brings a smooth network closer to
    the hard one (Wang et al., Adaptive Smoothing Gradient Learning for Spiking Neural Networks,
    ICML 2023, who also learn the slope).

    Attributes:
      cell: the cell without randomness.
      key: random key for everything drawn.
      noise: standard deviation of what is added to the input current at each step, and with it to
        the potential of a LIF neuron.
      hard: probability that a neuron's spike at a step is hard.
    """

    cell: Cell
    key: jax.Array
    noise: float = 0.0
    hard: float = 0.0

    def __call__(self, state: Any, inputs: Any) -> tuple[Any, jax.Array]:
        inputs, key = inputs
        noise_key, hard_key = jax.random.split(key)
        # noise and hard are Python numbers here, so what is not asked for is not compiled at all.
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
        # A key for each step of time travels with the current through the scan.
        keys = jax.random.split(self.key, len(current_TxBxN))
        return self.cell.inputs(current_TxBxN), keys

    def plus(self, inputs: Any, current: jax.Array) -> Any:
        return self.cell.plus(inputs[0], current), inputs[1]

    def of_part(self, number: jax.typing.ArrayLike) -> "Stochastic":
        # Layers may lie within segments of time: each folds its number into the key around it.
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
