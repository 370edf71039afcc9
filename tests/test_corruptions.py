"""Corruptions of events against tonic's transforms, their laws, and what must not change them."""

import jax.numpy as jnp
import nmnist_files
import numpy as np
import pytest
import scipy.stats
import tonic

from sast_jax.data import corruptions, packing, recordings, sets
from sast_jax.data.corruptions import DVS_GESTURE_LEVELS, KINDS, NMNIST_LEVELS, corrupt
from sast_jax.data.layouts import nmnist_archives
from sast_jax.data.recordings import DURATION, Events
from sast_jax.data.sets import loading, nmnist as nmnist_set

SEEDS = np.array([7, 8, 9])
N, M = len(SEEDS), 4000  # events of each


@pytest.fixture(scope="module")
def events():
    rng = np.random.default_rng(0)
    columns = [
        np.repeat(np.arange(N, dtype=np.int32), M),
        np.sort(rng.integers(0, DURATION, (N, M)), axis=1).reshape(-1).astype(np.int32),
        *(rng.integers(0, 34, N * M).astype(np.uint8) for _ in "xy"),
        rng.integers(0, 2, N * M).astype(np.uint8),
    ]
    return Events(*columns, np.zeros(N, bool))


def of(events, n):
    own = events.recording_M == n
    return events.those(own)._replace(unsorted_N=events.unsorted_N[n : n + 1])


def in_tonics_form(events, time=np.int64):
    """The events of one recording; times as tonic's transforms can hold them."""
    dtype = [("x", np.int64), ("y", np.int64), ("t", time), ("p", np.int64)]
    made = np.empty(len(events.t_M), dtype)
    for name, column in zip("xytp", (events.x_M, events.y_M, events.t_M, events.p_M), strict=True):
        made[name] = column
    return made


@pytest.mark.parametrize("levels", [NMNIST_LEVELS, DVS_GESTURE_LEVELS])
def test_every_kind_has_five_levels_that_grow(levels):
    assert list(levels) == list(KINDS)
    for kind, of_it in levels.items():
        assert len(of_it) == 5 and sorted(set(of_it)) == list(of_it)
        assert of_it[0] > 0 and of_it[-1] <= KINDS[kind].most


@pytest.mark.parametrize("kind", KINDS)
def test_five_severities_give_events_in_order(events, kind):
    levels = NMNIST_LEVELS[kind]
    changes = []
    for level in levels:
        worse = corrupt(events, kind, level, SEEDS)
        both = zip(worse[:6], recordings.in_order(worse)[:6], events[:6], strict=True)
        for column, same, before in both:
            np.testing.assert_array_equal(column, same)
            assert column.dtype == before.dtype
        assert (worse.x_M < 34).all() and (worse.y_M < 34).all() and (worse.t_M >= 0).all()
        assert set(np.unique(worse.p_M)) <= {0, 1}
        before, after = (frames(one) for one in (events, worse))
        changes.append(np.mean(before != after))
    assert min(changes) > 1e-3
    if kind not in ("temporal_jitter", "skew"):  # which move events out of time altogether
        assert changes[-1] > changes[0]


def frames(events, time_bins=20):
    seeds = np.arange(len(events.unsorted_N))
    data = recordings.Recordings(seeds, seeds, seeds, lambda: iter([events]))
    packed = packing.pack(data, time_bins=time_bins, duration=DURATION).packed_NxTxP
    return np.asarray(packing.unpack(jnp.asarray(packed), nmnist_set.FRAME_SHAPE))


@pytest.mark.parametrize("kind", KINDS)
def test_draws_depend_on_seed_kind_and_recording_alone(events, kind):
    level = NMNIST_LEVELS[kind][2]
    together = corrupt(events, kind, level, SEEDS)
    for n in range(N):
        alone = of(events, n)
        alone = alone._replace(recording_M=np.zeros_like(alone.recording_M))
        worse = corrupt(alone, kind, level, SEEDS[n : n + 1])
        for column, expected in zip(worse[1:], of(together, n)[1:], strict=True):
            np.testing.assert_array_equal(column, expected)
    other = corrupt(events, kind, level, SEEDS, seed=1)
    assert len(other.t_M) != len(together.t_M) or any(
        (a != b).any() for a, b in zip(other, together, strict=True)
    )


@pytest.mark.parametrize("kind", ["event_drop", "polarity"])
def test_the_share_of_events(events, kind):
    worse = corrupt(events, kind, 0.3, SEEDS)
    if kind == "event_drop":
        changed = N * M - len(worse.t_M)
    else:
        changed = int((worse.p_M != events.p_M).sum())
        np.testing.assert_array_equal(worse.t_M, events.t_M)
    assert scipy.stats.binomtest(changed, N * M, 0.3).pvalue > 1e-3


