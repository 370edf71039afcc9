"""The data sets that a command line can name, each with what it can say of its recordings."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import ClassVar

from sast_jax.data import packing, recordings
from sast_jax.data.formats import tonic_gestures
from sast_jax.data.sets import loading
from sast_jax.errors import InputError
from sast_jax.fields import between, choice, number, text

STREAMS = ("auto", "always", "never")
_SEED = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Data:
    """The recordings of a run and their frames: ``config.data``.

    A data set of its own adds or changes fields, and says how long and how wide its frames are.
    """

    name: ClassVar[str]  # of its experiment
    shaping: ClassVar[tuple[str, ...]] = ("time_bins",)  # keys that shape the frames

    source: str = choice(
        "auto",
        ("auto", "folder", "tonic", "simulated"),
        "'folder': as published; 'tonic': as tonic.datasets keeps it below the path; 'simulated'; "
        "'auto': a folder, but simulated where the default path holds no recordings",
    )
    path: str = text("", "holds the recordings as published")
    time_bins: int = number(6, 1, math.inf, "frames a recording, or a window of one")
    train_limit: int = number(0, 0, math.inf, "training recordings to draw at random; 0: all")
    test_limit: int = number(0, 0, math.inf, "test recordings to draw at random; 0: all")
    validation: float = number(
        0.0, 0, 1, "share of the training recordings held out, reported as well", below=True
    )
    seed: int = number(0, 0, _SEED, "of that split, of the limits and of the simulation")
    stream: str = choice(
        "auto", STREAMS, "from the host's memory: always, never, or if the set is too large"
    )
    shift: int = number(
        1, 0, math.inf, "pixels that training recordings move by, at most; others never do"
    )
    rotation: float = number(10.0, 0, 90, "degrees that they turn and shear by, at most")
    zoom: float = number(0.1, 0, 0.9, "share by which they grow or shrink, at most")

    @property
    def extent(self) -> recordings.Extent:
        """Pixels and microseconds of a row of frames."""
        raise NotImplementedError

    def check(self) -> None:
        """Checks relations between values: bins of a millisecond or more, shifts within a frame."""
        height, width, duration = self.extent
        for key, low, high in (
            ("time_bins", 1, duration // 1000),
            ("shift", 0, min(height, width) - 1),
        ):
            if why := between(low, high)(getattr(self, key)):
                raise InputError(f"config.data.{key}={getattr(self, key)!r} must be {why}")

    def load(self, splits: Sequence[str] = ("train", "test")) -> loading.Source:
        """The recordings.

        Raises:
          InputError: they are missing or damaged.
        """
        raise NotImplementedError

    def framing(self) -> dict:
        """What shapes the frames of a recording, by key."""
        return {key: getattr(self, key) for key in self.shaping}

    def _shared(self, splits) -> dict:
        keys = ("time_bins", "train_limit", "test_limit", "seed")
        return {key: getattr(self, key) for key in keys} | {"splits": splits}


@dataclasses.dataclass(frozen=True)
class NmnistData(Data):
    """N-MNIST, real or simulated."""

    name = "nmnist"

    path: str = text("data/nmnist", "holds train.zip and test.zip, or Train/ and Test/")

    @property
    def extent(self):
        return recordings.NMNIST

    def load(self, splits=("train", "test")):
        return loading.nmnist(self.source, self.path, **self._shared(splits))


@dataclasses.dataclass(frozen=True)
class GestureData(Data):
    """DVS Gesture, real or simulated."""

    name = "dvs_gesture"
    shaping = ("time_bins", "bins", "window", "windows", "side", "least")

    path: str = text("data/dvs_gesture", "holds what experiments.download puts there, or IBM's")
    time_bins: int = number(16, 1, math.inf, "frames of a window")
    rotation: float = number(0.0, 0, 90, "degrees that they turn and shear by, at most")
    zoom: float = number(0.0, 0, 0.9, "share by which they grow or shrink, at most")
    bins: str = choice("time", packing.BINS, "equal bins of time, or of as many events each")
    window: int = number(
        1000, 0, 60_000, "milliseconds that a recording is cut to; 0: the whole, stretched"
    )
    windows: int = number(2, 1, 100, "of a recording, evenly spread; they answer together")
    side: int = number(32, 4, tonic_gestures.SIDE, "pixels that the sensor's 128 become, each way")
    least: int = number(2, 1, 1000, "events that make such a pixel 1")

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
        return loading.dvs_gesture(
            self.source,
            self.path,
            bins=self.bins,
            least=self.least,
            window=1000 * self.window,
            windows_each=self.windows,
            side=self.side,
            **self._shared(splits),
        )


SETS = {kind.name: kind for kind in (NmnistData, GestureData)}


def of_keys(keys: Iterable[str]) -> str:
    """The data set whose settings have most of these keys, the first one at a tie."""
    keys = set(keys)

    def shared(name):
        own = {field.name for field in dataclasses.fields(SETS[name])}
        return len(own & keys) - len(own - keys)

    return max(SETS, key=shared)
