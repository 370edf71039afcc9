"""Damaged files of every kind end in one clear line or in a reading, and in nothing else.

SAST_MUTATIONS=100000 python -m pytest -m slow tests/test_mutated_files.py

mutates that many files a format, in a process of its own, so that a reader that crashes, hangs or
fills the memory is seen.
"""

import multiprocessing
import os
import pathlib
import random
import resource
import time
import warnings
import zipfile

import event_files
import gesture_writing
import numpy as np
import other_files
import pytest

from sast_jax.data import formats, sets
from sast_jax.data.layouts import spoken_hdf5
from sast_jax.errors import InputError

LONGEST = 10.0  # seconds that no damaged file of some kilobytes may take
MEMORY = 2**28  # bytes beyond those of the process at its start
STUCK = 300  # seconds after which a file is a hang, on a machine that may be busy


def originals(kind):
    rng = np.random.default_rng(1)
    writer, _ = event_files.WRITERS[kind]
    found = [writer(*event_files.random_events(rng, count)) for count in (3, 40, 400)]
    events = event_files.random_events(rng, 200)
    more = {
        "text": lambda: [
            event_files.text(*events, separator=",", head="\ufefft,x,y,p\n", end="\r\n"),
            event_files.text(*events, separator=";"),
        ],
        "DSEC HDF5": lambda: [writer(*events, compression="gzip")],
        "NPY": lambda: [event_files.npy(*events)],
        "EVT2": lambda: [writer(*events, header=False)],
        "EVT21": lambda: [writer(*events, header=False), writer(*events, legacy=True)],
        "EVT3": lambda: [writer(*events, header=False)],
        "AEDAT2": lambda: [writer(*events, chip="DAVIS240C")],
    }
    return found + more.get(kind, list)()


def mutated(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not data:
            break
        # Headers are short and matter most.
        at = rng.randrange(len(data) if rng.random() < 0.6 else min(len(data), 200))
        kind = rng.randrange(7)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + rng.randrange(1, 64)]
        elif kind == 4:
            data[at:at] = rng.randbytes(rng.randrange(1, 32))
        elif kind == 5:
            edges = b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80"
            data[at : at + 4] = rng.choice(edges)
        else:
            other = rng.randrange(len(data))
            data[at : at + 16] = data[other : other + 16]
    return bytes(data)