def test_lost_events_are_spread_as_tonics_and_binomial_in_number(events):
    """Tonic loses exactly so many; where each event is lost on its own, that is the mean."""
    own = events._replace(t_M=np.tile(np.arange(M, dtype=np.int32), N))  # numbered
    np.random.seed(0)  # tonic draws from NumPy's global generator
    theirs = tonic.transforms.DropEvent(p=0.3)(in_tonics_form(of(own, 0)))["t"]
    ours = of(corrupt(own, "event_drop", 0.3, SEEDS), 0).t_M
    assert (np.diff(ours) > 0).all() and (np.diff(theirs) > 0).all()
    assert abs(len(ours) - len(theirs)) < 4 * np.sqrt(0.3 * 0.7 * M)
    lost = [np.setdiff1d(np.arange(M), kept) for kept in (ours, theirs)]
    assert scipy.stats.ks_2samp(*lost).pvalue > 1e-3


def test_all_polarities_inverted_as_tonic_does(events):
    theirs = tonic.transforms.RandomFlipPolarity(p=1.0)(in_tonics_form(of(events, 0)))
    ours = in_tonics_form(of(corrupt(events, "polarity", 1.0, SEEDS), 0))
    np.testing.assert_array_equal(ours, theirs)


def test_jitter_of_time_is_tonics_for_the_same_draws(events, monkeypatch):
    own = np.random.default_rng((0, recordings.seed("temporal_jitter"), SEEDS[0]))
    monkeypatch.setattr(np.random, "normal", own.normal)
    jitter = tonic.transforms.TimeJitter(std=20e3, clip_negative=True, sort_timestamps=True)
    theirs = jitter(in_tonics_form(of(events, 0), np.float64))
    ours = of(corrupt(events, "temporal_jitter", 20e3, SEEDS), 0)
    assert (theirs["t"] < 0.5).sum() == (ours.t_M == 0).sum()
    np.testing.assert_allclose(ours.t_M, theirs["t"], atol=0.5)


def test_jitter_of_space_has_tonics_law(events):
    np.random.seed(0)
    jitter = tonic.transforms.SpatialJitter((34, 34, 2), var_x=4.0, var_y=4.0, clip_outliers=True)
    middle = events._replace(x_M=np.full(N * M, 16, np.uint8), y_M=np.full(N * M, 17, np.uint8))
    dtype = [("x", float), ("y", float), ("t", int), ("p", int)]
    theirs = jitter(in_tonics_form(middle).astype(dtype))
    ours = corrupt(middle, "spatial_jitter", 2.0, SEEDS)
    for mine, other in ((ours.x_M, theirs["x"]), (ours.y_M, theirs["y"])):
        counts = [np.bincount(np.rint(z).astype(int), minlength=34) for z in (mine, other)]
        common = np.flatnonzero(np.sum(counts, axis=0) > 20)
        table = np.stack(counts)[:, common]
        assert scipy.stats.chi2_contingency(table).pvalue > 1e-3
    edge = events._replace(x_M=np.zeros(N * M, np.uint8))
    left = len(corrupt(edge, "spatial_jitter", 2.0, SEEDS).t_M) / (N * M)
    assert left == pytest.approx(1 - scipy.stats.norm.cdf(-0.25), abs=0.06)


def test_noise_is_uniform_as_tonics_and_poisson_in_number(events):
    worse = corrupt(events, "noise", 10.0, SEEDS)
    expected = 10 * 34 * 34 * 0.31
    added = np.bincount(worse.recording_M) - M
    assert np.abs(added - expected).max() < 5 * expected**0.5
    np.random.seed(0)
    theirs = tonic.transforms.UniformNoise((34, 34, 2), 4000)(in_tonics_form(of(events, 0))[:1])
    empty = Events(*(column[:0] for column in events[:5]), events.unsorted_N)
    ours = corrupt(empty, "noise", 10.0, SEEDS)
    assert ours.t_M.max() < DURATION
    assert scipy.stats.kstest(ours.t_M / DURATION, "uniform").pvalue > 1e-3
    for mine, other, size in ((ours.x_M, "x", 34), (ours.y_M, "y", 34), (ours.p_M, "p", 2)):
        counts = [np.bincount(column, minlength=size) for column in (mine, theirs[other])]
        assert scipy.stats.chi2_contingency(np.stack(counts)).pvalue > 1e-3


def test_dead_pixels_are_those_that_tonic_would_drop(events):
    worse = corrupt(events, "dead_pixels", 0.25, SEEDS)
    for n in range(N):
        before, after = of(events, n), of(worse, n)
        seen = set(zip(after.x_M.tolist(), after.y_M.tolist(), strict=True))
        gone = [(x, y) for x in range(34) for y in range(34) if (x, y) not in seen]
        never = 34 * 34 * np.exp(-M / 34**2)
        assert len(gone) == pytest.approx(0.25 * 34**2, abs=3 * never + 3)
        theirs = tonic.transforms.DropPixel(coordinates=gone)(in_tonics_form(before))
        np.testing.assert_array_equal(in_tonics_form(after), theirs)


