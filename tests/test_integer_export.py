"""Integer networks as files and as C: read back from the README alone, and compiled and run."""

import dataclasses
import json
import subprocess
import types

import integer_reader
import jax.numpy as jnp
import numpy as np
import pytest
import small_networks
import small_runs
from hypothesis import given, settings, strategies as st

from sast_jax import files
from sast_jax.data import packing
from sast_jax.errors import UnsupportedError
from sast_jax.hardware import formats, integers
from sast_jax.hardware.export import c_build, c_source, integer_files
from sast_jax.hardware.export.integer_network import IntegerNetwork
from sast_jax.snn import quantisation, readouts
from sast_jax.snn.connections import Along, Convolution, Full
from sast_jax.snn.model import Model
from sast_jax.snn.neurons import BySubtraction, ToZero

STRICT = ("-std=c99", "-pedantic", "-O2", "-Wall", "-Wextra", "-Werror")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
ZERO = ToZero()
LEAKS = {"fraction": integers.fraction, "shifts": integers.shifts}
# Prints everything that a network holds after each step, as numbers of 32 bits.
MAIN = """
#include <stdio.h>
#include "network.h"
static const uint32_t neurons[] = {%s};
int main(void)
{
    static uint8_t frame[NETWORK_FRAME_BYTES];
    for (;;) {
        network_begin();
        for (int t = 0; t < NETWORK_STEPS; t++) {
            if (fread(frame, sizeof frame, 1, stdin) != 1)
                return 0;
            network_frame(frame);
            for (uint32_t l = 0; l < NETWORK_LAYERS; l++)
                for (uint32_t n = 0; n < neurons[l]; n++) {
                    int32_t both[2] = {network_potential(l, n), network_fired(l, n)};
                    fwrite(both, sizeof both, 1, stdout);
                }
        }
        int32_t answer = (int32_t)network_answer();
        fwrite(&answer, sizeof answer, 1, stdout);
    }
}
"""

needs_compiler = pytest.mark.skipif(c_build.compiler() is None, reason="no C compiler is here")


def moved(seed):
    """A convolution of any strides and borders, and a full connection."""
    rng = np.random.default_rng(seed)
    sides = tuple(
        Along(*map(int, (rng.integers(1, 5), rng.integers(1, 4), *rng.integers(0, 3, 2))))
        for _ in range(2)
    )
    H, W, C = small_networks.SHAPE
    places = sides[0].outputs(H) * sides[1].outputs(W)
    kernel = rng.normal(size=(sides[0].size, sides[1].size, C, 3))
    full = Full(jnp.asarray(rng.normal(size=(places * 3, 4)) / 2), jnp.full(4, 0.1))
    return [Convolution(jnp.asarray(kernel), jnp.full(3, 0.1), sides), full]


def random_network(
    name, seed=0, bits=4, word=16, leak="fraction", reset=ZERO, decay=0.9, readout=None,
    nearest=True, headroom=4.0,
):  # fmt: skip
    """An integer network of random weights, and recordings for it."""
    trained = name if name in small_networks.NETWORKS else "MLP"
    model, params, frames_TxBxHxWxC = small_networks.trained(trained, seed)
    model = dataclasses.replace(model, readout=readout or readouts.MeanSpikes())
    listed = model.connections(params) if trained == name else moved(seed)
    kernels = [
        quantisation.quantise(c.kernel, quantisation.largest(c.kernel, bits, True), bits)
        for c in listed
    ]
    cells = integers.IntegerNeurons(word, LEAKS[leak](decay, 7, 0.5), nearest, reset)
    layers = integers.build(listed, kernels, 1.0, cells, headroom)
    T, B = frames_TxBxHxWxC.shape[:2]
    bits_BxT = np.asarray(frames_TxBxHxWxC, np.uint8).swapaxes(0, 1).reshape(B, T, -1)
    frames = packing.Frames(
        np.packbits(bits_BxT, axis=-1), np.zeros(B, np.int32), np.zeros(B), np.zeros((B, 2)),
        np.zeros((T, 2)), np.int64(0), np.arange(B), small_networks.SHAPE,
    )  # fmt: skip
    return IntegerNetwork(layers, cells, bits, T, model), frames


def check_from_readme(network, frames, folder):
    """The golden vectors of a folder, replayed to the bit by a reader of its README."""
    files.write_all(folder, integer_files.files(network, frames))
    reader = integer_reader.Reader(folder)
    with np.load(folder / "golden.npz") as golden:
        golden = dict(golden)
    for number, frames_ in enumerate(golden["frames"]):
        found = reader.run(frames_)
        for layer, own in enumerate(found, start=1):
            for name, values in zip(("sums", "potentials", "spikes"), own, strict=True):
                np.testing.assert_array_equal(values, golden[f"layer{layer}_{name}"][number])
        scores = reader.scores(found[-1])
        np.testing.assert_allclose(scores, golden["scores"][number], rtol=1e-12)
        assert scores.argmax() == golden["answers"][number]
    # The memory images of the first recording hold the same.
    for name in ("frames", "layer1_spikes"):
        lines = (folder / "golden" / f"{name}.mem").read_text().split()
        np.testing.assert_array_equal(np.array(lines, int), golden[name][0].ravel())
    return golden


