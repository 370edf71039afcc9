"""Events in HDF5: Prophesee's ``CD/events``, DSEC's ``events/x``, and others of this kind.

The events are a table with fields x, y, p and t, or a group with an array for each. DSEC's times
count from ``t_offset``. Sensor sizes stand in attributes. Files of MATLAB 7.3 are HDF5 as well.
"""

import contextlib
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from sast_jax.data.formats import tables
from sast_jax.data.formats.stream import LARGEST_RATIO, Stream, refused
from sast_jax.errors import InputError, needed

MAGIC = b"\x89HDF\r\n\x1a\n"
_HEAP = b"GCOL"
_MOST_OBJECTS = 1000  # that are looked at in a file


def read(data: bytes, name: str, order: str = "", unit: str = "") -> Stream:
    """Reads events from HDF5; see :func:`sast_jax.data.formats.read`."""
    h5py: Any = needed("h5py", "recordings")
    if _is_endless(data):
        raise refused(name, "not a whole HDF5 file (an object of its heap has no size)")
    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401 - registers its filters
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            return _read(file, len(data), name, order, unit)
    except InputError:
        raise
    except Exception as error:  # whatever reading a damaged file raises
        if "filter" in str(error) or "plugin" in str(error):
            raise refused(
                name,
                f"packed by a filter that is not installed ({error}); pip install hdf5plugin, or "
                "for Prophesee's ECF its HDF5 plugin",
            ) from error
        raise refused(name, f"not a whole HDF5 file ({error})") from error


def _read(file, size, name, order, unit) -> Stream:
    places = list(_candidates(file))
    if not places:
        if "spikes/times" in file and "spikes/units" in file:
            raise refused(
                name,
                "many recordings in one file, as SHD and SSC have them; train on it with "
                "--config.data.tonic=SHD",
            )
        raise refused(name, f"HDF5 without a table of events; it holds {', '.join(file) or '-'}")
    place, columns = places[0]
    if sum(column.nbytes for column in columns.values()) > LARGEST_RATIO * size:
        raise refused(name, "its arrays are far larger than the file, as no recording's are")
    odd = [f"of its {len(places)} tables of events {place} is taken"] if len(places) > 1 else []
    found = _values(columns)
    sensor = _sensor(file, file[place])
    kind = _kind(file)
    unit = unit or ("us" if kind != "HDF5" else "")
    made = tables.stream(found, kind, name, unit=unit, sensor=sensor, odd=odd)
    if "t_offset" in file:
        made = made._replace(t_M=made.t_M + int(file["t_offset"][()]))
    return made


def _is_endless(data: bytes) -> bool:
    """Whether a heap holds an object without a size, at which the HDF5 library stays for ever.

    Format: https://support.hdfgroup.org/documentation under "Disk Format: Level 1E".
    """
    heap = data.find(_HEAP)
    while heap >= 0:
        end = min(heap + int.from_bytes(data[heap + 8 : heap + 16], "little"), len(data))
        at = heap + 16
        while at + 16 <= end:
            index, size = (
                int.from_bytes(data[at + i : at + j], "little") for i, j in ((0, 2), (8, 16))
            )
            # Object 0 is what is free, its header included; sizes are rounded up in 64 bits.
            taken = size if index == 0 else ((size + 7) // 8 * 8 + 16) % 2**64
            if not taken:
                return True
            at += taken
        heap = data.find(_HEAP, heap + len(_HEAP))
    return False


def _candidates(file) -> Iterator[tuple[str, dict]]:
    """Where events may be: a table, or a group with an array for each column."""
    waiting, seen = [file], 0
    while waiting and seen < _MOST_OBJECTS:
        group = waiting.pop(0)
        seen += 1
        children = {key: group.get(key) for key in group}  # None for a link that leads nowhere
        arrays = {key: value for key, value in children.items() if hasattr(value, "dtype")}
        if found := tables.named(arrays):
            yield group.name, found
        for array in arrays.values():
            if array.dtype.names and tables.named(dict.fromkeys(array.dtype.names, 0)):
                yield array.name, {"table": array}
        waiting += [value for value in children.values() if hasattr(value, "keys")]


def _values(columns) -> dict[str, np.ndarray]:
    if "table" in columns:
        table = columns["table"][()].ravel()
        return tables.named({field: table[field] for field in table.dtype.names})
    return {letter: np.ravel(column[()]) for letter, column in columns.items()}


def _kind(file) -> str:
    if "CD" in file:
        return "Prophesee HDF5"
    return "DSEC HDF5" if "ms_to_idx" in file else "HDF5"


def _sensor(*places) -> tuple[int, int] | None:
    """(height, width) that an attribute states: "640x480", or two of them, or an array."""
    for place in places:
        given = {key.lower(): value for key, value in place.attrs.items()}
        for key in ("geometry", "sensor_resolution", "resolution"):
            value = given.get(key)
            text = value.decode() if isinstance(value, bytes) else value
            if isinstance(text, str) and (match := re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)):
                return int(match[2]), int(match[1])
            if isinstance(value, np.ndarray) and value.size == 2:
                return int(value.flat[0]), int(value.flat[1])
        if "height" in given and "width" in given:
            return int(given["height"]), int(given["width"])
    return None