def read_all(kinds, count, folder, queue, begun):
    """Reads mutated files; puts what went wrong, then how many were read and refused, by kind."""
    warnings.simplefilter("ignore")
    whole = {}
    for kind in kinds:
        if kind in other_files.READERS:
            whole[kind] = other_files.READERS[kind](pathlib.Path(folder, "whole"))
        else:
            whole[kind] = "a", originals(kind), events
    for name, data, reader in whole.values():  # imports and compiles what it takes
        path = pathlib.Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data[0])
        reader(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for kind in kinds:
        name, data, reader = whole[kind]
        read_kind(kind, count, pathlib.Path(folder, name), data, queue, begun, reader)
    used = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    if used > MEMORY:
        queue.put(f"used {used} bytes")
    queue.put(None)


def events(path):
    """Reads a file of events; what is wrong with them, or nothing."""
    found = formats.read(path)
    sizes = {len(column) for column in found[:4]}
    if len(sizes) != 1 or (len(found.p_M) and found.p_M.max() > 1):
        return f"columns of sizes {sizes}"


def read_kind(kind, count, path, whole, queue, begun, reader=events):
    read, refused = 0, 0
    for number in range(count):
        begun.value += 1
        rng = random.Random(f"{kind} {number}")
        path.write_bytes(mutated(rng, rng.choice(whole)))
        start = time.perf_counter()
        try:
            if wrong := reader(path):
                queue.put(f"{number}: {wrong}")
            read += 1
        except InputError as error:
            if "\n" in str(error) or str(path.parent) not in str(error):
                queue.put(f"{number}: {error}")
            refused += 1
        except BaseException as error:
            queue.put(f"{number}: {type(error).__name__}: {error}")
        if (seconds := time.perf_counter() - start) > LONGEST:
            queue.put(f"{number}: took {seconds:.1f} s")
    queue.put((kind, read, refused))


def check(kinds, count, tmp_path):
    context = multiprocessing.get_context("forkserver")
    queue, begun = context.Queue(), context.Value("q", 0)
    process = context.Process(target=read_all, args=(kinds, count, str(tmp_path), queue, begun))
    process.start()
    found, seen, since = [], 0, time.monotonic()
    while process.is_alive() and None not in found:
        process.join(0.2)
        while not queue.empty():
            found.append(queue.get())
        if begun.value != seen:
            seen, since = begun.value, time.monotonic()
        if time.monotonic() - since > STUCK:
            found.append(f"{seen} files begun, the last of which does not end")
            break
    process.join(5)
    process.kill()
    assert process.exitcode == 0 and found[-1] is None, (process.exitcode, found)
    faults = [one for one in found if isinstance(one, str)]
    assert not faults
    for kind, read, refused in found[:-1]:
        assert read + refused == count, kind
        assert read > 0 or kind in other_files.EXACT, kind
        assert refused > 0 or kind in other_files.MENDED, kind
        print(f"{kind}: {read} read, {refused} refused")


def test_damaged_files_end_in_one_line(tmp_path):
    check(list(event_files.WRITERS), 100, tmp_path)


def test_other_damaged_files_end_in_one_line(tmp_path):
    check(list(other_files.READERS), 40, tmp_path)


FOUND = {  # by many more, of kinds of which few are wrong
    "digits.zip": (11180, 21072, 71911),  # sizes beyond 2 GB in the directory
    "cache": (8069, 21729, 35211, 76031),  # headers of shorter arrays, and none
    # The HDF5 library stays for ever, takes 2 GB, stays for ever, ends the process, takes 4 GB.
    "NIR": (2644, 3460, 4618, 22141, 86700),
    "SHD": (1548, 25271),  # the first and the last of these
}


@pytest.mark.parametrize("kind", FOUND)
def test_rare_damage_is_seen(kind, tmp_path):
    name, whole, reader = other_files.READERS[kind](tmp_path / "whole")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    for number in FOUND[kind]:
        rng = random.Random(f"{kind} {number}")
        (tmp_path / name).write_bytes(mutated(rng, rng.choice(whole)))
        try:
            assert reader(tmp_path / name) is None
        except InputError as error:
            assert str(tmp_path) in str(error)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*event_files.WRITERS, *other_files.READERS])
def test_very_many_damaged_files_end_in_one_line(kind, tmp_path):
    check([kind], int(os.environ.get("SAST_MUTATIONS", 3000)), tmp_path)


def test_archives_that_unpack_to_far_more_than_recordings_are_refused(tmp_path):
    zeros = bytes(10**7)
    with zipfile.ZipFile(tmp_path / "train.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Train/0/00001.bin", zeros)
    with pytest.raises(InputError, match=r"00001\.bin: would unpack to 10,000,000 bytes from"):
        sets.SETS["nmnist"](source="folder", path=str(tmp_path)).load(("train",))
    packed = tmp_path / "ibmGestureTrain.tar.gz"
    gesture_writing.write_archive(packed, {"ibmGestureTrain/user01_led/0.npy": zeros})
    with pytest.raises(InputError, match=r"0\.npy: would unpack to 10,000,000 bytes from"):
        sets.SETS["dvs_gesture"](source="folder", path=str(tmp_path)).load(("train",))
    with zipfile.ZipFile(tmp_path / "shd_train.h5.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("shd_train.h5", zeros)
    with pytest.raises(InputError, match=r"would unpack to 10,000,000 bytes from"):
        spoken_hdf5.find_split(tmp_path, "train")
