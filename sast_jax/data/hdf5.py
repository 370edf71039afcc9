"""HDF5 files are checked before they are read: what they point to, and that reading them ends."""

import functools
import mmap
import pathlib
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from sast_jax.errors import needed

_HEAP = b"GCOL"  # begins a collection of texts, or of rows of several lengths
_HEADER = struct.Struct("<H6xQ")  # of an object in it: index, 0 for room that is free, and size


class HeapObject(NamedTuple):
    """A text or a row of a heap, or the free room at its end.

    Attributes:
      heap: where its collection starts, in bytes of the file.
      content: where it lies.
      whole: whether it ends within its collection, and takes room.
    """

    heap: int
    content: slice
    whole: bool


def child(group: Any, key: str) -> Any:
    """What a group of ``h5py`` holds under a name; None for a link that leads nowhere.

    Raises:
      ValueError: it lies in another file, which is not read.
    """
    h5py: Any = needed("h5py", "recordings")
    elsewhere = isinstance(group.get(key, getlink=True), h5py.ExternalLink)
    found = None if elsewhere else group.get(key)
    if isinstance(found, h5py.Dataset):
        elsewhere = bool(found.external) or found.is_virtual
    if found is not None:  # a link within the file may pass through one that leads out of it
        files = {h5py.h5o.get_info(one.id).fileno for one in (group, found)}
        elsewhere = elsewhere or len(files) > 1
    if elsewhere:
        raise ValueError(f"its {key} lies in another file")
    return found


def require_whole(file: Any) -> None:
    """Raises ValueError if anything in a file, or in a group of it, lies in another file."""
    h5py: Any = needed("h5py", "recordings")
    waiting, seen = [file], set()
    while waiting:
        group = waiting.pop()
        place = h5py.h5o.get_info(group.id).addr
        if place in seen:  # links may lead back
            continue
        seen.add(place)
        children = [child(group, key) for key in group]
        waiting += [found for found in children if isinstance(found, h5py.Group)]


def heap_objects(data: bytes | mmap.mmap) -> Iterator[HeapObject]:
    """What lies in the heaps of a file, up to the first that is damaged of each.

    Format: https://support.hdfgroup.org/documentation under "Disk Format: Level 1E".
    """
    seen: set[int] = set()  # collections that overlap, in a damaged file, are walked over once
    heap = data.find(_HEAP)
    while heap >= 0:
        end = heap + int.from_bytes(data[heap + 8 : heap + 16], "little")
        place, whole = heap + 16, True
        while whole and place + _HEADER.size <= min(end, len(data)) and place not in seen:
            seen.add(place)
            index, size = _HEADER.unpack_from(data, place)
            content = place + _HEADER.size
            after = content + -(-size // 8) * 8 if index else place + size
            whole = place < after <= min(end, len(data))
            yield HeapObject(heap, slice(content, content + size if index else content), whole)
            place = after
        heap = data.find(_HEAP, heap + 1)


def require_whole_heaps(source: pathlib.Path | bytes) -> None:
    """Raises ValueError if an object in a heap of a file, or of its content, is damaged.

    The HDF5 library walks over the objects of a heap to read any of them. It crashes at some that
    are damaged, and stays for ever at one that takes no room.
    """
    if isinstance(source, bytes):
        _require_whole_heaps(source)
    elif source.stat().st_size:
        _require_whole_heaps_of(source, source.stat().st_mtime_ns)


@functools.lru_cache(8)
def _require_whole_heaps_of(path, changed) -> None:
    """Looks through a file once for each time of change."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _require_whole_heaps(data)


def _require_whole_heaps(data) -> None:
    for found in heap_objects(data):
        if not found.whole:
            raise ValueError(f"the heap at byte {found.heap} is damaged")
