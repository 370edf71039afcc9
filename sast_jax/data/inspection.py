"""What a file of events holds, and what is odd about it."""

import os
import pathlib
from typing import Any

from sast_jax.data import survey
from sast_jax.data.formats import Stream, read
from sast_jax.data.formats.stream import active_pixels, reached
from sast_jax.data.layouts import facts

_LATE = 10**6  # microseconds after which a recording begins late
_SHARED = {  # formats with the same usual ending
    ".raw": ("EVT2", "EVT21", "EVT3"),
    ".dat": ("DAT",),
    ".aedat": ("AEDAT2", "AEDAT3.1"),
    ".aedat4": ("AEDAT4",),
    ".es": ("Event Stream",),
    ".bin": ("40 bits", "56 bits", "EVT2", "EVT21", "EVT3"),
    ".bs2": ("40 bits", "56 bits"),
    ".h5": ("Prophesee HDF5", "DSEC HDF5", "HDF5"),
    ".hdf5": ("Prophesee HDF5", "DSEC HDF5", "HDF5"),
    ".npy": ("NPY",),
    ".npz": ("NPZ",),
    ".mat": ("MAT", "HDF5"),
    ".txt": ("text",),
    ".csv": ("text",),
}


def of_file(
    path: str | os.PathLike, *, order: str = "", unit: str = ""
) -> tuple[dict[str, Any], Stream]:
    """What a file holds, as values that JSON can hold, and its events.

    Args:
      path: of the file.
      order, unit: see :func:`sast_jax.data.formats.read`.

    Returns:
      A dict with ``format``, ``width`` and ``height`` (pixels; of the largest event if the file
      states none), ``events``, ``t_first`` and ``t_last`` (microseconds), ``on_share`` (None
      without events), ``events_per_second``, ``not_formats`` (others of this ending, which it is
      not), ``beside`` (what else is in the file) and ``warnings``; and the events.

    Raises:
      InputError: it cannot be read.
    """
    stream = read(path, order=order, unit=unit)
    events = facts.as_events(stream)
    row = survey.of_events(events)[0]
    count, first, last = int(row["events"]), int(row["first"]), int(row["last"])
    rows, columns = reached(stream)
    height, width = stream.sensor or (rows, columns)
    seconds = (last - first) * 1e-6
    ending = pathlib.Path(path).suffix.lower()
    shared = _SHARED.get(ending, ())
    found = {
        "format": stream.format,
        "width": width,
        "height": height,
        "events": count,
        "t_first": first,
        "t_last": last,
        "on_share": int(row["on"]) / count if count else None,
        "events_per_second": count / seconds if seconds else None,
        "not_formats": [kind for kind in shared if kind != stream.format],
        "beside": dict(stream.beside),
    }
    odd = list(stream.odd)
    if shared and stream.format not in shared:
        odd.append(f"its ending is {ending}, but its content is {stream.format}")
    if stream.sensor is None and count:
        odd.append(f"it states no size of the sensor; the largest event fits {width}x{height}")
    elif rows > height or columns > width:
        reason = survey.elsewhere(columns - 1, rows - 1, height, width)
        odd.append(f"events reach {columns}x{rows} pixels of {width}x{height}; {reason}")
    return found | {"warnings": odd + _of_events(row, events)}, stream


def _of_events(row, events) -> list[str]:
    count, first, last = int(row["events"]), int(row["first"]), int(row["last"])
    if not count:
        return ["it holds no events"]
    odd = []
    if events.unsorted_N[0]:
        odd.append("its times run backwards in places; they are sorted")
    if first < 0:
        odd.append(f"its times begin before 0, at {first} microseconds")
    if first > 1e15:
        odd.append("its times count from 1970; training counts from the first event")
    elif first > _LATE:
        odd.append(f"it begins at {first * 1e-6:.6g} s; training counts from the first event")
    length = last - first
    if count > 1 and not length:
        odd.append("all its events have one time; is the clock missing?")
    if count > 1 and int(row["pause"]) > length / 2:
        odd.append(f"it pauses for {row['pause'] * 1e-6:.4g} s of {length * 1e-6:.4g} s")
    if count > 1 and int(row["on"]) in (0, count):
        odd.append(f"all its events are {'ON' if row['on'] else 'OFF'}")
    pixels = active_pixels(events.x_M, events.y_M)
    odd.append(survey.rate_warning(count, pixels, length))
    return [line for line in odd if line]
