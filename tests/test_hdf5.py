"""No HDF5 file makes a reader open another one, or stay for ever."""

import os
import zipfile
import zlib

import h5py
import numpy as np
import pytest
from other_files import nir, spoken

from sast_jax.data import formats, hdf5
from sast_jax.data.layouts import spoken_hdf5
from sast_jax.errors import InputError
from sast_jax.hardware.graphs.network import Graph

SECRET = bytes(range(64))


def external(group, name, path):
    del group[name]
    group.create_dataset(name, 8, np.int64, external=[(str(path), 0, h5py.h5f.UNLIMITED)])


def link(group, name, path):
    del group[name]
    group[name] = h5py.ExternalLink(str(path), "/secret")


def virtual(group, name, path):
    del group[name]
    layout = h5py.VirtualLayout(8, np.int64)
    layout[:] = h5py.VirtualSource(str(path), "secret", 8)
    group.create_virtual_dataset(name, layout)


def link_through_another(group, name, path):
    del group[name]
    group.file["out"] = h5py.ExternalLink(str(path), "/")
    group[name] = h5py.SoftLink("/out/secret")


@pytest.fixture(params=[external, link, virtual, link_through_another])
def away(request, tmp_path):
    """Replaces an array of a group by one that lies in another file."""
    path = tmp_path / "secret"
    if request.param is external:
        path.write_bytes(SECRET)
    else:
        with h5py.File(path, "w") as file:
            file["secret"] = np.arange(8)
    return lambda group, name: request.param(group, name, path)


def test_events(tmp_path, away):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for letter in "xypt":
            file[f"events/{letter}"] = np.arange(8) % 2
    assert len(formats.read(tmp_path / "a.h5").t_M) == 8
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        away(file["events"], "t")
    with pytest.raises(InputError, match=r"a\.h5: .*its (t|out) lies in another file"):
        formats.read(tmp_path / "a.h5")


@pytest.mark.parametrize("place, name", [("spikes", "times"), ("spikes", "units"), ("/", "labels")])
def test_spoken_words(tmp_path, away, place, name):
    spoken(tmp_path)
    assert len(spoken_hdf5.find_split(tmp_path / "shd", "train").labels_N) == 12
    with h5py.File(tmp_path / "shd" / "shd_train.h5", "r+") as file:
        away(file[place], name)
    with pytest.raises(InputError, match=rf"its {name} lies in another file"):
        spoken_hdf5.find_split(tmp_path / "shd", "train")


def test_networks(tmp_path, away):
    nir(tmp_path)
    assert len(Graph.read(tmp_path / "net.nir").links) == 4
    with h5py.File(tmp_path / "net.nir", "r+") as file:
        places: list[str] = []
        file.visit(places.append)
        (place,) = [place for place in places if place.endswith("/weight")]
        away(file[place].parent, "weight")
    with pytest.raises(InputError, match=r"net\.nir: .*its (weight|out) lies in another file"):
        Graph.read(tmp_path / "net.nir")


