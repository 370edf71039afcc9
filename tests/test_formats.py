"""Readers of event formats, against files that writers of their own made and against real ones."""

import os
import pathlib
import struct

import event_files
import h5py
import hdf5plugin
import numpy as np
import pytest
import scipy.io

from sast_jax.data import formats
from sast_jax.errors import InputError

DATA = pathlib.Path(
    os.environ.get("SAST_TEST_DATA") or pathlib.Path(__file__).parents[2] / "shared" / "data"
)
# Of each real file: format, events, largest x and y, first and last time, share of ON, by an
# independent parser.
REAL = {
    "aedat4/davis346.aedat4": (
        "AEDAT4", 117667, 345, 259, 1633953690975950, 1633953691105949, 61.5
    ),
    "aedat31/dvxplorer_rollover.aedat": (
        "AEDAT3.1", 334331, 639, 479, 2146490012, 2148489998, 54.4
    ),
    "evt3/vga_a.raw": ("EVT3", 343474, 639, 479, 7139845, 9218023, 36.4),
    "evt3/hd_trigger.raw": ("EVT3", 82469, 1279, 719, 14224870, 15476187, 50.2),
    "evt2/gen3.raw": ("EVT2", 521252, 639, 479, 913716224, 913812095, 35.7),
    "dat/ncars_sample.dat": ("DAT", 2009, 77, 41, 0, 99952, 67.2),
    "es/dvs.es": ("Event Stream", 473225, 319, 239, 0, 999000, 57.1),
    "txt/slider_depth_chunk.txt": ("text", 50000, 239, 179, 3811, 174156, 42.3),
    "nmnist_bs2/nmnist_slayer_1.bs2": ("40 bits", 4681, 33, 33, 893, 305924, 49.7),
}  # fmt: skip


