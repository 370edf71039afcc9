"""Reading DVS Gesture in tonic's layout: one file for each gesture, in archives or unpacked.

A split is ``ibmGestureTrain.tar.gz`` / ``ibmGestureTest.tar.gz``, read in place, or an unpacked
tree ``ibmGestureTrain/`` / ``ibmGestureTest/``; in both a gesture is
``<split>/user<number>_<light>/<class>.npy``, an array of rows x, y, polarity and time in
milliseconds. A folder with IBM's own recordings is read as well; see
:mod:`sast_jax.data.layouts.ibm_gestures`.

Recordings: Amir et al., A low power, fully event-based gesture recognition system, CVPR 2017.
"""

import gzip
import io
import itertools
import os
import pathlib
import re
import sys
import tarfile
import zlib
from collections.abc import Container, Iterator

import numpy as np

from sast_jax.data import cache, recordings, windows
from sast_jax.data.layouts import finding
from sast_jax.data.layouts.split import OTHER, Split, content, contents_of, opened
from sast_jax.errors import InputError

CLASSES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter-clockwise",
    "left arm clockwise",
    "left arm counter-clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other",
)
SIDE = 128  # pixels of the sensor
EXTENT = recordings.Extent(SIDE, SIDE, windows.WHOLE)  # most gestures last about so long
FAR = 2**16  # pixels; no sensor is as large
_HOUR = np.float64(3_600_000)  # milliseconds; longer than any recording
_DAMAGE = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError)
_NAME = re.compile(
    r"(?:^|/)user(?P<subject>[0-9]{1,9})_[^/]+/(?P<label>[^/.][^/]*)\.npy$", re.IGNORECASE
)


def find_split(folder: pathlib.Path, split: str) -> Split | None:
    """Looks for a split in a folder, archive first.

    Args:
      folder: may hold ``ibmGestureTrain.tar.gz`` or ``ibmGestureTrain/``, or those of "test".
      split: "train" or "test".

    Returns:
      The split, or None if the folder has none of that name.

    Raises:
      InputError: an archive is damaged, or what is there is no DVS Gesture.
    """
    name = f"ibmGesture{split.capitalize()}"
    return opened(
        folder,
        (f"{name}.tar.gz", lambda path: _open_archive(path, split)),
        (name, _open_tree),
    )


def select(split: Split, indices: np.ndarray, chunk: int = 16) -> recordings.Recordings:
    """Some gestures of a split, read a chunk at a time so that memory stays small.

    Args:
      split: from :func:`find_split`.
      indices: which gestures, (N,).
      chunk: gestures read at once.

    Returns:
      The gestures. Their ``events`` raises InputError if one of them is damaged, and at the end if
      the whole archive does not have its checksum.
    """

    def events():
        rows, names = split.read(indices), (split.names[i] for i in indices)
        while part := list(itertools.islice(rows, chunk)):  # to the end, where checksums are
            yield _joined(part, list(itertools.islice(names, len(part))))

    seeds = [recordings.seed("/".join(split.names[i].split("/")[-3:])) for i in indices]
    return recordings.Recordings(
        split.labels_N[indices].astype(np.int32),
        indices,
        np.array(seeds),
        events,
        EXTENT,
        None if split.subjects_N is None else split.subjects_N[indices],
    )


def decode(data: bytes, name: str) -> np.ndarray:
    """The events of a gesture's file: rows (M, 4) of x, y, polarity, time in microseconds, int64.

    Raises:
      InputError: it is no whole array of that shape, has a place or polarity that is not whole, or
        is not of this sensor.
    """
    try:
        rows_Mx4 = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # whatever parsing a damaged header raises
        reason = " ".join(str(error).split())
        raise InputError(
            f"{name}: not a whole array of numbers ({reason}); fetch it again or remove it"
        ) from error
    if not isinstance(rows_Mx4, np.ndarray) or rows_Mx4.dtype.kind not in "iufb":
        raise InputError(f"{name}: not an array of numbers; fetch it again or remove it")
    if rows_Mx4.ndim != 2 or rows_Mx4.shape[1] != 4:
        raise InputError(
            f"{name}: an array of shape {rows_Mx4.shape}, where rows of x, y, polarity and time "
            "are expected; it is not DVS Gesture"
        )
    # Before the conversion below, in which a number too large for 64 bits would wrap around.
    if not ((rows_Mx4 >= -_HOUR) & (rows_Mx4 <= _HOUR)).all():
        raise InputError(
            f"{name}: holds numbers that are not finite or larger than an hour in milliseconds; "
            "fetch it again or remove it"
        )
    between_M = (rows_Mx4[:, :3] != np.floor(rows_Mx4[:, :3])).any(axis=1)
    if between_M.any():
        x, y, p, _ = rows_Mx4[np.argmax(between_M)]
        raise InputError(
            f"{name}: an event at x={x}, y={y} of polarity {p}, which are not whole numbers; fetch "
            "it again or remove it"
        )
    t_M = np.floor(rows_Mx4[:, 3].astype(np.float64) * 1000)
    whole_Mx4 = np.column_stack([rows_Mx4[:, :3], t_M]).astype(np.int64)
    check(whole_Mx4, name)
    return whole_Mx4


