"""Tries the hard network of a NIR file, whoever wrote it, under the conditions of a chip.

    python -m experiments.bench --network=FILE.nir --data_path=FOLDER --source=snntorch --out=FOLDER

Word widths, mismatch, faults and corrupted recordings are those of a run's ``config.hardware`` and
``config.corruptions``; flags such as ``--hardware.weight_bits=4,2`` and
``--corruptions.kinds=noise`` change them. Scales of weights are chosen on the folder's training
recordings, where there are some. ``--out`` receives ``report.html`` and ``.md`` with plots, and
``results.json``. What the file leaves open is stated as for ``experiments.evaluate_nir``.
"""

import dataclasses
import json

from absl import flags

from experiments import cli
from sast_jax import files
from sast_jax.data import packing
from sast_jax.data.sets import selection
from sast_jax.errors import InputError, UnsupportedError
from sast_jax.hardware import bench as bench_lib, models
from sast_jax.reports import bench_page, results, tables
from sast_jax.runs import build, foreign, machine, measure
from sast_jax.runs.groups import CorruptionKeys, HardwareKeys
from sast_jax.runs.settings import Settings

_NETWORK = flags.DEFINE_string("network", None, "NIR file", required=True)
_OUT = flags.DEFINE_string("out", None, "folder for the page; FILE.bench if none")
_TRIED = cli.define_foreign()
_HARDWARE = cli.define_settings("hardware", HardwareKeys())
_CORRUPTIONS = cli.define_settings("corruptions", CorruptionKeys())


def main() -> None:
    path = files.place(_NETWORK.value)
    out = files.folder_asked_for(_OUT.value or f"{path.stem}.bench", "report.html")
    tried = _TRIED(_NETWORK.value)
    if (out / "report.html").is_file():
        print(f"{out}: what is there is replaced")
    settings = Settings(data=tried.data).changed(_HARDWARE() | _CORRUPTIONS())
    if settings.hardware.follow:
        raise InputError("--hardware.follow: thresholds follow events in runs of sast_jax alone")
    source, frames, network = tried.source, tried.frames, tried.network
    words = f"{source.name}; {len(frames.truth_M)} {tried.split} recordings"
    print(f"Data: {words}")
    selection.warn(source, frames, bool(tried.about.get("simulated")))
    for line in tried.notes:
        print(f"note: {line}")
    notes = [*tried.notes, *source.warnings, *source.caveats]
    calibration = _calibration(tried, settings, notes)
    bench = bench_lib.Bench(network, build.chip(settings), calibration)
    measured = foreign.summary(tried)
    (counted,) = models.count(network.with_run_axis(), frames)
    (rows,) = bench_lib.trials([bench], frames, build.conditions(settings))
    recorded = measure.recorded(source, tried.split, settings)
    (corrupted,) = measure.corrupted([bench], recorded, settings, tried.chosen_N)
    if any(own.recurrent for own in network.numbers):
        notes.append("Scales of recurrent weights are those of the largest weight.")
    if not network.model.kinds[-1].spikes:
        notes.append("The output layer does not spike: what it sends is intact under every fault.")
    run = {
        **measured,
        "recordings": len(frames.truth_M),
        "operations": counted,
        "hardware": rows,
        **corrupted,
    }
    about = {
        "network": path.name,
        "meaning": foreign.words(tried),
        "dialect": dataclasses.asdict(tried.dialect),
        "data": words,
        "class_names": source.class_names,
        "decay": _decay(network),
        "notes": notes,
        "environment": machine.environment(),
    }
    config = {key: settings.as_dict()[key] for key in ("data", "hardware", "corruptions")}
    done = results.collect(config, about, [run])
    bench_page.write(out, done, notes)
    files.write(out / "results.json", json.dumps(done, indent=2))
    for text in (tables.network(done), tables.hardware(done), tables.corruptions(done)):
        if text:
            print(text)
    for line in results.remarks(done["runs"]):
        print(f"note: {line}")
    print(f"report: {out / 'report.html'}")
    measure.raise_failure(done["runs"], f"bench --network={path} --data_path=FOLDER")


def _calibration(tried, settings, notes) -> packing.Frames | None:
    """The folder's training recordings, to choose scales of weights on; says if there are none."""
    given = settings.hardware
    if given.scale != "error" or not given.calibration:
        return None
    train, why = None, ""
    try:
        train = tried.data.load(("train",)).train
    except InputError as error:
        why = f" ({error})"
    if train is None:
        line = f"Scales of weights are chosen without calibration: no training recordings{why}."
        print(f"warning: {line}")
        notes.append(line)
    return measure.few(train, settings)


def _decay(network) -> float | None:
    """The decay of the integer network; None where there is none."""
    try:
        return network.uniform()[1]
    except UnsupportedError:
        return None


if __name__ == "__main__":
    cli.run(main)
