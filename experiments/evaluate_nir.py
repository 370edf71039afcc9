"""Evaluates the hard network of a NIR file that ``experiments.export`` has written.

    python -m experiments.evaluate_nir --file=FILE --data_path=FOLDER

The accuracy is that of the network in the file, with its weights scaled and rounded as they are
there. FOLDER holds recordings in the layout that the run was trained on.
"""

import dataclasses
import json
import pathlib
from typing import NamedTuple

import jax
import numpy as np
from absl import flags

from experiments import cli
from sast_jax.data import packing, sets
from sast_jax.data.sets import selection
from sast_jax.errors import InputError
from sast_jax.evaluation import swap
from sast_jax.hardware import nir_graph
from sast_jax.reports import results
from sast_jax.runs import files
from sast_jax.runs.settings import Settings
from sast_jax.snn import connections, neurons, readouts

_FILE = flags.DEFINE_string("file", None, "NIR file", required=True)
_DATA_PATH = flags.DEFINE_string("data_path", None, "folder with recordings", required=True)
_SPLIT, _ABOVE = cli.define_split()
_JSON = flags.DEFINE_string("json", None, "file to write the results to")


class Exported(NamedTuple):
    """The network of a NIR file as a model: networks are lists of connections.

    Attributes:
      frame_shape, neuron, decay: of the network.
      readout: how class scores are read.
    """

    frame_shape: tuple[int, int, int]
    neuron: neurons.Neuron
    decay: float
    readout: readouts.Readout

    def __call__(self, network, packed_BxTxP: jax.Array) -> swap.Outcome:
        frames = packing.time_first(packed_BxTxP, self.frame_shape)
        cells = connections.alike(self.neuron.hard(self.decay), network)
        response = connections.respond(network, cells, frames)
        return swap.read(self.readout, response)


def main() -> None:
    file = files.asked_for(_JSON.value)
    hard, about = nir_graph.read(pathlib.Path(_FILE.value).expanduser())
    readout, data = _settings(about)
    source = data.load((_SPLIT.value,))
    chosen_N = selection.chosen(source, _SPLIT.value, _ABOVE.value)
    frames = getattr(source, _SPLIT.value).take(chosen_N)
    count = len(frames.truth_M)
    if hard.frame_shape != source.frame_shape or len(hard.connections[-1].bias) != source.classes:
        raise InputError(
            f"{_FILE.value}: takes frames of {hard.frame_shape} and has "
            f"{len(hard.connections[-1].bias)} outputs; these recordings have "
            f"{source.frame_shape} and {source.classes} classes"
        )
    print(f"Data: {source.name}; {count} {_SPLIT.value} recordings")
    print(f"Trained on: {about['trained_on']}")
    selection.warn(source, frames, bool(about["simulated"]))
    model = Exported(hard.frame_shape, hard.neuron, hard.decay, readout)
    network_R = jax.tree.map(lambda leaf: leaf[None], list(hard.connections))
    answers = swap.answer(model, network_R, frames.packed_NxTxP)
    only = jax.tree.map(lambda leaf: leaf[0], swap.by_recording(answers, frames))
    measured = swap.summary_of(only, frames.truth_M, frames.labels_N)
    done = {f"hard_{key}": value for key, value in measured.items()}
    done = {"recordings": count, "data": source.name, **done}
    low, high = (100 * end for end in done["hard_accuracy_ci95"])
    print(
        f"hard accuracy {100 * done['hard_accuracy']:.2f} % [{low:.2f}, {high:.2f}] on "
        f"{done['recordings']} recordings"
    )
    if file is not None:
        files.write(file, json.dumps(results.finite(done), indent=2))


def _settings(about: dict) -> tuple[readouts.Readout, sets.Data]:
    """The readout, and where the recordings are and how they are framed, by a file's metadata."""
    needed = {"experiment", "readout", "readout_scale", "trained_on", "simulated"}
    try:
        if missing := needed - about.keys():
            raise KeyError(min(missing))
        default = sets.SETS[about["experiment"]]()
        framing = {key: _as(usual, about[key]) for key, usual in default.framing().items()}
        data = dataclasses.replace(default.elsewhere(_DATA_PATH.value), **framing)
        scale = float(about["readout_scale"])
        given = Settings(data=data, readout=about["readout"], readout_scale=scale)
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise InputError(
            f"{_FILE.value}: its metadata cannot be used ({error}); export it with this version"
        ) from error
    return readouts.READOUTS[given.readout](given.readout_scale), given.data


def _as(usual, value):
    """A value of the metadata in the type that a setting usually has."""
    if isinstance(usual, tuple):
        plain = np.ravel(value).tolist()
        return tuple(one.decode() if isinstance(one, bytes) else one for one in plain)
    return type(usual)(value)


if __name__ == "__main__":
    cli.run(main)
