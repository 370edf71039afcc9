"""Rows of a study's table, each made once and then kept in a file."""

import json
import pathlib
import re
from collections.abc import Callable

from sast_jax.errors import InputError
from sast_jax.runs import files


def folder(name: str) -> str:
    """The name of a folder for a method."""
    return "_".join(re.findall(r"\w+", name))


def made(
    file: pathlib.Path, abouts: dict[str, dict], make: Callable[[str, dict], dict]
) -> dict[str, dict]:
    """Rows of a table by name, each made once and then kept in a file; prints which one it makes.

    Args:
      file: keeps the rows. Another machine needs only a copy of it to go on.
      abouts: for each row everything that it depends on, as values that JSON can hold.
      make: (name, the rows before it) -> a row.

    Raises:
      InputError: the file is damaged, or one of its rows depends on something else.
    """
    done, found, abouts = kept(file), {}, json.loads(json.dumps(abouts))
    for name, about in abouts.items():  # all of them, before any is made
        if name in done and done[name]["about"] != about:
            raise InputError(
                f"{file}: its row {name!r} rests on other settings or recordings; move it away"
            )
    for name, about in abouts.items():
        if name not in done:
            print(f"{file.parent.name}: {name}, {len(found) + 1} of {len(abouts)}", flush=True)
            done[name] = {"about": about, "row": make(name, found)}
            file.parent.mkdir(parents=True, exist_ok=True)
            files.write(file, json.dumps(done, indent=1))
        found[name] = done[name]["row"]
    return found


def kept(file: pathlib.Path) -> dict[str, dict]:
    """The rows in a file, none where there is no file: by name, ``about`` and ``row``.

    Raises:
      InputError: the file is damaged.
    """
    found = files.read_json(file) if file.exists() else {}
    try:
        if all(row.keys() == {"about", "row"} for row in found.values()):
            return found
    except AttributeError:
        pass  # no rows at all
    raise InputError(f"{file}: damaged (not rows of a study); remove it")