def test_links_within_a_file_may_lead_back_or_nowhere(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a/b/values"] = np.arange(3)
        file["a/b/back"] = file["a"]
        file["again"] = h5py.SoftLink("/a/b/values")
        file["nowhere"] = h5py.SoftLink("/c")
    with hdf5.opened(tmp_path / "a.h5") as (file, data):
        assert hdf5.child(file, "nowhere") is None
        assert hdf5.child(file, "again").shape == (3,)
        hdf5.require_whole(file, data)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["a/b/out"] = h5py.ExternalLink("b.h5", "/")
    with (
        hdf5.opened(tmp_path / "a.h5") as (file, data),
        pytest.raises(ValueError, match="its out lies in another file"),
    ):
        hdf5.require_whole(file, data)


def test_events_are_read_beside_arrays_that_lie_elsewhere(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for letter in "xypt":
            file[f"events/{letter}"] = np.arange(8) % 2
        file["images"] = h5py.ExternalLink("b.h5", "/")
    assert len(formats.read(tmp_path / "a.h5").t_M) == 8


def damaged(path, size):
    """Gives the first object of a file's first heap another size; its index becomes 0 with it."""
    data = bytearray(path.read_bytes())
    place = data.find(b"GCOL") + 16
    data[place : place + 16] = bytes(8) + size.to_bytes(8, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("size", [0, 2**40])  # at 0 the library stays for ever
def test_damaged_heaps_are_not_read(tmp_path, size):
    nir(tmp_path)
    Graph.read(tmp_path / "net.nir")
    damaged(tmp_path / "net.nir", size)
    with pytest.raises(InputError, match=r"net\.nir: .*the heap at byte \d+ is damaged"):
        Graph.read(tmp_path / "net.nir")
    spoken(tmp_path)
    path = tmp_path / "shd" / "shd_train.h5"
    assert list(spoken_hdf5.find_split(path.parent, "train").read([0]))
    damaged(path, size)
    os.utime(path, ns=(10**18, 10**18))  # as a file that was fetched again has another time
    with pytest.raises(InputError, match=r"shd_train\.h5: .*the heap at byte \d+ is damaged"):
        spoken_hdf5.find_split(path.parent, "train")
    with zipfile.ZipFile(f"{path}.zip", "w") as archive:
        archive.write(path, path.name)
    path.unlink()
    with pytest.raises(InputError, match=r"h5\.zip: .*the heap at byte \d+ is damaged"):
        spoken_hdf5.find_split(path.parent, "train")


def test_heaps_that_overlap_are_walked_over_once():
    row = b"GCOL\x01\0\0\0" + (2**40).to_bytes(8, "little")  # each claims all that follows
    found = list(hdf5.heap_objects(row * 20_000))
    assert 0 < len(found) <= 20_000


def far_too_large(path):
    with h5py.File(path, "r+") as file:
        del file["numbers"]
        numbers = file.create_dataset("numbers", data=[1.0], maxshape=(None,), compression="gzip")
        numbers.resize((10**7,))


def longer_than_the_file(path):
    with h5py.File(path) as file:
        place = file["text"].id.get_offset()
    data = bytearray(path.read_bytes())
    data[place : place + 4] = (2**31).to_bytes(4, "little")
    path.write_bytes(data)


def short(path):
    with h5py.File(path, "r+") as file:
        file["numbers"].id.write_direct_chunk((0,), zlib.compress(b"\0" * 8))


def of_no_kind(path):
    data = path.read_bytes()
    assert data.count(b"\x19\1\1\0") == 1
    path.write_bytes(data.replace(b"\x19\1\1\0", b"\x19\x09\1\0"))  # neither text nor rows


@pytest.mark.parametrize(
    "damage, message",
    [
        (far_too_large, r"/numbers says to hold 80,000,000 bytes, packed in \d+"),
        (longer_than_the_file, "/text has a row that is longer than the file"),
        (short, "/numbers has parts of 8 bytes in the place of 40"),
        (of_no_kind, "/text has rows of no usual type"),
    ],
)
def test_what_says_to_be_other_than_it_is_is_not_read(damage, message, tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["text"] = "some"
        file.create_dataset("numbers", data=np.arange(5.0), compression="gzip", shuffle=True)
        file["rows"] = np.zeros((0, 2), np.float16)
    with hdf5.opened(path) as (file, data):
        hdf5.require_whole(file, data)
    damage(path)
    os.utime(path, ns=(10**18, 10**18))
    with hdf5.opened(path) as (file, data), pytest.raises(ValueError, match=message):
        hdf5.require_whole(file, data)


def test_a_file_may_begin_with_something_else(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["text"] = ["some", "of it"]
        file.create_dataset("numbers", data=np.arange(5.0), compression="gzip")
    with hdf5.opened(path) as (file, data):
        hdf5.require_whole(file, data)
        assert list(file["text"].asstr()) == ["some", "of it"]


def test_a_part_of_a_file_is_not_read(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["numbers"] = np.arange(3)
    data = bytearray(path.read_bytes())
    assert data[8] == 0 and data[48:56] == b"\xff" * 8
    data[48:56] = (200).to_bytes(8, "little")  # where anything may stand
    path.write_bytes(data)
    for source in (path, bytes(data)):
        with pytest.raises(ValueError, match="it says to be a part of a file"), hdf5.opened(source):
            pass
