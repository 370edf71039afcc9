"""One run's function over a grid of runs: one program, shared out among all devices.

On a CPU the runs follow one another, which is faster there and gives each the same bits as alone.
Elsewhere they are vectorised, in chunks where memory asks for it.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def over_runs(function: Callable[[Any], Any], tree_R: Any, at_once: int | None = None) -> Any:
    """Applies a function to each of R runs; inside jit.

    Args:
      function: of one run's tree of arrays, to any tree of arrays.
      tree_R: arrays with a leading run axis.
      at_once: runs that a device vectorises, at most; None for all that are its own. A CPU always
        takes one.

    Returns:
      What the function returns, with a leading run axis.
    """
    runs, mesh = len(jax.tree.leaves(tree_R)[0]), _mesh()
    own = -(-runs // mesh.size)  # runs of one device, rounded up
    most = 1 if jax.default_backend() == "cpu" else min(at_once or own, own)
    chunks = -(-own // most)
    size = -(-own // chunks)  # all chunks alike, so that their program is compiled once

    # Every device needs the same number of whole chunks. Copies of the last run fill up what is
    # missing; they are computed for nothing and cut off in the end.
    total = mesh.size * chunks * size

    def on_a_device(tree):
        # One chunk of several runs is vectorised whole. Otherwise a loop runs over the chunks, or
        # over single runs where batch_size is None.
        if chunks == 1 < size:
            return jax.vmap(function)(tree)
        return jax.lax.map(function, tree, batch_size=size if size > 1 else None)

    if mesh.size > 1:
        # No run uses values of another, so devices exchange nothing and JAX need not check how
        # values are replicated.
        axis = PartitionSpec(*mesh.axis_names)
        on_a_device = jax.shard_map(
            on_a_device, mesh=mesh, in_specs=axis, out_specs=axis, check_vma=False
        )
    if total == runs:
        return on_a_device(tree_R)
    filled = np.minimum(np.arange(total), runs - 1)
    made = on_a_device(jax.tree.map(lambda leaf: leaf[filled], tree_R))
    return jax.tree.map(lambda leaf: leaf[:runs], made)


def finite(tree_R: Any) -> np.ndarray:
    """Whether all numbers of each of R runs are finite: (R,)."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree_R)]
    return np.all([np.isfinite(leaf).reshape(len(leaf), -1).all(axis=1) for leaf in leaves], axis=0)


def everywhere() -> NamedSharding:
    """The sharding of arrays that every device holds whole."""
    return NamedSharding(_mesh(), PartitionSpec())


def _mesh() -> Mesh:
    return Mesh(np.array(jax.devices()), ("runs",))
