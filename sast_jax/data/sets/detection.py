"""Which published set a folder holds."""

import pathlib

from sast_jax.data.layouts.split import Split
from sast_jax.data.sets import SETS, loading
from sast_jax.data.sets.base import Data
from sast_jax.errors import InputError


def published_in(path: pathlib.Path) -> tuple[type[Data], dict[str, Split]] | None:
    """The kind of data set in a folder and its splits; None if it holds recordings of one's own.

    With files beside them that are not read, recordings are somebody's own, of several formats.
    """
    for kind in SETS.values():
        if kind.published is None:
            continue
        try:
            found = loading.located(kind.published, path, ("train", "test"))
        except InputError:
            continue
        splits = {name: split for name, split in found[1].items() if split} if found else {}
        if splits and not any(split.unread for split in splits.values()):
            return kind, splits
    return None
