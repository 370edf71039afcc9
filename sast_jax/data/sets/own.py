"""Recordings of one's own: a folder for each class, in whatever event formats."""

import dataclasses
import math
import os
from typing import Any

from sast_jax import files
from sast_jax.data import corruptions, packing, recordings as recordings_lib, survey, windows
from sast_jax.data.formats import ORDER, UNIT
from sast_jax.data.layouts import choosing, class_folders, facts, gathered, tonic_sets
from sast_jax.data.layouts.gathered import Gathered
from sast_jax.data.sets.base import Unmoved
from sast_jax.data.sets.loading import Framing, Source, of_splits
from sast_jax.data.sets.published import Known
from sast_jax.errors import InputError
from sast_jax.fields import between, checked, choice, names, number, setting, several, switch, text

_SIDE, _LINE = 40, 140  # pixels of a frame's longer side at most, and of a sensor of one line
_LARGE = 64  # pixels; a sensor with a longer side has the gestures' levels of corruption
_OF_TRAINING = (
    "path",
    "source",
    "validation",
    "stream",
    "shift",
    "rotation",
    "zoom",
    "lost",
    "added",
)  # keys not of frames
_READER = 1  # part of cache keys: raise it when frames come out otherwise
_ALL = "all are tested on, also those that a network may have been trained on"


