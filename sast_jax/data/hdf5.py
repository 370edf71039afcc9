"""HDF5 files are checked before they are read: what they point to, and that reading them ends."""

import contextlib
import functools
import io
import math
import mmap
import pathlib
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sast_jax.errors import needed

MAGIC = b"\x89HDF\r\n\x1a\n"
_HEAP = b"GCOL"  # begins a collection of texts, or of rows of several lengths
_HEADER = struct.Struct("<H6xQ")  # of an object in it: index, 0 for room that is free, and size
_REFERENCE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("index", "<u4")])  # to such an object
_LARGEST_RATIO = 1100  # of what gzip unpacks, and its size
_LEAST = 2**16  # bytes that are no matter
_SUPERBLOCK = 96  # bytes at the start of a file, of which it says what it is


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


def require_whole(file: Any, data: bytes | mmap.mmap) -> None:
    """Raises ValueError if anything in a file lies elsewhere, or says to be larger than it can be.

    Args:
      file: of ``h5py``, or a group of one.
      data: the content of the file.
    """
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
        for found in children:
            if isinstance(found, h5py.Dataset):
                require_sound(found, data)


def require_sound(array: Any, data: bytes | mmap.mmap) -> None:
    """Raises ValueError if what is stored of an array is not of the size that the array says.

    The HDF5 library makes room for an array, and for each text and row of several lengths in it,
    before it looks for them, and looks for each chunk; and it reads beyond the end of short ones.

    Args:
      array: a dataset of ``h5py``.
      data: the content of its file.
    """
    h5py: Any = needed("h5py", "recordings")
    if array.shape is None:  # nothing is in it
        return
    kind = array.id.get_type()
    rows, numbers = kind.get_class() == h5py.h5t.VLEN, (h5py.h5t.INTEGER, h5py.h5t.FLOAT)
    item = kind.get_super() if rows else kind
    usual = item.get_class() in numbers and h5py.h5t.py_create(item.dtype).equal(item)
    if rows and (kind.encode()[3] & 15 or not usual):  # others than sequences of numbers
        raise ValueError(f"{array.name} has rows of no usual type")
    if item.get_class() in numbers and not usual:
        raise ValueError(f"{array.name} has numbers of no usual type")
    text = item.get_class() == h5py.h5t.STRING and item.is_variable_str()
    each = item.get_size() if rows else int(text)  # bytes of an item of a row
    itemsize = _REFERENCE.itemsize if each else kind.get_size()
    unpacked, packed = array.size * itemsize, array.id.get_storage_size()
    if unpacked > max(_LEAST, _LARGEST_RATIO * packed):
        raise ValueError(f"{array.name} says to hold {unpacked:,} bytes, packed in {packed:,}")
    for part, size in _parts(array, data, itemsize):
        if len(part) != size:
            raise ValueError(f"{array.name} has parts of {len(part)} bytes in the place of {size}")
        lengths = np.frombuffer(part if each else b"", _REFERENCE)["length"]
        if each * int(lengths.max(initial=0)) > len(data):
            raise ValueError(f"{array.name} has a row that is longer than the file")


def _parts(array, data, itemsize) -> Iterator[tuple[bytes, int]]:
    """What is stored of an array, unpacked, with the bytes that it should have.

    Left out: what stands in the array's header, and chunks that are packed by less common filters.
    """
    h5py: Any = needed("h5py", "recordings")
    if array.chunks is None:
        if (offset := array.id.get_offset()) is not None:
            yield data[offset : offset + array.id.get_storage_size()], array.size * itemsize
        return
    size = math.prod(array.chunks) * itemsize
    layout = array.id.get_create_plist()
    filters = [layout.get_filter(i)[0] for i in range(layout.get_nfilters())]
    if not set(filters) <= {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE}:
        return
    for i in range(array.id.get_num_chunks()):
        chunk = array.id.get_chunk_info(i)
        part = data[chunk.byte_offset : chunk.byte_offset + chunk.size]
        for bit, name in reversed(list(enumerate(filters))):
            if chunk.filter_mask >> bit & 1:  # was not used
                continue
            if name == h5py.h5z.FILTER_DEFLATE:
                part = zlib.decompressobj().decompress(part, size + 1)
            elif len(part) == size:
                part = np.frombuffer(part, np.uint8).reshape(itemsize, -1).T.tobytes()
        yield part, size


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


@contextlib.contextmanager
def opened(source: pathlib.Path | bytes) -> Iterator[tuple[Any, bytes | mmap.mmap]]:
    """A file of ``h5py`` to read, and its content.

    Args:
      source: its path, or its content.

    Raises:
      ValueError: an object in a heap is damaged. The HDF5 library walks over them to read any; it
        crashes at some that are damaged, and stays for ever at one that takes no room. Or it is
        a part of a file, of whose kind the library reads up to 4 GB.
    """
    h5py: Any = needed("h5py", "recordings")
    place: Any
    if isinstance(source, bytes):
        place, changed = io.BytesIO(source), 0
    else:
        place, changed = source, source.stat().st_mtime_ns
    _require_whole_heaps(source, changed)
    with _content(source) as data:
        _require_no_part(data[:_SUPERBLOCK])
        with h5py.File(place) as file:
            yield file, data


@contextlib.contextmanager
def _content(source) -> Iterator[bytes | mmap.mmap]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _require_no_part(start: bytes) -> None:
    # A file may begin with something else; later versions of this block have no such field.
    if start[:9] in (MAGIC + b"\0", MAGIC + b"\1"):
        place = 48 + 4 * start[8]
        if start[place : place + 8] != b"\xff" * 8:  # where the driver's information is
            raise ValueError("it says to be a part of a file")


@functools.lru_cache(2)  # a training and a test split, which are opened for each of their parts
def _require_whole_heaps(source, changed) -> None:
    """Looks through a content, or a file for each time of its change, once."""
    with _content(source) as data:
        for found in heap_objects(data):
            if not found.whole:
                raise ValueError(f"the heap at byte {found.heap} is damaged")
