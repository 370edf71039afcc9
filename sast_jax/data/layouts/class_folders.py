"""Recordings in a folder for each class, in whatever event formats.

Files lie in ``<class>/`` or deeper, in ``train/`` and ``test/`` or without. Which files are
recordings is told by their content (:mod:`sast_jax.data.formats`). Each is read once to learn what
it holds; that is kept in the cache.
"""

import functools
import hashlib
import os
import pathlib
from typing import Any

from sast_jax.data import cache, recordings
from sast_jax.data.formats import identify, read
from sast_jax.data.layouts import finding
from sast_jax.data.layouts.gathered import Gathered, Item, facts_of, natural
from sast_jax.data.parallel import mapped
from sast_jax.errors import InputError

READER = 2  # part of cache keys: raise it when files are read otherwise
_SPLITS = ("train", "test")
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
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; name one with a folder for each class")
        items, others = _items(root)
        lines = "".join(recordings.stamp(pathlib.Path(item.where), root) for item in items)
        key = {"facts of": hashlib.sha256(lines.encode()).hexdigest(), "reader": READER}
        key |= {"order": order, "unit": unit}
        work = [(item.where, order, unit) for item in items]
        make = lambda: list(mapped(_facts, work, "looking at recordings"))  # noqa: E731
        facts = cache.listing(cache.folder(), key, make)
    except OSError as error:
        raise InputError(f"cannot read {error.filename or root}: {error.strerror}") from error
    others += [item.name for item, own in zip(items, facts, strict=True) if not own["format"]]
    both = [(item, own) for item, own in zip(items, facts, strict=True) if own["format"]]
    if not both:
        there = finding.like_recordings(root)
        raise InputError(
            f"{root}: no recordings in folders; put those of a class into a folder with its name"
            + (f" (there is {there})" if there else "")
        )
    kept, known = (tuple(each) for each in zip(*both, strict=True))
    return Gathered(
        kept,
        known,
        tuple(sorted({item.label for item in kept}, key=natural)),
        tuple(item.where for item in kept),
        functools.partial(read, order=order, unit=unit),
        f"{order} {unit}",
        finding.unread(root, others, lambda _: False),
    )


def _facts(work: tuple[str, str, str]) -> dict[str, Any]:
    """What a file (path, order, unit) holds; its format is "" if it is no recording.

    Raises:
      InputError: a recording is damaged, or its ending says that it is one, but not its content.
    """
    path, order, unit = work
    kind = ""
    try:
        kind = identify(path)
        return facts_of(read(path, order=order, unit=unit))
    except InputError:
        # Its ending or its first bytes say that it is one; but much that is none begins as text.
        if path.lower().endswith((*finding.ENDINGS, *_TEXTS)) or kind not in ("", "text"):
            raise
        return {"format": ""}


def _items(root) -> tuple[list[Item], list[str]]:
    """Files that may be recordings, and the names of others."""
    splits = {name: finding.named(root, name) for name in _SPLITS}
    splits = {name: path for name, path in splits.items() if path is not None and path.is_dir()}
    items, others = [], []
    for split, top in (splits or {"": root}).items():
        for path in finding.files(top):
            inside = path.relative_to(top).parts
            name = path.relative_to(root).as_posix()
            if len(inside) > 1 and not _is_paper(path):
                items.append(Item(name, str(path), split, inside[0]))
            else:
                others.append(name)
    if splits:
        others += [path.name for path in sorted(root.iterdir()) if path not in splits.values()]
    items.sort(key=lambda item: (item.split == "test", natural(item.label), item.name))
    return items, others


def _is_paper(path) -> bool:
    ending = path.suffix.lower()
    named = path.name.upper().startswith(("README", "LICENSE"))
    return named or (ending in finding.PAPERS and ending not in _TEXTS)
