"""Evaluates a trained run: soft and hard, on hardware, on corrupted recordings.

    python -m experiments.evaluate --checkpoint=WORKDIR --data_path=FOLDER --json=FILE

WORKDIR is the folder of a run; only its checkpoint is read. FOLDER holds recordings in the layout
that the run was trained on, with a test split; it needs no train split and not every class. FILE
receives the runs with the keys of ``results.json``. If the checkpoint holds a single run, its keys
also stand at the top.

Word widths, mismatches and faults are those of the run's ``config.hardware``; flags such as
``--hardware.weight_bits=4,2 --hardware.membrane_bits=12`` change them. Corruptions are changed in
the same way: ``--corruptions.kinds=event_drop,noise --corruptions.severities=1,2,3,4,5``. Scales of
weights are chosen on the run's training recordings, as after training. If these are gone, a warning
says so and the scales are chosen without them.

A network trained on simulated recordings has seen the digits of N-MNIST's training files up to
5848; ``--split=train --above=5848`` evaluates it on the others.
"""

import json

from absl import flags

from experiments import cli
from sast_jax import files
from sast_jax.data.sets import selection
from sast_jax.errors import InputError
from sast_jax.reports import results
from sast_jax.runs import machine, measure, reloaded
from sast_jax.runs.groups import CorruptionKeys, HardwareKeys, kinds_of

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "workdir of the run", required=True)
_DATA_PATH = flags.DEFINE_string("data_path", None, "folder with recordings; the run's own if none")
_SPLIT, _ABOVE = cli.define_split()
_JSON = flags.DEFINE_string("json", None, "file to write the results to")
_HARDWARE = cli.define_settings("hardware", HardwareKeys())
_CORRUPTIONS = cli.define_settings("corruptions", CorruptionKeys())


def main() -> None:
    file = files.asked_for(_JSON.value)
    found = reloaded.load(files.place(_CHECKPOINT.value))
    record, settings = found.record, found.settings.changed(_HARDWARE() | _CORRUPTIONS())
    found = found._replace(settings=settings)
    hardware = settings.hardware
    tried = hardware.weight_bits or hardware.draws or kinds_of(settings.corruptions.kinds)
    train = reloaded.calibration_set(found) if tried else None
    data = settings.data
    if _DATA_PATH.value is not None:
        data = data.elsewhere(_DATA_PATH.value)
    try:
        source = data.load((_SPLIT.value,))
    except InputError as error:
        more = "" if _DATA_PATH.value else "; or name another folder with --data_path=FOLDER"
        raise InputError(f"{error}{more}") from error
    chosen_N = selection.chosen(source, _SPLIT.value, _ABOVE.value)
    frames = source.frames(_SPLIT.value).take(chosen_N)
    chosen = f" of files above {_ABOVE.value}" if _ABOVE.value else ""
    words = f"{source.name}; {len(frames.truth_M)} {_SPLIT.value} recordings{chosen}"
    print(f"Data: {words}")
    print(f"Trained on: {record['data']}")
    selection.warn(source, frames, record["simulated"])
    reloaded.warn_of_trained_on(found, source, _SPLIT.value)
    benches_R = measure.benches(found.trained, train, settings)
    measured = measure.measure(found.trained, benches_R, frames, settings)
    recorded = measure.recorded(source, _SPLIT.value, settings)
    corrupted = measure.corrupted(benches_R, recorded, settings, chosen_N)
    measured = [one | other for one, other in zip(measured, corrupted, strict=True)]
    about = {
        "experiment": record["experiment"],
        "data": words,
        "trained_on": record["data"],
        "train_recordings": record["train_recordings"],
        "epoch": record["epoch"],
        "environment": machine.environment(),
    }
    entries = results.entries(found.runs, measured, record["train_seconds"], record["finite"])
    done = results.collect(settings.as_dict(), about, entries)
    measure.show(done)
    if file is not None:
        only = done["runs"][0] if len(found.runs) == 1 else {}
        files.write(file, json.dumps(only | done, indent=2))
    measure.raise_failure(done["runs"], f"evaluate --checkpoint={_CHECKPOINT.value}")


if __name__ == "__main__":
    cli.run(main)
