"""Reading recordings in N-MNIST's layout, and decoding their events.

A split is ``train.zip`` / ``test.zip`` as published, read in place, or an unpacked tree ``Train/``
/ ``Test/``; in both a recording is ``<split>/<digit>/<number>.bin``. A recording is a row of 5-byte
events: x, y, then polarity in the top bit and 23 bits of time in microseconds. An event with y =
240 is no event: it adds 2**13 microseconds to every later time.

Format: Orchard et al., Converting static image datasets to spiking neuromorphic datasets using
saccades, Frontiers in Neuroscience 9:437, 2015.
"""

import hashlib
import os
import pathlib
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sast_jax.data.formats import fixed_rows
from sast_jax.data.recordings import (
    SENSOR_HEIGHT,
    SENSOR_WIDTH,
    Events,
    Recordings,
    in_order,
    seed,
    stamp,
)
from sast_jax.errors import InputError

# What reading a damaged archive raises; ValueError includes names that are no text.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
_NAME = re.compile(r"(?:^|/)(?P<folder>[^/]+)/(?P<stem>[^/]+)\.bin$")


class Split(NamedTuple):
    """The recordings of one split, in order of their names, not yet read.

    Attributes:
      names: where each one is, for messages.
      labels_N: digit, int64.
      numbers_N: number of the file, which is the number of the MNIST image + 1, or -1.
      fingerprint: changes when a recording is added, removed or changed.
      read: yields the bytes of the recordings at the given indices, one after another.
      warnings: what a person should know of the split, one line each.
    """

    names: tuple[str, ...]
    labels_N: np.ndarray
    numbers_N: np.ndarray
    fingerprint: str
    read: Callable[[Sequence[int]], Iterator[bytes]]
    warnings: tuple[str, ...] = ()


def find_split(folder: str | os.PathLike, split: str) -> Split | None:
    """Looks for a split in a folder.

    Args:
      folder: holds ``train.zip`` / ``test.zip`` or ``Train/`` / ``Test/``.
      split: "train" or "test".

    Returns:
      The split, or None if the folder has none of that name.

    Raises:
      InputError: the archive is damaged, holds no recording, or a class folder is no digit.
    """
    archive = pathlib.Path(folder, f"{split}.zip")
    tree = pathlib.Path(folder, split.capitalize())
    try:
        if archive.is_file():
            return _open_archive(archive, split)
        if tree.is_dir():
            return _open_tree(tree)
    except OSError as error:
        raise InputError(f"cannot read {error.filename or folder}: {error.strerror}") from error
    return None


def select(split: Split, indices: np.ndarray, chunk: int = 256) -> Recordings:
    """Some recordings of a split, read and decoded a chunk at a time so that memory stays small.

    Args:
      split: from :func:`find_split`.
      indices: of the recordings to read, (N,).
      chunk: recordings decoded at once.

    Returns:
      The recordings. Their ``events`` raises InputError where one is damaged.
    """

    def events():
        raw = split.read(indices)
        for start in range(0, len(indices), chunk):
            part = indices[start : start + chunk]
            yield decode([next(raw) for _ in part], [split.names[i] for i in part])

    seeds = [seed("/".join(split.names[i].split("/")[-3:])) for i in indices]
    return Recordings(
        split.labels_N[indices].astype(np.int32), split.numbers_N[indices], np.array(seeds), events
    )


def decode(recordings: Sequence[bytes], names: Sequence[str]) -> Events:
    """Decodes the bytes of recordings into events.

    Args:
      recordings: the bytes of each recording.
      names: what to call each in an error.

    Returns:
      The events of all, without overflow markers.

    Raises:
      InputError: a length is no multiple of 5, or an event lies outside the sensor.
    """
    lengths = np.array([len(r) for r in recordings], dtype=np.int64)
    if (lengths % 5).any():
        bad = int(np.argmax(lengths % 5 != 0))
        raise InputError(
            f"{names[bad]}: {lengths[bad]} bytes is no multiple of 5, so it is not an N-MNIST "
            "recording or was cut off; fetch it again or remove it"
        )
    recording, t, x, y, p = fixed_rows.decode_40(b"".join(recordings), lengths)
    outside = (x >= SENSOR_WIDTH) | (y >= SENSOR_HEIGHT)
    if outside.any():
        bad = int(np.argmax(outside))
        raise InputError(
            f"{names[recording[bad]]}: an event at x={x[bad]}, y={y[bad]} lies outside the "
            f"{SENSOR_WIDTH}x{SENSOR_HEIGHT} sensor; the file is damaged or not N-MNIST"
        )

    unsorted = np.zeros(len(recordings), dtype=bool)
    backwards = (np.diff(t) < 0) & (np.diff(recording) == 0)
    if backwards.any():
        unsorted[recording[1:][backwards]] = True
    events = Events(recording, t, x, y, p, unsorted)
    return in_order(events) if backwards.any() else events


def _open_archive(path: pathlib.Path, split: str) -> Split:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if _is_recording(m.filename)]
    except _DAMAGE as error:
        raise InputError(f"{path}: not a whole zip archive ({error}); fetch it again") from error
    members = [m for m in members if split.capitalize() in m.filename.split("/")] or members
    members.sort(key=lambda m: m.filename)
    digest = hashlib.sha256()
    for m in members:
        digest.update(f"{m.filename} {m.file_size} {m.CRC}\n".encode())

    def read(indices):
        where = path  # until the archive is open again
        try:
            with zipfile.ZipFile(path) as archive:
                for i in indices:
                    where = f"{path}/{members[i].filename}"
                    yield archive.read(members[i])
        except (*_DAMAGE, OSError) as error:
            raise InputError(
                f"{where}: damaged in the archive ({error}); fetch it again"
            ) from error

    names = tuple(f"{path}/{m.filename}" for m in members)
    return _split(path, names, digest.hexdigest(), read)


def _open_tree(root: pathlib.Path) -> Split:
    def refuse(error):
        raise error  # a folder that cannot be read, which a walk would leave out

    paths = sorted(
        pathlib.Path(folder, name)
        for folder, _, names in os.walk(root, onerror=refuse)
        for name in names
        if _is_recording(os.path.join(folder, name))
    )
    lines = "".join(stamp(path, root) for path in paths)

    def read(indices):
        for i in indices:
            yield paths[i].read_bytes()

    return _split(root, tuple(map(str, paths)), hashlib.sha256(lines.encode()).hexdigest(), read)


def _is_recording(name: str) -> bool:
    match = _NAME.search(name)
    return bool(match) and not match["stem"].startswith(".")  # hidden copies that macOS leaves


def _split(where, names, fingerprint, read) -> Split:
    if not names:
        raise InputError(f"{where}: no recordings; they should be at <split>/<digit>/<number>.bin")
    labels, numbers = [], []
    for name in names:
        folder, stem = _NAME.search(name).groups()
        if not re.fullmatch("[0-9]", folder):
            raise InputError(f"{name}: its folder {folder!r} is no digit 0-9; move or remove it")
        labels.append(int(folder))
        numbers.append(int(stem) if stem.isdecimal() else -1)
    return Split(names, np.array(labels), np.array(numbers), fingerprint, read)
