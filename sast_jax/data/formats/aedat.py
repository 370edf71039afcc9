"""AEDAT 2 and 3.1, of the DVS and DAVIS cameras of iniVation and the INI in Zurich.

Formats: https://docs.inivation.com under "AEDAT file formats".

AEDAT 2 is rows of 8 bytes, big-endian: address and time in microseconds. What the bits of an
address mean depends on the chip. Both axes begin at the far corner, as jAER's viewer draws them.

AEDAT 3.1 is packets: 28 bytes (type, source, event size, time offset, time overflow, capacity,
number, valid), then events. Those of polarity have 8 bytes; of the first word bit 0 says that the
event is valid, bit 1 is the polarity, bits 2-16 are y and bits 17-31 are x.
"""

import re
from typing import NamedTuple

import numpy as np

from sast_jax.data.formats.stream import (
    NoEventsError,
    Stream,
    columns,
    counts,
    refused,
    unwrapped,
    whole_rows,
)

MAGIC_2, MAGIC_3 = b"#!AER-DAT2.0", b"#!AER-DAT3.1"

_PACKET = np.dtype([("type", "<i2"), ("source", "<i2"), ("fields", "<i4", 6)])
_EVENT = np.dtype([("address", "<u4"), ("time", "<u4")])
_POLARITY = 1  # type of a packet
_PACKETS = {0: "special", 2: "frames", 3: "imu", 4: "imu", 5: "samples", 6: "ear events"}
_LINE = re.compile(rb"#[^\x00-\x08\x0a-\x0c\x0e-\x1f]*\n")
_ROW_2 = np.dtype([("address", ">u4"), ("t", ">u4")])


class _Chip(NamedTuple):
    """Where an AEDAT 2 address holds what: first bit and number of bits."""

    sensor: tuple[int, int]
    x: tuple[int, int]
    y: tuple[int, int]
    polarity: int
    on: int  # the value of the polarity's bit for ON
    other: dict[int, str]  # bits that mark what is no event


_DVS128 = _Chip((128, 128), (1, 7), (8, 7), 0, 0, {15: "special"})
_DAVIS = _Chip((0, 0), (12, 10), (22, 9), 11, 1, {31: "frames_and_imu", 10: "special"})
_CHIPS = {
    "DVS128": _DVS128,
    "240": _DAVIS._replace(sensor=(180, 240)),
    "346": _DAVIS._replace(sensor=(260, 346)),
    "208": _DAVIS._replace(sensor=(192, 208)),
    "128": _DAVIS._replace(sensor=(128, 128)),
}


def _header_end(data: bytes, name: str) -> int:
    """The byte after the lines at the head that begin with #.

    Raises:
      InputError: nothing comes after them.
    """
    at = 0
    # An event can begin with the byte of a #; a line of text holds no control characters.
    while match := _LINE.match(data, at):
        at = match.end()
        if match[0].startswith(b"#!END-HEADER"):
            break
    if at >= len(data):
        raise _empty(name)
    return at


def read_2(data: bytes, name: str) -> Stream:
    """Decodes AEDAT 2 of a DVS128 or a DAVIS.

    The chip is the one that the header names, or, if it names none, the one that the addresses fit.

    Raises:
      InputError: it holds no events, or is of another chip.
    """
    at = _header_end(data, name)
    rows, cut = whole_rows(data, _ROW_2, at)
    address_M, t_M = rows["address"].astype(np.uint32), rows["t"].astype(np.uint32)
    if not len(rows):
        raise _empty(name)
    odd = list(cut)
    chip, guessed = _chip(data[:at].decode("latin-1"), address_M, name)
    if guessed:
        odd.append(guessed)
    event_M, beside = np.ones(len(rows), bool), {}
    for bit, kind in chip.other.items():
        marked_M = event_M & (address_M >> bit & 1).astype(bool)
        beside[kind] = marked_M.sum()
        event_M &= ~marked_M
    address_E, t_E = address_M[event_M], unwrapped(t_M[event_M], 32)
    height, width = chip.sensor
    x_E, y_E = (address_E >> first & (1 << bits) - 1 for first, bits in (chip.x, chip.y))
    outside_E = (x_E >= width) | (y_E >= height)
    if outside_E.any():
        if outside_E.mean() > 0.5:
            raise refused(name, f"most of its events lie outside a sensor of {width}x{height}")
        odd.append(f"{outside_E.sum()} events outside {width}x{height} pixels are left out")
        x_E, y_E = x_E[~outside_E], y_E[~outside_E]
        t_E, address_E = t_E[~outside_E], address_E[~outside_E]
    p_E = (address_E >> chip.polarity & 1) == chip.on
    found = columns(width - 1 - x_E, height - 1 - y_E, t_E, p_E)
    return Stream(*found, "AEDAT2", chip.sensor, counts(**beside), tuple(odd))


