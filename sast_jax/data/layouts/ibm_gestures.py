"""Reading IBM's own DVS Gesture recordings, and cutting them into gestures.

A recording is ``user<number>_<light>.aedat`` (AEDAT 3.1), in which a person performs one gesture
after another; ``user<number>_<light>_labels.csv`` says which (1-11), from when to when, in
microseconds of the recording's clock. ``trials_to_train.txt`` and ``trials_to_test.txt`` name the
recordings of a split.

Format: Amir et al., CVPR 2017; a file is a header of lines that begin with #, then packets: 28
bytes (type, source, event size, time offset, time overflow, capacity, number, valid), then events
of 8 bytes. Of an event's first word bit 1 is the polarity, bits 2-16 are y and bits 17-31 are x.
Packets of other types than polarity are skipped; events marked as invalid (bit 0 is 0) are kept, as
tonic keeps them. ``tonic.io.read_dvs_ibm`` itself fails: that of tonic 1.7.0 unpacks two of the
three values that its reader of headers returns.
"""

import csv
import functools
import hashlib
import io
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sast_jax.data import recordings
from sast_jax.data.layouts import tonic_gestures
from sast_jax.data.layouts.tonic_gestures import Gestures
from sast_jax.errors import InputError

COLUMNS = ["class", "startTime_usec", "endTime_usec"]
_HEADER = np.dtype([("type", "<i2"), ("source", "<i2"), ("fields", "<i4", 6)])
_EVENT = np.dtype([("address", "<u4"), ("time", "<u4")])
_POLARITY = 1  # type of a packet
_NAME = re.compile(r"user(?P<subject>[0-9]{1,9})_.+\.aedat$")
_WHOLE = re.compile("[0-9]{1,18}")  # which 64 bits hold


class _Gesture(NamedTuple):
    recording: pathlib.Path
    label: int
    subject: int
    begin: int
    end: int


def find_split(folder: pathlib.Path, split: str) -> Gestures | None:
    """Looks for IBM's recordings of a split in a folder or in ``DvsGesture`` in it.

    Returns:
      The gestures of the recordings that are there, in the order of the list, with a warning if
      some are missing; or None if there is no list.

    Raises:
      InputError: a list or a csv is not what it should be, or no recording of a list is there.
    """
    for place in (pathlib.Path(folder), pathlib.Path(folder, "DvsGesture")):
        trials = place / f"trials_to_{split}.txt"
        if trials.is_file():
            names = _text(trials).split()
            there = [place / name for name in names if (place / name).is_file()]
            if not there:
                first = f", first {names[0]}" if names else ""
                raise InputError(
                    f"{trials}: none of its {len(names)} recordings is there{first}; fetch them, "
                    "or move the list away"
                )
            missing = [name for name in names if place / name not in there]
            found = _split(there)
            return found._replace(warnings=_lacks(trials, missing)) if missing else found
    return None


def read_aedat(data: bytes, name: str) -> np.ndarray:
    """The events of a recording: rows (M, 4) of x, y, polarity, time in microseconds, int64.

    Raises:
      InputError: it is no AEDAT 3.1 of this sensor, or is cut off.
    """
    at = _header(data, name)
    parts = []
    while at < len(data):
        if at + _HEADER.itemsize > len(data):
            raise _cut_off(name, at)
        header = np.frombuffer(data, _HEADER, 1, at)[0]
        # Python's integers: products of what a damaged header says cannot overflow.
        size, _, overflow, capacity, number, _ = map(int, header["fields"])
        at += _HEADER.itemsize
        known = header["type"] != _POLARITY or size == _EVENT.itemsize
        if not known or size < 0 or not 0 <= number <= capacity:
            raise InputError(
                f"{name}: a packet of type {header['type']} with {number} of {capacity} events of "
                f"{size} bytes at byte {at}; those of polarity have {_EVENT.itemsize} bytes, so "
                "the file is damaged or of another sensor"
            )
        if at + size * capacity > len(data):
            raise _cut_off(name, at)
        if header["type"] == _POLARITY:
            # A time has 31 bits, and the packet says how often they have wrapped around.
            events = np.frombuffer(data, _EVENT, number, at)
            parts.append((events["address"], events["time"] + (np.int64(overflow) << 31)))
        at += size * capacity
    if not parts:
        raise _empty(name)
    address_M, t_M = (
        np.concatenate(column).astype(np.int64) for column in zip(*parts, strict=True)
    )
    rows_Mx4 = np.stack(
        [address_M >> 17 & 0x7FFF, address_M >> 2 & 0x7FFF, address_M >> 1 & 1, t_M], axis=1
    )
    tonic_gestures.check(rows_Mx4, name)
    return rows_Mx4


