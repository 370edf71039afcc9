"""Binary frames as lists of the pixels that fired, and their product with a matrix.

A fully connected layer multiplies each frame with its weights. Where few pixels fire, most of that
product is with zeros. Here the pixels that fired are listed once for each recording; a batch joins
the lists of its recordings into a matrix in compressed sparse rows, and into its transpose for the
gradient of the weights.
"""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data.packing import Frames


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Lists:
    """For each of N recordings, the M or fewer pixels that fired, step by step.

    Attributes:
      pixels_NxM: index of a pixel, row by row, its channels side by side.
      steps_NxM: step of time at which it fired.
      ranks_NxM: at how many steps before it had fired.
      counts_NxI: at how many of all steps each of the I pixels fired.
      starts_NxT1: where in the list each of the T steps begins; last, where the list ends.
    """

    pixels_NxM: jax.Array | np.ndarray
    steps_NxM: jax.Array | np.ndarray
    ranks_NxM: jax.Array | np.ndarray
    counts_NxI: jax.Array | np.ndarray
    starts_NxT1: jax.Array | np.ndarray

    @classmethod
    def of(cls, frames: Frames) -> "Lists":
        """The recordings of a set as lists, NumPy arrays."""
        packed_NxTxP, pixels = frames.packed_NxTxP, int(np.prod(frames.frame_shape))
        N, T = packed_NxTxP.shape[:2]
        M = int(fired(packed_NxTxP).max(initial=0))
        step = np.min_scalar_type(T)
        made = cls(
            np.zeros((N, M), np.min_scalar_type(pixels)),
            np.zeros((N, M), step),
            np.zeros((N, M), step),
            np.zeros((N, pixels), step),
            np.zeros((N, T + 1), np.int32),
        )

        def one(n):
            fired_TxI = np.unpackbits(packed_NxTxP[n], axis=-1, count=pixels)
            steps, indices = np.nonzero(fired_TxI.view(bool))
            until_TxI = np.cumsum(fired_TxI, axis=0, dtype=step)
            made.pixels_NxM[n, : len(steps)] = indices
            made.steps_NxM[n, : len(steps)] = steps
            made.ranks_NxM[n, : len(steps)] = until_TxI[steps, indices] - 1
            made.counts_NxI[n] = until_TxI[-1]
            made.starts_NxT1[n] = np.searchsorted(steps, np.arange(T + 1))

        with ThreadPoolExecutor() as pool:
            for _ in pool.map(one, range(N)):
                pass  # takes what it raises
        return made

    def __getitem__(self, indices: jax.Array | slice) -> "Lists":
        """The recordings at these indices."""
        return jax.tree.map(lambda leaf: leaf[indices], self)

    def joined(self) -> "Sparse":
        """The recordings as one batch."""
        B, M = self.pixels_NxM.shape
        T = self.starts_NxT1.shape[1] - 1
        length_B = self.starts_NxT1[:, -1]
        begin_B, total = _before(length_B), length_B.sum()

        # Rows are the steps of one recording after the other. What lies behind the end of a list is
        # written over by the next one.
        def append(b, joined):
            own = self.pixels_NxM[b].astype(jnp.int32)
            return jax.lax.dynamic_update_slice(joined, own, (begin_B[b],))

        columns = jax.lax.fori_loop(0, B, append, jnp.zeros(B * M, jnp.int32))
        starts = (begin_B[:, None] + self.starts_NxT1[:, :-1]).reshape(-1)
        rows = Rows(columns, jnp.append(starts, total))

        # In the transpose the rows are pixels. Counting says where each recording's entries go, so
        # nothing has to be sorted.
        counts_BxI = self.counts_NxI.astype(jnp.int32)
        begin_I = _before(counts_BxI.sum(axis=0))
        slots_BxI = begin_I[None] + _before(counts_BxI)
        slots_BxM = jnp.take_along_axis(slots_BxI, self.pixels_NxM.astype(jnp.int32), axis=1)
        listed_BxM = jnp.arange(M)[None] < length_B[:, None]
        slots_BxM = jnp.where(listed_BxM, slots_BxM + self.ranks_NxM.astype(jnp.int32), B * M)
        places_BxM = jnp.arange(0, B * T, T)[:, None] + self.steps_NxM.astype(jnp.int32)
        columns = (
            jnp.zeros(B * M, jnp.int32)
            .at[slots_BxM.reshape(-1)]
            .set(places_BxM.reshape(-1), mode="drop", unique_indices=True)
        )
        return Sparse(self, rows, Rows(columns, jnp.append(begin_I, total)))


class Rows(NamedTuple):
    """A matrix of zeros and ones in compressed sparse rows.

    Attributes:
      columns: of its ones, row by row; those behind the end of the last row mean nothing.
      starts: where each row begins; last, where the last one ends.
    """

    columns: jax.Array
    starts: jax.Array

    def __matmul__(self, x_CxO: jax.Array) -> jax.Array:
        from jax.experimental.sparse import BCSR  # takes a tenth of a second

        shape = len(self.starts) - 1, len(x_CxO)
        return BCSR((jnp.ones(len(self.columns), x_CxO.dtype), *self), shape=shape) @ x_CxO


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sparse:
    """A batch of recordings as a matrix, in the place of frames (T, B, H, W, C).

    Attributes:
      lists: of the recordings.
      rows: the matrix (B * T, I), the steps of one recording after the other.
      transposed: (I, B * T).
    """

    lists: Lists
    rows: Rows
    transposed: Rows

    def first(self, size: int) -> "Sparse":
        """The first recordings of the batch."""
        return self if size == len(self.lists.pixels_NxM) else self.lists[:size].joined()

    def matmul(self, weights_IxO: jax.Array | np.ndarray) -> jax.Array:
        """The product of each frame with a matrix, (T, B, O); its sums are in another order."""
        B, T = self.lists.starts_NxT1.shape[0], self.lists.starts_NxT1.shape[1] - 1
        product = jax.custom_derivatives.linear_call(
            lambda matrices, weights: matrices[0] @ weights,
            lambda matrices, tangent: matrices[1] @ tangent,
            (self.rows, self.transposed),
            weights_IxO,
        )
        return jnp.moveaxis(product.reshape(B, T, -1), 1, 0)


def fired(packed_NxTxP: np.ndarray) -> np.ndarray:
    """How many ones each recording's frames hold together, (N,)."""
    return np.bitwise_count(packed_NxTxP).sum(axis=(1, 2), dtype=np.int64)


def _before(counts):
    """Sum of all counts that come before, along the first axis."""
    return jnp.cumsum(counts, axis=0) - counts
