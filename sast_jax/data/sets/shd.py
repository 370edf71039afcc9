"""The Spiking Heidelberg Digits, real or simulated: words as spikes of 700 channels."""

import dataclasses
import math

from sast_jax.data import corruptions, packing, recordings, survey, windows
from sast_jax.data.layouts import spoken_hdf5
from sast_jax.data.sets.base import Unmoved
from sast_jax.data.sets.loading import Framing, load
from sast_jax.data.sets.published import Published
from sast_jax.data.simulated import words
from sast_jax.errors import InputError
from sast_jax.fields import number, text


def _caveat(train):
    return (
        "The recordings are simulated, so the accuracies are not SHD's; and no real recording was "
        "at hand to compare the simulated ones with."
    )


SHD = Published(
    name="SHD",
    path="data/shd",
    flags=" --dataset=shd",
    inner="SHD",
    wanted=lambda split: f"shd_{split}.h5 or shd_{split}.h5.zip",
    find=spoken_hdf5.find_split,
    select=spoken_hdf5.select,
    simulate=words.simulate,
    settings=words.settings,
    levels=corruptions.NMNIST_LEVELS,
    caveat=_caveat,
    classes=spoken_hdf5.CLASSES,
    rises=words.RISES,
)


@dataclasses.dataclass(frozen=True)
class ShdData(Unmoved):
    """The Spiking Heidelberg Digits, real or simulated."""

    name = "shd"
    published = SHD
    shaping = ("time_bins", "channels")

    path: str = text("data/shd", "holds shd_train.h5 and shd_test.h5, or archives of these")
    time_bins: int = number(100, 1, math.inf, "frames of a recording, of 1.4 s together")
    channels: int = number(
        140, 1, spoken_hdf5.CHANNELS, "inputs, to which the 700 channels are merged"
    )

    @property
    def extent(self):
        return spoken_hdf5.EXTENT._replace(width=self.channels)

    def check(self):
        if spoken_hdf5.CHANNELS % self.channels:
            raise InputError(
                f"config.data.channels={self.channels} must divide {spoken_hdf5.CHANNELS}"
            )
        super().check()

    def load(self, splits=("train", "test")):
        shrink, duration = spoken_hdf5.CHANNELS // self.channels, spoken_hdf5.EXTENT.duration

        def pack(data, change):
            merged = windows.merged(corruptions.corrupted(data, change), shrink)
            return packing.pack(merged, time_bins=self.time_bins, duration=duration)

        expected = survey.Expected(*spoken_hdf5.EXTENT, self.time_bins, polarities=1)
        shape = (1, self.channels, recordings.POLARITIES)
        framing = Framing(self.framing(), {}, pack, shape, expected)
        return load(SHD, framing, self.source, self.path, **self._shared(splits))
