"""IBM's recordings come back event for event, cut into the gestures that their csv names."""

import hashlib
import os
import struct

import gesture_writing as files
import numpy as np
import pytest
import tonic.io

from sast_jax.data.layouts import ibm_gestures
from sast_jax.errors import InputError


def some_rows(seed=0, count=50):
    rng = np.random.default_rng(seed)
    t = np.sort(rng.choice(100_000, (count, 1), replace=False), axis=0)
    return np.concatenate([rng.integers(0, (128, 128, 2), (count, 3)), t], axis=1)


def write(folder, rows, labels, name="user03_led", trials="train"):
    files.write(
        folder,
        {
            f"{name}.aedat": rows if isinstance(rows, bytes) else files.aedat(rows),
            f"{name}_labels.csv": (files.CSV + labels).encode(),
            f"trials_to_{trials}.txt": f"{name}.aedat\nuser99_not_here.aedat\n".encode(),
        },
    )


def test_events_are_those_written_and_those_that_tonic_finds(tmp_path):
    rows = some_rows()
    data = files.aedat(rows)
    np.testing.assert_array_equal(ibm_gestures.read_aedat(data, "a"), rows)
    (tmp_path / "a.aedat").write_bytes(data)
    version, start, _ = tonic.io.read_aedat_header_from_file(str(tmp_path / "a.aedat"))
    theirs = tonic.io.get_aer_events_from_file(str(tmp_path / "a.aedat"), version, start)
    address = theirs["address"]  # taken apart as tonic's reader of this set does
    columns = (address >> 17) & 0x1FFF, (address >> 2) & 0x1FFF, (address >> 1) & 1
    np.testing.assert_array_equal(np.stack(columns, axis=1), rows[:, :3])
    np.testing.assert_array_equal(theirs["timeStamp"], rows[:, 3])


def test_packets_of_other_types_are_skipped_and_invalid_events_kept():
    rows = some_rows()
    motion = struct.pack("<hhiiiiii", 3, 0, 36, 4, 0, 5, 2, 2) + bytes(range(180))
    data = files.aedat(rows, between=motion)
    np.testing.assert_array_equal(ibm_gestures.read_aedat(data, "a"), rows)
    marked = struct.pack("<I", int(rows[0, 0]) << 17 | int(rows[0, 1]) << 2 | int(rows[0, 2]) << 1)
    at = len(files.aedat([])) + len(motion) + 28
    invalid = data[:at] + marked + data[at + 4 :]
    assert invalid != data
    np.testing.assert_array_equal(ibm_gestures.read_aedat(invalid, "a"), rows)


def test_a_clock_that_overflows_goes_on():
    data = bytearray(files.aedat(some_rows(count=2), packet=1))
    second = data.rindex(b"\x01\x00\x00\x00\x08\x00\x00\x00\x04\x00\x00\x00")
    data[second + 12] = 1  # the packet's overflow
    times = ibm_gestures.read_aedat(bytes(data), "a")[:, 3]
    assert times[1] == some_rows(count=2)[1, 3] + 2**31
    assert times[0] == some_rows(count=2)[0, 3]


@pytest.mark.parametrize("inner", ["", "DvsGesture"])
def test_gestures_are_cut_out_and_split_by_the_lists(tmp_path, inner):
    rows = some_rows()
    first, second = rows[10, 3], rows[30, 3]
    write(tmp_path / inner, rows, f"2,{first},{second}\n11,{second},{rows[-1, 3] + 1}\n\n")
    assert ibm_gestures.find_split(tmp_path, "test") is None
    split = ibm_gestures.find_split(tmp_path, "train")
    assert split.labels_N.tolist() == [1, 10]
    assert split.subjects_N.tolist() == [3, 3]
    (warning,) = split.warnings
    assert warning.endswith(
        "recordings of the list that are missing: 1, first user99_not_here.aedat"
    )
    cut = list(split.read([0, 1]))
    np.testing.assert_array_equal(cut[0], rows[10:30] - np.array([0, 0, 0, first]))
    np.testing.assert_array_equal(cut[1], rows[30:] - np.array([0, 0, 0, second]))
    before = split.fingerprint
    write(tmp_path / inner, rows, f"3,{first},{second}\n")
    assert ibm_gestures.find_split(tmp_path, "train").fingerprint != before


