"""Arrays of numbers in MATLAB's ``.mat`` of version 5 to 7.2.

A file is 128 bytes of text, version and byte order, then elements: type and size (32 bits each, or
16 bits each for at most four bytes that follow at once), then the content, filled up to eight
bytes. An element may be packed by zlib. SciPy's reader ends the whole process at some damaged
files, so that this one reads numbers and structures of them, and nothing else.

Format: MathWorks, MAT-File Format, "Level 5 MAT-file format".
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from sast_jax.data.formats.stream import LARGEST_RATIO

_MATRIX, _PACKED = 14, 15
_NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_CLASSES = {
    6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8",
}  # fmt: skip
_STRUCT = 2
_COMPLEX = 0x800  # a bit of an array's flags


class DamagedError(Exception):
    """The bytes are no whole MATLAB file."""


def load(data: bytes) -> dict[str, np.ndarray | dict[str, np.ndarray]]:
    """The arrays of numbers of a file by name, and its structures as dicts of arrays by field.

    Raises:
      DamagedError: the bytes are no whole MATLAB file.
    """
    if len(data) < 128 or data[126:128] not in (b"IM", b"MI"):
        raise DamagedError("no header of version 5")
    order = "<" if data[126:128] == b"IM" else ">"
    found: dict[str, np.ndarray | dict[str, np.ndarray]] = {}
    try:
        for kind, content in _elements(data, 128, order):
            if kind == _PACKED:
                content = _unpacked(content, len(data))
                ((kind, content),) = _elements(content, 0, order)
            if kind == _MATRIX:
                found |= _matrix(content, order)
    except (struct.error, ValueError, zlib.error, UnicodeDecodeError) as error:
        raise DamagedError(error) from error
    return found


def _unpacked(content, size) -> bytes:
    unpacker = zlib.decompressobj()
    most = LARGEST_RATIO * size
    whole = unpacker.decompress(content, most)
    if len(whole) >= most or not unpacker.eof:
        raise DamagedError("a packed array that is cut off, or far larger than any recording's")
    return whole


def _elements(data: bytes, at: int, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of the elements of some bytes."""
    while at < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # a small element: both in one word, and the content in the next
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
            after = at + 8
        else:
            start = at + 8
            after = start + (size if kind == _PACKED else -(-size // 8) * 8)
        if start + size > len(data):
            raise DamagedError(f"an element of {size} bytes at byte {at} of {len(data)}")
        yield kind, data[start : start + size]
        at = after


def _matrix(content: bytes, order: str) -> dict:
    """The array of an element, or the dict of a structure, by its name."""
    parts = list(_elements(content, 0, order))
    if len(parts) < 3:
        return {}
    flags = struct.unpack(f"{order}I", parts[0][1][:4])[0]
    shape = tuple(np.frombuffer(parts[1][1], f"{order}i4").tolist())
    name, kind = parts[2][1].decode("ascii"), flags & 0xFF
    if kind == _STRUCT:
        return {name: _structure(parts[3:], order)}
    if kind not in _CLASSES or flags & _COMPLEX or len(parts) < 4:
        return {}  # text, cells, objects: nothing that could be events
    if min(shape, default=-1) < 0:
        raise DamagedError(f"an array of shape {shape}")
    stored, numbers = parts[3]
    if stored not in _NUMBERS:
        raise DamagedError(f"an array of numbers of type {stored}")
    values = np.frombuffer(numbers, f"{order}{_NUMBERS[stored]}")
    array = values.astype(_CLASSES[kind]).reshape(shape, order="F")
    return {name: array}


def _structure(parts, order) -> dict[str, np.ndarray]:
    """Fields of a structure with one element; those of several are no recording."""
    if len(parts) < 2 or len(parts[0][1]) < 4:
        raise DamagedError("a structure without names of fields")
    length = struct.unpack(f"{order}i", parts[0][1][:4])[0]
    names = parts[1][1]
    if length <= 0 or len(names) % length:
        raise DamagedError("a structure without names of fields")
    each = [names[at : at + length].split(b"\0")[0] for at in range(0, len(names), length)]
    if len(parts) - 2 != len(each):
        return {}
    found = {}
    for name, (kind, content) in zip(each, parts[2:], strict=True):
        if kind == _MATRIX:
            for value in _matrix(content, order).values():
                if isinstance(value, np.ndarray):  # a structure within one is no column
                    found[name.decode("ascii")] = value
    return found
