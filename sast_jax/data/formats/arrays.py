"""Events as arrays: NumPy's ``.npy`` and ``.npz``, and MATLAB's ``.mat`` up to version 7.2.

An array is structured, with fields x, y, t and p, or rows of four numbers. A file of several arrays
has one for each column, or a single one of rows. Nothing in a file is executed: arrays of objects
are refused.
"""

import io
import zipfile

import numpy as np

from sast_jax.data.formats import matlab, tables
from sast_jax.data.formats.stream import LARGEST_RATIO, Stream, refused
from sast_jax.errors import InputError


def read_npy(data: bytes, name: str, order: str = "", unit: str = "") -> Stream:
    """Reads events from a ``.npy``; see :func:`sast_jax.data.formats.read`."""
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # whatever parsing a damaged header raises
        raise refused(name, f"not a whole array of numbers ({error})") from error
    return _of_array(array, "NPY", name, order, unit)


def read_npz(data: bytes, name: str, order: str = "", unit: str = "") -> Stream:
    """Reads events from a ``.npz``; see :func:`sast_jax.data.formats.read`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST_RATIO * len(data):
            raise refused(name, f"would unpack to {size} bytes; no recording packs so tightly")
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            found = {key: stored[key] for key in stored.files}
    except InputError:
        raise
    except Exception as error:  # whatever parsing a damaged archive raises
        raise refused(name, f"not a whole archive of arrays ({error})") from error
    return _of_several(found, "NPZ", name, order, unit)


def read_mat(data: bytes, name: str, order: str = "", unit: str = "") -> Stream:
    """Reads events from a ``.mat``; see :func:`sast_jax.data.formats.read`."""
    try:
        found = matlab.load(data)
    except matlab.DamagedError as error:
        raise refused(name, f"not a whole MATLAB file ({error})") from error
    return _of_several(found, "MAT", name, order, unit)


def _of_several(found, kind, name, order, unit) -> Stream:
    tables_there = {
        key: named
        for key, value in found.items()
        if isinstance(value, dict) and (named := tables.named(value))
    }
    if tables_there:
        # ATIS recordings have TD (change) and EM (exposure) side by side.
        chosen = "TD" if "TD" in tables_there else next(iter(tables_there))
        columns = {k: np.ravel(v) for k, v in tables_there[chosen].items()}
        several = len(tables_there) > 1
        odd = [f"of its tables {', '.join(tables_there)} {chosen} is taken"] if several else []
        return tables.stream(columns, kind, name, unit=unit, odd=odd)
    arrays = {key: value for key, value in found.items() if isinstance(value, np.ndarray)}
    by_letter = tables.named(arrays)
    if by_letter is not None:
        columns = {letter: np.ravel(column) for letter, column in by_letter.items()}
        return tables.stream(columns, kind, name, unit=unit)
    rows = [a for a in arrays.values() if a.dtype.names or (a.ndim == 2 and min(a.shape) > 1)]
    if len(rows) != 1:
        raise refused(
            name,
            f"holds {', '.join(arrays) or 'no arrays'}; arrays x, y, t and p are expected, or a "
            "single one of rows",
        )
    return _of_array(rows[0], kind, name, order, unit)


def _of_array(array, kind, name, order, unit) -> Stream:
    if array.dtype.names:
        return tables.stream(tables.structured(array, name), kind, name, unit=unit)
    if array.dtype.kind not in "iufb":
        raise refused(name, f"an array of {array.dtype}, which are no numbers")
    if not array.size:
        empty = {letter: np.zeros(0, np.int64) for letter in "xytp"}
        return tables.stream(empty, kind, name, unit=unit)
    columns, odd = tables.of_rows(array, order, name)
    return tables.stream(columns, kind, name, unit=unit, odd=odd)