def _header(data, name) -> int:
    """The byte at which the packets begin."""
    at = 0
    if not data.startswith(b"#!AER-DAT3.1"):
        raise InputError(f"{name}: not AEDAT 3.1; it is damaged or not of DVS Gesture")
    while data[at : at + 1] == b"#":
        at = data.find(b"\n", at) + 1 or len(data)
    if at >= len(data):
        raise _empty(name)
    return at


def _empty(name):
    return InputError(f"{name}: holds no events; fetch it again or remove it")


def _cut_off(name, at):
    return InputError(f"{name}: cut off in the packet at byte {at}; fetch it again")


def _split(paths) -> Gestures:
    gestures, digest = [], hashlib.sha256()
    for path in paths:
        labels = path.with_name(f"{path.stem}_labels.csv")
        text = _text(labels)
        digest.update(f"{recordings.stamp(path, path.parent)}{text}\n".encode())
        gestures += _labelled(path, labels, text)
    if not gestures:
        raise InputError(f"{paths[0].parent}: its csv files label no gesture; fetch them again")

    def read(indices) -> Iterator[np.ndarray]:
        # Gestures come in order of recordings, so one whole recording in memory is enough.
        whole = functools.lru_cache(1)(lambda path: read_aedat(path.read_bytes(), str(path)))
        for i in indices:
            yield _part(whole(gestures[i].recording), gestures[i])

    return Gestures(
        tuple(f"{g.recording}/{g.label}/{g.begin}" for g in gestures),
        np.array([g.label for g in gestures]),
        np.array([g.subject for g in gestures]),
        digest.hexdigest(),
        read,
    )


def _lacks(trials, missing) -> tuple[str]:
    return (
        f"{trials}: recordings of the list that are missing: {len(missing)}, first {missing[0]}",
    )


def _labelled(path, labels, text) -> list[_Gesture]:
    match = _NAME.search(path.name)
    if not match:
        raise InputError(f"{path}: its name should be user<number>_<light>.aedat; rename it")
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error as error:
        raise InputError(f"{labels}: not a table ({error}); fetch it again") from error
    if not rows or [column.strip() for column in rows[0]] != COLUMNS:
        raise InputError(f"{labels}: does not begin with {','.join(COLUMNS)}; fetch it again")
    found = []
    for line, row in enumerate(rows[1:], start=2):
        fields = [field.strip() for field in row]
        if len(fields) != len(COLUMNS) or not all(map(_WHOLE.fullmatch, fields)):
            raise InputError(
                f"{labels}: line {line}, {','.join(row)[:80]!r}, is not three whole numbers"
            )
        label, begin, end = fields
        subject, known = tonic_gestures.numbers(
            f"{labels}: line {line}", match["subject"], label, 1
        )
        if int(begin) >= int(end):
            raise InputError(f"{labels}: line {line}: a gesture that ends before it begins")
        found.append(_Gesture(path, known, subject, int(begin), int(end)))
    return found


def _part(rows_Mx4, gesture):
    """The events from a gesture's beginning to before its end, in time since its beginning."""
    inside_M = (rows_Mx4[:, 3] >= gesture.begin) & (rows_Mx4[:, 3] < gesture.end)
    if not inside_M.any():
        raise InputError(
            f"{gesture.recording}: no event from {gesture.begin} to {gesture.end} microseconds, "
            "where its csv has a gesture; the two files do not belong together"
        )
    return rows_Mx4[inside_M] - np.array([[0, 0, 0, gesture.begin]])


def _text(path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise InputError(f"{path}: cannot be read ({reason}); fetch it again") from error
