"""Windows of recordings against loops over single events."""

import functools

import numpy as np
import pytest

from sast_jax.data import corruptions, packing, recordings, windows

EXTENT = recordings.Extent(128, 128, 6_000_000)


def some(seed=0, lengths=(50, 0, 1, 80), chunk=3):
    """Recordings of so many events, and each one's rows of time, x, y, polarity."""
    rng = np.random.default_rng(seed)
    rows = []
    for length in lengths:
        t = 70_000 + np.sort(rng.integers(0, 900_000, length))
        rows.append(np.stack([t, *rng.integers(0, (128, 128, 2), (length, 3)).T], axis=1))

    def events():
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            counts = [len(own) for own in part]
            columns = np.concatenate(part).T
            index = np.repeat(np.arange(len(part), dtype=np.int32), counts)
            yield recordings.Events(index, *columns, np.arange(len(part)) == 0)

    N = len(lengths)
    labels, numbers, seeds = np.arange(N), np.arange(N) + 5, np.arange(N) * 7
    return recordings.Recordings(labels, numbers, seeds, events, EXTENT, np.arange(N) // 2), rows


def test_recordings_without_persons_have_none_in_windows():
    data = some()[0]._replace(subjects_N=None)
    cut = windows.cut(data, window=100_000, count=3, shrink=4)
    assert cut.subjects_N is None
    assert cut.labels_N.tolist() == np.repeat(data.labels_N, 3).tolist()


def listed(data):
    """Rows of time, x, y, polarity of each recording of all chunks."""
    found = []
    for events in data.events():
        columns = np.stack([events.t_M, events.x_M, events.y_M, events.p_M], axis=1)
        found += [columns[events.recording_M == i] for i in range(len(events.unsorted_N))]
    return found


@pytest.mark.parametrize(
    "window, count", [(100_000, 1), (100_000, 3), (300_000, 5), (2_000_000, 2)]
)
def test_windows_hold_the_events_that_a_loop_finds(window, count):
    data, rows = some()
    cut = windows.cut(data, window=window, count=count, shrink=4)
    found = listed(cut)
    assert len(found) == count * len(rows)
    for r, own in enumerate(rows):
        first, last = (own[0, 0], own[-1, 0]) if len(own) else (0, 0)
        for w in range(count):
            spare = max(last - first + 1 - window, 0)
            begin = first + (spare * w // (count - 1) if count > 1 else 0)
            expected = [
                (t - begin, x // 4, y // 4, p) for t, x, y, p in own if begin <= t < begin + window
            ]
            np.testing.assert_array_equal(
                found[r * count + w], np.array(expected, int).reshape(-1, 4)
            )
    assert cut.extent == (32, 32, window)
    assert cut.labels_N.tolist() == np.repeat(data.labels_N, count).tolist()
    assert cut.numbers_N.tolist() == np.repeat(data.numbers_N, count).tolist()
    assert cut.subjects_N.tolist() == np.repeat(data.subjects_N, count).tolist()
    assert cut.seeds_N.tolist() == np.repeat(data.seeds_N, count).tolist()
    assert sum(int(events.unsorted_N.sum()) for events in cut.events()) == 2  # one a chunk


def test_a_whole_recording_is_stretched_to_one_length():
    data, rows = some()
    found = listed(windows.cut(data, window=0, count=1, shrink=2))
    for own, got in zip(rows, found, strict=True):
        assert len(own) == len(got)
        if len(own) > 1:
            length = own[-1, 0] - own[0, 0] + 1
            exact = (own[:, 0] - own[0, 0]) / length * windows.WHOLE
            np.testing.assert_allclose(got[:, 0], exact, atol=1)
            assert got[-1, 0] < windows.WHOLE


def everywhere():
    """Two recordings from 70 ms on in which each pixel of the sensor fires every 100 ms."""
    pixels, order = 128 * 128, np.random.default_rng(0).permutation(128 * 128)
    t = 70_000 + np.arange(5)[:, None] * 100_000 + np.linspace(0, 99_999, pixels).astype(int)
    columns = (np.tile(column, 2 * 5) for column in (order % 128, order // 128, order % 2))
    index = np.repeat(np.arange(2, dtype=np.int32), 5 * pixels)
    events = recordings.Events(index, np.tile(t.reshape(-1), 2), *columns, np.zeros(2, bool))
    N = np.arange(2)
    return recordings.Recordings(N, N, N + 3, lambda: iter([events]), EXTENT, N)


def change(kind, level):
    return functools.partial(corruptions.corrupt, kind=kind, level=level, seed=0)


@pytest.mark.parametrize("kind, level", [("dead_pixels", 0.3), ("occlusion", 40)])
def test_windows_of_a_recording_lose_the_same_pixels(kind, level):
    cut = windows.cut(everywhere(), window=100_000, count=3, shrink=1, change=change(kind, level))
    seen = [set(map(tuple, own[:, 1:3])) for own in listed(cut)]
    lost = level * 128**2 if kind == "dead_pixels" else level**2
    assert [len(own) for own in seen] == [128**2 - round(lost)] * 6
    assert seen[0] == seen[1] == seen[2]
    assert seen[3] == seen[4] == seen[5] != seen[0]


@pytest.mark.parametrize("window, count", [(100_000, 3), (0, 1)])
def test_noise_is_of_the_sensor_as_long_as_a_recording_lasts(window, count):
    size = {"window": window, "count": count, "shrink": 8}
    clean = listed(windows.cut(everywhere(), **size))
    worse = listed(windows.cut(everywhere(), **size, change=change("noise", 4.0)))
    seconds = (window or 500_000) * 1e-6
    for before, after in zip(clean, worse, strict=True):
        expected = 4 * 128**2 * seconds
        assert len(after) - len(before) == pytest.approx(expected, abs=5 * expected**0.5)
        kept = np.unique(after, axis=0)
        assert len(np.unique(np.concatenate([kept, before]), axis=0)) == len(kept)  # none moved
        assert after[:, 0].max() < (window or windows.WHOLE)


def test_every_event_of_the_sensor_is_one_of_the_smaller_frame():
    data, rows = some(lengths=(500,))
    cut = windows.cut(data, window=0, count=1, shrink=16)
    size = {"time_bins": 4, "duration": cut.extent.duration}
    frames = packing.pack(cut, **size)
    assert frames.events_NxC.sum() == 500
    assert frames.packed_NxTxP.shape == (1, 4, 8 * 8 * 2 // 8)
    t, x, y, p = rows[0].T
    bins = (t - t[0]) * windows.WHOLE // (t[-1] - t[0] + 1) * 4 // windows.WHOLE
    for least in (1, 2, 5):
        counts = np.zeros((4, 8, 8, 2), int)
        np.add.at(counts, (bins, y // 16, x // 16, p), 1)
        packed = packing.pack(cut, **size, least=least).packed_NxTxP
        bits = np.unpackbits(packed, axis=-1).reshape(4, 8, 8, 2)
        np.testing.assert_array_equal(bits, counts >= least)
        assert 0 < bits.mean() < 1


@pytest.mark.parametrize("time_bins", [1, 4, 7])
def test_bins_by_count_are_equally_full_and_in_order(time_bins):
    data, _ = some()
    for events in data.events():
        bins = packing.by_count(events, time_bins, 0)
        for i in range(len(events.unsorted_N)):
            own = bins[events.recording_M == i]
            assert (np.diff(own) >= 0).all()
            counts = np.bincount(own, minlength=time_bins)
            assert len(own) == counts.sum()
            assert counts.max() - counts.min() <= 1
            assert len(counts) == time_bins


def frames(labels, recordings):
    N = len(labels)
    zeros = np.zeros((N, 2), np.int64)
    return packing.Frames(
        np.zeros((N, 1, 1), np.uint8), np.array(labels), np.full(N, -1), zeros, zeros[:1],
        np.int64(0), np.array(recordings), (2, 2, 2),
    )  # fmt: skip


def test_windows_of_a_recording_vote_with_their_mean():
    given = frames([3, 3, 1, 1, 1, 2], [9, 9, 4, 4, 4, 6])
    scores_RxNxK = np.random.default_rng(0).normal(size=(2, 6, 5))
    assert given.truth_M.tolist() == [1, 2, 3]
    voted = given.vote(scores_RxNxK)
    expected = [scores_RxNxK[:, part].mean(axis=1) for part in ([2, 3, 4], [5], [0, 1])]
    np.testing.assert_allclose(voted, np.stack(expected, axis=1))
    alone = given._replace(recordings_N=np.arange(6))
    assert alone.vote(scores_RxNxK) is scores_RxNxK
    assert alone.truth_M.tolist() == [3, 3, 1, 1, 1, 2]


def test_scores_with_equal_sums_over_three_windows_tie():
    given = frames([0] * 9, np.repeat([5, 6, 7], 3))
    rng = np.random.default_rng(0)
    first_RxMx3 = rng.integers(0, 2**10, (40, 3, 3)) / 2**10  # sums of these are exact
    scores_RxNxK = np.stack([first_RxMx3, first_RxMx3[..., [2, 0, 1]]], -1).reshape(40, 9, 2)
    voted = given.vote(scores_RxNxK.astype(np.float32))
    np.testing.assert_array_equal(voted[..., 0], voted[..., 1])
    np.testing.assert_array_equal(voted[..., 0], first_RxMx3.sum(axis=-1) / 3)


def test_some_recordings_come_with_all_of_their_windows():
    given = frames(np.arange(30) // 3, np.arange(30) // 3)
    few = given.spread(4)
    assert few.recordings_N.tolist() == np.repeat([0, 3, 6, 9], 3).tolist()
    assert len(given.spread(100).labels_N) == 30


@pytest.mark.parametrize("persons", [True, False])
def test_parts_join_to_what_is_packed_at_once(persons):
    data = some(chunk=1)[0]
    data = data if persons else data._replace(subjects_N=None)

    def pack(indices):
        cut = windows.cut(
            recordings.take(data, np.array(indices)), window=100_000, count=3, shrink=4
        )
        return packing.pack(cut, time_bins=4, duration=100_000)

    together, apart = pack([0, 1, 2, 3]), packing.joined([pack([0, 1, 2]), pack([3])])
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_array_equal(one, other)
    copy = packing.Frames.of(together.arrays())
    assert copy.frame_shape == together.frame_shape and (copy.subjects_N is not None) == persons
