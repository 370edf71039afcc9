"""Reading recordings in N-MNIST's layout, and decoding their events.

A split is ``train.zip`` / ``test.zip`` as published, read in place, or an unpacked tree ``Train/``
/ ``Test/``, whatever the case of their letters; in both a recording is
``<split>/<digit>/<number>.bin``, in rows of 40 bits (:mod:`sast_jax.data.formats.fixed_rows`).

Format: Orchard et al., Converting static image datasets to spiking neuromorphic datasets using
saccades, Frontiers in Neuroscience 9:437, 2015.
"""

import os
import pathlib
import re
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

from sast_jax.data.formats import fixed_rows
from sast_jax.data.layouts import finding
from sast_jax.data.layouts.split import OTHER, Split, contents_of, opened
from sast_jax.data.recordings import (
    NMNIST,
    Events,
    Recordings,
    fingerprint as fingerprint_of,
    in_order,
    seed,
    stamp,
    within,
)
from sast_jax.errors import InputError

# What reading a damaged archive raises; ValueError includes names that are no text.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
_NAME = re.compile(r"(?:^|/)(?P<folder>[^/]+)/(?P<stem>[^/.][^/]*)\.(?:bin|bs2)$", re.IGNORECASE)
_ENCRYPTED = 1  # a bit of a zip member's flags
_PACKING = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "AES"}  # not in Python


def find_split(folder: str | os.PathLike, split: str) -> Split | None:
    """Looks for a split in a folder.

    Args:
      folder: holds ``train.zip`` / ``test.zip`` or ``Train/`` / ``Test/``, in any case.
      split: "train" or "test".

    Returns:
      The split, or None if the folder has none of that name.

    Raises:
      InputError: the archive is damaged or packed in a way that Python cannot read, holds no
        recording or the other split's, or a class folder is no digit.
    """
    return opened(
        pathlib.Path(folder),
        (f"{split}.zip", lambda path: _open_archive(path, split)),
        (split.capitalize(), lambda path: _open_tree(path, split)),
    )


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
    assert split.numbers_N is not None  # find_split gives them
    return Recordings(
        split.labels_N[indices].astype(np.int32), split.numbers_N[indices], np.array(seeds), events
    )


def decode(recordings: Sequence[bytes], names: Sequence[str]) -> Events:
    """Decodes the bytes of recordings into events.

    Args:
      recordings: the bytes of each recording.
      names: what to call each in an error.

    Returns:
      The events of all, without overflow markers and without those outside the sensor.

    Raises:
      InputError: a length is no multiple of 5, or half of a recording lies outside the sensor.
    """
    lengths = np.array([len(r) for r in recordings], dtype=np.int64)
    if (lengths % 5).any():
        bad = int(np.argmax(lengths % 5 != 0))
        raise InputError(
            f"{names[bad]}: {lengths[bad]} bytes is no multiple of 5, so it is not an N-MNIST "
            "recording or was cut off; fetch it again or remove it"
        )
    recording, t, x, y, p = fixed_rows.decode_40(b"".join(recordings), lengths)
    unsorted = np.zeros(len(recordings), dtype=bool)
    backwards = (np.diff(t) < 0) & (np.diff(recording) == 0)
    if backwards.any():
        unsorted[recording[1:][backwards]] = True
    events = Events(recording, t, x, y, p, unsorted)
    events = in_order(events) if backwards.any() else events
    return within(events, NMNIST, names, "N-MNIST")


def _open_archive(path: pathlib.Path, split: str) -> Split:
    try:
        with zipfile.ZipFile(path) as archive:
            everything = archive.infolist()
    except _DAMAGE as error:
        raise InputError(f"{path}: not a whole zip archive ({error}); fetch it again") from error
    members = {m.filename: m for m in everything if _NAME.search(m.filename)}
    names = sorted(_own(path, members, split))
    chosen = [members[name] for name in names]
    for m in chosen:
        method = "encrypted" if m.flag_bits & _ENCRYPTED else _PACKING.get(m.compress_type)
        if method:
            how = method if method == "encrypted" else f"packed by {method}"
            raise InputError(
                f"{path}/{m.filename}: {how}, which cannot be read in place; unpack the archive "
                f"to {split.capitalize()}/ beside it, and move it away"
            )
        finding.require_room(f"{path}/{m.filename}", m.file_size, m.compress_size)
    lines = "".join(f"{m.filename} {m.file_size} {m.CRC}\n" for m in chosen)

    def read(indices):
        where = str(path)  # until the archive is open again
        try:
            with zipfile.ZipFile(path) as archive:
                for i in indices:
                    where = f"{path}/{names[i]}"
                    yield archive.read(chosen[i])
        except (*_DAMAGE, OSError) as error:
            raise InputError(
                f"{where}: damaged in the archive ({error}); fetch it again"
            ) from error

    def contents():
        # A damaged directory may state any size.
        return np.array([(m.file_size << 32 | m.CRC) % 2**63 for m in chosen], np.int64)

    notes = _unread(path, [m.filename for m in everything], names, split)
    named = tuple(f"{path}/{name}" for name in names)
    return _split(path, named, fingerprint_of(lines), read, contents, notes)


def _open_tree(root: pathlib.Path, split: str) -> Split:
    everything = {f"{root.name}/{path.relative_to(root)}": path for path in finding.files(root)}
    names = _own(root, [name for name in everything if _NAME.search(name)], split, root.name)
    paths = [everything[name] for name in names]
    lines = "".join(stamp(path, root) for path in paths)
    fingerprint = fingerprint_of(lines)

    def read(indices):
        for i in indices:
            yield paths[i].read_bytes()

    notes, contents = _unread(root, everything, names, split), contents_of(paths, fingerprint)
    return _split(root, tuple(map(str, paths)), fingerprint, read, contents, notes)


def _unread(where, everything, names, split) -> tuple[str, ...]:
    """A warning of files that are neither this split's recordings nor below the other's folder."""
    read = {*names}

    def known(name):
        return name in read or OTHER[split] in name.lower().split("/")[:-1]

    return finding.unread(where, everything, known)


def _own(where, names, split: str, root: str = "") -> list[str]:
    """The names of a split: those below its folder, or, without such a folder, below neither's.

    Args:
      where: archive or folder of the split.
      names: of the recordings.
      split: "train" or "test".
      root: name of the folder that is the split, which all names begin with; "" in an archive.

    Raises:
      InputError: all are below the other split's folder.
    """
    folders = {name: name.removeprefix(f"{root}/").lower().split("/")[:-2] for name in names}
    others = [name for name in names if OTHER[split] in folders[name]]
    own = [name for name in names if split in folders[name]]
    if root or not own:
        own = [name for name in names if name not in set(others)]
    if others and not own:
        raise InputError(
            f"{where}: holds {len(others)} recordings of the {OTHER[split]} split, first "
            f"{others[0]}, and none of the {split} split; fetch that, or move this away"
        )
    return own


def _split(where, names, fingerprint, read, contents, notes) -> Split:
    if not names:
        raise InputError(f"{where}: no recordings; they should be at <split>/<digit>/<number>.bin")
    labels, numbers = [], []
    for name in names:
        ((folder, stem),) = _NAME.findall(name)
        if not re.fullmatch("[0-9]", folder):
            raise InputError(f"{name}: its folder {folder!r} is no digit 0-9; move or remove it")
        labels.append(int(folder))
        numbers.append(int(stem) if stem.isdecimal() else -1)
    return Split(
        names,
        np.array(labels),
        fingerprint,
        read,
        contents,
        numbers_N=np.array(numbers),
        unread=notes,
    )
