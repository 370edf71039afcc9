"""Reading recordings of any event format; which one is told by content, not by the file's name.

A format is a module here and a line in ``_MAGIC``, or in ``_identify`` if its first bytes are not
always the same.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable

from sast_jax.data.formats import (
    aedat,
    aedat4,
    arrays,
    event_stream,
    fixed_rows,
    hdf5,
    prophesee,
    tables,
    text,
)
from sast_jax.data.formats.stream import NoEventsError, NotEventsError, Stream, refused
from sast_jax.errors import InputError
from sast_jax.fields import require

__all__ = ["ORDER", "UNIT", "NoEventsError", "NotEventsError", "Stream", "identify", "read"]

_HEAD = 4096  # bytes that formats are told by
_KNOWN = (
    "Prophesee EVT2, EVT2.1, EVT3, DAT and HDF5, DSEC HDF5, AEDAT 2, 3.1 and 4, Event Stream, "
    "N-MNIST's rows of 40 bits and those of 56, text, NPY, NPZ and MAT"
)
_OTHERS = {
    b"#!AER-DAT1.0": "AEDAT 1, which cannot be read; convert it with jAER",
    b"#!AER-DAT3.0": "AEDAT 3.0, which cannot be read; convert it with jAER",
    b"\x1f\x8b": "an archive (gzip); unpack it first",
    b"BZh": "an archive (bzip2); unpack it first",
    b"\xfd7zXZ": "an archive (xz); unpack it first",
    b"7z\xbc\xaf": "an archive (7-Zip); unpack it first",
    b"Rar!": "an archive (RAR); unpack it first",
    b"#ROSBAG": "a ROS bag; export its events first, as text or as a table",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"RIFF": "a film or a sound",
}


@dataclasses.dataclass(frozen=True)
class _Given:
    path: pathlib.Path
    name: str
    order: str = ""
    unit: str = ""

    @functools.cached_property
    def data(self) -> bytes:
        """The whole file, which is read once, and only if its first bytes do not settle it."""
        return self.path.read_bytes()


_Read = Callable[[_Given], Stream]
_MAGIC: dict[bytes, tuple[str, _Read]] = {
    aedat.MAGIC_2: ("AEDAT2", lambda g: aedat.read_2(g.data, g.name)),
    aedat.MAGIC_3: ("AEDAT3.1", lambda g: aedat.read_3(g.data, g.name)),
    aedat4.MAGIC: ("AEDAT4", lambda g: aedat4.read(g.data, g.name)),
    event_stream.MAGIC: ("Event Stream", lambda g: event_stream.read(g.data, g.name)),
    hdf5.MAGIC: ("HDF5", lambda g: hdf5.read(g.data, g.name, g.order, g.unit)),
    b"MATLAB 7.3 MAT": ("HDF5", lambda g: hdf5.read(g.data, g.name, g.order, g.unit)),
    b"MATLAB 5.0 MAT": ("MAT", lambda g: arrays.read_mat(g.data, g.name, g.order, g.unit)),
    b"\x93NUMPY": ("NPY", lambda g: arrays.read_npy(g.data, g.name, g.order, g.unit)),
    b"PK\x03\x04": ("NPZ", lambda g: arrays.read_npz(g.data, g.name, g.order, g.unit)),
}
"""By the first bytes of a file."""

_TEXT: tuple[str, _Read] = ("text", lambda g: text.read(g.data, g.name, g.order, g.unit))
_DAT: tuple[str, _Read] = ("DAT", lambda g: prophesee.read_dat(g.data, g.name))
_ROWS: dict[str, tuple[str, _Read]] = {
    "40": ("40 bits", lambda g: fixed_rows.read_40(g.data, g.name)),
    "56": ("56 bits", lambda g: fixed_rows.read_56(g.data, g.name)),
}


def read(path: str | os.PathLike, *, order: str = "", unit: str = "") -> Stream:
    """Reads the events of a file.

    Args:
      path: of the file.
      order: columns of text and of plain arrays, such as "txyp", with "_" for one to leave out;
        "" for what the file says, or what the numbers look like.
      unit: of the times of text, arrays and tables: "s", "ms", "us" or "ns"; "" likewise.

    Returns:
      The events, in the file's order; ``odd`` says what was guessed or left out.

    Raises:
      InputError: the file cannot be read, is damaged, or holds no events of pixels.
    """
    require(UNIT, unit=unit)
    require(ORDER, order=order)
    given = _Given(pathlib.Path(path), str(path), order, unit)
    try:
        _, reader = _identify(given)
        return reader(given)
    except OSError as error:
        raise InputError(f"{given.name}: cannot be read ({error.strerror or error})") from error


def identify(path: str | os.PathLike) -> str:
    """The name of a file's format, such as "EVT3", told by its first bytes.

    Raises:
      InputError: it is of no known format, or cannot be read.
    """
    try:
        return _identify(_Given(pathlib.Path(path), str(path)))[0]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def _identify(given: _Given) -> tuple[str, _Read]:
    if given.path.exists() and not given.path.is_file():
        raise refused(given.name, "is no file")  # a pipe would wait for somebody to write
    with open(given.path, "rb") as file:
        head, name = file.read(_HEAD), given.name
    if not head:
        raise NoEventsError(f"{name}: is empty; copy it again or remove it")
    for magic, found in _MAGIC.items():
        if head.startswith(magic):
            return found
    for magic, what in _OTHERS.items():
        if head.startswith(magic):
            raise refused(name, what)
    if head.startswith(b"% "):
        return _of_prophesee(given.data)
    if text.is_text(head):
        return _TEXT
    # Rows without a header: what they look like decides.
    if bits := fixed_rows.guess(given.data):
        return _ROWS[bits]
    if kind := prophesee.guess(given.data):
        return kind, lambda g: prophesee.read_raw(g.data, g.name, kind)
    raise refused(name, f"of no known format; known are {_KNOWN}")


def _of_prophesee(data: bytes) -> tuple[str, _Read]:
    fields, start = prophesee.header(data)
    kind = prophesee.evt_kind(fields)
    rows = data[start : start + _HEAD]
    said = "version" in fields or fields.get("data", "").startswith("file")
    if kind is None and rows[1:2] == b"\x08" and (said or rows[0] in (0, 12)):
        return _DAT
    if kind is None and text.is_text(rows):
        return _TEXT  # lines that begin with % are people's as well
    return kind or "RAW", lambda g: prophesee.read_raw(g.data, g.name)


def UNIT(value: object) -> str | None:
    """What a unit of times should be; None for one that is known."""
    return None if value in ("", *tables.UNITS) else "s, ms, us or ns"


def ORDER(value: object) -> str | None:
    """What an order of columns should be; None for one that is sound."""
    sound = isinstance(value, str) and (not value or tables.is_order(value))
    return None if sound else "letters of x, y, t, p, once each, such as txyp, with _ for others"
