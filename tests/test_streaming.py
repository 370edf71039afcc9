"""A set that is streamed trains, bit for bit, what a set on the device trains."""

import json
import queue
import threading
import time

import jax
import nmnist_files
import numpy as np
import pytest
import small
from commands import SMALL, command, final_weights

from sast_jax.data import packing, streaming
from sast_jax.data.words import Words
from sast_jax.training import epochs, passes, stepping
from sast_jax.training.batches import Shuffled
from sast_jax.training.gradients import Sharpness

pytestmark = pytest.mark.optimised  # bits of two programs agree


def passed(made, hyper_R, streamed):
    state_R = stepping.initialise(made, hyper_R)
    return list(
        passes.by_epoch(passes.blocks(made, hyper_R, small.frames(), streamed, state_R, 0))
    )[-1]


@pytest.mark.parametrize(
    "bytes_, sharpness",  # a step a chunk, an uneven number, all
    [
        pytest.param(1, Sharpness(), marks=pytest.mark.slow),
        (1300, Sharpness(independent=True, part=3)),
        pytest.param(10**9, Sharpness(), marks=pytest.mark.slow),
    ],
)
def test_any_chunks_give_the_bits_of_the_resident_set(bytes_, sharpness, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK_BYTES", bytes_)
    made = small.recipe(epochs=3, sharpness=sharpness)
    hyper_R = small.hyper((0, 1, 2), (0.0, 0.2, 0.3))
    expected, metrics, _ = passed(made, hyper_R, False)
    found, measured, seconds = passed(made, hyper_R, True)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)
    for a, b in zip(measured, metrics, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert len(seconds) == 3 and min(seconds) > 0


def test_chunks_hold_the_order_whole_and_in_order():
    frames = small.frames()
    order_R = np.random.default_rng(0).integers(0, small.N, (2, 7, 3))
    recordings = frames.packed_NxTxP, frames.labels_N
    parts = list(streaming.chunks(recordings, {"a": order_R}, 3))
    assert [part["a"][1].shape[1] for part in parts] == [3, 3, 1]
    packed, labels = (np.concatenate([p["a"][i] for p in parts], axis=1) for i in range(2))
    np.testing.assert_array_equal(packed, frames.packed_NxTxP[order_R])
    np.testing.assert_array_equal(labels, frames.labels_N[order_R])


def test_a_process_reads_its_own_part_of_a_batch_alone():
    class Watched:  # an array that tells which of its rows are read
        shape, dtype, read = (50, 2, 3), np.dtype(np.uint8), set()

        def __getitem__(self, indices):
            self.read |= set(np.ravel(indices))
            return values[indices]

    values = np.random.default_rng(0).integers(0, 255, Watched.shape, np.uint8)
    order_RxSxB = np.random.default_rng(1).permutation(48).reshape(2, 3, 8)
    watched = Watched()
    found = streaming.Gathered(watched, order_RxSxB)
    whole = values[order_RxSxB]
    assert (found.shape, found.ndim, found.dtype) == (whole.shape, whole.ndim, whole.dtype)
    every = slice(None)
    for part in (
        (every, every, slice(4, 8), every, every),
        (slice(1, 2), every, every, every, slice(0, 1)),
    ):
        watched.read = set()
        np.testing.assert_array_equal(found[part], whole[part])
        assert watched.read == set(order_RxSxB[part[:3]].ravel())


def test_the_next_chunks_are_gathered_beside_training_and_no_more(monkeypatch):
    gathered, gather = queue.Queue(), streaming._Chunks._gather

    def watched(self, indices):
        gathered.put((int(indices[0, 0, 0]), threading.current_thread()))
        return gather(self, indices)

    monkeypatch.setattr(streaming._Chunks, "_gather", watched)
    order = {"a": np.arange(8)[None, :, None]}
    parts = streaming.chunks(small.recordings(), order, 1)
    next(parts)
    ready = [gathered.get(timeout=30) for _ in range(1 + streaming._AHEAD)]  # not asked for yet
    assert [number for number, _ in ready] == list(range(1 + streaming._AHEAD))
    assert threading.main_thread() not in [thread for _, thread in ready]
    time.sleep(0.5)
    assert gathered.qsize() <= 1  # one may wait for room: memory stays bounded
    assert len(list(parts)) == 7


def test_a_chunk_is_as_large_as_asked(monkeypatch):
    packed, labels = small.recordings()
    order = {"a": np.zeros((2, 10, 8), int), "b": np.zeros((2, 10, 4), int)}
    step = 2 * 12 * (packed[0].nbytes + labels[0].nbytes)
    for steps in (1, 4, 10):
        monkeypatch.setattr(streaming, "CHUNK_BYTES", steps * step + 1)
        assert streaming.steps_at_a_time((packed, labels), order) == steps
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 1)
    assert streaming.steps_at_a_time((packed, labels), order) == 1


