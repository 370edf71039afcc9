"""Rows of a study's table, each made once and then kept in a file."""

import concurrent.futures
import functools
import itertools
import json
import pathlib
import re
import threading
from collections.abc import Callable, Mapping

from sast_jax import files
from sast_jax.errors import InputError
from sast_jax.runs import workdirs


def folder(name: str) -> str:
    """The name of a folder for a method."""
    return "_".join(re.findall(r"\w+", name))


def made(
    file: pathlib.Path,
    abouts: dict[str, dict],
    make: Callable[[str, Mapping[str, dict]], dict],
    at_once: int = 1,
) -> dict[str, dict]:
    """Rows of a table by name, each made once and then kept in a file; prints which one it makes.

    Args:
      file: keeps the rows. Another machine needs only a copy of it to go on.
      abouts: for each row everything that it depends on, as values that JSON can hold.
      make: (name, the rows before it) -> a row. Of several that are made at once, one that asks for
        a row before it waits for that.
      at_once: rows that are made at once, at most, each in a thread of its own.

    Raises:
      InputError: the file is damaged, or one of its rows depends on something else.
    """
    done, abouts, lock = kept(file), json.loads(json.dumps(abouts)), threading.Lock()
    for name, about in abouts.items():  # all of them, before any is made
        if name in done and done[name]["about"] != about:
            there, here = workdirs.flat(done[name]["about"]), workdirs.flat(about)
            raise InputError(
                f"{file}: its row {name!r} rests on other settings or recordings "
                f"({workdirs.difference(there, here)}); move it away"
            )
    file.parent.mkdir(parents=True, exist_ok=True)
    places = {name: number for number, name in enumerate(abouts, start=1)}
    rows: dict[str, concurrent.futures.Future[dict]] = {
        name: concurrent.futures.Future() for name in abouts
    }

    def one(name):
        if name not in done:
            print(f"{file.parent.name}: {name}, {places[name]} of {len(abouts)}", flush=True)
            row = make(name, _Before(rows, places[name] - 1))
            with lock:
                done[name] = {"about": abouts[name], "row": row}
                files.write(file, json.dumps(done, indent=1))
        rows[name].set_result(done[name]["row"])

    if at_once == 1:
        for name in abouts:
            one(name)
    else:
        # Rows begin in their order, so a row that is waited for has begun before.
        with concurrent.futures.ThreadPoolExecutor(max(1, min(at_once, len(abouts)))) as pool:
            started = {name: pool.submit(one, name) for name in abouts}
            for name, ended in started.items():
                ended.add_done_callback(functools.partial(_fail, name, rows[name]))
            for ended in started.values():
                ended.result()
    return {name: row.result() for name, row in rows.items()}


def _fail(name, row, ended) -> None:
    """Says at once that a row failed; those that wait for it fail with it, and others go on."""
    if ended.exception() is not None:
        print(f"warning: {name}: {ended.exception()}", flush=True)
        row.set_exception(ended.exception())


class _Before(Mapping):
    """The rows before one: asking for a row waits until it is made."""

    def __init__(self, rows: dict[str, concurrent.futures.Future], count: int):
        self._rows = dict(itertools.islice(rows.items(), count))

    def __getitem__(self, name):
        return self._rows[name].result()

    def __iter__(self):
        return iter(self._rows)

    def __len__(self):
        return len(self._rows)


def kept(file: pathlib.Path) -> dict[str, dict]:
    """The rows in a file, none where there is no file: by name, ``about`` and ``row``.

    Raises:
      InputError: the file is damaged.
    """
    found = files.read_json(file, dict) if file.exists() else {}
    try:
        if all(row.keys() == {"about", "row"} for row in found.values()):
            return found
    except AttributeError:
        pass  # no rows at all
    raise InputError(f"{file}: damaged (not rows of a study); remove it")
