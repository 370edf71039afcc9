"""Columns of numbers that have no event format: text, arrays, tables of HDF5 and MATLAB.

What a format would say has to be stated or told from the numbers: which column is which, the unit
of the times, and how polarity is written. What was guessed is said in ``Stream.odd``.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sast_jax.data.formats.stream import Stream, active_pixels, columns, refused

UNITS = {"s": 10**6, "ms": 10**3, "us": 1, "ns": 1e-3}
"""Microseconds of each unit of time."""

ALIASES = {
    "x": ("x", "xs", "x_pos", "xaddr", "addr_x", "col", "column", "u"),
    "y": ("y", "ys", "y_pos", "yaddr", "addr_y", "row", "v"),
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps", "t_us", "time_us"),
    "p": ("p", "ps", "pol", "polarity", "polarities", "on", "sign"),
}
"""Names under which files keep the columns, in small letters."""

_ORDERS = ("txyp", "xytp", "xypt", "tpxy", "pxyt", "ptxy")  # looked for where none is stated
_POLARITIES = ((0, 1), (-1, 1), (1, 2))  # OFF and ON, as files have them
_FAR = 2**16  # beyond any sensor
_LATEST = 2**53  # microseconds, 285 years
_USUAL_RATE = 10.0  # events of an active pixel a second, to tell units from each other


def named(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The columns among named values, by their letter; None unless x and t are there."""
    lower = {name.lower(): value for name, value in given.items()}
    found = {
        letter: next((lower[name] for name in names if name in lower), None)
        for letter, names in ALIASES.items()
    }
    found = {letter: value for letter, value in found.items() if value is not None}
    return found if {"x", "t"} <= set(found) else None


