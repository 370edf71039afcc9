"""Says what a file or a folder of recordings holds, and what training would make of it.

    python -m experiments.inspect FILE --json=FILE
    python -m experiments.inspect FOLDER

For a file: its format, told by content, and which formats it is not; sensor, events, first and last
time, share of ON, what is odd; and a picture of its events by polarity over three parts of the time
(``--picture``). For a folder: recordings by class and split, and the frames that training makes.
``--order`` and ``--unit`` state what text and plain arrays leave open.
"""

import dataclasses
import json
import pathlib
import shlex

import tabulate
from absl import flags

from experiments import cli
from sast_jax import files
from sast_jax.data import inspection, sets
from sast_jax.data.formats import Stream
from sast_jax.data.sets import detection, loading
from sast_jax.errors import InputError
from sast_jax.reports import event_picture
from sast_jax.runs import settings

_JSON = flags.DEFINE_string("json", None, "file to write what was found to")
_PICTURE = flags.DEFINE_string(
    "picture", None, "file to draw the events to, .png or .svg; NAME.events.png by default"
)
_ORDER = flags.DEFINE_string("order", "", "columns of text and arrays, such as txyp")
_UNIT = flags.DEFINE_string("unit", "", "of the times of text and arrays: s, ms, us or ns")


def main(name: str) -> None:
    file, path = files.asked_for(_JSON.value), files.place(name)
    if path.is_dir():
        found, stream = _folder(path), None
    else:
        target = _target(path)
        found, stream = _file(path)
    if file is not None:
        files.write(file, json.dumps(found, indent=2))
    if stream is not None and target is not None and found["events"]:
        figure = event_picture.picture(stream, (found["height"], found["width"]))
        files.write_figure(target, figure, dpi=100)
        print(f"picture: {target}")


def _target(path) -> pathlib.Path | None:
    """Where to draw; None if nothing was asked for and nothing can be written here."""
    try:
        target = files.asked_for(_PICTURE.value or f"{path.stem}.events.png")
    except InputError as error:
        if _PICTURE.value:
            raise
        print(f"warning: no picture: {error} with --picture=FILE")
        return None
    event_picture.check(target)
    return target


def _file(path) -> tuple[dict, Stream]:
    found, stream = _inspected(path)
    length = (found["t_last"] - found["t_first"]) * 1e-6
    lines = {
        "format": found["format"],
        "not": ", ".join(found["not_formats"]),
        "sensor": f"{found['width']} x {found['height']} pixels",
        "events": f"{found['events']:,}",
        "times": f"{found['t_first']} to {found['t_last']} microseconds ({length:.4g} s)",
        "ON": f"{100 * found['on_share']:.1f} %" if found["events"] else "",
        "rate": f"{found['events_per_second']:,.0f} events a second" if length else "",
        "beside": ", ".join(f"{count} {kind}" for kind, count in found["beside"].items()),
    }
    print(f"{path}")
    for title, words in lines.items():
        if words:
            print(f"  {title:7} {words}")
    for line in found["warnings"]:
        print(f"warning: {line}")
    return found, stream


def _folder(path) -> dict:
    if found := detection.published_in(path):
        return _published(path, *found)
    data = sets.OwnData(path=str(path), order=_ORDER.value, unit=_UNIT.value)
    try:
        own = data.resolved()
    except InputError:
        alone = [entry for entry in sorted(path.iterdir()) if _reads(entry)]
        if not alone:
            raise
        return _alone(alone)
    found, chosen, how = own.contents()
    counts = {split: [found.items[i].label for i in some] for split, some in chosen.items()}
    rows = {name: {split: own.count(name) for split, own in counts.items()} for name in own.classes}
    _table(path, rows)
    events = sum(fact["events"] for fact in found.facts)
    formats = sorted({fact["format"] for fact in found.facts})
    height, width, _ = own.extent
    print(f"{len(found.items)} recordings of {events:,} events; formats: {', '.join(formats)}")
    given = {"path": str(path), "order": _ORDER.value, "unit": _UNIT.value}
    flags_ = " ".join(f"--config.data.{k}={shlex.quote(v)}" for k, v in given.items() if v)
    train = len(chosen["train"])
    if train < settings.config("recordings").batch_size:
        flags_ += f" --config.batch_size={max(1, train // 4)}"
    print(
        f"Training makes {own.time_bins} frames of {width} x {height} pixels over {own.duration} "
        f"ms, from a sensor of {own.sensor[1]} x {own.sensor[0]}; split: {how}:\n"
        f"  python -m experiments.recordings {flags_}"
    )
    training = {
        "sensor": list(own.sensor),
        "duration": own.duration,
        "time_bins": own.time_bins,
        "frame_shape": [height, width, 2],
        "split": how,
    }
    about = {"set": "recordings", "formats": formats, "events": events, "training": training}
    # What training says of them, which reads all of them; the cache keeps the frames for it.
    source = dataclasses.replace(own, allow_overlap=True).load()
    return _told(path, rows, about, source.warnings)


def _published(path, kind, found) -> dict:
    rows = {
        name: {split: int((own.labels_N == label).sum()) for split, own in found.items()}
        for label, name in enumerate(kind.published.classes)
    }
    _table(path, rows)
    print(
        f"{kind.published.name}; train on it:\n"
        f"  python -m experiments.{kind.name} --config.data.path={shlex.quote(str(path))}"
    )
    warnings = [line for own in found.values() for line in own.warnings]
    warnings += loading.copies(found, allow_overlap=True)
    return _told(path, rows, {"set": kind.name}, warnings)


def _told(path, rows, about, warnings) -> dict:
    warnings = list(warnings)
    for line in warnings:
        print(f"warning: {line}")
    count = sum(sum(own.values()) for own in rows.values())
    return {"folder": str(path), **about, "recordings": count, "classes": rows} | {
        "warnings": warnings
    }


def _alone(alone) -> dict:
    """Files in no class folder."""
    found = {path.name: _inspected(path)[0] for path in alone}
    keys = ("format", "width", "height", "events", "t_first", "t_last")
    rows = [
        [name, *(own[key] for key in keys), len(own["warnings"])] for name, own in found.items()
    ]
    print(tabulate.tabulate(rows, ["file", *keys, "warnings"]))
    line = "the files lie in no folder of a class, so they have no labels to train on"
    print(f"warning: {line}")
    return {"folder": str(alone[0].parent), "set": None, "files": found, "warnings": [line]}


def _inspected(path):
    return inspection.of_file(path, order=_ORDER.value, unit=_UNIT.value)


def _reads(path) -> bool:
    try:
        return path.is_file() and bool(_inspected(path))
    except InputError:
        return False


def _table(path, rows) -> None:
    splits = list(dict.fromkeys(split for own in rows.values() for split in own))
    table = [[name, *(own.get(split, 0) for split in splits)] for name, own in rows.items()]
    table.append(["all", *(sum(row[i + 1] for row in table) for i in range(len(splits)))])
    print(f"{path}")
    print(tabulate.tabulate(table, ["class", *splits]))


if __name__ == "__main__":
    cli.run(main, argument="FILE_OR_FOLDER")
