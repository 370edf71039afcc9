"""Exports a trained network with hard spikes.

    python -m experiments.export --checkpoint=WORKDIR --format=nir --out=FILE
    python -m experiments.export --checkpoint=WORKDIR --format=integers --out=FOLDER
    python -m experiments.export --checkpoint=WORKDIR --format=c --out=FOLDER

``nir`` is read by snnTorch, SpikingJelly and others; the command prints the line that loads it.
``--parameterisation=B`` is for programs that ignore the input resistance, such as Norse.
``stablehlo`` runs wherever XLA does, and can express what NIR cannot, such as a reset by
subtraction; ``onnx`` can as well. ``--weight_bits=4`` rounds the weights. Their scales are chosen
as ``config.hardware`` of the run says, and a NIR file keeps them in the metadata of its nodes.
``--run`` chooses one run of a sweep, by its place in the results.

``integers`` and ``c`` write a folder with the network in integers: weights of ``--weight_bits``
(8 if nothing says otherwise), and the membrane word and leak of ``config.hardware``, which flags
such as ``--hardware.membrane_bits=12`` change. ``integers`` has arrays, memory images for
``$readmemh`` and golden vectors; ``c`` is a C99 source with a header, compiled and measured here if
there is a C compiler. Both have a README, which says how many test recordings of the run, or of
``--data_path``, the network answers rightly, and 20 of these with all that it makes of them.
"""

import dataclasses
import io
import math

import nir
from absl import flags

from experiments import cli
from sast_jax import files
from sast_jax.data.sets import selection
from sast_jax.data.sets.loading import Source
from sast_jax.errors import InputError, UnsupportedError
from sast_jax.hardware import formats, nir_graph, onnx_file, stablehlo
from sast_jax.hardware.export import c_build, c_source, integer_files
from sast_jax.hardware.export.integer_network import IntegerNetwork
from sast_jax.runs import build, measure, reloaded
from sast_jax.runs.groups import HardwareKeys
from sast_jax.snn import neurons
from sast_jax.training.trained import Trained

GOLDEN = 20  # recordings that go with a network in integers
_FORMATS = ("nir", "stablehlo", "onnx", "integers", "c")
_ROUNDING = ("per_channel", "scale", "calibration")  # keys of config.hardware
_CHIP = ("membrane_bits", "headroom", "leak", "leak_bits", "leak_error")
_FOLDERS = {"integers": "network.npz", "c": "network.c"}  # and a file that tells a folder of them

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "workdir of the run", required=True)
_FORMAT = flags.DEFINE_enum("format", "nir", _FORMATS, "what to write")
_OUT = flags.DEFINE_string("out", None, "file or folder to write", required=True)
_RUN = flags.DEFINE_integer("run", 0, "which run of a sweep, in the order of its results")
_PARAMETERISATION = flags.DEFINE_enum(
    "parameterisation", "A", ["A", "B"], "NIR: weights as they are, or by 1 - decay larger"
)
_DT = flags.DEFINE_float("dt", 1e-4, "NIR: seconds of a step, which snnTorch has at 1e-4")
_BITS = flags.DEFINE_integer("weight_bits", 0, "round the weights to 2 to 8 bits; 0: as trained")
_DATA_PATH = flags.DEFINE_string(
    "data_path", None, "integers and c: folder with test recordings; the run's own if none"
)
_HARDWARE = cli.define_settings("hardware", HardwareKeys())


def main() -> None:
    _check_flags()
    mark = _FOLDERS.get(_FORMAT.value)
    out = files.folder_asked_for(_OUT.value, mark) if mark else files.asked_for(_OUT.value)
    if not 0 < _DT.value < math.inf:
        raise InputError(f"--dt={_DT.value} must be above 0 seconds")
    found = reloaded.load(files.place(_CHECKPOINT.value))
    found = found._replace(settings=found.settings.changed(_HARDWARE()))
    if not 0 <= _RUN.value < len(found.runs):
        raise InputError(f"--run={_RUN.value}: choose from 0 to {len(found.runs) - 1}")
    one = found.trained[_RUN.value]
    origin = _origin(found)
    others = f" of {len(found.runs)}; --run chooses another" if len(found.runs) > 1 else ""
    settings = ", ".join(f"{key} {value}" for key, value in found.runs[_RUN.value].items())
    print(f"run {_RUN.value}{others}: {settings}")
    if _FORMAT.value == "nir":
        _check_nir(one)
    if mark:
        _write_folder(found, one, out, origin)
    else:
        _write_file(found, one, out, origin)


def _check_flags() -> None:
    """Raises InputError for a flag that the format does not use."""
    if "hardware.weight_bits" in flags.FLAGS:
        raise InputError("--hardware.weight_bits: name one width with --weight_bits=4")
    folder, one = _FORMAT.value in _FOLDERS, _FORMAT.value
    used = {"parameterisation": one == "nir", "dt": one == "nir", "data_path": folder}
    rounds = folder or bool(_BITS.value)
    for key in HardwareKeys.__dataclass_fields__:
        used[f"hardware.{key}"] = rounds if key in _ROUNDING else folder and key in _CHIP
    for name, is_used in used.items():
        if not is_used and name in flags.FLAGS and flags.FLAGS[name].present:
            raise InputError(f"--{name}: --format={one} does not use it; leave it out")


def _origin(found) -> dict:
    """Which trained network is written."""
    record = found.record
    return {
        "experiment": record["experiment"],
        "trained_on": record["data"],
        "run": _RUN.value,
        **found.runs[_RUN.value],
    }