def check(rows_Mx4: np.ndarray, name: str) -> None:
    """Raises InputError where an event can be of no sensor."""
    most = np.array([FAR, FAR, 2, np.iinfo(np.int64).max])
    wrong_M = ((rows_Mx4 < 0) | (rows_Mx4 >= most[None])).any(axis=1)
    if wrong_M.any():
        x, y, p, t = rows_Mx4[np.argmax(wrong_M)]
        why = "; polarities are 0 and 1" if p not in (0, 1) else ""
        raise InputError(
            f"{name}: an event at x={x}, y={y} of polarity {p} at {t} microseconds is none of a "
            f"{SIDE}x{SIDE} sensor{why}; the file is damaged or not DVS Gesture"
        )


def numbers(name: str, subject: str, label: str, first: int = 0) -> tuple[int, int]:
    """Subject and class of a gesture; raises InputError unless the class is one of the eleven."""
    last = first + len(CLASSES) - 1
    if not re.fullmatch("[0-9]{1,9}", label) or not first <= int(label) <= last:
        raise InputError(f"{name}: {label[:80]!r} is no class {first}-{last}; move or remove it")
    return int(subject), int(label) - first


def _joined(rows, names) -> recordings.Events:
    each = [(t_M, x_M, y_M, p_M) for x_M, y_M, p_M, t_M in (own.T for own in rows)]
    events = recordings.within(recordings.joined(each), EXTENT, names, "DVS Gesture")
    small = {key: getattr(events, key).astype(np.uint8) for key in ("x_M", "y_M", "p_M")}
    return events._replace(**small)


def _open_archive(path: pathlib.Path, split: str) -> Split:
    # A gzip file ends in checksum and size of its content. With the file's own size they stand for
    # all of it, so that an archive of gigabytes need not be read to know whether it has changed.
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 8, 0))
        key = {"archive": file.read().hex(), "size": size}
    fingerprint = recordings.fingerprint(str(key))
    # Names and contents are found in one pass, which decompresses everything.
    listed = cache.listing(
        cache.folder(),
        key | {"with": "contents"},
        lambda: [(name, content(data)) for name, data in _members(path, range(sys.maxsize))],
    )
    places = [i for i, (name, _) in enumerate(listed) if _is_gesture(name)]
    named = [listed[i][0] for i in places]
    wrong = [name for name in named if f"ibmgesture{OTHER[split]}" in name.lower().split("/")]
    if wrong:
        raise InputError(
            f"{path}: holds {len(wrong)} gestures of the {OTHER[split]} split, first {wrong[0]}; "
            f"fetch the {split} split, or move this away"
        )

    def read(indices):
        for name, data in _members(path, {places[i] for i in indices}):
            yield decode(data, f"{path}/{name}")

    names = [f"{path}/{name}" for name in named]
    notes = finding.unread(path, [name for name, _ in listed], _is_gesture)
    contents = np.array([listed[i][1] for i in places], np.int64)
    return _split(path, names, fingerprint, read, lambda: contents, notes)


def _members(path, wanted: Container[int]) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files in an archive whose place is wanted, in order."""
    name, place, size = "", 0, path.stat().st_size
    try:
        with gzip.open(path) as packed, tarfile.open(fileobj=packed, mode="r|") as archive:
            for member in archive:
                if member.isfile():
                    name = f"/{member.name}"
                    finding.require_room(f"{path}{name}", member.size, size)
                    # It is None only for what is no file.
                    if place in wanted and (file := archive.extractfile(member)) is not None:
                        yield member.name, file.read()
                    place += 1
            while packed.read(2**20):  # to the checksum
                pass
    except _DAMAGE as error:
        raise InputError(
            f"{path}{name}: the archive is cut off or damaged here ({error}); fetch it again"
        ) from error


def _open_tree(root: pathlib.Path) -> Split:
    everything = {f"{root.name}/{path.relative_to(root)}": path for path in finding.files(root)}
    found = [path for name, path in everything.items() if _is_gesture(name)]
    lines = "".join(recordings.stamp(path, root) for path in found)
    fingerprint = recordings.fingerprint(lines)

    def read(indices):
        for i in indices:
            yield decode(found[i].read_bytes(), str(found[i]))

    notes = finding.unread(root, everything, _is_gesture)
    contents = contents_of(found, fingerprint)
    return _split(root, list(map(str, found)), fingerprint, read, contents, notes)


def _is_gesture(name: str) -> bool:
    return bool(_NAME.search(name))


def _split(where, names, fingerprint, read, contents, notes) -> Split:
    if not names:
        raise InputError(
            f"{where}: no gestures; they should be at {where.name.partition('.')[0]}/"
            "user<number>_<light>/<class>.npy"
        )
    known = [numbers(name, *_NAME.findall(name)[0]) for name in names]
    subjects_N, labels_N = np.array(known).T
    return Split(
        tuple(names), labels_N, fingerprint, read, contents, subjects_N=subjects_N, unread=notes
    )
