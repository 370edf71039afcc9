"""Evaluates the hard network of a NIR file, whoever wrote it.

    python -m experiments.evaluate_nir --file=FILE --data_path=FOLDER
    python -m experiments.evaluate_nir --file=FILE --data_path=FOLDER --source=snntorch

The accuracy is that of the network in the file, with its weights scaled and rounded as they are
there. Files of ``experiments.export`` say how frames are made and how a step is meant. For others
``--source`` names the program that wrote the file: snntorch, spikingjelly, norse, sinabs or spyx.
``--dt`` states the seconds of a step, ``--reset`` what a spike does, ``--readout`` how classes are
read, ``--order`` how pixels are numbered; ``--dataset`` and ``--data.KEY`` say what FOLDER holds
and how its frames are made, such as ``--data.time_bins=20``.
"""

import dataclasses
import json

from absl import flags

from experiments import cli
from sast_jax import files
from sast_jax.data.sets import selection
from sast_jax.reports import results
from sast_jax.runs import foreign

_FILE = flags.DEFINE_string("file", None, "NIR file", required=True)
_TRIED = cli.define_foreign()
_JSON = flags.DEFINE_string("json", None, "file to write the results to")


def main() -> None:
    file = files.asked_for(_JSON.value)
    tried = _TRIED(_FILE.value)
    source, frames = tried.source, tried.frames
    count = len(frames.truth_M)
    print(f"Data: {source.name}; {count} {tried.split} recordings")
    print(f"Network: {foreign.words(tried)}")
    for line in tried.notes:
        print(f"note: {line}")
    print(f"Trained on: {tried.about.get('trained_on', 'not known')}")
    selection.warn(source, frames, bool(tried.about.get("simulated")))
    done = {
        "recordings": count,
        "data": source.name,
        "dialect": dataclasses.asdict(tried.dialect),
        "meaning": foreign.words(tried),
        "notes": tried.notes,
        **foreign.summary(tried),
    }
    low, high = (100 * end for end in done["hard_accuracy_ci95"])
    print(
        f"hard accuracy {100 * done['hard_accuracy']:.2f} % [{low:.2f}, {high:.2f}] on "
        f"{done['recordings']} recordings"
    )
    if file is not None:
        files.write(file, json.dumps(results.finite(done), indent=2))


if __name__ == "__main__":
    cli.run(main)
