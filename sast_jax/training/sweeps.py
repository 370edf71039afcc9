"""One run's function over a grid of runs: one program, shared out among all devices.

On a CPU the runs follow one another, which is faster there and gives each the same bits as alone.
Elsewhere they are vectorised, in chunks where memory asks for it. Where there are more devices than
runs, several of them may share each batch of a run (:func:`shared`): what they compute together is,
but for rounding, what one of them computes alone.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sast_jax import processes


def devices_of_a_run(runs: int, batch: int, most: int = 0) -> int:
    """How many devices share each batch of a run: a divisor of their number and of the batch.

    Args:
      runs: R.
      batch: recordings of a step.
      most: of these devices; 0 for all that the runs leave over.
    """
    devices = jax.device_count()
    room = max(1, min(devices // runs, most or devices))
    return max(n for n in range(1, room + 1) if devices % n == 0 == batch % n)


def over_runs(
    function: Callable[[Any], Any],
    tree_R: Any,
    at_once: int | None = None,
    each: int = 1,
    processes: bool = False,
) -> Any:
    """Applies a function to each of R runs; inside jit.

    Args:
      function: of one run's tree of arrays, to any tree of arrays.
      tree_R: arrays with a leading run axis.
      at_once: runs that a device vectorises, at most; None for all that are its own. A CPU always
        takes one.
      each: devices of a run, which share what the function puts through :func:`shared`.
      processes: take the devices of all processes, which must all call this, and leave the results
        on each of them; else those of this process.

    Returns:
      What the function returns, with a leading run axis.
    """
    runs, mesh = len(jax.tree.leaves(tree_R)[0]), _mesh(each, processes)
    places = mesh.shape["runs"]
    own = -(-runs // places)  # runs of one device, rounded up
    most = 1 if jax.default_backend() == "cpu" else min(at_once or own, own)
    chunks = -(-own // most)
    size = -(-own // chunks)  # all chunks alike, so that their program is compiled once

    # Every device needs the same number of whole chunks. Copies of the last run fill up what is
    # missing; they are computed for nothing and cut off in the end.
    total = places * chunks * size

    def on_a_device(tree):
        # One chunk of several runs is vectorised whole. Otherwise a loop runs over the chunks, or
        # over single runs where batch_size is None.
        if chunks == 1 < size:
            return jax.vmap(function)(tree)
        return jax.lax.map(function, tree, batch_size=size if size > 1 else None)

    if places > 1:
        # No run uses values of another, so the devices of different runs exchange nothing and JAX
        # need not check how values are replicated. Those of one run are left to the compiler.
        axis = PartitionSpec("runs")
        on_a_device = jax.shard_map(
            on_a_device,
            mesh=mesh,
            in_specs=axis,
            out_specs=axis,
            axis_names={"runs"},
            check_vma=False,
        )
    if total == runs:
        made = on_a_device(tree_R)
    else:
        filled = np.minimum(np.arange(total), runs - 1)
        made = on_a_device(jax.tree.map(lambda leaf: leaf[filled], tree_R))
        made = jax.tree.map(lambda leaf: leaf[:runs], made)
    # Runs that are no multiple of the devices cannot stay spread over them.
    if mesh.size > 1 and (total != runs or jax.process_count() > 1):
        return jax.lax.with_sharding_constraint(made, NamedSharding(mesh, PartitionSpec()))
    return made


def shared(tree: Any, axis: int, each: int) -> Any:
    """Shares arrays out among the devices of a run, along an axis, where its size allows it."""
    if each == 1:
        return tree
    # Within over_runs the mesh is the one there, of which the runs are taken care of.
    around = jax.sharding.get_abstract_mesh()
    mesh = around if around.axis_names else _mesh(each, True)

    def split(leaf):
        if leaf.shape[axis] % each:
            return leaf
        spec = PartitionSpec(*[None] * axis, "batch")
        return jax.lax.with_sharding_constraint(leaf, NamedSharding(mesh, spec))

    return jax.tree.map(split, tree)


def finite(tree_R: Any) -> np.ndarray:
    """Whether all numbers of each of R runs are finite: (R,)."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree_R)]
    return np.all([np.isfinite(leaf).reshape(len(leaf), -1).all(axis=1) for leaf in leaves], axis=0)


def everywhere() -> NamedSharding:
    """The sharding of arrays that every device holds whole."""
    return NamedSharding(_mesh(1, True), PartitionSpec())


def put(tree: Any, shardings: Any) -> Any:
    """Places arrays, which every process holds or can read, as shardings of the same structure say.

    A process reads no more than the parts of its own devices.
    """
    if processes.alone():
        return jax.device_put(tree, shardings)

    def one(leaf, sharding):
        there = isinstance(leaf, jax.Array) and sharding is not None
        # A program that does not use an array says None.
        if sharding is None or (there and leaf.sharding.is_equivalent_to(sharding, leaf.ndim)):
            return leaf
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(one(jax.random.key_data(leaf), everywhere()))
        whole = np.asarray(leaf) if there else leaf
        return jax.make_array_from_callback(whole.shape, sharding, lambda part: whole[part])

    return jax.tree.map(one, tree, shardings)


def to_all(tree: Any) -> Any:
    """Arrays that every process has, as arrays that all of them share; the same in one process."""
    if processes.alone():
        return tree
    return put(tree, jax.tree.map(lambda _: everywhere(), tree))


def here(tree: Any) -> Any:
    """This process's own copy of arrays that every device holds whole."""
    if processes.alone():
        return tree
    own = NamedSharding(_mesh(1, False), PartitionSpec())
    return jax.tree.map(lambda leaf: jax.device_put(leaf.addressable_data(0), own), tree)


def _mesh(each: int, processes: bool) -> Mesh:
    devices = jax.devices() if processes else jax.local_devices()
    return Mesh(np.array(devices).reshape(-1, each), ("runs", "batch"))
