"""Data sets of ``tonic.datasets`` that give events and a class.

tonic fetches a set and reads its recordings; what each holds is learned once, in parallel, and kept
in the cache. Sets without pixels, such as SHD with its 700 channels, are of a sensor of one line.
"""

import functools
import inspect
import os
import pathlib
from typing import Any

import numpy as np

from sast_jax import files
from sast_jax.data import cache, recordings
from sast_jax.data.formats import Stream, tables
from sast_jax.data.layouts import finding
from sast_jax.data.layouts.facts import facts_of
from sast_jax.data.layouts.gathered import Gathered, Item, natural
from sast_jax.data.parallel import mapped
from sast_jax.errors import InputError, needed

READER = 1  # part of cache keys: raise it when recordings are read otherwise
FOLDER = "data/tonic"  # where sets are, unless a setting says otherwise


def names() -> list[str]:
    """The data sets of the installed tonic."""
    return list(needed("tonic.datasets", "data").__all__)


def find(name: str, folder: str | os.PathLike) -> Gathered:
    """The recordings of a set, and what they hold.

    Args:
      name: of the set in ``tonic.datasets``, such as "CIFAR10DVS".
      folder: where tonic keeps its sets; a set that is not there is fetched by tonic.

    Raises:
      InputError: there is no such set, it can neither be found nor fetched, or it does not give
        events and a class.
    """
    if name not in names():
        raise InputError(
            f"config.data.tonic={name!r} must be one of {', '.join(names())}, as the installed "
            "tonic has them"
        )
    root = str(files.place(folder))
    splits = _splits(name)
    sets = {split: _opened(name, root, split) for split in splits}
    place = pathlib.Path(next(iter(sets.values())).location_on_system)
    lines = "".join(recordings.stamp(path, place) for path in finding.files(place))
    key = {"facts of": recordings.fingerprint(lines), "tonic": name, "reader": READER}
    named = {split: _files(each, place) for split, each in sets.items()}
    work = [(name, root, split, index) for split, each in named.items() for index in each]
    make = lambda: list(mapped(_facts, work, f"reading {name}"))  # noqa: E731
    facts = cache.listing(cache.folder(), key, make)
    if not facts:
        raise InputError(f"{place}: holds no recordings of {name}")
    classes = _classes(next(iter(sets.values())), facts)
    items = [
        Item(
            named[split][index] or f"{split or 'all'}/{index:06d}",
            f"{place}/{named[split][index] or f'{split} {index}'}",
            split,
            classes[own["target"]] if isinstance(own["target"], int) else own["target"],
        )
        for (_, _, split, index), own in zip(work, facts, strict=True)
    ]
    return Gathered(
        tuple(items),
        tuple(facts),
        tuple(classes),
        tuple(work),
        _stream,
        f"tonic {name} {READER}",
        _not_used(sets),
        polarities=_polarities(next(iter(sets.values()))),
    )


def _splits(name: str) -> dict[str, dict[str, Any]]:
    """The arguments that choose the set's own splits, by split; "" for a set that has none."""
    kind = getattr(needed("tonic.datasets", "data"), name)
    known = inspect.signature(kind.__init__).parameters
    if "train" in known:
        return {"train": {"train": True}, "test": {"train": False}}
    if "split" in known:
        return {"train": {"split": "train"}, "test": {"split": "test"}}
    return {"": {}}


@functools.lru_cache(4)
def _opened(name: str, root: str, split: str) -> Any:
    """The set, which tonic fetches if it is not there.

    Raises:
      InputError: it cannot be found or fetched.
    """
    kind = getattr(needed("tonic.datasets", "data"), name)
    try:
        return kind(save_to=root, **_splits(name)[split])
    except (Exception, SystemExit) as error:  # whatever a host, an archive or tonic raises
        place = pathlib.Path(root, name)
        urls = [getattr(kind, key, None) for key in ("url", "base_url", "train_url")]
        where = next((url for url in urls if isinstance(url, str)), "its publisher")
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{place}: {name} is not there as tonic keeps it, and cannot be fetched ({reason}); "
            f"fetch it by hand from {where} into that folder, and unpack it there"
        ) from error


def _not_used(sets) -> tuple[str, ...]:
    """A warning if the set has a split that is neither to train nor to test on."""
    if any(type(opened).__name__ == "SSC" for opened in sets.values()):
        return ("its split 'valid' is not used; hold out a share with config.data.validation",)
    return ()


def _files(opened, place) -> dict[int, str]:
    """Indices of the recordings in order of their files, with the names of these, "" for none."""
    paths = getattr(opened, "data", [])
    listed = isinstance(paths, list) and all(isinstance(path, str) for path in paths)
    if not listed or len(paths) != len(opened):
        return dict.fromkeys(range(len(opened)), "")
    # tonic lists files as the disk has them, in another order on another machine.
    order = sorted(range(len(paths)), key=paths.__getitem__)
    return {i: os.path.relpath(paths[i], place).replace(os.sep, "/") for i in order}


def _facts(work: tuple[str, str, str, int]) -> dict[str, Any]:
    name, root, split, index = work
    _, target = _sample(name, root, split, index)
    return facts_of(_stream(work)) | {"target": target}


def _stream(source: tuple[str, str, str, int]) -> Stream:
    name, root, split, index = source
    events, _ = _sample(name, root, split, index)
    where = f"tonic.datasets.{name}: recording {index} of {split or 'all'}"
    found = tables.structured(events, where)
    size = getattr(_opened(name, root, split), "sensor_size", None)
    sensor = (int(size[1]), int(size[0])) if size else None
    return tables.stream(found, name, where, unit="us", sensor=sensor)


def _where(name, root, split, index) -> str:
    opened = _opened(name, root, split)
    file = _files(opened, opened.location_on_system)[index]
    return file or f"recording {index} of {split or 'all'}"


def _sample(name, root, split, index) -> tuple[np.ndarray, int | str]:
    """Events and class of a recording.

    Raises:
      InputError: it is damaged, or the set gives something else.
    """
    try:
        sample = _opened(name, root, split)[index]
    except InputError:
        raise
    except Exception as error:  # whatever a reader of tonic raises
        raise InputError(
            f"tonic.datasets.{name}: {_where(name, root, split, index)} cannot be read "
            f"({' '.join(str(error).split())}); fetch the set again"
        ) from error
    events, target = sample if isinstance(sample, tuple) and len(sample) == 2 else (None, None)
    if isinstance(target, np.generic | np.ndarray) and np.size(target) == 1:
        target = target.item()
    if isinstance(events, np.ndarray) and events.dtype.names and isinstance(target, int | str):
        return events, target
    raise InputError(
        f"tonic.datasets.{name}: gives no events and a class, so that nothing can be trained on it"
    )


def _classes(opened, facts) -> list[str]:
    """Names of the classes in the order of tonic's numbers."""
    targets = {own["target"] for own in facts}
    if all(isinstance(target, str) for target in targets):
        return sorted(targets, key=natural)
    given = getattr(opened, "classes", None)
    if given is None or len(given) <= max(targets):
        return [str(number) for number in range(max(targets) + 1)]
    named = sorted(given, key=given.__getitem__) if isinstance(given, dict) else given
    return [name.decode() if isinstance(name, bytes) else str(name) for name in named]


def _polarities(opened) -> int:
    size = getattr(opened, "sensor_size", None)
    return int(size[2]) if size and len(size) > 2 else 2
