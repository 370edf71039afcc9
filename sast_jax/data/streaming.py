"""A training set in the host's memory, brought to the device in chunks of an epoch's order.

Grain gathers the next chunks in a thread of its own while the device trains. Of several processes
each gathers the part of its own devices alone. The training state determines the order of the
recordings, so a run that is resumed from a checkpoint sees the same ones.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from sast_jax import processes
from sast_jax.errors import needed

CHUNK_BYTES = 2**25  # of all runs together, about
_AHEAD = 2  # chunks that are ready before they are asked for


class _Chunks(Sequence):
    """The recordings of an order, some steps at a time."""

    def __init__(self, train: Any, order_RxS: Any, steps: int):
        self._train, self._steps = train, steps
        self._order = jax.tree.map(np.asarray, order_RxS)
        self._total = jax.tree.leaves(self._order)[0].shape[1]

    def __len__(self):
        return -(-self._total // self._steps)

    def __getitem__(self, number):
        part = slice(number * self._steps, (number + 1) * self._steps)
        return jax.tree.map(lambda indices: self._gather(indices[:, part]), self._order)

    def _gather(self, indices_RxSxB):
        if not processes.alone():
            return jax.tree.map(lambda leaf: Gathered(leaf, indices_RxSxB), self._train)
        return jax.tree.map(lambda leaf: leaf[indices_RxSxB], self._train)


class Gathered:
    """``values[indices]`` of which only the parts that are asked for are read.

    Args:
      values: an array (N, ...).
      indices: an array of indices into its first axis.
    """

    def __init__(self, values: np.ndarray, indices: np.ndarray):
        self._values, self._indices = values, indices
        self.shape, self.dtype = indices.shape + values.shape[1:], values.dtype
        self.ndim = len(self.shape)

    def __getitem__(self, part: tuple[slice, ...]) -> np.ndarray:
        """A slice for each axis -> that part of the array."""
        chosen, rest = part[: self._indices.ndim], part[self._indices.ndim :]
        return self._values[self._indices[chosen]][(slice(None),) * self._indices.ndim + rest]


def steps_at_a_time(train: Any, order_RxS: Any) -> int:
    """Steps of a chunk of about ``CHUNK_BYTES``."""
    leaves = jax.tree.leaves(order_RxS)
    total = leaves[0].shape[1]
    recordings = sum(leaf.size for leaf in leaves) // total  # of a step, over all runs
    size = sum(leaf[0].nbytes for leaf in jax.tree.leaves(train))
    return max(1, min(total, CHUNK_BYTES // (recordings * size)))


def chunks(train: Any, order_RxS: Any, steps: int) -> Iterator[Any]:
    """The recordings of an order of R runs and S steps, some steps at a time.

    Args:
      train: the training set: recordings and labels, any tree of arrays (N, ...).
      order_RxS: indices (R, S, ...) of recordings, in any tree.
      steps: of a chunk; the last one has what is left.

    Yields:
      The same tree, each leaf's indices replaced by what the training set has there: arrays
      (R, steps, ..., ...); with several processes each a :class:`Gathered`.
    """
    grain = needed("grain", "data")
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_AHEAD)
    source = grain.MapDataset.source(_Chunks(train, order_RxS, steps))
    yield from source.to_iter_dataset(options)
