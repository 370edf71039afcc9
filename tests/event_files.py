"""Writes recordings in every event format, row by row, for tests.

Every writer takes columns x, y, t (microseconds) and p (0 or 1) of one recording, sorted by time,
and returns the bytes of a file.
"""

import io
import pathlib
import struct
import tempfile

import event_stream
import flatbuffers
import h5py
import nmnist_files
import numpy as np
import scipy.io

COLUMNS = np.dtype([("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])


def random_events(rng, count=500, width=34, height=34, duration=100_000, start=0):
    x, y = rng.integers(0, width, count), rng.integers(0, height, count)
    return x, y, np.sort(rng.integers(0, duration, count)) + start, rng.integers(0, 2, count)


def _head(evt, width, height, more=()):
    lines = [f"% evt {evt}", *more, f"% geometry {width}x{height}", "% end"]
    return "".join(f"{line}\n" for line in lines).encode()


def evt2(x, y, t, p, width=34, height=34, header=True):
    words, high = [], None
    for own in zip(x, y, t, p, strict=True):
        column, row, time, polarity = map(int, own)
        if time >> 6 != high:
            high = time >> 6
            words.append(8 << 28 | high & 0xFFFFFFF)
        words.append(polarity << 28 | (time & 63) << 22 | column << 11 | row)
    return header * _head("2.0", width, height) + struct.pack(f"<{len(words)}I", *words)


def evt21(x, y, t, p, width=34, height=34, header=True, legacy=False):
    """Neighbours in x that fire together share a row."""
    words, high, groups = [], None, {}
    for own in zip(x, y, t, p, strict=True):
        column, row, time, polarity = map(int, own)
        key = time, row, polarity, column // 32 * 32, 0
        while column % 32 in groups.setdefault(key, set()):  # fired before at this time
            key = (*key[:4], key[4] + 1)
        groups[key].add(column % 32)
    for (time, row, polarity, base, _), bits in groups.items():
        if time >> 6 != high:
            high = time >> 6
            words.append((8 << 28 | high & 0xFFFFFFF) << 32)
        upper = polarity << 28 | (time & 63) << 22 | base << 11 | row
        words.append(upper << 32 | sum(1 << bit for bit in bits))
    if legacy:
        words = [word >> 32 | (word & 0xFFFFFFFF) << 32 for word in words]
    more = [f"% format EVT21;endianness={'legacy' if legacy else 'little'}"]
    body = struct.pack(f"<{len(words)}Q", *words)
    return header * _head("2.1", width, height, more) + body


def evt3(x, y, t, p, width=34, height=34, header=True):
    """What has not changed is left out; neighbours that fire together share vectors."""
    words, last_high, last_low, last_row = [], None, None, None
    events = list(zip(map(int, x), map(int, y), map(int, t), map(int, p), strict=True))
    at = 0
    while at < len(events):
        column, row, time, polarity = events[at]
        if time >> 12 != last_high:
            last_high = time >> 12
            words.append(0x8000 | last_high & 0xFFF)
            last_low = None
        if time & 0xFFF != last_low:
            last_low = time & 0xFFF
            words.append(0x6000 | last_low)
        if row != last_row:
            last_row = row
            words.append(row)
        run = 1
        while at + run < len(events) and events[at + run] == (column + run, row, time, polarity):
            run += 1
        if run >= 12:
            words.append(0x3000 | polarity << 11 | column)
            words.append(0x4FFF)
            at += 12
        elif run >= 8:
            words.append(0x3000 | polarity << 11 | column)
            words.append(0x50FF)
            at += 8
        else:
            words.append(0x2000 | polarity << 11 | column)
            at += 1
    return header * _head("3.0", width, height) + struct.pack(f"<{len(words)}H", *words)


def dat(x, y, t, p, width=34, height=34, version=2):
    lines = "% Data file containing CD events.\n", f"% Version {version}\n"
    head = "".join((*lines, f"% Width {width}\n", f"% Height {height}\n")).encode()
    bits = (0, 14, 28) if version == 2 else (0, 9, 17)
    rows = b"".join(
        struct.pack(
            "<II", time & 0xFFFFFFFF, int(a) << bits[0] | int(b) << bits[1] | int(q) << bits[2]
        )
        for a, b, time, q in zip(x, y, map(int, t), p, strict=True)
    )
    return head + bytes([12, 8]) + rows


def aedat2(x, y, t, p, chip="DVS128", between=()):
    """``between``: (address, time) pairs that lie between the events."""
    if chip == "DVS128":
        named = "ch.unizh.ini.jaer.chip.retina.DVS128"
        rows = [
            (1 - int(q) | (127 - int(a)) << 1 | (127 - int(b)) << 8, int(time) & 0xFFFFFFFF)
            for a, b, time, q in zip(x, y, t, p, strict=True)
        ]
    else:
        named = f"eu.seebetter.ini.chips.davis.{chip}"
        width, height = {"DAVIS240C": (240, 180), "Davis346B": (346, 260)}[chip]
        rows = [
            (int(q) << 11 | (width - 1 - int(a)) << 12 | (height - 1 - int(b)) << 22, int(time))
            for a, b, time, q in zip(x, y, t, p, strict=True)
        ]
    rows = sorted([*rows, *between], key=lambda row: row[1]) if between else rows
    head = f"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n# AEChip: {named}\r\n"
    return head.encode() + b"".join(struct.pack(">II", *row) for row in rows)


def aedat31(x, y, t, p, packet=100, invalid=()):
    body = b""
    for start in range(0, len(t), packet):
        rows = range(start, min(start + packet, len(t)))
        while rows:  # a packet is of one overflow
            over = int(t[rows[0]]) >> 31
            same = [i for i in rows if int(t[i]) >> 31 == over]
            body += struct.pack("<hhiiiiii", 1, 1, 8, 4, over, len(same), len(same), len(same))
            for i in same:
                word = int(i not in invalid) | int(p[i]) << 1 | int(y[i]) << 2 | int(x[i]) << 17
                body += struct.pack("<II", word, int(t[i]) & 0x7FFFFFFF)
            rows = [i for i in rows if i not in set(same)]
    return b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n" + body


def aedat4(x, y, t, p, width=34, height=34, packet=200):
    """Packets without compression; the header is DV's XML."""
    info = (
        '<dv version="2.0"><node name="outInfo" path="/outInfo/"><node name="0" path="/outInfo/0/">'
        '<attr key="compression" type="string">NONE</attr>'
        '<attr key="typeIdentifier" type="string">EVTS</attr>'
        '<attr key="originalOutputName" type="string">events</attr>'
        '<node name="info" path="/outInfo/0/info/">'
        f'<attr key="sizeX" type="int">{width}</attr><attr key="sizeY" type="int">{height}</attr>'
        '<attr key="source" type="string">DVXplorer</attr>'
        "</node></node></node></dv>"
    )
    builder = flatbuffers.Builder(1024)
    text = builder.CreateString(info)
    builder.StartObject(3)
    builder.PrependInt32Slot(0, 0, 0)
    builder.PrependInt64Slot(1, -1, 0)
    builder.PrependUOffsetTRelativeSlot(2, text, 0)
    builder.FinishSizePrefixed(builder.EndObject(), b"IOHE")
    data = b"#!AER-DAT4.0\r\n" + bytes(builder.Output())
    for start in range(0, len(t), packet):
        rows = range(start, min(start + packet, len(t)))
        builder = flatbuffers.Builder(1024)
        builder.StartVector(16, len(rows), 8)
        for i in reversed(rows):
            builder.Prep(8, 16)
            builder.Pad(3)
            builder.PrependBool(bool(p[i]))
            builder.PrependInt16(int(y[i]))
            builder.PrependInt16(int(x[i]))
            builder.PrependInt64(int(t[i]))
        vector = builder.EndVector()
        builder.StartObject(1)
        builder.PrependUOffsetTRelativeSlot(0, vector, 0)
        builder.FinishSizePrefixed(builder.EndObject(), b"EVTS")
        content = bytes(builder.Output())
        data += struct.pack("<ii", 0, len(content)) + content
    return data


def event_stream_2(x, y, t, p, width=34, height=34):
    """By the format's own encoder; its y begins at the bottom."""
    events = np.zeros(len(t), event_stream.dvs_dtype)
    events["t"], events["x"], events["y"], events["on"] = t, x, height - 1 - np.asarray(y), p
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "a.es")
        with event_stream.Encoder(str(path), "dvs", width, height) as encoder:
            encoder.write(events)
        return path.read_bytes()


def _rows(x, y, t, p, order="txyp"):
    own = {"x": x, "y": y, "t": t, "p": p}
    return np.stack([own[letter] for letter in order], axis=1)


def _structured(x, y, t, p):
    made = np.zeros(len(t), COLUMNS)
    made["x"], made["y"], made["t"], made["p"] = x, y, t, p
    return made


def npy(x, y, t, p, order="xytp"):
    file = io.BytesIO()
    np.save(file, _rows(x, y, t, p, order))
    return file.getvalue()


def npy_structured(x, y, t, p):
    file = io.BytesIO()
    np.save(file, _structured(x, y, t, p))
    return file.getvalue()


def npz(x, y, t, p):
    file = io.BytesIO()
    np.savez(file, x=x, y=y, t=t, p=p)
    return file.getvalue()


def mat(x, y, t, p):
    """As ASL-DVS has it: columns ts, x, y and pol."""
    file = io.BytesIO()
    columns = {"ts": t, "x": x, "y": y, "pol": p}
    scipy.io.savemat(file, {name: np.asarray(c).reshape(-1, 1) for name, c in columns.items()})
    return file.getvalue()


def text(x, y, t, p, separator=" ", head="", end="\n", order="txyp", number=str):
    rows = _rows(x, y, t, p, order).tolist()
    at = order.index("t")
    lines = [
        separator.join(number(v) if i == at else str(v) for i, v in enumerate(row)) for row in rows
    ]
    return (head + end.join(lines) + end).encode()


def hdf5_prophesee(x, y, t, p, width=34, height=34, **options):
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        h5.attrs["geometry"] = f"{width}x{height}"
        h5.create_dataset("CD/events", data=_structured(x, y, t, p), **options)
        h5["CD/indexes"] = np.zeros(3, [("id", "<u8"), ("ts", "<i8")])
        h5["EXT_TRIGGER/events"] = np.zeros(2, [("p", "<i2"), ("t", "<i8"), ("id", "<i2")])
    return file.getvalue()


def hdf5_dsec(x, y, t, p, offset=0, **options):
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        for name, column in {"x": x, "y": y, "t": np.asarray(t) - offset, "p": p}.items():
            h5.create_dataset(f"events/{name}", data=column, **options)
        h5["ms_to_idx"] = np.zeros(3, np.uint64)
        h5["t_offset"] = offset
    return file.getvalue()


def rows_40(x, y, t, p):
    return nmnist_files.encode(t, x, y, p)


def rows_56(x, y, t, p):
    return b"".join(
        (int(a) << 44 | int(b) << 32 | int(q) << 24 | int(time)).to_bytes(7, "big")
        for a, b, time, q in zip(x, y, t, p, strict=True)
    )


WRITERS = {
    "EVT2": (evt2, ".raw"),
    "EVT21": (evt21, ".raw"),
    "EVT3": (evt3, ".raw"),
    "DAT": (dat, ".dat"),
    "AEDAT2": (aedat2, ".aedat"),
    "AEDAT3.1": (aedat31, ".aedat"),
    "AEDAT4": (aedat4, ".aedat4"),
    "Event Stream": (event_stream_2, ".es"),
    "NPY": (npy_structured, ".npy"),
    "NPZ": (npz, ".npz"),
    "MAT": (mat, ".mat"),
    "text": (text, ".txt"),
    "Prophesee HDF5": (hdf5_prophesee, ".h5"),
    "DSEC HDF5": (hdf5_dsec, ".h5"),
    "40 bits": (rows_40, ".bin"),
    "56 bits": (rows_56, ".bin"),
}
"""By format: writer and usual ending."""