def test_occlusion_is_tonics_for_the_same_corner(events, monkeypatch):
    worse = of(corrupt(events, "occlusion", 17, SEEDS), 0)
    corner = np.random.default_rng((0, recordings.seed("occlusion"), SEEDS[0])).integers((18, 18))
    draws = iter(corner)
    monkeypatch.setattr(np.random, "randint", lambda low, high: next(draws))
    theirs = tonic.transforms.DropEventByArea((34, 34, 2), 0.5)(in_tonics_form(of(events, 0)))
    np.testing.assert_array_equal(in_tonics_form(worse), theirs)


@pytest.mark.parametrize("side, square", [(8, 10), (4, 16), (8, 8)])
def test_a_square_that_is_no_smaller_than_the_sensor_hides_all_of_it(events, side, square):
    small = events._replace(x_M=events.x_M % side, y_M=events.y_M % side)
    extent = recordings.Extent(side, side, DURATION)
    assert not len(corrupt(small, "occlusion", square, SEEDS, extent=extent).t_M)
    assert len(corrupt(small, "occlusion", side - 1, SEEDS, extent=extent).t_M)


def test_hot_pixels_fire_at_their_rate_and_no_other_does(events):
    empty = Events(*(column[:0] for column in events[:5]), events.unsorted_N)
    worse = corrupt(empty, "hot_pixels", 0.05, SEEDS)
    for n in range(N):
        own = of(worse, n)
        counts = np.bincount(own.y_M.astype(int) * 34 + own.x_M, minlength=34 * 34)
        assert (counts > 0).sum() == round(0.05 * 34 * 34)
        expected = round(0.05 * 34 * 34) * corruptions.HOT_RATE * 0.31
        assert counts.sum() == pytest.approx(expected, abs=5 * expected**0.5)


def test_an_interruption_is_tonics_for_the_same_start(events, monkeypatch):
    own = of(events, 0)
    own.t_M[-1] = DURATION  # which tonic takes for the duration
    worse = of(corrupt(own, "interruption", 0.4, SEEDS[:1]), 0)
    generator = np.random.default_rng((0, recordings.seed("interruption"), SEEDS[0]))
    monkeypatch.setattr(np.random, "uniform", generator.uniform)
    theirs = tonic.transforms.DropEventByTime(0.4)(in_tonics_form(own))
    np.testing.assert_array_equal(in_tonics_form(worse), theirs)


def test_skew_is_tonics_for_the_same_coefficient(events):
    worse, factors = corrupt(events, "skew", 0.25, np.arange(3)), set()
    for n in range(N):
        ours, own = of(worse, n), in_tonics_form(of(events, n), np.float64)
        factor = 1.25 if ours.t_M[-1] > own["t"][-1] else 0.8
        theirs = tonic.transforms.TimeSkew(coefficient=factor)(own)
        np.testing.assert_allclose(ours.t_M, theirs["t"], atol=0.5)
        factors.add(factor)
    assert factors == {1.25, 0.8}


def test_frames_of_files_come_from_the_cache_and_events_are_decoded_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SAST_CACHE", str(tmp_path / "cache"))
    nmnist_files.dataset(tmp_path / "data", per_class=2)
    kinds, severities = ("event_drop", "noise"), (1, 4)

    def made():
        source = sets.load_nmnist("folder", tmp_path / "data", time_bins=5, splits=("test",))
        found = source.recorded["test"].corrupted(kinds, severities, 0)
        return source.test, list(found)

    decoded, decode = [], nmnist_archives.decode
    monkeypatch.setattr(
        nmnist_archives, "decode", lambda *args: decoded.append(len(args[0])) or decode(*args)
    )
    clean, first = made()
    assert sum(decoded) == 2 * 20  # for the clean frames, and for all corruptions
    assert [row[:2] for row in first] == [(k, s) for k in kinds for s in severities]
    for _, _, frames in first:
        np.testing.assert_array_equal(frames.labels_N, clean.labels_N)
        assert (frames.packed_NxTxP != clean.packed_NxTxP).any()
    _, again = made()
    assert sum(decoded) == 2 * 20
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one[2].packed_NxTxP, other[2].packed_NxTxP)
    # Frames of another version of the corruptions are not taken for those of this one.
    monkeypatch.setattr(loading, "CORRUPTIONS_VERSION", loading.CORRUPTIONS_VERSION + 1)
    made()
    assert sum(decoded) == 3 * 20


def test_simulated_recordings_can_be_corrupted(tmp_path, monkeypatch):
    monkeypatch.setenv("SAST_CACHE", str(tmp_path))
    source = sets.load_nmnist("simulated", "", time_bins=4, test_limit=20, splits=("test",))
    ((_, _, worse),) = source.recorded["test"].corrupted(("event_drop",), (3,), 0)
    share = worse.events_NxC.sum() / source.test.events_NxC.sum()
    assert share == pytest.approx(1 - NMNIST_LEVELS["event_drop"][2], abs=0.01)
