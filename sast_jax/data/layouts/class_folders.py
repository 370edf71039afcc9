"""Recordings in a folder for each class, in whatever event formats.

Files lie in ``<class>/`` or deeper, in ``train/`` and ``test/`` or without. Which files are
recordings is told by their content (:mod:`sast_jax.data.formats`). Each is read once to learn what
it holds; that is kept in the cache.
"""

import functools
import os
import pathlib
from collections.abc import Iterable
from typing import Any

from sast_jax.data import cache, recordings
from sast_jax.data.formats import NoEventsError, NotEventsError, identify, read
from sast_jax.data.layouts import finding
from sast_jax.data.layouts.facts import facts_of
from sast_jax.data.layouts.gathered import Gathered, Item, natural
from sast_jax.data.parallel import mapped
from sast_jax.errors import InputError

_EMPTY = "no events"
READER = 4  # part of cache keys: raise it when files are read otherwise
_SPLITS = {"train": ("train", "training"), "test": ("test", "testing")}
_TEXTS = (".txt", ".csv", ".tsv")  # papers elsewhere, recordings within a class


def find(folder: str | os.PathLike, order: str = "", unit: str = "") -> Gathered:
    """Looks for recordings below a folder, and at what they hold.

    Args:
      folder: holds a folder for each class, or ``train/`` and ``test/`` with these.
      order, unit: see :func:`sast_jax.data.formats.read`.

    Raises:
      InputError: there are none, or a recording is damaged.
    """
    root = pathlib.Path(folder)
    try:
        if root.is_file():
            raise InputError(f"{root}: is a file; name the folder with a folder for each class")
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; name one with a folder for each class")
        root = _inner(root)
        items, others = _items(root)
        stamps = "".join(recordings.stamp(pathlib.Path(item.where), root) for item in items)
        key = {"facts of": recordings.fingerprint(stamps), "reader": READER}
        key |= {"order": order, "unit": unit}
        work = [(item.where, order, unit) for item in items]
        make = lambda: list(mapped(_facts, work, "looking at recordings"))  # noqa: E731
        facts = cache.listing(cache.folder(), key, make)
    except OSError as error:
        raise InputError(f"cannot read {error.filename or root}: {error.strerror}") from error
    without: dict[str, list[str]] = {}  # why -> names
    for item, own in zip(items, facts, strict=True):
        if not own["format"]:
            without.setdefault(own["why"], []).append(item.name)
    both = [(item, own) for item, own in zip(items, facts, strict=True) if own["format"]]
    if not both:
        there = finding.like_recordings(root)
        lines = [f"there is {there}"] if there else []
        lines += [f"{names[0]}: {why}" for why, names in without.items()]
        raise InputError(
            f"{root}: no recordings in folders; put those of a class into a folder with its name"
            + (f" ({'; '.join(lines)})" if lines else "")
        )
    kept, known = (tuple(each) for each in zip(*both, strict=True))
    notes = finding.unread(root, others, lambda _: False)
    notes = (*notes, *_without(root, kept), *_alike(root, kept))
    for why, names in without.items():
        notes = (*notes, f"{root}: {len(names)} files are left out, first {names[0]}: {why}")
    return Gathered(
        kept,
        known,
        tuple(sorted({item.label for item in kept}, key=natural)),
        tuple(item.where for item in kept),
        functools.partial(read, order=order, unit=unit),
        f"files {order} {unit} {READER}",
        notes,
    )


def _facts(work: tuple[str, str, str]) -> dict[str, Any]:
    """What a file (path, order, unit) holds; no format, and why, if it is no recording, or empty.

    Raises:
      InputError: a recording is damaged, or its ending says that it is one, but not its content.
    """
    path, order, unit = work
    kind = ""
    try:
        kind = identify(path)
        found = facts_of(read(path, order=order, unit=unit))
        return found if found["events"] else {"format": "", "why": _EMPTY}
    except NoEventsError:
        return {"format": "", "why": _EMPTY}
    except InputError as error:
        ending, is_text = path.lower(), isinstance(error, NotEventsError)
        # A file that could not be opened may be readable the next time. Else its ending or its
        # first bytes say that it is a recording; but much that is none is text.
        unopened = isinstance(error.__cause__, OSError)
        said = ending.endswith(finding.ENDINGS) or (ending.endswith(_TEXTS) and not is_text)
        if unopened or said or kind not in ("", "text"):
            raise
        return {"format": "", "why": str(error).removeprefix(f"{path}: ")}


def _inner(root) -> pathlib.Path:
    """The folder itself, or the only one in it if that holds train and test, or the classes."""
    inside = [path for path in sorted(root.iterdir()) if path.is_dir() and not finding.hidden(path)]
    if len(inside) != 1 or _splits(root) or not any(p.is_dir() for p in inside[0].iterdir()):
        return root
    return inside[0]


def _without(root, items: Iterable[Item]) -> list[str]:
    """A warning if folders of classes hold no recording."""
    there = {(item.split, item.label) for item in items}
    absent = [
        path.relative_to(root).as_posix()
        for split, top in (_splits(root) or {"": root}).items()
        for path in sorted(top.iterdir())
        if path.is_dir() and not finding.hidden(path) and (split, _text(path.name)) not in there
    ]
    if not absent:
        return []
    return [f"{root}: {len(absent)} folders hold no recording, first {absent[0]}"]


def _alike(root, items: Iterable[Item]) -> list[str]:
    """A warning if all classes hold folders of the same names, as where persons come first."""
    inside: dict[str, set[str]] = {}  # class -> folders
    for item in items:
        parts = pathlib.PurePath(item.name).parts[1 if item.split else 0 :]
        inside.setdefault(item.label, set()).add(parts[1] if len(parts) > 2 else "")
    first, *others = inside.values()
    if not others or len(first) < 2 or "" in first or any(own != first for own in others):
        return []
    both = ", ".join(sorted(first)[:3]), ", ".join(list(inside)[:3])
    return [f"{root}: the folders {both[1]} are taken for classes; are those {both[0]} in each?"]


def _splits(root) -> dict[str, pathlib.Path]:
    found = {split: finding.named(root, *names) for split, names in _SPLITS.items()}
    return {split: path for split, path in found.items() if path is not None and path.is_dir()}


def _items(root) -> tuple[list[Item], list[str]]:
    """Files that may be recordings, and the names of others."""
    splits = _splits(root)
    items, others = [], []
    for split, top in (splits or {"": root}).items():
        for path in finding.files(top):
            inside = path.relative_to(top).parts
            name = path.relative_to(root).as_posix()
            if len(inside) > 1 and not _is_paper(path):
                items.append(Item(name, str(path), split, _text(inside[0])))
            else:
                others.append(name)
    for path in sorted(root.iterdir()) if splits else ():
        if path not in splits.values() and not finding.hidden(path):
            below = finding.files(path) if path.is_dir() else [path]
            others += [entry.relative_to(root).as_posix() for entry in below]
    items.sort(key=lambda item: (item.split == "test", natural(item.label), item.name))
    return items, others


def _text(name: str) -> str:
    """The name of a folder as text that can be written and drawn, whatever bytes it has."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _is_paper(path) -> bool:
    ending = path.suffix.lower()
    named = path.name.upper().startswith(("README", "LICENSE"))
    return named or (ending in finding.PAPERS and ending not in _TEXTS)
