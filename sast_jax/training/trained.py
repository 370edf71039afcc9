"""Trained models: what evaluation, hardware, theory, export and reports take."""

import dataclasses
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.snn.connections import Connection
from sast_jax.snn.model import Model
from sast_jax.snn.neurons import Cell, Neuron
from sast_jax.snn.readouts import Response
from sast_jax.training import sweeps
from sast_jax.training.averages import averaged_params
from sast_jax.training.recipe import Hyperparameters, Recipe
from sast_jax.training.stepping import RunState


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class Trained:
    """The models of R runs, with a leading run axis on each leaf, or of one run without it.

    It is a pytree with a static recipe, so it can be passed to a compiled function as it is.

    Attributes:
      recipe: what the runs share.
      params: the parameters to evaluate: averaged if the recipe says so, without a perturbation
        made ahead of time, and rounded.
      hyper: what differs between the runs; ``slope_end`` is the slope they were trained up to.
    """

    recipe: Recipe = dataclasses.field(metadata={"static": True})
    params: Any
    hyper: Hyperparameters

    @classmethod
    def of(cls, recipe: Recipe, state_R: RunState, hyper_R: Hyperparameters) -> "Trained":
        """The runs at this state of their training."""
        params_R = recipe.sharpness.evaluated(state_R.optimizer, state_R.params)
        params_R = averaged_params(state_R.optimizer, params_R)
        if recipe.model.rounding:
            # Under vmap, so that biases keep a single axis and are not taken for kernels.
            params_R = jax.vmap(recipe.model.rounded)(params_R)
        return cls(recipe, params_R, hyper_R)

    def __len__(self) -> int:
        """R, the number of runs."""
        if not np.ndim(self.hyper.seed):
            raise TypeError("this is a single run, taken out of several; it has no length")
        return np.shape(self.hyper.seed)[0]

    def __getitem__(self, run: int | slice) -> "Trained":
        """One run, without its run axis; for a slice, the runs in it, with their run axis."""
        # JAX clips an index that is out of range, and iteration would never end.
        if not isinstance(run, slice) and not -len(self) <= operator.index(run) < len(self):
            raise IndexError(f"run {run} of {len(self)}")
        return jax.tree.map(lambda leaf: leaf[run], self)

    def with_run_axis(self) -> "Trained":
        """The same as R runs; a single run gets a run axis of 1."""
        if np.ndim(self.hyper.seed):
            return self
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], self)

    def __repr__(self) -> str:
        """The runs in a line; their arrays would fill the screen."""
        if isinstance(self.hyper.seed, jax.core.Tracer):
            return "Trained: traced"
        rho, seed = (np.asarray(leaf) for leaf in (self.hyper.rho, self.hyper.seed))
        if not seed.ndim:
            return f"Trained: a single run, rho {rho:g}, seed {seed}"
        ends = f"rho {rho.min():g} to {rho.max():g}, seeds {seed.min()} to {seed.max()}"
        return f"Trained: {len(self)} runs, {ends}"

    def require_single(self) -> None:
        """Raises TypeError for several runs where one is meant."""
        if np.ndim(self.hyper.seed):
            raise TypeError(f"{len(self)} runs are given where one is meant; take runs[0]")

    @property
    def model(self) -> Model:
        """What was trained."""
        return self.recipe.model

    def finite(self) -> np.ndarray:
        """Whether all parameters of each of R runs are finite: (R,)."""
        return sweeps.finite(self.params)

    def soft_cell(self) -> Cell:
        """One run's neuron with its smooth spike, at the slope training ends with."""
        return self.model.neuron.smooth(self.hyper.decay, self.hyper.slope_end)

    def hard_cell(self) -> Cell:
        """The same neuron with a hard spike: the swap, and nothing else."""
        return self.model.neuron.hard(self.hyper.decay)

    def layers(self) -> list[tuple[Neuron, jax.typing.ArrayLike]]:
        """One run's neuron and decay of each layer."""
        return [(self.model.neuron, self.hyper.decay)] * len(self.connections())

    def uniform(self) -> tuple[Neuron, float, jax.typing.ArrayLike]:
        """One run's neuron, decay and threshold, which all its layers share."""
        neuron = self.model.neuron
        return neuron, float(self.hyper.decay), neuron.threshold

    def connections(self) -> list[Connection]:
        """One run's network."""
        return self.model.connections(self.params)

    def respond(self, cell: Cell, frames_TxBxHxWxC: jax.Array) -> Response:
        """Runs one run's network on frames of any dtype."""
        return self.model.respond(self.params, cell, frames_TxBxHxWxC)
