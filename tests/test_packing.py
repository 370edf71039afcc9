"""Binning and packing against tonic's frames and a loop over events."""

import io

import jax.numpy as jnp
import nmnist_files as files
import numpy as np
import pytest
import tonic

from sast_jax.data import packing
from sast_jax.data.layouts import nmnist_archives

SHAPE = (34, 34, 2)
DURATION = 310_000


def unpacked(frames):
    return np.asarray(packing.unpack(jnp.asarray(frames.packed_NxTxP), SHAPE))


@pytest.fixture
def split(tmp_path):
    files.dataset(tmp_path, per_class=3)
    return nmnist_archives.find_split(tmp_path, "train")


@pytest.mark.parametrize("time_bins", [1, 7, 20])
@pytest.mark.parametrize("chunk", [4, 256])
def test_frames_equal_a_loop_over_events(split, time_bins, chunk):
    order = np.array([5, 0, 17, 3, 4])
    frames = packing.pack(
        nmnist_archives.select(split, order, chunk), time_bins=time_bins, duration=DURATION
    )
    expected = np.zeros((5, time_bins, *SHAPE), np.uint8)
    for n, raw in enumerate(split.read(order)):
        events = nmnist_archives.decode([raw], ["r"])
        for t, x, y, p in zip(events.t_M, events.x_M, events.y_M, events.p_M, strict=True):
            expected[n, min(int(t) * time_bins // DURATION, time_bins - 1), y, x, p] = 1
        assert frames.events_NxC[n].tolist() == np.bincount(events.p_M, minlength=2).tolist()
    np.testing.assert_array_equal(unpacked(frames), expected)
    np.testing.assert_array_equal(frames.labels_N, split.labels_N[order])
    assert frames.profile_TxC.sum() == pytest.approx(frames.events_NxC.sum() / 5)


def test_frames_equal_tonic_where_its_bins_are_the_same(split):
    # tonic bins from the first event to the last; events at both ends make that our 310 ms.
    dtype = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    raw = next(split.read([0]))
    events = tonic.io.read_mnist_file(io.BytesIO(raw), dtype=dtype, is_stream=True)
    to_frame = tonic.transforms.ToFrame(sensor_size=SHAPE, time_window=DURATION // 10)
    ends = np.array([(0, 0, 0, 0)], dtype)
    theirs = to_frame(np.concatenate([ends, events]))  # (T, C, H, W) counts
    ours = unpacked(
        packing.pack(nmnist_archives.select(split, np.array([0])), time_bins=10, duration=DURATION)
    )[0].copy()
    ours[0, 0, 0, 0] = 1
    np.testing.assert_array_equal(ours.transpose(0, 3, 1, 2)[: len(theirs)], theirs > 0)


def test_late_events_fall_in_the_last_bin():
    assert packing.time_bin(np.array([0, 309_999, 310_000, 2**31 - 1]), 10, DURATION).tolist() == [
        0, 9, 9, 9,
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(34, 34, 2), (3, 3, 1), (1, 5, 2)])
def test_unpack_inverts_packbits_whatever_the_size(shape):
    frames = (np.random.default_rng(0).random((4, 6, *shape)) < 0.5).astype(np.uint8)
    packed = np.packbits(frames.reshape(4, 6, -1), axis=-1)
    np.testing.assert_array_equal(packing.unpack(jnp.asarray(packed), shape), frames)


def test_fewer_rows_at_once_of_long_or_large_frames():
    digits = np.zeros((3, 10, 289), np.uint8)
    assert packing.at_once(digits, 128) == 128
    gestures = np.zeros((3, 100, 1024), np.uint8)  # 64x64 pixels
    assert packing.at_once(gestures, 128) == packing.BATCH_PIXELS // (100 * 64 * 64 * 2) == 10
    assert packing.at_once(np.zeros((1, 10**4, 1024), np.uint8), 128) == 1
