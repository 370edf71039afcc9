"""AEDAT 4, as iniVation's DV writes it.

A file is a line "#!AER-DAT4.0", a header, and packets, each with the number of its stream and its
size (32 bits each). Header and packets are flatbuffers; packets may be packed by LZ4 or Zstandard.
The header's XML says what the streams are. Of a packet of events only one vector is needed, whose
rows have 16 bytes, so arrays read it in place.

Format: https://docs.inivation.com under "AEDAT file formats".
"""

import struct
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np

from sast_jax.data.formats.stream import LARGEST_RATIO, NoEventsError, Stream, columns, refused
from sast_jax.errors import InputError, needed

MAGIC = b"#!AER-DAT4.0"
_START = len(MAGIC) + 2
_EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("on", "u1"), ("", "V3")])
_KINDS = {"FRME": "frames", "IMUS": "imu", "TRIG": "triggers"}
_LZ4, _ZSTANDARD = (1, 2), (3, 4)
_LEAST = 2**16  # bytes that any packet may unpack to


class _DamagedError(Exception):
    pass


def read(data: bytes, name: str) -> Stream:
    """Decodes AEDAT 4; of several streams of events the first.

    Raises:
      InputError: it is damaged, or holds no events.
    """
    try:
        return _read(data, name)
    except InputError:
        raise
    except (_DamagedError, struct.error, ET.ParseError, UnicodeDecodeError, ValueError) as error:
        raise refused(name, f"damaged AEDAT 4 ({error}); copy it again or remove it") from error


def _read(data, name) -> Stream:
    size = _number(data, _START, "<I")
    header = data[_START : _START + 4 + size]
    compression = _field(header, 0, "<i", 0)
    end = _field(header, 1, "<q", -1)
    streams = _streams(_text(header, 2))
    of_events = [number for number, (kind, _) in streams.items() if kind == "EVTS"]
    if not of_events:
        raise refused(name, "AEDAT 4 without a stream of events")
    parts, odd = [], []
    beside: dict[str, int] = {}
    if len(of_events) > 1:
        odd.append(f"the first of its {len(of_events)} streams of events is taken")
    at, stop = _START + 4 + size, end if 0 < end <= len(data) else len(data)
    while at < stop:
        if stop - at < 8 or (length := _number(data, at + 4, "<i")) > stop - at - 8:
            odd.append("its last packet is cut off and left out")
            break
        if length < 0:
            raise _DamagedError(f"a packet of {length} bytes at byte {at}")
        number = _number(data, at, "<i")
        if number == of_events[0]:
            parts.append(_events(_unpacked(data[at + 8 : at + 8 + length], compression)))
        elif number in streams:
            kind = streams[number][0]
            label = _KINDS.get(kind, "packets of other kinds")
            packet = data[at + 8 : at + 8 + length]
            several = kind in ("IMUS", "TRIG")  # in one packet
            count = _vector(_unpacked(packet, compression))[1] if several else 1
            beside[label] = beside.get(label, 0) + count
        else:
            raise _DamagedError(f"a packet of a stream {number} that the header does not name")
        at += 8 + length
    if not sum(map(len, parts)):
        raise NoEventsError(f"{name}: holds no events; copy it again or remove it")
    events = np.concatenate(parts)
    if (events["x"] < 0).any() or (events["y"] < 0).any():
        raise _DamagedError("an event at a negative pixel")
    found = columns(events["x"], events["y"], events["t"], events["on"] != 0)
    return Stream(*found, "AEDAT4", streams[of_events[0]][1], beside, tuple(odd))


def _streams(xml: str) -> dict[int, tuple[str, tuple[int, int] | None]]:
    """Kind and sensor of each stream, by its number."""
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:  # which could grow without end
        raise _DamagedError("its header defines entities")
    found = {}
    for node in ET.fromstring(xml).findall("./node/node"):
        number = node.get("name", "")
        kind = next((a.text for a in node.findall("attr") if a.get("key") == "typeIdentifier"), "")
        info = {a.get("key"): a.text or "" for a in node.findall("./node[@name='info']/attr")}
        height, width = (info.get(key, "") for key in ("sizeY", "sizeX"))
        stated = height.isdecimal() and width.isdecimal()
        sensor = (int(height), int(width)) if stated else None
        if number.isdecimal():
            found[int(number)] = kind or "", sensor
    return found


def _unpacked(packet: bytes, compression: int) -> bytes:
    most = _LEAST + LARGEST_RATIO * len(packet)
    if compression == 0:
        return packet
    if compression in _LZ4:
        lz4: Any = needed("lz4.frame", "recordings")
        try:
            whole = lz4.LZ4FrameDecompressor().decompress(packet, most)
        except RuntimeError as error:
            raise _DamagedError(error) from error
    elif compression in _ZSTANDARD:
        zstandard: Any = needed("zstandard", "recordings")
        try:
            whole = zstandard.ZstdDecompressor().stream_reader(packet).read(most)
        except (zstandard.ZstdError, MemoryError) as error:
            raise _DamagedError(error) from error
    else:
        raise _DamagedError(f"packed by an unknown method {compression}")
    if len(whole) >= most:
        raise _DamagedError("a packet unpacks to far more than any recording's")
    return whole


def _events(packet: bytes) -> np.ndarray:
    """The rows of a flatbuffer with one vector of events."""
    start, count = _vector(packet)
    if start + count * _EVENT.itemsize > len(packet):
        raise _DamagedError(f"a packet of {len(packet)} bytes says that it holds {count} events")
    return np.frombuffer(packet, _EVENT, count, start)


def _vector(packet: bytes) -> tuple[int, int]:
    """Where the vector of a flatbuffer's root begins, and its length."""
    place = _place(packet, 0)
    if place is None:
        return 0, 0
    vector = place + _number(packet, place, "<I")
    return vector + 4, _number(packet, vector, "<I")


def _place(buffer: bytes, index: int) -> int | None:
    """Where a field of a size-prefixed flatbuffer's root lies; None if it is left out."""
    table = 4 + _number(buffer, 4, "<I")
    names = table - _number(buffer, table, "<i")
    if 4 + 2 * index >= _number(buffer, names, "<H"):
        return None
    offset = _number(buffer, names + 4 + 2 * index, "<H")
    return table + offset if offset else None


def _field(buffer, index, form, default):
    place = _place(buffer, index)
    return default if place is None else _number(buffer, place, form)


def _text(buffer, index) -> str:
    place = _place(buffer, index)
    if place is None:
        raise _DamagedError("its header names no streams")
    start = place + _number(buffer, place, "<I")
    return buffer[start + 4 : start + 4 + _number(buffer, start, "<I")].decode()


def _number(buffer: bytes, at: int, form: str) -> int:
    if at < 0:
        raise _DamagedError(f"it points to byte {at}")
    return struct.unpack_from(form, buffer, at)[0]
