"""Settings of a run's recordings and their frames: ``config.data``."""

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

from sast_jax.data import recordings
from sast_jax.data.sets.loading import Source
from sast_jax.data.sets.published import Published
from sast_jax.errors import InputError
from sast_jax.fields import between, choice, number, switch, text

STREAMS = ("auto", "always", "never")
_SEED = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Data:
    """The recordings of a run and their frames: ``config.data``.

    Each data set adds or changes fields, says how long and how wide its frames are, and loads them.
    """

    name: ClassVar[str]  # of its experiment
    published: ClassVar[Published | None] = None
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
    seed: int = number(0, 0, _SEED, "of the validation split, the limits and the simulation")
    allow_overlap: bool = switch(
        False, "accept recordings that are in both splits, with a warning", before=False
    )
    stream: str = choice(
        "auto", STREAMS, "stream from the host's memory: always, never, or if the set is large"
    )
    shift: int = number(
        1, 0, math.inf, "largest shift of a training recording, in pixels; others are not shifted"
    )
    rotation: float = number(
        10.0, 0, 90, "degrees that training recordings turn and shear by, at most"
    )
    zoom: float = number(0.1, 0, 0.9, "share by which training recordings grow or shrink, at most")
    lost: float = number(
        0.0, 0, 1, "share of a training recording's events that are left out, at most", before=0.0
    )
    added: float = number(
        0.0,
        0,
        10,
        "events added to a training recording at random, as a share of its own, at most",
        before=0.0,
    )

    @property
    def extent(self) -> recordings.Extent:
        """Pixels and microseconds that the frames of a recording, or of a window, cover."""
        raise NotImplementedError(f"{type(self).__name__} defines no extent")

    def check(self) -> None:
        """Checks relations between values: bins of a millisecond or more, shifts within a frame."""
        height, width, duration = self.extent
        for key, low, high in (
            ("time_bins", 1, duration // 1000),
            ("shift", 0, min(height, width) - 1),
        ):
            if why := between(low, high)(getattr(self, key)):
                raise InputError(f"config.data.{key}={getattr(self, key)!r} must be {why}")

    def load(self, splits: Sequence[str] = ("train", "test")) -> Source:
        """Loads the recordings of some splits.

        Raises:
          InputError: they are missing or damaged.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no load")

    def resolved(self) -> "Data":
        """The same settings, with what is left to the recordings looked up there."""
        return self

    def elsewhere(self, path: str) -> "Data":
        """The same frames of all recordings in another folder, to evaluate on."""
        return dataclasses.replace(self, source="folder", path=path, train_limit=0, test_limit=0)

    def framing(self) -> dict:
        """The settings that shape the frames of a recording, by key."""
        return {key: getattr(self, key) for key in self.shaping}

    def _shared(self, splits) -> dict:
        keys = ("train_limit", "test_limit", "seed", "allow_overlap")
        return {key: getattr(self, key) for key in keys} | {"splits": splits}


@dataclasses.dataclass(frozen=True)
class Unmoved(Data):
    """A data set whose training recordings are not moved unless a setting says so."""

    shift: int = number(
        0, 0, math.inf, "largest shift of a training recording, in pixels; others are not shifted"
    )
    rotation: float = number(
        0.0, 0, 90, "degrees that training recordings turn and shear by, at most"
    )
    zoom: float = number(0.0, 0, 0.9, "share by which training recordings grow or shrink, at most")