def _chip(text: str, address_M, name) -> tuple[_Chip, str | None]:
    stated = re.search(r"AEChip:\s*(\S+)", text)
    words = stated[1].rpartition(".")[2] if stated else text
    if re.search("DVS128|Tmpdiff128", words, re.I):
        return _DVS128, None
    if match := re.search("(?:DAVIS|SBRet|apsDVS).*?(240|346|208|128)", words, re.I):
        return _CHIPS[match[1]], None
    if stated:
        raise refused(name, f"AEDAT 2 of the chip {stated[1]}; DVS128 and DAVIS can be read")
    if address_M.max() < 2**16:
        return _DVS128, "the header names no chip; 16-bit addresses are taken for a DVS128's"
    event_M = (address_M >> 31) == 0
    fits = (address_M[event_M] >> 12 & 0x3FF).max(initial=0) < 240
    chip = _CHIPS["240" if fits else "346"]
    size = "{1}x{0}".format(*chip.sensor)
    return chip, f"the header names no chip; the addresses are taken for a DAVIS's of {size}"


def read_3(data: bytes, name: str, valid_only: bool = True) -> Stream:
    """Decodes AEDAT 3.1.

    Args:
      data: the whole file.
      name: what to call it in an error.
      valid_only: leave out events that are marked as invalid, and count them.

    Raises:
      InputError: it is no AEDAT 3.1, is compressed, holds no events, or is cut off.
    """
    if not data.startswith(MAGIC_3):
        raise refused(name, "not AEDAT 3.1; it is damaged or another format")
    at = _header_end(data, name)
    stated = re.search(rb"#Format:\s*(\S+)", data[:at])
    if stated and stated[1] != b"RAW":
        raise refused(
            name, f"AEDAT 3.1 of the format {stated[1].decode('latin-1')}; RAW alone can be read"
        )
    parts = []
    beside: dict[str, int] = {}
    while at < len(data):
        if at + _PACKET.itemsize > len(data):
            raise _cut_off(name, at)
        packet = np.frombuffer(data, _PACKET, 1, at)[0]
        # Python's integers: products of what a damaged header says cannot overflow.
        size, _, overflow, capacity, number, _ = map(int, packet["fields"])
        kind = int(packet["type"])
        known = kind != _POLARITY or size == _EVENT.itemsize
        if not known or size < 0 or overflow < 0 or not 0 <= number <= capacity:
            raise refused(
                name,
                f"a packet of type {kind} with {number} of {capacity} events of {size} bytes at "
                f"byte {at + _PACKET.itemsize}; those of polarity have {_EVENT.itemsize} bytes, "
                "so the file is damaged or of another sensor",
            )
        at += _PACKET.itemsize
        if at + size * capacity > len(data):
            raise _cut_off(name, at)
        if kind == _POLARITY:
            # A time has 31 bits, and the packet says how often they have wrapped around.
            events = np.frombuffer(data, _EVENT, number, at)
            parts.append((events["address"], events["time"] + (np.int64(overflow) << 31)))
        else:
            label = _PACKETS.get(kind, "other packets")
            beside[label] = beside.get(label, 0) + number
        at += size * capacity
    if not sum(len(address_M) for address_M, _ in parts):
        raise _empty(name)
    address_M, t_M = (np.concatenate(column) for column in zip(*parts, strict=True))
    odd: tuple[str, ...] = ()
    valid_M = (address_M & 1).astype(bool)
    if valid_only and not valid_M.all():
        odd = (f"{(~valid_M).sum()} events that are marked as invalid are left out",)
        address_M, t_M = address_M[valid_M], t_M[valid_M]
    found = columns(address_M >> 17, address_M >> 2 & 0x7FFF, t_M, address_M >> 1 & 1)
    return Stream(*found, "AEDAT3.1", None, beside, odd)


def _empty(name):
    return NoEventsError(f"{name}: holds no events; fetch it again or remove it")


def _cut_off(name, at):
    return refused(name, f"cut off in the packet at byte {at}; fetch it again")
