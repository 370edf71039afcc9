"""Networks out of NIR files, with recordings to try them on."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from sast_jax import files
from sast_jax.data import packing, sets
from sast_jax.data.sets import detection, selection
from sast_jax.data.sets.loading import Source
from sast_jax.errors import InputError
from sast_jax.evaluation import swap
from sast_jax.fields import checked
from sast_jax.hardware.graphs.dialects import Dialect
from sast_jax.hardware.graphs.network import READOUTS, Graph, GraphNetwork
from sast_jax.hardware.nir_graph import PRODUCER
from sast_jax.snn import readouts


class Meaning(NamedTuple):
    """What a NIR file leaves open, as a user states it.

    Attributes:
      source: name of the program that wrote it, a key of ``DIALECTS``.
      dt: seconds of a step; 0 for that of the file or of the program.
      reset: one of ``RESETS``; "" for that of the program.
      readout: a key of ``READOUTS``; "" for that of the file, else the mean.
      order: of the pixels of a frame where the input is a vector, "CHW" or "HWC".
    """

    source: str = "nir"
    dt: float = 0.0
    reset: str = ""
    readout: str = ""
    order: str = "CHW"


class Tried(NamedTuple):
    """A network and what it is tried on.

    Attributes:
      network: of the file.
      about: metadata of the file.
      dialect: how its neurons are meant.
      order: of the pixels, where frames are vectors.
      data: settings of the recordings.
      source: the recordings.
      split: which of them.
      frames: those of the split that were chosen.
      chosen_N: their indices.
      notes: a line for each thing that the user states and the file states differently.
    """

    network: GraphNetwork
    about: dict[str, Any]
    dialect: Dialect
    order: str
    data: sets.Data
    source: Source
    split: str
    frames: packing.Frames
    chosen_N: np.ndarray
    notes: list[str]


def load(
    file: pathlib.Path,
    folder: str,
    meaning: Meaning,
    *,
    dataset: str = "",
    changes: Mapping[str, Any] | None = None,
    split: str = "test",
    above: int = 0,
) -> Tried:
    """Reads a NIR file and the recordings of a folder.

    Args:
      file: of the network.
      folder: with recordings.
      meaning: what the file leaves open.
      dataset: name of the kind of recordings, a key of ``SETS``; "" for that of the file, else the
        one that the folder holds.
      changes: keys of ``config.data`` and their values.
      split, above: which recordings; see :func:`sast_jax.data.sets.selection.chosen`.

    Raises:
      InputError: the file cannot be run, or not on these recordings.
    """
    graph = Graph.read(file)
    data = _data(graph, folder, dataset, changes or {})
    dialect = graph.dialect(meaning.source, meaning.dt, meaning.reset)
    try:
        source = data.load((split,))
    except InputError as error:
        kinds = "|".join(sets.SETS)
        told = dataset or graph.about.get("producer") == PRODUCER
        there = files.place(folder).is_dir()
        more = f"; --dataset={kinds} states what the folder holds" if there and not told else ""
        raise InputError(f"{error}{more}") from error
    chosen_N = selection.chosen(source, split, above)
    frames = source.frames(split).take(chosen_N)
    readout = _readout(graph, meaning.readout)
    network = graph.on(source.frame_shape, dialect, readout, meaning.order)
    outputs = len(network.listed[-1].bias)
    if outputs != source.classes:
        raise InputError(
            f"{file}: has {outputs} outputs; these recordings have {source.classes} classes"
        )
    about = graph.about
    notes = _overridden(about, meaning, data)
    return Tried(
        network, about, dialect, meaning.order, data, source, split, frames, chosen_N, notes
    )


def _overridden(about, meaning, data) -> list[str]:
    """A line for each thing that the user states and the file states differently."""
    pairs = {"dt": (about.get("dt"), meaning.dt or None)}
    if about.get("producer") == PRODUCER:
        read = about.get("readout")
        same = meaning.readout == "mean" and read in readouts.READOUTS  # both take means
        pairs |= {
            "source": (PRODUCER, None if meaning.source == "nir" else meaning.source),
            "reset": (about.get("reset"), meaning.reset or None),
            "readout": (read, None if same else meaning.readout or None),
            "order": (about.get("input_order"), meaning.order),
            "dataset": (about.get("experiment"), data.name),
        }
        framing = data.framing()
        pairs |= {f"data.{key}": (about.get(key), value) for key, value in framing.items()}
    return [
        f"the file says {key.removeprefix('data.')} {stated}; {key} {value} is taken"
        for key, (stated, value) in pairs.items()
        if stated is not None and value is not None and not np.array_equal(stated, value)
    ]


def summary(tried: Tried) -> dict:
    """What the network answers; see :func:`sast_jax.evaluation.swap.summary_of`.

    Rates are those of layers that spike, and None for the others.
    """
    network, frames = tried.network, tried.frames
    measured = swap.summary_of(network.answer(frames), frames.truth_M, frames.labels_N)
    fires = [kind.spikes for kind in network.model.kinds]
    rates = [rate if own else None for rate, own in zip(measured["rates"], fires, strict=True)]
    known = [rate for rate in rates if rate is not None]
    measured |= {"rates": rates, "rate": float(np.mean(known)) if known else None}
    return {f"hard_{key}": value for key, value in measured.items()}


def words(tried: Tried) -> str:
    """How the neurons of a file are meant, in words."""
    own = tried.dialect
    leak = "exp(-dt / tau)" if own.exponential else "1 - dt / tau"
    parts = [f"steps of {own.dt:g} s", f"{leak} of a potential is left after one"]
    resets = {"zero": "resets the potential", "subtract": "subtracts the threshold"}
    resets["subtract-late"] = "subtracts the threshold a step later"
    parts.append(f"a spike {resets[own.reset]}")
    if own.synaptic_reset not in ("", own.reset):
        parts.append(f"that of a CubaLIF {resets[own.synaptic_reset]}")
    others = {
        "inputs are taken without r": not own.resists,
        "those of IF neurons without r dt": not own.integrates,
        "those of a CubaLIF's current whole": own.jumps,
        "spikes are sent a step later": own.delayed,
    }
    parts += [words_ for words_, holds in others.items() if holds]
    readout, bins = type(tried.network.model.readout).__name__, tried.data.time_bins
    parts.append(f"frames of {bins} steps, pixels in the order {tried.order}, readout {readout}")
    return ", ".join(parts)


def _data(graph, folder, dataset, changes) -> sets.Data:
    """Where the recordings are and how they are framed, by the file's metadata and the user."""
    about, own = graph.about, graph.about.get("producer") == PRODUCER
    try:
        if not own or dataset not in ("", about.get("experiment")):
            path = files.place(folder)
            found = detection.published_in(path)
            kind = sets.SETS[dataset] if dataset else found[0] if found else sets.OwnData
            data = kind().elsewhere(folder)
        else:
            needed = {"experiment", "trained_on", "simulated"}
            if missing := needed - about.keys():
                raise KeyError(min(missing))
            default = sets.SETS[about["experiment"]]()
            framing = {key: _as(usual, about[key]) for key, usual in default.framing().items()}
            data = dataclasses.replace(default.elsewhere(folder), **framing)
            checked(data, "data.")
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise _unusable(graph, error) from error
    known = {field.name for field in dataclasses.fields(data)}
    if unknown := sorted(set(changes) - known):
        raise InputError(f"--data.{unknown[0]}: {data.name} has no such key")
    data = dataclasses.replace(data, **changes)
    checked(data, "data.")
    data.check()
    return data


def _unusable(graph, error) -> InputError:
    return InputError(
        f"{graph.name}: its metadata cannot be used ({error}); export it with this version"
    )


def _readout(graph, name: str) -> readouts.Readout:
    """How class scores are read, by the user, or by the file's metadata."""
    about = graph.about
    if name or about.get("producer") != PRODUCER:
        return READOUTS[name or "mean"]()
    try:
        if (stated := about["readout"]) not in readouts.READOUTS:
            raise ValueError(f"readout {stated!r} is none of {', '.join(readouts.READOUTS)}")
        return readouts.READOUTS[stated](float(about["readout_scale"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable(graph, error) from error


def _as(usual, value):
    """A value of the metadata in the type that a setting usually has."""
    if isinstance(usual, tuple):
        plain = np.ravel(value).tolist()
        return tuple(one.decode() if isinstance(one, bytes) else one for one in plain)
    return type(usual)(value)
