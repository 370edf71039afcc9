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
_QUOTES = dict.fromkeys(map(ord, "\"'[](){}"))  # around numbers and rows, to be taken away
_WITH_COMMA = re.compile(r"[+-]?\d+(,\d+)?")
_WORDS = {"true": "1", "false": "0", "on": "1", "off": "0"}
_HEADER_LINES = 100


def is_text(head: bytes) -> bool:
    """Whether the first bytes of a file are text."""
    if any(head.startswith(bom) for bom in _BOMS):
        return True
    return bool(head.strip()) and not _CONTROL.search(head)


def decoded(data: bytes, name: str, errors: str = "strict") -> str:
    """The text of a file, whatever its byte-order mark and line ends.

    Args:
      data: the whole file.
      name: what to call it in an error.
      errors: what to do about bytes that are no text, as :meth:`bytes.decode` has it.

    Raises:
      InputError: it is no text.
    """
    encoding = next((kind for bom, kind in _BOMS.items() if data.startswith(bom)), "utf-8")
    try:
        return data.decode(encoding, errors).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise refused(name, f"not text of {encoding} ({error.reason} at {error.start})") from error


def read(data: bytes, name: str, order: str = "", unit: str = "") -> Stream:
    """Reads events from text.

    Lines at the head that are no numbers are skipped; if one names the columns, it is believed, and
    one with two numbers states width and height. Quotes and brackets are taken away.

    Args:
      data: the whole file.
      name: what to call it in an error.
      order, unit: see :func:`sast_jax.data.formats.tables.of_rows` and ``stream``.

    Raises:
      InputError: there are no rows of numbers, or one line is none.
    """
    lines = decoded(data, name, "replace").rstrip().split("\n")
    start, titles, sensor = _head(lines)
    if start == len(lines) or start == _HEADER_LINES:
        raise NotEventsError(f"{name}: text without rows of numbers")
    body, odd = lines[start:], []
    separator, has_comma = _separator(body[0])
    width = len(_numbers(body[0]))
    if len(_SEPARATORS.split(body[-1].strip())) < width:
        odd.append("its last line is cut off and left out")
        body.pop()
    joined = "\n".join(body).lower()
    for word, digit in _WORDS.items():
        if word in joined:
            joined = re.sub(rf"\b{word}\b", digit, joined)
    if body[0] != body[0].translate(_QUOTES):
        joined = joined.translate(_QUOTES)
    if has_comma:
        joined = joined.replace(",", ".")
    if body[0].rstrip().endswith((",", ";")):
        joined = re.sub(r"[,;\s]+$", "", joined, flags=re.MULTILINE)
    try:
        rows = np.loadtxt(io.StringIO(joined), delimiter=separator, ndmin=2, comments=None)
    except ValueError as error:
        reason = re.sub(r"row (\d+)", lambda m: f"line {int(m[1]) + start + 1}", str(error))
        raise refused(name, f"not rows of numbers ({reason})") from error
    if titles and not order:
        found, guessed = _titled(titles, rows, name)
    else:
        found, guessed = tables.of_rows(rows, order, name)
    return tables.stream(found, "text", name, unit=unit, sensor=sensor, odd=[*odd, *guessed])


def _titled(titles, rows, name) -> tuple[dict[str, np.ndarray], list[str]]:
    """The columns of rows by the letter of their title, and a line on what was guessed."""
    odd = []
    if len(titles) == rows.shape[1] - 1:
        titles, odd = ["", *titles], ["its first column has no title and is left out"]
    if len(titles) != rows.shape[1]:
        raise refused(
            name,
            f"its header names {len(titles)} columns ({', '.join(titles)}), but its rows have "
            f"{rows.shape[1]}; state them, such as order=txyp",
        )
    twice = [title for title in titles if title and titles.count(title) > 1]
    if twice:
        raise refused(
            name, f"its header names {twice[0]} twice; state the columns, such as order=txyp"
        )
    return tables.of_fields({title: rows[:, i] for i, title in enumerate(titles)}, name), odd


def _separator(row) -> tuple[str | None, bool]:
    """What stands between the numbers of a row (None for blanks), and if they have a comma."""
    parts = row.split()
    if ";" in row:
        return ";", "," in row
    if len(parts) > 2 and all(map(_WITH_COMMA.fullmatch, parts)):
        return None, "," in row
    return ("," if "," in row else None), False


def _head(lines) -> tuple[int, list[str], tuple[int, int] | None]:
    """Index of the first row, the titles of columns and the sensor that lines before it state."""
    titles: list[str] = []
    sensor = None
    for index, line in enumerate(lines[:_HEADER_LINES]):
        row = _numbers(line)
        if len(row) > 2:
            return index, titles, sensor
        if len(row) == 2:
            sensor = int(row[1]), int(row[0])
        else:
            # A title may be followed by a unit, and that of an index may be missing.
            parts = re.split(r"[,;\t]", line) if re.search(r"[,;\t]", line) else line.split()
            words = [re.search(r"[A-Za-z_]\w*", part) for part in parts]
            named = [word[0].lower() if word else "" for word in words]
            if parts[:1] in (["#"], ["%"], ["//"]):
                named = named[1:]
            if tables.named(dict.fromkeys(named, 0)):
                titles = named
    return min(len(lines), _HEADER_LINES), titles, sensor


def _numbers(line) -> list[float]:
    """The numbers of a line, or none if it holds anything else."""
    words = line.strip().lower().translate(_QUOTES)
    separator, has_comma = _separator(words)
    words = words.replace(",", ".") if has_comma else words
    parts = words.split(separator) if has_comma else _SEPARATORS.split(words)
    try:
        return [float(_WORDS.get(part.strip(), part)) for part in parts if part.strip()]
    except ValueError:
        return []
