"""Prophesee's formats: EVT 2.0, EVT 2.1 and EVT 3.0 (``.raw``), and ``.dat``.

A file begins with lines of text that start with "% "; a line "% end" may close them. The formats
are documented at https://docs.prophesee.ai under "Data encoding formats". Times are microseconds
of the camera's clock.

EVT 2.0 is rows of 32 bits, EVT 2.1 of 64, EVT 3.0 of 16. Their upper four bits say what a row is.
EVT 3.0 leaves out what has not changed since the row before, and is decoded by the package
``evt3``; the others have whole events, and arrays are enough.
"""

import re
from typing import Any

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
from sast_jax.errors import InputError, needed

_DAT_ROW = np.dtype([("t", "<u4"), ("address", "<u4")])
_TIME_HIGH = 8  # kind of a row that holds the upper bits of the times that follow, in EVT 2
_TRIGGER, _OTHER, _CONTINUED = 0xA, 0xE, 0xF
_LOW_BITS = 6  # of a time that stand in an event of EVT 2; 28 more in a row of its own
_NAMES = {"2.0": "EVT2", "2.1": "EVT21", "3.0": "EVT3"}
_EVT3_TIME_HIGH, _EVT3_TRIGGER = 0x8, 0xA
_CAMERAS = {"gen31": (480, 640), "gen3": (480, 640), "gen41": (720, 1280), "gen4": (720, 1280)}
_CAMERAS |= {"imx636": (720, 1280), "genx320": (320, 320)}
_PLAUSIBLE = 0.99  # share of a file's rows that must make sense where no header says what it is
_LOOK_AT = 2**17  # bytes that are enough to guess from


def header(data: bytes) -> tuple[dict[str, str], int]:
    """The lines of text at the head of a file, as keys and values, and the byte after them."""
    found, at = {}, 0
    while data[at : at + 2] == b"% ":
        end = data.find(b"\n", at)
        if end < 0:
            end = len(data)
        key, _, value = data[at + 2 : end].decode("latin-1").strip().partition(" ")
        at = end + 1
        if key.lower() == "end":
            break
        found[key.lower()] = value.strip()
    return found, min(at, len(data))


def evt_kind(fields: dict[str, str]) -> str | None:
    """The name of the encoding that a header states: EVT2, EVT21 or EVT3; None for none."""
    if "format" in fields:
        return fields["format"].partition(";")[0].strip().upper().replace(".", "")
    return _NAMES.get(fields.get("evt", ""), fields.get("evt"))