def written(tmp_path, data, name="a.bin"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def same(found, x, y, t, p):
    """Whether a stream holds these events; those of one time may come in any order."""

    def rows(*columns):
        return np.array(sorted(zip(*(np.asarray(c).tolist() for c in columns), strict=True)))

    np.testing.assert_array_equal(
        rows(found.t_M, found.y_M, found.x_M, found.p_M), rows(t, y, x, p)
    )
    assert (np.diff(found.t_M) >= 0).all()


@pytest.mark.parametrize("kind", event_files.WRITERS)
def test_every_format_gives_the_events_that_were_written(kind, tmp_path):
    rng = np.random.default_rng(1)
    events = event_files.random_events(rng)
    writer, _ = event_files.WRITERS[kind]
    path = written(tmp_path, writer(*events), "a.other")
    found = formats.read(path)
    assert found.format == kind
    assert formats.identify(path) in (kind, "HDF5")
    same(found, *events)
    assert found.x_M.dtype == found.y_M.dtype == np.uint16
    assert found.t_M.dtype == np.int64 and found.p_M.dtype == np.uint8


@pytest.mark.parametrize("name", REAL)
def test_real_files_hold_what_an_independent_parser_found(name):
    path = DATA / "formats" / name
    if not path.exists():
        pytest.skip("needs the recordings in other formats")
    kind, count, x, y, first, last, on = REAL[name]
    found = formats.read(path)
    assert (found.format, len(found.t_M)) == (kind, count)
    assert (found.x_M.max(), found.y_M.max()) == (x, y)
    assert (found.t_M.min(), found.t_M.max()) == (first, last)
    assert found.p_M.mean() * 100 == pytest.approx(on, abs=0.05)
    assert found.sensor is None or (x < found.sensor[1] and y < found.sensor[0])


@pytest.mark.parametrize(
    "name, message",
    [
        ("not_events/other_magic.aedat", "of no known format"),
        ("not_events/generic.es", "generic bytes, which has no events of pixels"),
        ("README.md", "text without rows of numbers"),
    ],
)
def test_real_files_without_events_are_refused(name, message):
    path = DATA / "formats" / name
    if not path.exists():
        pytest.skip("needs the recordings in other formats")
    with pytest.raises(InputError, match=message):
        formats.read(path)


@pytest.mark.parametrize("kind", ["EVT2", "EVT21", "EVT3"])
def test_raw_files_need_no_header(kind, tmp_path):
    rng = np.random.default_rng(2)
    events = event_files.random_events(rng, 3000, 640, 480)
    path = written(tmp_path, event_files.WRITERS[kind][0](*events, header=False))
    assert formats.identify(path) == kind
    same(formats.read(path), *events)


def test_neighbours_that_fire_together_are_told_apart(tmp_path):
    x = np.concatenate([np.arange(100, 131), np.arange(37, 46), [5]])
    y = np.concatenate([np.full(31, 7), np.full(9, 9), [1]])
    t, p = np.repeat([50, 4200, 4201], [31, 9, 1]), np.repeat([1, 0, 1], [31, 9, 1])
    for writer in (event_files.evt21, event_files.evt3):
        same(formats.read(written(tmp_path, writer(x, y, t, p, 640, 480))), x, y, t, p)
    legacy = event_files.evt21(x, y, t, p, 640, 480, legacy=True)
    same(formats.read(written(tmp_path, legacy)), x, y, t, p)


@pytest.mark.parametrize(
    "kind, bits", [("EVT2", 34), ("EVT21", 34), ("EVT3", 24), ("DAT", 32), ("AEDAT2", 32)]
)
def test_clocks_go_on_where_they_wrap_around(kind, bits, tmp_path):
    x, y, t, p = event_files.random_events(np.random.default_rng(3), start=2**bits - 50_000)
    found = formats.read(written(tmp_path, event_files.WRITERS[kind][0](x, y, t, p)))
    np.testing.assert_array_equal(found.t_M, t)


def test_times_of_31_bits_go_on_with_the_packets_counter(tmp_path):
    x, y, t, p = event_files.random_events(np.random.default_rng(3), start=3 * 2**31 - 50_000)
    found = formats.read(written(tmp_path, event_files.aedat31(x, y, t, p)))
    np.testing.assert_array_equal(found.t_M, t)


def test_what_lies_beside_the_events_is_counted(tmp_path):
    events = event_files.random_events(np.random.default_rng(4))
    triggers = struct.pack("<2I", 0xA << 28 | 1, 0xE << 28)
    found = formats.read(written(tmp_path, event_files.evt2(*events) + triggers))
    assert found.beside == {"triggers": 1, "others": 1}
    same(found, *events)
    early = struct.pack("<I", 1 << 28 | 3 << 11 | 4)
    head, _, rows = event_files.evt2(*events).partition(b"% end\n")
    found = formats.read(written(tmp_path, head + b"% end\n" + early + rows))
    assert found.odd == ("1 events before the first time are left out",)
    same(found, *events)
    found = formats.read(written(tmp_path, event_files.aedat31(*events, invalid={3, 4})))
    assert found.odd == ("2 events that are marked as invalid are left out",)
    same(found, *(np.delete(column, [3, 4]) for column in events))
    found = formats.read(written(tmp_path, event_files.evt2(*events) + b"ab"))
    assert found.odd == ("2 bytes at the end are no whole row and are left out",)


@pytest.mark.parametrize("chip, size", [("DAVIS240C", (240, 180)), ("Davis346B", (346, 260))])
def test_davis_frames_lie_between_the_events(chip, size, tmp_path):
    events = event_files.random_events(np.random.default_rng(5), 400, *size)
    frames = [(1 << 31 | 5 << 12, int(time)) for time in events[2][::7]]
    data = event_files.aedat2(*events, chip=chip, between=frames)
    found = formats.read(written(tmp_path, data))
    assert found.sensor == size[::-1] and found.beside == {"frames and imu": len(frames)}
    same(found, *events)
    nameless = data.replace(f"AEChip: eu.seebetter.ini.chips.davis.{chip}".encode(), b"recorded")
    found = formats.read(written(tmp_path, nameless))
    assert "names no chip" in found.odd[0]
    same(found, *events)


def test_an_event_can_begin_with_the_byte_of_a_header_line(tmp_path):
    # y = 180 - 1 - 140: its address begins with 0x23, which is #.
    x, y, t, p = np.full(3, 9), np.full(3, 39), np.array([5, 6, 7]), np.array([1, 0, 1])
    data = event_files.aedat2(x, y, t, p, chip="DAVIS240C")
    assert data.partition(b"DAVIS240C\r\n")[2].startswith(b"#")
    same(formats.read(written(tmp_path, data)), x, y, t, p)


def test_dvs128_special_events_are_no_events(tmp_path):
    events = event_files.random_events(np.random.default_rng(6), 300, 128, 128)
    data = event_files.aedat2(*events, between=[(1 << 15, int(events[2][9]))])
    found = formats.read(written(tmp_path, data))
    assert found.beside == {"special": 1} and found.sensor == (128, 128)
    same(found, *events)


def test_older_dat_files_have_other_bits(tmp_path):
    events = event_files.random_events(np.random.default_rng(7), 300, 304, 240)
    data = event_files.dat(*events, 304, 240, version=1)
    found = formats.read(written(tmp_path, data))
    assert found.sensor == (240, 304)
    same(found, *events)


@pytest.mark.parametrize(
    "options", [{}, {"separator": ","}, {"separator": "\t"}, {"separator": "; "}, {"end": "\r\n"},
        {"head": "\ufeff"}, {"head": "# t x y p\n"}, {"head": "timestamp,x,y,polarity\n"},
        {"head": "34 34\n"}, {"head": "\ufeff%a line\n\n", "end": "\r\n", "separator": "  "},
        {"order": "xytp"}, {"order": "xypt"}, {"order": "ptxy"},
    ]
)  # fmt: skip
def test_text_is_read_as_people_write_it(options, tmp_path):
    events = event_files.random_events(np.random.default_rng(8))
    found = formats.read(written(tmp_path, event_files.text(*events, **options)))
    same(found, *events)
    assert found.sensor == ((34, 34) if options.get("head") == "34 34\n" else None)


@pytest.mark.parametrize("unit, scale, form", [("s", 1e-6, "{:.9f}"), ("ms", 1e-3, "{:.3f}")])
def test_units_of_text_are_told_from_the_numbers(unit, scale, form, tmp_path):
    events = event_files.random_events(np.random.default_rng(9), 5000)
    number = lambda time: form.format(time * scale + 1e-9 * (unit == "s"))  # noqa: E731 - noise
    data = event_files.text(*events, number=number)
    found = formats.read(written(tmp_path, data))
    same(found, *events)
    assert found.odd[-1] == f"its times are taken as {'seconds' if unit == 's' else 'milliseconds'}"
    same(formats.read(written(tmp_path, data), unit=unit), *events)


def test_seconds_since_1970_keep_their_microseconds(tmp_path):
    events = event_files.random_events(np.random.default_rng(9), start=1633953690975950)
    data = event_files.text(*events, number=lambda time: f"{time // 10**6}.{time % 10**6:06d}")
    same(formats.read(written(tmp_path, data)), *events)
    nano = event_files.npy(events[0], events[1], events[2] * 1000, events[3])
    same(formats.read(written(tmp_path, nano)), *events)


@pytest.mark.parametrize("separator", [";", "\t", " "])
def test_a_decimal_comma_goes_with_other_separators(separator, tmp_path):
    events = event_files.random_events(np.random.default_rng(9))
    number = lambda time: f"{time / 1e6:.6f}".replace(".", ",")  # noqa: E731
    data = event_files.text(*events, separator=separator, number=number)
    same(formats.read(written(tmp_path, data)), *events)


@pytest.mark.parametrize(
    "head, row",
    [
        (",t,x,y,p", "{i},{t},{x},{y},{p}"),  # an index, as pandas writes it
        ('"t" "x" "y" "p"', '"{i}" {t} {x} {y} {p}'),  # and as R does
        ("t [us], x, y, p", "{t}, {x}, {y}, {p},"),
        ("", "[{t}, {x}, {y}, {p}]"),
        ("", '"{t}","{x}","{y}","{p}"'),
        ("Gerät Süd", "{t} {x} {y} {p}"),
        ("polarity;frame;t;y;x", "{p};7;{t};{y};{x}"),
    ],
)
def test_text_is_read_as_programs_write_it(head, row, tmp_path):
    events = event_files.random_events(np.random.default_rng(9))
    rows = zip(*(column.tolist() for column in events), strict=True)
    lines = [row.format(i=i, x=x, y=y, t=t, p=p) for i, (x, y, t, p) in enumerate(rows)]
    data = "\n".join([head, *lines]).encode("latin-1")
    same(formats.read(written(tmp_path, data)), *events)


def test_a_last_line_that_is_cut_off_is_said(tmp_path):
    events = event_files.random_events(np.random.default_rng(9))
    found = formats.read(written(tmp_path, event_files.text(*events) + b"99999 1"))
    same(found, *events)
    assert found.odd[0] == "its last line is cut off and left out"
    with pytest.raises(InputError, match=r"not rows of numbers .*line 501"):
        formats.read(written(tmp_path, event_files.text(*events) + b"a b c d\n1 2 3 4\n"))


@pytest.mark.parametrize("order", ["xytp", "xypt", "txyp", "ptxy"])
def test_columns_of_arrays_are_told_apart(order, tmp_path):
    events = event_files.random_events(np.random.default_rng(10))
    data = event_files.npy(*events, order=order)
    found = formats.read(written(tmp_path, data))
    same(found, *events)
    assert found.odd == (f"its columns are taken for {', '.join(order)}",)
    stated = formats.read(written(tmp_path, data), order=order)
    same(stated, *events)
    assert stated.odd == ()


@pytest.mark.parametrize("off, on", [(-1, 1), (1, 2)])
def test_other_ways_to_write_polarity_are_said(off, on, tmp_path):
    x, y, t, p = event_files.random_events(np.random.default_rng(11))
    found = formats.read(written(tmp_path, event_files.npz(x, y, t, np.where(p, on, off))))
    same(found, x, y, t, p)
    assert found.odd == (f"its polarities {off} and {on} are taken for 0 and 1",)


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, hdf5plugin.Blosc()])
def test_hdf5_is_read_under_its_filters(options, tmp_path):
    events = event_files.random_events(np.random.default_rng(12), 800, 640, 480, start=10**12)
    found = formats.read(written(tmp_path, event_files.hdf5_dsec(*events, 10**12, **options)))
    same(found, *events)
    found = formats.read(
        written(tmp_path, event_files.hdf5_prophesee(*events, 640, 480, **options))
    )
    same(found, *events)
    assert found.sensor == (480, 640)


