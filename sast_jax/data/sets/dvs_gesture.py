"""DVS Gesture, real or simulated."""

import dataclasses
import math
import os

from sast_jax.data import corruptions, packing, recordings, survey, windows
from sast_jax.data.layouts import ibm_gestures, tonic_gestures
from sast_jax.data.sets.base import Data
from sast_jax.data.sets.loading import Framing, Source, load
from sast_jax.data.sets.published import Published
from sast_jax.data.simulated import performances
from sast_jax.errors import InputError
from sast_jax.fields import choice, number, text


def _gesture_caveat(train):
    return (
        "The recordings are simulated, so the accuracies are not DVS Gesture's; and no real "
        "recording was at hand to compare the simulated ones with."
    )


def _find_gestures(folder, split):
    found = tonic_gestures.find_split(folder, split)
    return ibm_gestures.find_split(folder, split) if found is None else found


DVS_GESTURE = Published(
    name="DVS Gesture",
    path="data/dvs_gesture",
    flags=" --dataset=dvs_gesture",
    inner="DVSGesture",
    wanted=lambda split: (
        "ibmGesture{0}.tar.gz, ibmGesture{0}/ or trials_to_{1}.txt with recordings".format(
            split.capitalize(), split
        )
    ),
    find=_find_gestures,
    select=tonic_gestures.select,
    simulate=performances.simulate,
    settings=performances.settings,
    levels=corruptions.DVS_GESTURE_LEVELS,
    caveat=_gesture_caveat,
    classes=tonic_gestures.CLASSES,
    rises=performances.RISES,
)


def load_dvs_gesture(
    source: str,
    path: str | os.PathLike,
    *,
    time_bins: int,
    bins: str = "time",
    least: int = 1,
    window: int = 0,
    windows_each: int = 1,
    side: int = 32,
    **options,
) -> Source:
    """DVS Gesture; see :func:`sast_jax.data.sets.loading.load`.

    Args:
      source, path: as there.
      time_bins: frames of a window.
      bins: key of ``packing.BINS``.
      least: events that make a pixel of a frame 1.
      window, windows_each: see :func:`sast_jax.data.windows.cut`.
      side: pixels of a row and a column of a frame; it divides the sensor's.
      **options: of :func:`load`.
    """
    key = {"time_bins": time_bins, "bins": bins, "least": least, "side": side}
    key |= {"window": window, "windows": windows_each, "whole": windows.WHOLE}

    def pack(data, change):
        shrink = data.extent.width // side
        cut = windows.cut(data, window=window, count=windows_each, shrink=shrink, change=change)
        size = {"time_bins": time_bins, "duration": cut.extent.duration}
        return packing.pack(cut, **size, bins=packing.BINS[bins], least=least)

    shape = (side, side, recordings.POLARITIES)
    expected = survey.Expected(*tonic_gestures.EXTENT, time_bins, fixed=False, least=least)
    return load(DVS_GESTURE, Framing(key, {}, pack, shape, expected), source, path, **options)


@dataclasses.dataclass(frozen=True)
class GestureData(Data):
    """DVS Gesture, real or simulated."""

    name = "dvs_gesture"
    published = DVS_GESTURE
    shaping = ("time_bins", "bins", "window", "windows", "side", "least")

    path: str = text("data/dvs_gesture", "holds what experiments.download puts there, or IBM's")
    time_bins: int = number(16, 1, math.inf, "frames of a window")
    rotation: float = number(
        0.0, 0, 90, "degrees that training recordings turn and shear by, at most"
    )
    zoom: float = number(0.0, 0, 0.9, "share by which training recordings grow or shrink, at most")
    bins: str = choice("time", packing.BINS, "bins of equal time, or of equally many events")
    window: int = number(
        1000, 0, 60_000, "milliseconds that a recording is cut to; 0: the whole, stretched"
    )
    windows: int = number(2, 1, 100, "windows of a recording, evenly spread; they give one answer")
    side: int = number(
        32, 4, tonic_gestures.SIDE, "pixels of a side, to which the sensor's 128 are merged"
    )
    least: int = number(2, 1, 1000, "events at least for a pixel of a frame to be 1")

    @property
    def extent(self):
        duration = 1000 * self.window or tonic_gestures.EXTENT.duration
        return recordings.Extent(self.side, self.side, duration)

    def check(self):
        if tonic_gestures.SIDE % self.side:
            raise InputError(
                f"config.data.side={self.side} must be 4 or more pixels that divide "
                f"{tonic_gestures.SIDE}"
            )
        if self.windows > 1 and not self.window:
            raise InputError(
                f"config.data.windows={self.windows} must be 1 for the whole recording "
                "(data.window=0)"
            )
        super().check()

    def load(self, splits=("train", "test")):
        return load_dvs_gesture(
            self.source,
            self.path,
            time_bins=self.time_bins,
            bins=self.bins,
            least=self.least,
            window=1000 * self.window,
            windows_each=self.windows,
            side=self.side,
            **self._shared(splits),
        )