def guess(rows: bytes) -> str | None:
    """The encoding of rows without a header; None if they look like none."""
    part = rows[: min(len(rows), _LOOK_AT) // 8 * 8]
    if len(part) < 64:
        return None
    # In this order: every other row of EVT 2.0 makes sense as the upper half of one of EVT 2.1.
    tried = (kind for kind, share in _PLAUSIBILITY.items() if share(part) >= _PLAUSIBLE)
    return next(tried, None)


def read_raw(data: bytes, name: str, kind: str | None = None) -> Stream:
    """Decodes a ``.raw`` file.

    Args:
      data: the whole file.
      name: what to call it in an error.
      kind: the encoding where no header states it.

    Raises:
      InputError: it is of no known encoding, or holds no time.
    """
    fields, start = header(data)
    kind = evt_kind(fields) or kind or guess(data[start:])
    if kind not in _READERS:
        raise refused(
            name,
            f"a Prophesee recording of encoding {kind}; EVT2, EVT2.1 and EVT3 can be read; convert "
            "it with the camera's software"
            if kind
            else "a Prophesee header, but the bytes after it are of no encoding that is known",
        )
    found = _READERS[kind](data[start:], fields, name)
    return found._replace(sensor=_sensor(fields))


def read_dat(data: bytes, name: str) -> Stream:
    """Decodes a ``.dat`` file of events (CD).

    Raises:
      InputError: it holds no events, such as one of triggers, or is cut off in its header.
    """
    fields, start = header(data)
    if len(data) < start + 2:
        raise refused(name, "a .dat file that ends after its header")
    kind, size = data[start], data[start + 1]
    if kind not in (0, 12) or size != _DAT_ROW.itemsize:
        raise refused(
            name, f"a .dat file with rows of type {kind} and {size} bytes, which are no events"
        )
    rows, odd = whole_rows(data, _DAT_ROW, start + 2)
    address_M = rows["address"]
    if fields.get("version", "2").strip() in ("0", "1"):
        x_M, y_M, p_M = address_M & 0x1FF, address_M >> 9 & 0xFF, address_M >> 17 & 1
    else:
        x_M, y_M, p_M = address_M & 0x3FFF, address_M >> 14 & 0x3FFF, address_M >> 28 & 1
    found = columns(x_M, y_M, unwrapped(rows["t"], 32), p_M)
    return Stream(*found, "DAT", _sensor(fields), {}, odd)


def _evt2(rows: bytes, fields, name) -> Stream:
    row_M, odd = whole_rows(rows, np.dtype("<u4"))
    event_M, high_E, early = _timed(row_M, name)
    row_E = row_M[event_M]
    t_E = high_E + (row_E >> 22 & 0x3F)
    found = columns(row_E >> 11 & 0x7FF, row_E & 0x7FF, t_E, row_E >> 28)
    beside, more = _beside(row_M, early)
    return Stream(*found, "EVT2", None, beside, odd + more)


def _evt21(rows: bytes, fields, name) -> Stream:
    row_M, odd = whole_rows(rows, np.dtype("<u8"))
    halves_Mx2 = row_M.view("<u4").reshape(-1, 2)
    legacy = "endianness=legacy" in fields.get("format", "").lower()
    mask_M, upper_M = halves_Mx2.T[::-1] if legacy else halves_Mx2.T
    event_M, high_G, early = _timed(upper_M, name)
    # A row is a group of up to 32 neighbours in x that fired together; a bit for each.
    mask_G = np.ascontiguousarray(mask_M[event_M])
    bits_Gx32 = np.unpackbits(mask_G.view(np.uint8).reshape(-1, 4), axis=1, bitorder="little")
    group_E, place_E = np.nonzero(bits_Gx32)
    upper_E = upper_M[event_M][group_E]
    t_E = high_G[group_E] + (upper_E >> 22 & 0x3F)
    x_E = (upper_E >> 11 & 0x7FF) + place_E.astype(np.uint32)
    found = columns(x_E, upper_E & 0x7FF, t_E, upper_E >> 28)
    beside, more = _beside(upper_M, early)
    return Stream(*found, "EVT21", None, beside, odd + more)


def _evt3(rows: bytes, fields, name) -> Stream:
    evt3: Any = needed("evt3", "recordings")
    row_M, odd = whole_rows(rows, np.dtype("<u2"))
    kind_M = row_M >> 12
    timed = np.flatnonzero(kind_M == _EVT3_TIME_HIGH)
    if not len(timed):
        raise _without_time(name, "EVT3", np.isin(kind_M, (2, 4, 5)).any())
    before = row_M[: timed[0]]
    early = int((before >> 12 == 2).sum())
    for kind, bits in ((4, 0xFFF), (5, 0xFF)):  # a bit for each of some neighbours
        early += sum(int(row & bits).bit_count() for row in before[before >> 12 == kind])
    unknown = int(np.isin(kind_M, (1, 9, 11, 12, 13)).sum())
    odd += _left_out(early, unknown)
    events = evt3.decode_bytes(row_M.tobytes())
    found = columns(events.x, events.y, events.timestamp, events.polarity)
    return Stream(*found, "EVT3", None, counts(triggers=(kind_M == _EVT3_TRIGGER).sum()), odd)


_READERS = {"EVT2": _evt2, "EVT21": _evt21, "EVT3": _evt3}


def _timed(row_M: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Which rows of EVT 2 are events with a time, its upper bits, and how many have no time.

    A row of kind 8 holds the upper bits for all that follow.
    """
    at_H = np.flatnonzero(row_M >> 28 == _TIME_HIGH)
    event_M = row_M < 2 << 28  # kinds 0 and 1
    if not len(at_H):
        raise _without_time(name, "EVT2", event_M.any())
    early = int(np.count_nonzero(event_M[: at_H[0]]))
    event_M[: at_H[0]] = False
    high_H = unwrapped(row_M[at_H] & 0xFFFFFFF, 28) << _LOW_BITS
    return event_M, np.repeat(high_H, np.add.reduceat(event_M, at_H, dtype=np.int64)), early


def _without_time(name, kind, has_events) -> InputError:
    if has_events:
        return refused(name, f"an {kind} recording without a time")
    return NoEventsError(f"{name}: an {kind} recording that holds no events; remove it")


def _beside(row_M, early: int) -> tuple[dict[str, int], tuple[str, ...]]:
    """What rows of EVT 2 hold that are no events, and what was left out."""
    kinds = np.bincount(row_M[row_M >= 2 << 28] >> 28, minlength=16)
    known = {"triggers": kinds[_TRIGGER], "others": kinds[_OTHER], "continued": kinds[_CONTINUED]}
    unknown = int(kinds.sum() - kinds[_TIME_HIGH] - sum(known.values()))
    return counts(**known), _left_out(early, unknown)


def _left_out(early: int, unknown: int) -> tuple[str, ...]:
    odd = (
        f"{early} events before the first time are left out" if early else "",
        f"{unknown} rows of an unknown kind are left out" if unknown else "",
    )
    return tuple(filter(None, odd))


def _sensor(fields) -> tuple[int, int] | None:
    """(height, width) of a header: geometry, or width and height, or the camera's generation."""
    if match := re.fullmatch(r"(\d{1,5})x(\d{1,5})", fields.get("geometry", "")):
        return int(match[2]), int(match[1])
    text = ";".join([fields.get("format", ""), *(f"{k}={v}" for k, v in fields.items())])
    height, width = (
        re.search(rf"(?:^|;){side}=(\d{{1,5}})", text, re.I) for side in ("height", "width")
    )
    if height and width:
        return int(height[1]), int(width[1])
    plugin = fields.get("plugin_name", "") + fields.get("sensor_name", "")
    return next((size for word, size in _CAMERAS.items() if word in plugin.lower()), None)


def _steady(time_H) -> float:
    """The share of steps of a time's upper bits that go on by little, as a clock's do."""
    step_H = np.diff(time_H.astype(np.int64))
    return float(((step_H >= 0) & (step_H < 64)).mean()) if len(step_H) > 2 else 0.0


def _plausible_evt2(data) -> float:
    row_M = np.frombuffer(data, "<u4")
    kind_M = row_M >> 28
    known = np.isin(kind_M, (0, 1, _TIME_HIGH, _TRIGGER, _OTHER, _CONTINUED)).mean()
    return min(known, _steady(row_M[kind_M == _TIME_HIGH] & 0xFFFFFFF))


def _plausible_evt21(data) -> float:
    return _plausible_evt2((np.frombuffer(data, "<u8") >> np.uint64(32)).astype("<u4").tobytes())


def _plausible_evt3(data) -> float:
    row_M = np.frombuffer(data, "<u2")
    kind_M = row_M >> 12
    known = np.isin(kind_M, (0, 2, 3, 4, 5, 6, 7, 8, _TRIGGER, _OTHER, _CONTINUED)).mean()
    return min(known, _steady(row_M[kind_M == _EVT3_TIME_HIGH] & 0xFFF))


_PLAUSIBILITY = {
    "EVT2": _plausible_evt2,
    "EVT21": _plausible_evt21,
    "EVT3": _plausible_evt3,
}
