"""Exports a trained network with hard spikes.

    python -m experiments.export --checkpoint=WORKDIR --format=nir --out=FILE

``nir`` is read by snnTorch, SpikingJelly and others; ``--parameterisation=B`` suits consumers that
ignore the input resistance, such as Norse. ``stablehlo`` runs wherever XLA does, and holds what NIR
cannot say, such as a reset by subtraction. ``--weight_bits=4`` rounds the weights, on scales chosen
as the run's ``config.hardware`` has it; a NIR file keeps the scales in the metadata of its nodes.
Of a sweep ``--run`` names the one, by its place in the results.
"""

import dataclasses
import io
import math
import operator
import pathlib

import jax
import nir
from absl import flags

from experiments import cli, datasets, files, measure, setup, trained
from sast_jax import chips, connections, lif, nir_graph, stablehlo
from sast_jax.errors import InputError

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "workdir of the run", required=True)
_FORMAT = flags.DEFINE_enum("format", "nir", ["nir", "stablehlo"], "what to write")
_OUT = flags.DEFINE_string("out", None, "file to write", required=True)
_RUN = flags.DEFINE_integer("run", 0, "which run of a sweep, in the order of its results")
_PARAMETERISATION = flags.DEFINE_enum(
    "parameterisation", "A", ["A", "B"], "NIR: weights as they are, or by 1 - decay larger"
)
_DT = flags.DEFINE_float("dt", 1e-4, "NIR: seconds of a step, which snnTorch has at 1e-4")
_BITS = flags.DEFINE_integer("weight_bits", 0, "round the weights to 2 to 8 bits; 0: as trained")


def main() -> None:
    file = files.asked_for(_OUT.value)
    if not 0 < _DT.value < math.inf:
        raise InputError(f"--dt={_DT.value} must be above 0 seconds")
    found = trained.load(pathlib.Path(_CHECKPOINT.value).expanduser())
    if not 0 <= _RUN.value < len(found.runs):
        raise InputError(f"--run={_RUN.value}: choose from 0 to {len(found.runs) - 1}")
    recipe = found.recipe
    if _FORMAT.value == "nir" and recipe.cell is not lif.reset_to_zero:
        raise InputError(
            f"NIR has no reset by subtraction (config.lif.reset={found.config.lif.reset!r}); "
            "train with --config.lif.reset=zero, or export with --format=stablehlo"
        )
    params, hyper = jax.tree.map(operator.itemgetter(_RUN.value), (found.params_R, found.hyper_R))
    bits = _BITS.value or found.config.weights.bits
    network, scales = connections.connections(params), None
    if bits:
        chip = dataclasses.replace(setup.chip(found.config), weight_bits=bits)
        calibration = measure.few(trained.calibration_set(found), found.config)
        grams = chips.grams(recipe, network, hyper, chip, calibration)
        kernels = chips.kernels(network, chip, grams)
        network, scales = chips.rounded(network, kernels), [k.scale for k in kernels]
    time_bins = found.config.data.time_bins
    if _FORMAT.value == "stablehlo":
        data = stablehlo.export(recipe, network, hyper, time_bins)
    else:
        about = {
            "experiment": found.record["experiment"],
            "simulated": found.record["simulated"],
            "trained_on": found.record["data"],
            **datasets.framing(found.config.data),
            "readout": found.config.readout,
            "readout_scale": found.config.readout_scale,
            "weight_bits": bits,
        }
        hard = nir_graph.HardNetwork(
            network, float(hyper.decay), recipe.threshold, recipe.frame_shape
        )
        graph = nir_graph.to_graph(
            hard,
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


if __name__ == "__main__":
    cli.run(main)
