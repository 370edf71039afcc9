"""Spoken words as spikes of an artificial cochlea, in the HDF5 files of SHD and SSC.

A split is ``shd_train.h5`` or ``shd_test.h5``, or a zip archive of it: ``spikes/times`` (seconds)
and ``spikes/units`` (channels) hold a row for each recording, and ``labels`` its class. Ten of the
twelve speakers are in both splits, so that speakers are not taken for persons to keep apart.

Cramer et al., The Heidelberg spiking data sets for the systematic evaluation of spiking neural
networks, IEEE Transactions on Neural Networks and Learning Systems 33(7):2744, 2022.
"""

import contextlib
import functools
import pathlib
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from sast_jax.data import hdf5, recordings
from sast_jax.data.layouts import finding
from sast_jax.data.layouts.split import Split, content, kept_contents
from sast_jax.errors import InputError

CHANNELS = 700
EXTENT = recordings.Extent(1, CHANNELS, 1_400_000)
_ENGLISH = "zero one two three four five six seven eight nine"
_GERMAN = "null eins zwei drei vier fuenf sechs sieben acht neun"
CLASSES = (*_ENGLISH.split(), *_GERMAN.split())
_CHUNK = 256  # recordings in memory at once


def find_split(folder: pathlib.Path, split: str) -> Split | None:
    """Looks for a split of SHD in a folder.

    Raises:
      InputError: it is damaged, or no file of this layout.
    """
    path = finding.named(pathlib.Path(folder), f"shd_{split}.h5", f"shd_{split}.h5.zip")
    if path is None:
        return None
    with _opened(path) as columns:
        try:
            labels_N = np.asarray(columns["labels"][()]).astype(np.int64)
            sizes = {key: len(columns[key]) for key in ("times", "units")}
        except Exception as error:  # whatever HDF5 raises of damaged data
            raise _damaged(path, error) from error
    if set(sizes.values()) != {len(labels_N)} or not len(labels_N):
        raise InputError(f"{path}: {len(labels_N)} labels for {sizes} recordings; fetch it again")
    if labels_N.min() < 0 or labels_N.max() >= len(CLASSES):
        raise InputError(f"{path}: a label {labels_N.max()}, where SHD has 0 to 19; not SHD")
    fingerprint = recordings.fingerprint(recordings.stamp(path, path.parent))

    def read(indices) -> Iterator[np.ndarray]:
        with _opened(path) as columns:
            for i in indices:
                yield _row(columns, int(i), f"{path}/{i}")

    def contents():
        everything = range(len(labels_N))
        return kept_contents(fingerprint, lambda: [content(r.tobytes()) for r in read(everything)])

    return Split(
        tuple(f"{path}/{i}" for i in range(len(labels_N))),
        labels_N,
        fingerprint,
        read,
        contents,
    )


def select(split: Split, indices: np.ndarray) -> recordings.Recordings:
    """Some recordings of a split, read some at a time."""

    def events():
        for start in range(0, len(indices), _CHUNK):
            part = indices[start : start + _CHUNK]
            rows = list(split.read(part))
            yield joined(rows, [split.names[i] for i in part])

    seeds = [recordings.seed("/".join(split.names[i].split("/")[-2:])) for i in indices]
    return recordings.Recordings(
        split.labels_N[indices].astype(np.int32),
        np.full(len(indices), -1),
        np.array(seeds),
        events,
        EXTENT,
    )


def joined(rows, names) -> recordings.Events:
    """The events of recordings, each rows (M, 2) of microseconds and channels."""
    ones = [np.ones(len(own), np.uint8) for own in rows]
    each = [(own[:, 0], own[:, 1], 0 * one, one) for own, one in zip(rows, ones, strict=True)]
    events = recordings.within(recordings.joined(each), EXTENT, names, "SHD")
    return events._replace(x_M=events.x_M.astype(np.uint16))


def _row(columns, i, name) -> np.ndarray:
    try:
        times_M = np.asarray(columns["times"][i], np.float64)
        units_M = np.asarray(columns["units"][i], np.int64)
    except Exception as error:  # whatever HDF5 raises of damaged data
        raise InputError(f"{name}: cannot be read ({error}); fetch the file again") from error
    sound = times_M.shape == units_M.shape and np.isfinite(times_M).all()
    if not sound or (units_M < 0).any() or ((times_M < 0) | (times_M > 1e6)).any():
        raise InputError(f"{name}: times or channels that cannot be; fetch the file again")
    return np.stack([np.rint(times_M * 1e6).astype(np.int64), units_M], axis=1)


@contextlib.contextmanager
def _opened(path) -> Iterator[dict[str, Any]]:
    """The arrays of the labels, and of the times and units of spikes."""
    with contextlib.ExitStack() as stack:
        try:
            packed = path.suffix.lower() == ".zip"
            whole = _unpacked(path, path.stat().st_mtime_ns) if packed else path
            file, data = stack.enter_context(hdf5.opened(whole))
            spikes, columns = hdf5.child(file, "spikes"), {"labels": hdf5.child(file, "labels")}
            for key in ("times", "units"):
                columns[key] = None if spikes is None else hdf5.child(spikes, key)
            for column in columns.values():
                if column is not None:
                    hdf5.require_sound(column, data)
        except InputError:
            raise
        except Exception as error:  # whatever HDF5 raises of a damaged file
            raise _damaged(path, error) from error
        if any(column is None for column in columns.values()):
            raise InputError(f"{path}: lacks spikes/times, spikes/units or labels; not SHD")
        yield columns


def _damaged(path, error) -> InputError:
    return InputError(f"{path}: not a whole HDF5 file ({error}); fetch it again")


@functools.lru_cache(2)
def _unpacked(path, changed) -> bytes:
    """The only HDF5 file of an archive, of which there is another copy for each time of change."""
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if m.filename.lower().endswith(".h5")]
        if len(members) != 1:
            raise InputError(f"{path}: holds {len(members)} HDF5 files, where one is expected")
        finding.require_room(f"{path}", members[0].file_size, members[0].compress_size)
        return archive.read(members[0])