@dataclasses.dataclass(frozen=True)
class OwnData(Unmoved):
    """Recordings of one's own."""

    name = "recordings"
    shaping = (
        *("time_bins", "bins", "duration", "window", "windows", "sensor", "side", "least"),
        *("rebase", "order", "unit", "tonic", "classes"),
    )

    source: str = choice(
        "auto", ("auto", "folder"), "both take the recordings in the folder of data.path"
    )
    path: str = text(
        "",
        "holds a folder for each class, or train/ and test/ with these, in any event format; with "
        "data.tonic the folder where tonic keeps its sets",
    )
    tonic: str = text("", "name of a set of tonic.datasets, such as CIFAR10DVS, in place of own")
    time_bins: int = number(10, 1, math.inf, "frames of a recording, or of a window of one")
    bins: str = choice("time", packing.BINS, "bins of equal time, or of equally many events")
    duration: int = number(
        0, 0, facts.LONGEST, "milliseconds that the frames cover; 0: from the recordings"
    )
    window: int = number(
        0, 0, facts.LONGEST, "milliseconds that a recording is cut to; 0: frames from its beginning"
    )
    windows: int = number(1, 1, 100, "windows of a recording, evenly spread; they give one answer")
    sensor: tuple = several(
        (), "height and width in pixels; none: from the recordings", between(1, 2**16, whole=True)
    )
    side: int = number(
        0, 0, 2**16, f"pixels of a frame's longer side at most; 0: {_SIDE}, of a line {_LINE}"
    )
    least: int = number(1, 1, 1000, "events at least for a pixel of a frame to be 1")
    rebase: bool = switch(True, "count times from the first event of each recording")
    order: str = setting("", "columns of text and arrays, such as txyp; empty: told by them", ORDER)
    unit: str = setting("", "of the times of text and arrays: s, ms, us, ns; empty: told", UNIT)
    classes: tuple = names((), "of the classes, in order; none: the folders of the recordings")
    test_share: float = number(
        0.2, 0, 1, "share of the recordings to test on, where there is no train/ and test/"
    )
    test_list: str = text("", "file that names those to test on, a line each, in place of a share")
    person: str = text(
        "", "regular expression with a group for the person in a file's name; a share is of persons"
    )

    @property
    def extent(self):
        """Of a frame; only once :meth:`resolved`."""
        height, width = self.sensor
        shrink = self._shrink()
        return recordings_lib.Extent(
            -(-height // shrink), -(-width // shrink), 1000 * (self.window or self.duration)
        )

    def check(self):
        if self.sensor and len(self.sensor) != 2:
            raise InputError(f"config.data.sensor={self.sensor!r} must be height and width")
        if self.windows > 1 and not self.window:
            raise InputError(
                f"config.data.windows={self.windows} must be 1 without a config.data.window"
            )
        if self.test_list and self.person:
            raise InputError("config.data.test_list and config.data.person both split; leave one")
        if self._is_resolved():
            super().check()

    def resolved(self):
        if not self.path and not self.tonic:
            raise InputError("name the folder of your recordings: --config.data.path=FOLDER")
        if self._is_resolved():
            return self
        found = self._found()
        sensor = self.sensor or facts.sensor_of(found.facts)
        longer = max(sensor)
        usual = _LINE if min(sensor) == 1 else _SIDE
        side = -(-longer // _shrink(longer, self.side or usual))
        duration = self.duration or facts.duration_of(found.facts, self.rebase)
        if duration < self.time_bins and not self.duration:
            raise InputError(
                f"{self._place()}: nine of ten recordings last {duration} ms or less, which is too "
                f"short for config.data.time_bins={self.time_bins}; are their times in another "
                "unit? state it with config.data.unit, or lower the bins"
            )
        return dataclasses.replace(
            self,
            sensor=sensor,
            side=side,
            duration=duration,
            classes=self.classes or found.classes,
        )

    def elsewhere(self, path):
        there: Any = super().elsewhere(path)
        places = [files.place(one).resolve() for one in (path, self._place())]
        if places[0] == places[1]:
            return there
        return dataclasses.replace(there, test_share=1.0, test_list="", person="")

    def load(self, splits=("train", "test")):
        own = self.resolved()
        own.check()
        found, chosen, how = own.contents()
        if absent := sorted({item.label for item in found.items} - {*own.classes}):
            raise InputError(
                f"{own._place()}: the class {absent[0]!r} is none of {', '.join(own.classes)}; "
                "rename or remove its folder"
            )
        subjects = choosing.persons(own.person, found)[0] if own.person else None
        notes = {
            split: [
                f"{split}: {line}"
                for line in facts.warnings_of(
                    [found.facts[i] for i in some], [found.items[i].name for i in some], own.sensor
                )
            ]
            for split, some in chosen.items()
        }
        parts = {
            split: gathered.split_of(found, chosen[split], own.classes, subjects, notes[split])
            if len(chosen[split])
            else None
            for split in splits
        }
        if len(own.classes) < 2:
            raise InputError(
                f"{own._place()}: one class alone, {own.classes[0]!r}, which leaves nothing to "
                "tell apart; there should be a folder for each class"
            )
        if "test" in splits and own.test_share and not chosen["test"]:
            way = "raise config.data.test_share"
            if any(item.split for item in found.items):
                way = "put some into test/, or name the folder with the classes to split it"
            raise InputError(f"{own._place()}: no recording to test on ({how}); {way}")
        if not any(parts.values()):
            raise InputError(f"{own._place()}: no recordings for {' or '.join(splits)} ({how})")
        first, there = next((name, part) for name, part in parts.items() if part is not None)
        general = (*found.warnings, *((f"{own._place()}: {how}",) if how == _ALL else ()))
        parts[first] = there._replace(warnings=(*general, *there.warnings))
        limits = {"train": own.train_limit, "test": own.test_limit}
        return of_splits(
            own._known(how),
            own._framing(found.polarities),
            parts,
            f"recordings from {own._place()}",
            {split: limits[split] for split in splits},
            own.seed,
            own.allow_overlap,
        )

    def contents(self) -> tuple[Gathered, dict[str, list[int]], str]:
        """The recordings, the indices of those of each split, and how they were split, in words."""
        found = self._found()
        everything = range(len(found.items))
        if self.test_list:
            test = choosing.listed(files.place(self.test_list), found)
            how = f"the test recordings are those that {self.test_list} names, and no others"
        elif any(item.split for item in found.items):
            test = [i for i in everything if found.items[i].split == "test"]
            how = "train/ and test/"
        elif self.test_share == 1:
            test, how = list(everything), _ALL
        else:
            test, how = self._drawn(found)
        return found, {"train": sorted({*everything} - {*test}), "test": test}, how

    def _is_resolved(self) -> bool:
        return bool(self.sensor and self.side and self.duration and self.classes)

    def _place(self) -> str:
        return self.path or tonic_sets.FOLDER

    def _shrink(self) -> int:
        return _shrink(max(self.sensor), self.side)

    def _found(self) -> Gathered:
        if self.tonic:
            return tonic_sets.find(self.tonic, self.path or tonic_sets.FOLDER)
        return class_folders.find(files.place(self.path), self.order, self.unit)

    def _drawn(self, found) -> tuple[list[int], str]:
        share, seed = self.test_share, self.seed
        if self.person:
            subjects, everyone = choosing.persons(self.person, found)
            some = choosing.drawn(everyone, share, seed)
            test = [i for i, subject in enumerate(subjects) if everyone[subject] in some]
            return test, f"{len(some)} of {len(everyone)} persons, drawn with seed {seed}, to test"
        some = set()
        for label in found.classes:
            own = [item.name for item in found.items if item.label == label]
            some |= choosing.drawn(own, share, seed)
        test = [i for i, item in enumerate(found.items) if item.name in some]
        return test, f"{share:g} of each class, drawn with seed {seed}, to test"

    def _known(self, how) -> Known:
        sensor_height, sensor_width = self.sensor
        extent = recordings_lib.Extent(sensor_height, sensor_width, 1000 * self.duration)

        def select(split, indices):
            return gathered.select(split, indices, extent, self.rebase)

        large = max(self.sensor) > _LARGE
        like = "DVS Gesture" if large else "N-MNIST"
        size = f"{sensor_width} x {sensor_height} pixels, {self.duration} ms"
        if self.window:
            size += f", {self.windows} windows of {self.window} ms"
        height, width, _ = self.extent
        return Known(
            name=f"{self.tonic} by tonic" if self.tonic else "own recordings",
            select=select,
            levels=corruptions.DVS_GESTURE_LEVELS if large else corruptions.NMNIST_LEVELS,
            classes=self.classes,
            rises=1,
            reader=_READER,
            caveats=(
                f"{self.tonic or 'Own recordings'} of {len(self.classes)} classes, {size}, in "
                f"{self.time_bins} frames of {width} x {height}; split: {how}. Corruptions have "
                f"the levels of {like}, whose cost was measured there.",
            ),
        )

    def _framing(self, polarities: int) -> Framing:
        shrink, duration = self._shrink(), 1000 * self.duration
        key = {**self.framing(), "shrink": shrink}

        def pack(data, change):
            if self.window:
                size = {"window": 1000 * self.window, "count": self.windows, "shrink": shrink}
                cut = windows.cut(data, **size, change=change)
            else:
                cut = windows.merged(corruptions.corrupted(data, change), shrink)
            size = {"time_bins": self.time_bins, "duration": cut.extent.duration}
            return packing.pack(cut, **size, bins=packing.BINS[self.bins], least=self.least)

        fixed = not self.window
        sensor_height, sensor_width = self.sensor
        expected = survey.Expected(sensor_height, sensor_width, duration, self.time_bins, fixed)
        height, width, _ = self.extent
        expected = expected._replace(
            polarities=polarities, least=self.least, window=1000 * self.window
        )
        return Framing(key, {}, pack, (height, width, recordings_lib.POLARITIES), expected)


def recordings(path: str | os.PathLike, **options) -> Source:
    """Recordings of one's own, ready to train and to evaluate on.

    Args:
      path: a folder with one for each class, or with ``train/`` and ``test/`` that hold these. The
        files may be of any event format, mixed.
      **options: ``time_bins``, ``sensor``, ``duration``, ``test_share``, ``person`` and the other
        keys of ``config.data``; see docs/settings.md.

    Returns:
      A data set with ``train`` and ``test``, which ``train`` and ``evaluate`` take, and
      ``class_names``, ``warnings`` and ``caveats``.

    Raises:
      InputError: there are no recordings, one is damaged, or an option is wrong.
    """
    known = {field.name for field in dataclasses.fields(OwnData)} - {*_OF_TRAINING}
    if unknown := sorted(set(options) - known):
        raise InputError(f"{unknown[0]} is no option; those are {', '.join(sorted(known))}")
    data = OwnData(path=str(path), **options)
    checked(data, "data.")
    data.check()
    return data.load()


def _shrink(longer: int, side: int) -> int:
    return -(-longer // side)
