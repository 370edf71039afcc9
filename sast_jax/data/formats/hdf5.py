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

from sast_jax.data import hdf5
from sast_jax.data.formats import tables
from sast_jax.data.formats.stream import LARGEST_RATIO, Stream, refused
from sast_jax.errors import InputError, needed

MAGIC = hdf5.MAGIC
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_MOST_OBJECTS = 1000  # that are looked at in a file


def read(data: bytes, name: str, order: str = "", unit: str = "") -> Stream:
    """Reads events from HDF5; see :func:`sast_jax.data.formats.read`."""
    h5py: Any = needed("h5py", "recordings")
    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401 - registers its filters
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            return _read(file, data, name, order, unit)
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


def _read(file, data, name, order, unit) -> Stream:
    elsewhere: list[str] = []
    places = list(_candidates(file, elsewhere))
    if not places:
        if elsewhere:
            raise refused(name, elsewhere[0])
        if "spikes/times" in file and "spikes/units" in file:
            raise refused(
                name,
                "many recordings in one file, as SHD and SSC have them; train on it with "
                "--config.data.tonic=SHD",
            )
        raise refused(name, f"HDF5 without a table of events; it holds {', '.join(file) or '-'}")
    place, columns = places[0]
    if any(column.dtype.hasobject for column in columns.values()):
        raise refused(name, f"the columns of {place} are no numbers")
    if sum(column.nbytes for column in columns.values()) > LARGEST_RATIO * len(data):
        raise refused(name, "its arrays are far larger than the file, as no recording's are")
    odd = [f"of its {len(places)} tables of events {place} is taken"] if len(places) > 1 else []
    found = _values(columns, name)
    sensor = _sensor([file, file[place]], data)
    kind = _kind(file)
    unit = unit or ("us" if kind != "HDF5" else "")
    made = tables.stream(found, kind, name, unit=unit, sensor=sensor, odd=odd)
    offset = hdf5.child(file, "t_offset") if "t_offset" in file else None
    if offset is not None and not offset.dtype.hasobject:
        made = made._replace(t_M=made.t_M + int(offset[()]))
    return made


def _texts(data: bytes) -> list[str]:
    """The texts of any length in a file, which attributes only point to.

    The HDF5 library crashes or stays for ever at some damaged heaps, so it is not asked for them.
    """
    return [data[own.content].rstrip(b"\0").decode("latin-1") for own in hdf5.heap_objects(data)]


def _candidates(file, elsewhere: list[str]) -> Iterator[tuple[str, dict]]:
    """Where events may be: a table, or a group with an array for each column.

    Args:
      file: is searched.
      elsewhere: is given what lies in other files, which are not read.
    """
    waiting, seen = [file], 0
    while waiting and seen < _MOST_OBJECTS:
        group = waiting.pop(0)
        seen += 1
        children = {}
        for key in group:
            try:
                children[key] = hdf5.child(group, key)
            except ValueError as error:
                elsewhere.append(str(error))
        arrays = {key: value for key, value in children.items() if hasattr(value, "dtype")}
        if found := tables.named(arrays):
            yield group.name, found
        for array in arrays.values():
            if array.dtype.names and tables.named(dict.fromkeys(array.dtype.names, 0)):
                yield array.name, {"table": array}
        waiting += [value for value in children.values() if hasattr(value, "keys")]


def _values(columns, name) -> dict[str, np.ndarray]:
    if "table" in columns:
        table = columns["table"][()].ravel()
        return tables.of_fields({field: table[field] for field in table.dtype.names}, name)
    return {letter: np.ravel(column[()]) for letter, column in columns.items()}


def _kind(file) -> str:
    if "CD" in file:
        return "Prophesee HDF5"
    return "DSEC HDF5" if "ms_to_idx" in file else "HDF5"


def _sensor(places, data) -> tuple[int, int] | None:
    """(height, width) that an attribute states: "640x480", or two of them, or an array.

    Args:
      places: groups and tables with attributes.
      data: the whole file, as an attribute of any length points to one of its texts; sizes among
        these count if they are all the same.
    """
    for place in places:
        given = _attributes(place)
        for key in ("geometry", "sensor_resolution", "resolution"):
            value = given.get(key)
            stated = (
                _texts(data) if value is _POINTER else [value] if isinstance(value, str) else []
            )
            sizes = {match.groups() for match in map(_SIZE.fullmatch, stated) if match}
            if len(sizes) == 1:
                ((width, height),) = sizes
                return int(height), int(width)
            if isinstance(value, np.ndarray) and value.size == 2:
                return int(value.flat[0]), int(value.flat[1])
        both = (given.get(side) for side in ("height", "width"))
        sides = [n for n in both if isinstance(n, np.number | np.ndarray) and n.size == 1]
        if len(sides) == 2:
            return int(np.ravel(sides[0])[0]), int(np.ravel(sides[1])[0])
    return None


_POINTER = object()  # for a text that lies elsewhere in the file


def _attributes(place) -> dict[str, Any]:
    """Numbers and texts that a group or table has, by their names in small letters."""
    h5py: Any = needed("h5py", "recordings")
    found = {}
    for key in place.attrs:
        kind = place.attrs.get_id(key).get_type()
        if kind.get_class() == h5py.h5t.STRING and kind.is_variable_str():
            found[key.lower()] = _POINTER
        elif kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING):
            value = place.attrs[key]
            found[key.lower()] = value.decode("latin-1") if isinstance(value, bytes) else value
    return found
