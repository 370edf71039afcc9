"""Choosing test recordings: a share, a list of names, or some of the persons in names."""

import os
import pathlib
import re
from collections.abc import Sequence

from sast_jax.data import recordings
from sast_jax.data.formats.text import decoded
from sast_jax.data.layouts.gathered import Gathered, natural
from sast_jax.errors import InputError


def drawn(names: Sequence[str], share: float, seed: int) -> set[str]:
    """A share of some names, drawn so that further names leave the others where they are."""
    ranked = sorted(names, key=lambda name: recordings.fingerprint(f"{seed} {name}"))
    return set(ranked[: round(share * len(ranked))])


def listed(path: str | os.PathLike, found: Gathered) -> list[int]:
    """Indices of the recordings that a text file names, a line each, by name below the folder.

    Raises:
      InputError: it names one that is not there, or none.
    """
    try:
        names = decoded(pathlib.Path(path).read_bytes(), str(path)).split("\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    wanted = [name.strip().replace("\\", "/") for name in names if name.strip()]
    index = {item.name: i for i, item in enumerate(found.items)}
    missing = [name for name in wanted if name not in index]
    if missing or not wanted:
        what = "holds no name"
        if missing:
            what = (
                f"{len(missing)} of its {len(wanted)} lines name no recording, first {missing[0]}"
            )
        raise InputError(
            f"{path}: {what}; a line is the name of a recording below the folder, such as "
            f"{found.items[0].name}"
        )
    return sorted({index[name] for name in wanted})


def persons(pattern: str, found: Gathered) -> tuple[list[int], list[str]]:
    """A number for the person in the name of each recording, and the names of the persons.

    Args:
      pattern: a regular expression whose first group is the person.
      found: the recordings.

    Raises:
      InputError: it is no such expression, or does not match a name.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"config.data.person={pattern!r} must be a regular expression ({error})"
        ) from error
    if not compiled.groups:
        raise InputError(
            f"config.data.person={pattern!r} must hold a group, such as 'user([0-9]+)'"
        )
    named = []
    for item in found.items:
        match = compiled.search(item.name)
        if not match or match[1] is None:  # a group may be optional
            raise InputError(f"config.data.person={pattern!r} matches nothing in {item.name!r}")
        named.append(match[1])
    everyone = sorted(set(named), key=natural)
    return [everyone.index(name) for name in named], everyone
