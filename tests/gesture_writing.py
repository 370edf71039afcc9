"""Writes gestures in the formats of DVS Gesture, event by event, for tests."""

import io
import pathlib
import struct
import tarfile

import numpy as np

CSV = "class,startTime_usec,endTime_usec\n"


def random_rows(rng, count=60, duration=500):
    """Rows x, y, polarity and time in milliseconds, as tonic's arrays have them."""
    columns = rng.integers(0, (128, 128, 2), (count, 3))
    return np.concatenate([columns, np.sort(rng.integers(0, duration, (count, 1)), axis=0)], axis=1)


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=array.dtype == object)
    return buffer.getvalue()


def learnable(rng, label, count=150):
    """Events of a class lie in its own rows, so that a network can learn it."""
    rows = random_rows(rng, count)
    rows[:, 1] = 11 * label + rows[:, 1] % 12
    return rows


def dataset(folder, subjects=(1, 2, 3, 4), labels=range(11), splits=("Train", "Test"), seed=0):
    """Unpacked splits in which every person performs every gesture; returns what was written.

    Those of the test split are others, whose numbers are higher by 20.
    """
    rng = np.random.default_rng(seed)
    written = {}
    for split in splits:
        for subject in np.add(subjects, 20 * (split == "Test")):
            for label in labels:
                name = f"ibmGesture{split}/user{subject:02d}_led/{label}.npy"
                written[name] = learnable(rng, label)
    write(folder, {name: npy(rows) for name, rows in written.items()})
    return written


def write(folder: pathlib.Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = pathlib.Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def write_archive(path: pathlib.Path, files: dict[str, bytes], compresslevel=9) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=compresslevel) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def aedat(rows, packet=7, kind=1, version=b"3.1", between=b"") -> bytes:
    """Bytes of a recording with rows x, y, polarity and time in microseconds.

    ``between`` comes before each packet.
    """
    data = b"#!AER-DAT" + version + b"\r\n#Format: RAW\r\n#!END-HEADER\r\n"
    for start in range(0, len(rows), packet):
        part = rows[start : start + packet]
        data += between + struct.pack(
            "<hhiiiiii", kind, 0, 8, 4, 0, len(part), len(part), len(part)
        )
        for x, y, p, t in part:
            data += struct.pack("<II", int(x) << 17 | int(y) << 2 | int(p) << 1 | 1, int(t))
    return data
