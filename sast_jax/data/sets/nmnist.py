"""N-MNIST, real or simulated."""

import dataclasses
import os

from sast_jax.data import corruptions, packing, recordings, survey
from sast_jax.data.layouts import nmnist_archives
from sast_jax.data.sets.base import Data
from sast_jax.data.sets.loading import Framing, Source, load
from sast_jax.data.sets.published import Published
from sast_jax.data.simulated import digits, likeness
from sast_jax.fields import text

FRAME_SHAPE = (recordings.SENSOR_HEIGHT, recordings.SENSOR_WIDTH, recordings.POLARITIES)


def _nmnist_caveat(train):
    line = "The recordings are simulated, so the accuracies are not N-MNIST's."
    if train is None:
        return line
    return f"{line} {likeness.compare(likeness.describe(train), likeness.real())}"


NMNIST = Published(
    name="N-MNIST",
    path="data/nmnist",
    flags="",
    inner="NMNIST",
    wanted=lambda split: f"{split}.zip or {split.capitalize()}/",
    find=nmnist_archives.find_split,
    select=nmnist_archives.select,
    simulate=digits.simulate,
    settings=digits.settings,
    levels=corruptions.NMNIST_LEVELS,
    caveat=_nmnist_caveat,
    classes=tuple(map(str, range(10))),
    rises=digits.RISES,
    test_files=10_000,
)


def load_nmnist(source: str, path: str | os.PathLike, *, time_bins: int, **options) -> Source:
    """N-MNIST, ``time_bins`` frames a recording; see :func:`sast_jax.data.sets.loading.load`."""
    duration = recordings.DURATION

    def pack(data, change):
        return packing.pack(
            corruptions.corrupted(data, change), time_bins=time_bins, duration=duration
        )

    key = {"time_bins": time_bins}
    expected = survey.Expected(*recordings.NMNIST, time_bins)
    framing = Framing(key, {"duration": duration}, pack, FRAME_SHAPE, expected)
    return load(NMNIST, framing, source, path, **options)


@dataclasses.dataclass(frozen=True)
class NmnistData(Data):
    """N-MNIST, real or simulated."""

    name = "nmnist"
    published = NMNIST

    path: str = text("data/nmnist", "holds train.zip and test.zip, or Train/ and Test/")

    @property
    def extent(self):
        return recordings.NMNIST

    def load(self, splits=("train", "test")):
        given = self._shared(splits)
        return load_nmnist(self.source, self.path, time_bins=self.time_bins, **given)