def run_in_c(network, frames, folder, *more):
    """Potentials and spikes of each layer (N, T, ...), and the answers, of compiled C."""
    files.write_all(folder, c_source.files(network, frames))
    sizes = [int(np.prod(own.leaving)) for own in network.geometry]
    (folder / "main.c").write_text(MAIN % ", ".join(map(str, sizes)))
    program = folder / "main"
    sources = [str(folder / name) for name in ("main.c", "network.c")]
    built = [c_build.compiler(), *STRICT, *more, "-o", str(program), *sources]
    done = subprocess.run(built, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    data = frames.packed_NxTxP.tobytes()
    done = subprocess.run([str(program)], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    N, T = frames.packed_NxTxP.shape[:2]
    words = np.frombuffer(done.stdout, np.int32).reshape(N, -1)
    both = words[:, :-1].reshape(N, T, sum(sizes), 2)
    layers = []
    for own, at in zip(network.geometry, np.cumsum([0, *sizes]), strict=False):
        part = both[:, :, at : at + int(np.prod(own.leaving))].reshape(N, T, *own.leaving, 2)
        layers.append((part[..., 0], part[..., 1]))
    return layers, words[:, -1]


def check_in_c(network, frames, folder, *more):
    traced = network.traced(frames)
    layers, answers = run_in_c(network, frames, folder, *more)
    for own, (potentials, spikes) in zip(traced, layers, strict=True):
        np.testing.assert_array_equal(spikes, own.spikes)
        np.testing.assert_array_equal(potentials, own.potentials)
    np.testing.assert_array_equal(answers, network.scores(traced[-1]).argmax(axis=-1))
    return traced


@pytest.mark.parametrize(
    "name, reset, leak, readout",
    [
        ("MLP", ZERO, "fraction", readouts.MeanCurrent()),
        ("ConvNet", BySubtraction(), "shifts", readouts.MeanSpikes()),
        ("strides and borders", ZERO, "fraction", readouts.MeanSpikes()),
    ],
)
def test_a_reader_of_the_readme_replays_the_golden_vectors(name, reset, leak, readout, tmp_path):
    network, frames = random_network(name, bits=3, word=12, reset=reset, leak=leak, readout=readout)
    golden = check_from_readme(network, frames, tmp_path)
    assert all(0 < golden[f"layer{n}_spikes"].mean() < 1 for n in (1, 2))


def test_the_files_say_what_the_network_holds(tmp_path):
    network, frames = random_network("MLP", readout=readouts.MeanCurrent())
    found = integer_files.files(network, frames)
    about = json.loads(found["network.json"])
    assert about["answer"] == "largest current" and about["frame_shape"] == [7, 6, 2]
    assert about["leak"] == [{"factor": 115, "shift": 7}] and about["reset"] == "zero"
    readme = found["README.md"].decode()
    assert "layer1_weights` is 84 x 9: (input, output)" in readme and "$" not in readme.replace(
        "$readmemh", ""
    )
    words = found["layer1_weights.mem"].decode().split()
    assert len(words) == 84 * 9 and {len(word) for word in words} == {1}


CASES = {
    "name": st.sampled_from([*small_networks.NETWORKS, "strides and borders"]),
    "seed": st.integers(0, 2**20),
    "bits": st.integers(2, 8),
    "word": st.sampled_from([8, 9, 16, 17, 31, 32]),
    "leak": st.sampled_from(list(LEAKS)),
    "reset": st.sampled_from([ToZero(), BySubtraction()]),
    "nearest": st.booleans(),
    "decay": st.sampled_from([0.001, 0.5, 0.9, 1.0]),
    "readout": st.sampled_from([readouts.MeanSpikes(), readouts.MeanCurrent()]),
}


@needs_compiler
@settings(max_examples=6, deadline=None)
@given(st.fixed_dictionaries(CASES))
def test_c_is_the_integer_network(tmp_path_factory, case):
    network, frames = random_network(**case, headroom=1.5)
    check_in_c(network, frames, tmp_path_factory.mktemp("c"), *SANITIZERS)


@pytest.mark.slow
@needs_compiler
@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries(CASES))
def test_c_is_the_integer_network_in_many_formats(tmp_path_factory, case):
    network, frames = random_network(**case, headroom=1.5)
    check_in_c(network, frames, tmp_path_factory.mktemp("c"), *SANITIZERS)
    check_from_readme(network, frames, tmp_path_factory.mktemp("files"))


@needs_compiler
@pytest.mark.parametrize(
    "kind, bits, word",
    [
        ("MLP", 4, 12),
        *(
            pytest.param(kind, *formats, marks=pytest.mark.slow)
            for kind, *formats in (
                ("MLP", 8, 16), ("MLP", 2, 8), ("ConvNet", 8, 16), ("ConvNet", 4, 12),
                ("ConvNet", 2, 8),
            )
        ),
    ],
)  # fmt: skip
def test_c_on_real_recordings(kind, bits, word, real_data, tmp_path):
    run = small_runs.train(kind, real_data / "nmnist_8class")
    chip = formats.Chip(weight_bits=bits, membrane_bits=word, headroom=2.0)
    kernels = formats.kernels(run.network, chip)
    T = run.test.packed_NxTxP.shape[1]
    network = IntegerNetwork.of(run.trained, run.network, chip, kernels, T)
    traced = check_in_c(network, run.test, tmp_path)
    assert all(own.spikes.any() for own in traced)
    assert len(run.test.labels_N) == 200


@pytest.mark.parametrize("part", ["readout", "connection"])
def test_what_cannot_be_written_is_named(part):
    class Own(readouts.MeanSpikes if part == "readout" else Full):
        pass

    readout = Own() if part == "readout" else readouts.MeanSpikes()
    listed = [Own(jnp.ones((3, 2)), jnp.ones(2))] if part == "connection" else []
    model = Model(small_networks.NETWORKS["MLP"], readout=readout)
    trained = types.SimpleNamespace(model=model, require_single=lambda: None)
    with pytest.raises(UnsupportedError, match=f"the {part} Own cannot be written in integers"):
        IntegerNetwork.of(trained, listed, formats.Chip(), [], 6)