def structured(array: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """The columns of a structured array."""
    return of_fields({field: array[field].ravel() for field in array.dtype.names or ()}, name)


def of_fields(fields: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The columns among named ones, by their letter.

    Raises:
      InputError: x or t is not there.
    """
    if (found := named(fields)) is None:
        raise refused(
            name, f"its fields are {', '.join(fields)}; those of events are x, y, t and p"
        )
    return found


def of_rows(rows: np.ndarray, order: str, name: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """The columns of rows of numbers (M, C), and a line on what was guessed.

    Args:
      rows: the numbers; (C, M) is turned over.
      order: a letter for each column, "_" for one that is not used; "" to tell it from the numbers.
      name: what to call the file in an error.
    """
    odd: list[str] = []
    if rows.ndim != 2:
        raise refused(
            name, f"an array of shape {rows.shape}, where rows of x, y, t and p are expected"
        )
    width = len(order) or 4
    if rows.shape[1] != width and rows.shape[0] == width:
        rows, odd = rows.T, [f"its {width} rows are taken for columns"]
    if rows.shape[1] != width:
        raise refused(
            name,
            f"{rows.shape[1]} columns, where {width} are expected; state them, such as "
            "order=txyp, with _ for a column to leave out",
        )
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise refused(name, "holds numbers that are not finite")
    columns_CxM = np.ascontiguousarray(rows.T)  # each is looked at several times
    if not order:
        order = _order(columns_CxM, name)
        odd.append(f"its columns are taken for {', '.join(order)}")
    found = {letter: columns_CxM[i] for i, letter in enumerate(order) if letter != "_"}
    return found, odd


def _order(columns_CxM, name) -> str:
    if not columns_CxM.size:
        return _ORDERS[0]
    low_C, high_C = columns_CxM.min(axis=1), columns_CxM.max(axis=1)
    span_C = high_C.astype(float) - low_C.astype(float)
    whole_C = [bool((part == np.floor(part)).all()) for part in columns_CxM[:, :1000]]
    binary_C = [
        low_C[i] >= -1 and high_C[i] <= 2 and span_C[i] <= 2 and whole_C[i] for i in range(4)
    ]
    found = []
    for order in _ORDERS:
        t, p, x, y = (order.index(letter) for letter in "tpxy")
        places = whole_C[x] and whole_C[y] and min(low_C[x], low_C[y]) >= 0
        # Times differ from places in that they go on; the longest range is no more than a hint.
        forward_M = columns_CxM[t, 1:] >= columns_CxM[t, :-1]
        if binary_C[p] and places and (not len(forward_M) or forward_M.mean() > 0.9):
            found.append((order, span_C[t]))
    longest = max((span for _, span in found), default=0)
    best = [order for order, span in found if span == longest]
    if len(best) != 1:
        pairs = zip(low_C.tolist(), high_C.tolist(), strict=True)
        ranges = ", ".join(f"{low:g} to {high:g}" for low, high in pairs)
        raise refused(
            name,
            f"which of its columns is which cannot be told from their numbers ({ranges}); places "
            "are whole, times go on, and polarities are two values such as 0 and 1; state it, such "
            "as order=txyp",
        )
    return best[0]


def stream(
    found: Mapping[str, np.ndarray],
    kind: str,
    name: str,
    *,
    unit: str = "",
    sensor: tuple[int, int] | None = None,
    odd: list[str] | tuple = (),
) -> Stream:
    """The events of columns of numbers.

    Args:
      found: by letter, (M,) each; without y all events are of one line, without p all are ON.
      kind: name of the format.
      name: what to call the file in an error.
      unit: of the times, a key of :data:`UNITS`; "" for one told from the numbers.
      sensor: (height, width) if the file states it.
      odd: lines on what was guessed before.

    Raises:
      InputError: columns of different lengths, or numbers that cannot be events.
    """
    odd, lengths = list(odd), {len(column) for column in found.values()}
    if len(lengths) != 1:
        sizes = ", ".join(f"{letter}: {len(column)}" for letter, column in found.items())
        raise refused(name, f"columns of different lengths ({sizes})")
    for letter, column in found.items():
        if column.dtype.kind not in "iufb":
            raise refused(name, f"its column {letter} holds no numbers")
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            raise refused(name, f"its column {letter} holds numbers that are not finite")
    size = lengths.pop()
    x_M = _places(found["x"], "x", name)
    y_M = _places(found["y"], "y", name) if "y" in found else np.zeros(size, np.uint16)
    if "p" in found:
        p_M, line = _polarity(found["p"], name)
    else:
        p_M, line = np.ones(size, np.uint8), "it has no polarity; all events are taken as ON"
    odd += [line] if line else []
    t_M, line = _microseconds(found["t"], x_M, y_M, unit, name)
    odd += [line] if line else []
    return Stream(*columns(x_M, y_M, t_M, p_M), kind, sensor, {}, tuple(odd))


def _places(column, letter, name) -> np.ndarray:
    if not len(column):
        return column.astype(np.uint16)
    if column.dtype.kind == "f":
        whole = np.rint(column)
        if (far_M := np.abs(column - whole) > 1e-3).any():
            raise refused(name, f"{letter}={column[far_M.argmax()]:g} is no whole pixel")
        column = whole
    low, high = column.min(), column.max()
    if low < 0 or high >= _FAR:
        wrong = low if low < 0 else high
        raise refused(name, f"{letter}={wrong:g} is no pixel; are the columns in this order?")
    return column.astype(np.uint16)


def _polarity(column, name) -> tuple[np.ndarray, str]:
    if column.dtype.kind == "b" or not len(column):
        return column.astype(np.uint8), ""
    low, high = column.min(), column.max()
    if low == high and low in (-1, 0, 1):
        return np.full(len(column), low == 1, np.uint8), ""
    if (low, high) not in _POLARITIES or ((column != low) & (column != high)).any():
        several = ", ".join(f"{value:g}" for value in np.unique(column)[:4])
        raise refused(name, f"polarities {several}; 0 and 1 are expected")
    line = f"its polarities {low:g} and {high:g} are taken for 0 and 1" if low else ""
    return (column == high).astype(np.uint8), line


def _microseconds(column, x_M, y_M, unit, name) -> tuple[np.ndarray, str]:
    line = ""
    if not unit and len(column):
        unit = _unit(column, x_M, y_M)
        line = "" if unit == "us" else f"its times are taken as {_WORDS[unit]}"
    scale = UNITS[unit or "us"]
    if len(column) and max(abs(float(column.min())), abs(float(column.max()))) * scale > _LATEST:
        raise refused(name, f"a time of {float(column.max()):g} {unit} is beyond any clock")
    if column.dtype.kind in "iub" and scale >= 1:
        return column.astype(np.int64) * int(scale), line
    if column.dtype.kind in "iu":
        return column.astype(np.int64) // round(1 / scale), line
    return np.rint(column.astype(np.float64) * scale).astype(np.int64), line


_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


def _unit(column, x_M, y_M) -> str:
    """The unit of times, told from their size, their fractions, and how often a pixel fires."""
    low, high = sorted(abs(float(time)) for time in column[[0, -1]])
    if low > 1e17:  # since 1970
        return "ns"
    if column.dtype.kind != "f":
        return _of_whole(high)
    some = column[:: max(1, len(column) // 10_000)]
    if (some == np.rint(some)).all():
        return _of_whole(high)
    thousands = some * 1e3
    noise = np.maximum(1e-3, np.abs(thousands) * np.finfo(column.dtype).eps * 4)
    if (np.abs(thousands - np.rint(thousands)) > noise).mean() > 0.1:
        return "s"  # finer than a thousandth, as microseconds in seconds are
    pixels = active_pixels(x_M, y_M)
    span = float(column.max() - column.min()) or 1.0
    rates = {unit: len(column) / pixels / (span * UNITS[unit] * 1e-6) for unit in ("s", "ms")}
    return min(rates, key=lambda unit: abs(math.log10(rates[unit] / _USUAL_RATE)))


def _of_whole(high) -> str:
    """Milliseconds if it would be a date of 2008 to 2039 in them; else microseconds."""
    return "ms" if 1.2e12 < high < 2.2e12 else "us"


def is_order(text: str) -> bool:
    """Whether a text names columns: x and t, perhaps y and p, once each, and "_" for others."""
    letters = text.replace("_", "")
    return {"x", "t"} <= set(letters) <= set("xytp") and len(set(letters)) == len(letters)