def _write_file(found, one, file, origin) -> None:
    bits = _BITS.value or found.settings.weights.bits
    network, scales = one.connections(), None
    if bits:
        _, kernels = _on_chip(found, one, bits)
        network, scales = formats.rounded(network, kernels), [k.scale for k in kernels]
    time_bins = found.settings.data.time_bins
    programs = {"stablehlo": stablehlo.export, "onnx": onnx_file.export}
    if _FORMAT.value in programs:
        data = programs[_FORMAT.value](one, network, time_bins)
    else:
        about = {
            **origin,
            "simulated": found.record["simulated"],
            **found.settings.data.framing(),
            "readout": found.settings.readout,
            "readout_scale": found.settings.readout_scale,
            "weight_bits": bits,
        }
        graph = nir_graph.to_graph(
            nir_graph.HardNetwork.of(one, network),
            parameterisation=_PARAMETERISATION.value,
            dt=_DT.value,
            scales=scales,
            metadata=about,
        )
        buffer = io.BytesIO()
        nir.write(buffer, graph)
        data = buffer.getvalue()
    files.write(file, data)
    rounded = f", weights of {bits} bits" if bits else ""
    print(f"{file}: {len(data):,} bytes, {len(network)} layers{rounded}, {time_bins} steps")
    if _FORMAT.value == "nir":
        _say_how_to_load(file)


def _say_how_to_load(file) -> None:
    """Prints the line of each program that reads the file as it is meant."""
    dt, read = _DT.value, f"nir.read({str(file)!r})"
    lines = {
        "SpikingJelly": f"spikingjelly.activation_based.nir_exchange.import_from_nir({read}, {dt=})"
    }
    if dt == 1e-4:  # its own, which cannot be changed
        lines["snnTorch"] = f"snntorch.import_nir.import_from_nir({read})"
    if _PARAMETERISATION.value == "B":  # it takes resistances as 1
        lines["Norse"] = f"norse.torch.from_nir({read}, {dt=}, ignore_warnings=True)"
    for name, line in lines.items():
        print(f"{name}: {line}")
    others = sorted({"snnTorch", "Norse"} - lines.keys())
    ways = {"snnTorch": "--dt=1e-4", "Norse": "--parameterisation=B"}
    for name in others:
        print(f"{name}: would compute something else; export with {ways[name]} for it")


def _write_folder(found, one, folder, origin) -> None:
    source = _recordings(found)
    test = source.frames("test")
    frames = test.spread(GOLDEN)
    chip, kernels = _on_chip(found, one, _BITS.value or found.settings.weights.bits or 8)
    try:
        network = IntegerNetwork.of(
            one, one.connections(), chip, kernels, found.settings.data.time_bins
        )
    except UnsupportedError as error:
        raise InputError(f"{error}; export with --format=stablehlo or --format=onnx") from error
    measured = network.measured(test, source.name)
    notes = [*source.warnings, *source.caveats]
    if (folder / _FOLDERS[_FORMAT.value]).is_file():
        print(f"{folder}: what is there is replaced")
    if _FORMAT.value == "integers":
        contents = integer_files.files(network, frames, measured, origin, notes)
        for old in (*folder.glob("layer*_*.mem"), *folder.glob("golden/layer*_*.mem")):
            old.unlink()  # of a network with more layers
        files.write_all(folder, contents)
        print(f"{folder}: {c_source.summary(network)}; README.md says what is in it")
        for what, value in measured.rows():
            print(f"{what}: {value}")
        return
    files.write_all(folder, c_source.files(network, frames))
    count, compiled = len(frames.truth_M), c_build.measured(folder)
    page = c_source.page(network, count, measured, compiled, origin, notes)
    files.write(folder / "README.md", page)
    print(page)


def _on_chip(found, one, bits):
    """Number formats with weights of some bits, and the weights in them."""
    network, weights = one.connections(), found.settings.weights
    chip, grams = dataclasses.replace(build.chip(found.settings), weight_bits=bits), None
    if bits == weights.bits:  # rounded already, by training: these are the formats without an error
        chip = dataclasses.replace(chip, per_channel=weights.per_channel, scale="error")
    else:
        calibration = measure.few(reloaded.calibration_set(found), found.settings)
        grams = formats.grams(one, network, chip, calibration)
    return chip, formats.kernels(network, chip, grams)


def _recordings(found) -> Source:
    """The test recordings; warns if the network was trained on some of them."""
    data = found.settings.data
    if _DATA_PATH.value is not None:
        data = data.elsewhere(_DATA_PATH.value)
    try:
        source = data.load(("test",))
    except InputError as error:
        more = "" if _DATA_PATH.value else "; or name a folder with --data_path=FOLDER"
        raise InputError(f"{error}{more}") from error
    selection.warn(source, source.frames("test"), found.record["simulated"])
    reloaded.warn_of_trained_on(found, source, "test")
    return source


def _check_nir(one: Trained) -> None:
    """Raises InputError for a neuron that NIR cannot express, before calibration begins."""
    neuron, decay, _ = one.uniform()

    def refused(neuron: neurons.Neuron) -> InputError | None:
        try:
            neuron.nir(decay, _DT.value, (1,), _PARAMETERISATION.value)
        except InputError as error:
            return error
        return None

    if error := refused(neuron):
        ways = ["export with --format=stablehlo or --format=onnx"]
        if isinstance(neuron, neurons.Resetting) and not refused(
            dataclasses.replace(neuron, reset=neurons.ToZero())
        ):
            ways.insert(0, "train with --config.lif.reset=zero")
        raise InputError(f"{error}; {', or '.join(ways)}") from error


if __name__ == "__main__":
    cli.run(main)