def test_many_recordings_in_one_file_are_named(tmp_path):
    with h5py.File(tmp_path / "shd.h5", "w") as file:
        file["spikes/times"], file["spikes/units"], file["labels"] = [0.1], [3], [1]
    with pytest.raises(InputError, match="as SHD and SSC have them"):
        formats.read(tmp_path / "shd.h5")


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "is empty"),
        (b"\x1f\x8b\x08rest", r"an archive \(gzip\); unpack it first"),
        (b"#!AER-DAT1.0\r\n", "AEDAT 1, which cannot be read"),
        (b"#!AER-DAT2.0\r\n", "holds no events"),
        (b"#!AER-DAT2.0\r\n# AEChip: a.b.Cochlea\r\n\0\0\0\1\0\0\0\1", "the chip a.b.Cochlea"),
        (b"#!AER-DAT3.1\r\n#Format: PNG\r\n#!END-HEADER\r\n\0\0\0\0", "of the format PNG"),
        (b"% evt 4.0\n% end\n\0\0\0\0", "encoding 4.0; EVT2, EVT2.1 and EVT3"),
        (b"% evt 2.0\n% end\n\0\0\0\0", "without a time"),
        (b"% Data file containing triggers\n\x0e\x08", "rows of type 14"),
        (b"Event Stream\x01\0\0\1", r"Event Stream 1\.0\.0; 2\.0 can be read"),
        (b"Event Stream\x02\0\0\4\x0a\0\x0a\0", "an Event Stream of colours"),
        (b"\x93NUMPY\x01\0", "not a whole array of numbers"),
        (b"PK\x03\x04rest", "not a whole archive of arrays"),
        (b"\x89HDF\r\n\x1a\nrest", "not a whole HDF5 file"),
        (b"#!AER-DAT4.0\r\nrest of it", "damaged AEDAT 4"),
        (b"1 2 3 4 5\n1 2 3 4 5\n", "5 columns, where 4 are expected; state them"),
        (b"0 0 0 0\n1 1 1 1\n", "which of its columns is which cannot be told"),
        (b"5 1 2 0\n9 3 3 255\n", r"\(5 to 9, 1 to 3, 2 to 3, 0 to 255\)"),
        (b"5 1 nan 0\n9 3 3 1\n", "holds numbers that are not finite"),
        (b"t,x,x,p\n1,2,3,1\n", "its header names x twice; state the columns"),
        (b"t,x,y,p\n1,2,3,1,4,5\n", r"names 4 columns \(t, x, y, p\), but its rows have 6"),
        (b"t x y p\n1 -2 3 1\n2 3 3 0\n", "x=-2 is no pixel"),
        (b"t x y p\n1 2.5 3 1\n2 3 3 0\n", r"x=2\.5 is no whole pixel"),
        (b"t x y p\n1 2 3 1\n2 3 3 7\n", "polarities 1, 7; 0 and 1 are expected"),
        (b"t x y p\n1 2 3 1\nnan 3 3 0\n", "column t holds numbers that are not finite"),
    ],
)
def test_what_cannot_be_read_ends_in_one_line(data, message, tmp_path):
    path = written(tmp_path, data)
    with pytest.raises(InputError, match=message) as caught:
        formats.read(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_damaged_heap_is_not_asked_for_the_sensor(tmp_path):
    events = event_files.random_events(np.random.default_rng(3), 20)
    data = bytearray(event_files.hdf5_prophesee(*events))
    assert formats.read(written(tmp_path, bytes(data))).sensor == (34, 34)
    first = data.find(b"GCOL") + 16  # of the objects that hold texts of any length
    data[first : first + 16] = bytes(16)  # at which the HDF5 library stays for ever
    found = formats.read(written(tmp_path, bytes(data)))
    assert found.sensor is None
    same(found, *events)


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.raw")
    with pytest.raises(InputError, match="is no file"):
        formats.read(tmp_path / "a.raw")


def test_structures_of_matlab_are_kept_apart(tmp_path):
    rng = np.random.default_rng(13)
    events, others = event_files.random_events(rng, 50), event_files.random_events(rng, 9)
    both = {
        name: dict(zip(("x", "y", "ts", "p"), columns, strict=True))
        for name, columns in (("EM", others), ("TD", events))
    }
    scipy.io.savemat(tmp_path / "a.mat", both | {"x": np.arange(3.0)})
    found = formats.read(tmp_path / "a.mat")
    same(found, *events)
    assert found.odd == ("of its tables EM, TD TD is taken",)


def test_evt3_says_what_it_leaves_out(tmp_path):
    words = [0x2005, 0x3001, 0x4007, 0x8001, 0x6001, 0x0009, 0x2006, 0x9000, 0xC000]
    data = b"% evt 3.0\n% end\n" + struct.pack(f"<{len(words)}H", *words)
    found = formats.read(written(tmp_path, data))
    assert found.odd == (
        "4 events before the first time are left out",
        "2 rows of an unknown kind are left out",
    )
    same(found, [6], [9], [4097], [0])


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8", "i2", "f4"])
def test_columns_of_unsigned_arrays_are_told_apart(kind, tmp_path):
    rng = np.random.default_rng(14)
    x, y, t, p = event_files.random_events(rng, 300, 34, 34, 200)
    rows = np.stack([x, y, t, p], axis=1).astype(kind)
    np.save(tmp_path / "a.npy", rows)
    same(formats.read(tmp_path / "a.npy", unit="us"), x, y, t, p)


def test_a_dat_file_that_is_cut_and_text_after_percent_signs_are_read(tmp_path):
    events = event_files.random_events(np.random.default_rng(15), 100)
    found = formats.read(written(tmp_path, event_files.dat(*events)[:-3]))
    same(found, *(column[:-1] for column in events))
    assert found.odd == ("5 bytes at the end are no whole row and are left out",)
    found = formats.read(written(tmp_path, event_files.text(*events, head="% t x y p\n")))
    assert found.format == "text"
    same(found, *events)
    found = formats.read(written(tmp_path, event_files.text(*events) + b"  \n \n"))
    same(found, *events)
    assert "cut off" not in " ".join(found.odd)


def test_a_link_that_leads_nowhere_does_not_hide_the_rest(tmp_path):
    events = event_files.random_events(np.random.default_rng(16))
    path = written(tmp_path, event_files.hdf5_dsec(*events))
    with h5py.File(path, "r+") as file:
        file["gone"] = h5py.SoftLink("/nowhere")
    same(formats.read(path), *events)


def test_objects_are_not_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(InputError, match="not a whole array of numbers"):
        formats.read(tmp_path / "a.npy")


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", np.zeros((10**6, 4)))
    with pytest.raises(InputError, match="would unpack to 32000"):
        formats.read(tmp_path / "a.npz")


def test_units_and_orders_are_checked(tmp_path):
    path = written(tmp_path, event_files.text([1], [2], [3], [1]))
    with pytest.raises(InputError, match="unit='hours' must be s, ms, us or ns"):
        formats.read(path, unit="hours")
    with pytest.raises(InputError, match="order='xxtp' must be letters of x, y, t, p"):
        formats.read(path, order="xxtp")
    with pytest.raises(InputError, match="cannot be read"):
        formats.read(tmp_path / "none")
