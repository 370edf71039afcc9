"""Events as text: a line an event, numbers with blanks, tabs, commas or semicolons between them."""

import codecs
import io
import re

import numpy as np

from sast_jax.data.formats import tables
from sast_jax.data.formats.stream import NotEventsError, Stream, refused

_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_SEPARATORS = re.compile(r"[,;\s]+")
_WORDS = {"true": "1", "false": "0", "on": "1", "off": "0"}
_HEADER_LINES = 100


def is_text(head: bytes) -> bool:
    """Whether the first bytes of a file are text."""
    if any(head.startswith(bom) for bom in _BOMS):
        return True
    return bool(head.strip()) and not _CONTROL.search(head)


def decoded(data: bytes, name: str) -> str:
    """The text of a file, whatever its byte-order mark and line ends.

    Raises:
      InputError: it is no text.
    """
    encoding = next((kind for bom, kind in _BOMS.items() if data.startswith(bom)), "utf-8")
    try:
        return data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise refused(name, f"not text of {encoding} ({error.reason} at {error.start})") from error


def read(data: bytes, name: str, order: str = "", unit: str = "") -> Stream:
    """Reads events from text.

    Lines at the head that are no numbers are skipped; if one names the columns, it is believed, and
    one with two numbers states width and height.

    Args:
      data: the whole file.
      name: what to call it in an error.
      order, unit: see :func:`sast_jax.data.formats.tables.of_rows` and ``stream``.

    Raises:
      InputError: there are no rows of numbers, or one line is none.
    """
    lines = decoded(data, name).rstrip().split("\n")
    start, titles, sensor = _head(lines)
    if start == len(lines) or start == _HEADER_LINES:
        raise NotEventsError(f"{name}: text without rows of numbers")
    body, odd = lines[start:], []
    separator = ";" if ";" in body[0] else "," if "," in body[0] else None
    width = len(_numbers(body[0]))
    if len(_SEPARATORS.split(body[-1].strip())) < width:
        odd.append("its last line is cut off and left out")
        body.pop()
    joined = "\n".join(body).lower()
    for word, digit in _WORDS.items():
        if word in joined:
            joined = re.sub(rf"\b{word}\b", digit, joined)
    if separator == ";" and "," in body[0]:
        joined = joined.replace(",", ".")  # a decimal comma
    try:
        rows = np.loadtxt(io.StringIO(joined), delimiter=separator, ndmin=2, comments=None)
    except ValueError as error:
        reason = re.sub(r"row (\d+)", lambda m: f"line {int(m[1]) + start + 1}", str(error))
        raise refused(name, f"not rows of numbers ({reason})") from error
    if titles and not order and len(titles) == rows.shape[1]:
        found = tables.named({title: rows[:, i] for i, title in enumerate(titles)})
        if found:
            return tables.stream(found, "text", name, unit=unit, sensor=sensor, odd=odd)
    found, guessed = tables.of_rows(rows, order, name)
    return tables.stream(found, "text", name, unit=unit, sensor=sensor, odd=[*odd, *guessed])


def _head(lines) -> tuple[int, list[str], tuple[int, int] | None]:
    """Index of the first row, the names of columns and the sensor that lines before it state."""
    titles, sensor = [], None
    for index, line in enumerate(lines[:_HEADER_LINES]):
        row = _numbers(line)
        if len(row) > 2:
            return index, titles, sensor
        if len(row) == 2:
            sensor = int(row[1]), int(row[0])
        else:
            words = re.findall(r"[A-Za-z_]\w*", line)
            if tables.named(dict.fromkeys(words, 0)):
                titles = words
    return min(len(lines), _HEADER_LINES), titles, sensor


def _numbers(line) -> list[float]:
    """The numbers of a line, or none if it holds anything else."""
    words = line.strip().lower()
    parts = words.replace(",", ".").split(";") if ";" in words else _SEPARATORS.split(words)
    try:
        return [float(_WORDS.get(part.strip(), part)) for part in parts if part.strip()]
    except ValueError:
        return []
