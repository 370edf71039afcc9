"""Reading IBM's own DVS Gesture recordings, and cutting them into gestures.

A recording is ``user<number>_<light>.aedat`` (AEDAT 3.1), in which a person performs one gesture
after another; ``user<number>_<light>_labels.csv`` says which (1-11), from when to when, in
microseconds of the recording's clock. ``trials_to_train.txt`` and ``trials_to_test.txt`` name the
recordings of a split.

The format is that of Amir et al., CVPR 2017, read by :mod:`sast_jax.data.formats.aedat`. Events
marked as invalid are kept, as tonic keeps them. ``tonic.io.read_dvs_ibm`` itself fails: that of
tonic 1.7.0 unpacks two of the three values that its reader of headers returns.
"""

import csv
import functools
import io
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sast_jax.data import recordings
from sast_jax.data.formats import aedat
from sast_jax.data.layouts import finding, tonic_gestures
from sast_jax.data.layouts.split import Split, content, kept_contents
from sast_jax.errors import InputError

COLUMNS = ["class", "startTime_usec", "endTime_usec"]
_NAME = re.compile(r"user(?P<subject>[0-9]{1,9})_.+\.aedat$")
_WHOLE = re.compile("[0-9]{1,18}")  # which 64 bits hold


class _Gesture(NamedTuple):
    recording: pathlib.Path
    label: int
    subject: int
    begin: int
    end: int


def find_split(folder: pathlib.Path, split: str) -> Split | None:
    """Looks for IBM's recordings of a split in a folder or in ``DvsGesture`` in it.

    Returns:
      The gestures of the recordings that are there, in the order of the list, with a warning if
      some are missing; or None if there is no list.

    Raises:
      InputError: a list or a csv is not what it should be, or no recording of a list is there.
    """
    for place in finding.places(pathlib.Path(folder)):
        lists = {name: finding.named(place, f"trials_to_{name}.txt") for name in ("train", "test")}
        trials = lists[split]
        if trials is not None and trials.is_file():
            named = {name: _text(list_).split() for name, list_ in lists.items() if list_}
            names = named[split]
            there = [place / name for name in names if (place / name).is_file()]
            if not there:
                first = f", first {names[0]}" if names else ""
                raise InputError(
                    f"{trials}: none of its {len(names)} recordings is there{first}; fetch them, "
                    "or move the list away"
                )
            found = _split(there)
            missing = [name for name in names if place / name not in there]
            listed = {name for own in named.values() for name in own}
            found_there = (path.name for path in sorted(place.iterdir()) if path.is_file())
            unread = finding.unread(place, found_there, listed.__contains__)
            return found._replace(warnings=_lacks(trials, missing), unread=unread)
    return None


def read_aedat(data: bytes, name: str) -> np.ndarray:
    """The events of a recording: rows (M, 4) of x, y, polarity, time in microseconds, int64.

    Raises:
      InputError: it is no AEDAT 3.1 of this sensor, or is cut off.
    """
    found = aedat.read_3(data, name, valid_only=False)
    rows_Mx4 = np.column_stack([found.x_M, found.y_M, found.p_M, found.t_M])
    tonic_gestures.check(rows_Mx4, name)
    return rows_Mx4


def _split(paths) -> Split:
    gestures, lines = [], ""
    for path in paths:
        labels = path.with_name(f"{path.stem}_labels.csv")
        text = _text(labels)
        lines += f"{recordings.stamp(path, path.parent)}{text}\n"
        gestures += _labelled(path, labels, text)
    if not gestures:
        raise InputError(f"{paths[0].parent}: its csv files label no gesture; fetch them again")

    def read(indices) -> Iterator[np.ndarray]:
        # Gestures come in order of recordings, so one whole recording in memory is enough.
        whole = functools.lru_cache(1)(lambda path: read_aedat(path.read_bytes(), str(path)))
        for i in indices:
            yield _part(whole(gestures[i].recording), gestures[i])

    def contents():
        def make():
            own = {path: content(path.read_bytes()) for path in paths}
            return [content(f"{own[g.recording]} {g.begin} {g.end}".encode()) for g in gestures]

        return kept_contents(recordings.fingerprint(lines), make)

    return Split(
        tuple(f"{g.recording}/{g.label}/{g.begin}" for g in gestures),
        np.array([g.label for g in gestures]),
        recordings.fingerprint(lines),
        read,
        contents,
        subjects_N=np.array([g.subject for g in gestures]),
    )


def _lacks(trials, missing) -> tuple[str, ...]:
    if not missing:
        return ()
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
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise InputError(f"{path}: cannot be read ({reason}); fetch it again") from error