def test_a_set_is_streamed_where_an_accelerator_is_too_small(monkeypatch):
    frames = small.frames()
    size = Words.nbytes(frames.packed_NxTxP.shape, frames.frame_shape)
    for room, streamed in ((None, False), (3 * size, False), (1.5 * size, True)):
        monkeypatch.setattr(passes, "device_memory", lambda room=room: room)
        assert passes.is_streamed("auto", small.frames()) is streamed
        assert passes.is_streamed("always", small.frames()) is True
        assert passes.is_streamed("never", small.frames()) is False


@pytest.mark.slow
def test_a_streamed_run_is_the_resident_one_and_goes_on_from_it(tmp_path):
    nmnist_files.dataset(tmp_path / "data")
    flags = *SMALL, f"--config.data.path={tmp_path / 'data'}"
    found = []
    for stream in ("never", "always"):
        workdir = tmp_path / stream
        code, _, err = command(
            "nmnist", *flags, f"--config.data.stream={stream}", f"--config.workdir={workdir}"
        )
        assert code == 0, err
        found.append(final_weights(workdir)[1])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
    code, out, err = command(  # it is the same run
        "nmnist", *flags, "--config.data.stream=always", f"--config.workdir={tmp_path / 'never'}"
    )
    assert code == 0, err
    assert "these are its results" in out
    runs = [json.loads((tmp_path / n / "results.json").read_text()) for n in ("never", "always")]
    assert runs[0]["runs"][0]["hard_accuracy"] == runs[1]["runs"][0]["hard_accuracy"]


def large_set():
    rng = np.random.default_rng(0)
    packed = np.packbits(rng.random((4096, 10, 32 * 32 * 2), np.float32) < 0.05, axis=-1)
    count = np.zeros((4096, 2), np.int64)
    labels = rng.integers(0, small.K, 4096).astype(np.int32)
    rows, shape = np.arange(4096), (32, 32, 2)
    return packing.Frames(packed, labels, rows, count, count[:1], np.int64(0), rows, shape)


@pytest.mark.slow
def test_streaming_keeps_nine_tenths_of_the_throughput(monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 2**20)  # eleven chunks an epoch
    made = small.recipe(
        network=small.networks.MLP((256, small.K)),
        frame_shape=(32, 32, 2),
        batches=Shuffled(64, 64),
        epochs=8,
    )
    hyper_R, train = small.hyper(), large_set()
    order_R = epochs.epoch_order(made, stepping.initialise(made, hyper_R), 4096, True)
    recordings = train.packed_NxTxP, train.labels_N
    assert streaming.steps_at_a_time(recordings, order_R) == 6
    both = [
        passes.by_epoch(
            passes.blocks(made, hyper_R, train, streamed, stepping.initialise(made, hyper_R), 0)
        )
        for streamed in (False, True)
    ]
    seconds = np.array([[s[0] for _, _, s in turn] for turn in zip(*both, strict=True)])
    assert np.median(seconds[1:, 0] / seconds[1:, 1]) >= 0.9