BAD_RECORDINGS = {
    "cut off in events": (files.aedat(some_rows())[:-5], "cut off in the packet"),
    "cut off in a header": (files.aedat(some_rows(count=7)) + b"\x01\x00", "cut off in the packet"),
    "no events": (files.aedat([]), "holds no events"),
    "another version": (files.aedat(some_rows(), version=b"2.0"), "not AEDAT 3.1"),
    "another format": (b"\x93NUMPY", "not AEDAT 3.1"),
    "frames": (files.aedat(some_rows(), kind=2), "holds no events"),
    "other events": (
        files.aedat(
            some_rows(), between=struct.pack("<hhiiiiii", 1, 0, 16, 4, 0, 1, 1, 1) + bytes(16)
        ),
        "a packet of type 1 with 1 of 1 events of 16 bytes",
    ),
    "no end of other events": (
        files.aedat(some_rows(), between=struct.pack("<hhiiiiii", 3, 0, 36, 4, 0, 10**6, 1, 1)),
        "cut off in the packet",
    ),
}


@pytest.mark.parametrize("data, message", BAD_RECORDINGS.values(), ids=BAD_RECORDINGS)
def test_bad_recordings_are_named_in_one_line(data, message):
    with pytest.raises(InputError, match=message) as error:
        ibm_gestures.read_aedat(data, "user01_led.aedat")
    assert str(error.value).startswith("user01_led.aedat: ")
    assert "\n" not in str(error.value)


BAD_LABELS = {
    "class 0": ("0,1,5\n", "'0' is no class 1-11"),
    "class 12": ("12,1,5\n", "'12' is no class 1-11"),
    "words": ("wave,1,5\n", "is not three whole numbers"),
    "two columns": ("1,5\n", "is not three whole numbers"),
    "a fraction": ("1,1,5.5\n", "is not three whole numbers"),
    "a long class": ("1" * 5000 + ",1,5\n", "is not three whole numbers"),
    "a long time": ("1,1," + "5" * 5000 + "\n", "is not three whole numbers"),
    "a longer time than numbers last": ("1,1," + "9" * 19 + "\n", "is not three whole numbers"),
    "a long field": ("1,1," + "5" * 131_073 + "\n", "not a table"),
    "backwards": ("1,9,5\n", "ends before it begins"),
    "none": ("", "label no gesture"),
}


@pytest.mark.parametrize("labels, message", BAD_LABELS.values(), ids=BAD_LABELS)
def test_bad_labels_are_named(tmp_path, labels, message):
    write(tmp_path, some_rows(), labels)
    with pytest.raises(InputError, match=message) as error:
        ibm_gestures.find_split(tmp_path, "train")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300 + len(str(tmp_path))


def test_a_csv_that_does_not_match_is_named(tmp_path):
    write(tmp_path, some_rows(), "1,500000,600000\n")
    split = ibm_gestures.find_split(tmp_path, "train")
    with pytest.raises(InputError, match="do not belong together"):
        list(split.read([0]))
    (tmp_path / "user03_led_labels.csv").write_text("time,class\n1,2\n")
    with pytest.raises(InputError, match="does not begin with class,startTime_usec"):
        ibm_gestures.find_split(tmp_path, "train")
    (tmp_path / "user03_led_labels.csv").unlink()
    with pytest.raises(InputError, match=r"user03_led_labels\.csv: cannot be read"):
        ibm_gestures.find_split(tmp_path, "train")


def test_the_fingerprint_is_of_names_sizes_times_and_labels(tmp_path):
    rows = some_rows()
    write(tmp_path, rows, "1,0,100000\n")
    os.utime(tmp_path / "user03_led.aedat", ns=(1, 10**18))
    size = len(files.aedat(rows))  # caches and runs on disk go by it
    text = f"user03_led.aedat {size} {10**18}\n{files.CSV}1,0,100000\n\n"
    found = ibm_gestures.find_split(tmp_path, "train").fingerprint
    assert found == hashlib.sha256(text.encode()).hexdigest()
