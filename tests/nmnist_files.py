"""Writes recordings in N-MNIST's format, event by event, for tests."""

import pathlib
import zipfile

import numpy as np


def encode(t, x, y, p) -> bytes:
    """Bytes of a recording; a marker is written wherever the time needs more than 13 bits."""
    rows, overflows = [], 0
    for time, column, row, polarity in zip(t, x, y, p, strict=True):
        while time - overflows * 2**13 >= 2**13:
            rows.append((0, 240, 0, 0, 0))
            overflows += 1
        rest = int(time) - overflows * 2**13
        rows.append((column, row, (polarity << 7) | (rest >> 16), (rest >> 8) & 255, rest & 255))
    return np.array(rows, np.uint8).tobytes()


def random_events(rng, count=200, duration=310_000):
    t = np.sort(rng.integers(0, duration, count))
    x, y, p = rng.integers(0, 34, count), rng.integers(0, 34, count), rng.integers(0, 2, count)
    return t, x, y, p


def write_zip(path: pathlib.Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def write_tree(folder: pathlib.Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def dataset(folder: pathlib.Path, per_class=4, classes=range(10), seed=0, splits=("train", "test")):
    """Archives in which a digit's events lie in its own rows, so that a network can learn them."""
    rng = np.random.default_rng(seed)
    for split in splits:
        files = {}
        for digit in classes:
            for i in range(per_class):
                t, x, y, p = random_events(rng, 300)
                y = 3 * digit + y % 4
                name = f"{split.capitalize()}/{digit}/{10 * i + digit + 1:05d}.bin"
                files[name] = encode(t, x, y, p)
        write_zip(folder / f"{split}.zip", files)
