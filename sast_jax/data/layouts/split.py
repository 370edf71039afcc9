"""The recordings of one split, not yet read, and what two splits share."""

import pathlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sast_jax.data import cache
from sast_jax.data.layouts import finding
from sast_jax.errors import InputError

OTHER = {"train": "test", "test": "train"}  # split -> the other one


def _equal(one, other) -> bool:
    return one == other if isinstance(one, bytes) else np.array_equal(one, other)


class Split(NamedTuple):
    """The recordings of one split, in order of their names, not yet read.

    Attributes:
      names: where each one is, for messages.
      labels_N: class of each, int64.
      fingerprint: changes when a recording is added, removed or changed.
      read: yields what the recordings at the given indices hold, one after another; the indices
        ascend.
      contents: () -> a number for each that is the same for the same content; 0 for no content.
      numbers_N: number of each file, or -1; None for recordings without numbers.
      subjects_N: number of the person seen in each; None for recordings without people.
      warnings: what a person should know of the split, one line each.
      unread: as ``warnings``, of files beside the recordings that are not read.
      seeds_N: of each, for random draws; None to make them from the names.
      same: whether two of what ``read`` yields are the same recording.
    """

    names: tuple[str, ...]
    labels_N: np.ndarray
    fingerprint: str
    read: Callable[[Iterable[int]], Iterator[Any]]
    contents: Callable[[], np.ndarray]
    numbers_N: np.ndarray | None = None
    subjects_N: np.ndarray | None = None
    warnings: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    seeds_N: np.ndarray | None = None
    same: Callable[[Any, Any], bool] = _equal


def part(split: Split, indices: np.ndarray) -> Split:
    """Some recordings of a split, to compare with those of another."""

    def read(some):
        return split.read([int(indices[i]) for i in some])

    return Split(
        tuple(split.names[i] for i in indices),
        split.labels_N[indices],
        split.fingerprint,
        read,
        lambda: split.contents()[indices],
        same=split.same,
    )


def opened(
    folder: pathlib.Path,
    archive: tuple[str, Callable[[pathlib.Path], Split]],
    tree: tuple[str, Callable[[pathlib.Path], Split]],
) -> Split | None:
    """The split in an archive, or else in an unpacked tree; None if a folder has neither.

    Args:
      folder: where they may be.
      archive, tree: name, in any case, and what opens the one of that name.

    Raises:
      InputError: what is there cannot be read.
    """
    try:
        packed, unpacked = (finding.named(folder, name) for name, _ in (archive, tree))
        if packed is not None and packed.is_file():
            found = archive[1](packed)
            beside = f"{unpacked} is not read, as {packed.name} lies beside it"
            return found if unpacked is None else found._replace(warnings=(beside,))
        if unpacked is not None and unpacked.is_dir():
            return tree[1](unpacked)
    except OSError as error:
        raise InputError(f"cannot read {error.filename or folder}: {error.strerror}") from error
    return None


def content(data: bytes) -> int:
    """A number for some bytes: their length and checksum; 0 for none."""
    return len(data) << 32 | zlib.crc32(data)


def contents_of(paths: Sequence[pathlib.Path], fingerprint: str) -> Callable[[], np.ndarray]:
    """The ``contents`` of a split whose recordings are files."""
    return lambda: kept_contents(fingerprint, lambda: [content(p.read_bytes()) for p in paths])


def kept_contents(fingerprint: str, make: Callable[[], list[int]]) -> np.ndarray:
    """Contents from the cache, or made and then kept there, as (N,) int64."""
    key = {"contents of": fingerprint}
    return np.array(cache.listing(cache.folder(), key, make), np.int64)


def shared(one: Split, other: Split) -> list[tuple[int, int]]:
    """Index in ``one`` and in ``other`` of each recording of ``one`` that both hold."""
    contents_N, contents_M = one.contents(), other.contents()
    common = np.intersect1d(contents_N[contents_N != 0], contents_M)
    if not len(common):
        return []
    first_M = {value: i for i, value in reversed(list(enumerate(contents_M.tolist())))}
    pairs = [
        (int(i), first_M[int(contents_N[i])]) for i in np.flatnonzero(np.isin(contents_N, common))
    ]
    # Equal lengths and checksums need not be equal contents: that is seen by reading one pair.
    while pairs and not one.same(next(one.read(pairs[0][:1])), next(other.read(pairs[0][1:]))):
        pairs.pop(0)
    return pairs


def repeated(split: Split) -> list[tuple[int, int]]:
    """Index of each recording that is a copy of an earlier one, and the index of that one."""
    contents_N = split.contents()
    _, first, inverse = np.unique(contents_N, return_index=True, return_inverse=True)
    copies = np.flatnonzero((first[inverse] != np.arange(len(contents_N))) & (contents_N != 0))
    return [(int(i), int(first[inverse[i]])) for i in copies]
