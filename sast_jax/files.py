"""Files of users and runs: checked before the work, and replaced in one step after it."""

import contextlib
import errno
import io
import json
import os
import pathlib
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, overload

import numpy as np

from sast_jax.errors import InputError

Kind = TypeVar("Kind", dict, list)
_OF_A_RUN = (  # or of a study
    *("config.json", "metrics.jsonl", "results.json", "report.html", "report.md", "answers.npz"),
    *("theory.json", "theory.html", "theory.md", "following.npz", "deployment.json"),
    *("landscape.json", "assessment.json", "assessment.html", "assessment.md", "rows.json"),
    *("times.json", "deployment.npz"),
)


def place(name: str | os.PathLike) -> pathlib.Path:
    """The path of a name that a user gave, with ``~`` as their home folder.

    Raises:
      InputError: it names a home folder that is not known, or no path at all.
    """
    text = os.fspath(name)
    if not text:
        raise InputError("an empty name is no file or folder; '.' is the folder you are in")
    if "\0" in text:
        raise InputError(f"{text!r}: no path, as it holds a byte of 0")
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"{text}: no such home folder; write the path without ~") from error


def is_full(error: OSError) -> bool:
    """Whether an error says that a disk has no room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_left_over(path: pathlib.Path) -> bool:
    """Whether the file was left behind by a :func:`write` that was killed."""
    return re.fullmatch(r"\..+\.\d+", path.name) is not None


@overload
def asked_for(name: str) -> pathlib.Path: ...


@overload
def asked_for(name: None) -> None: ...


def asked_for(name: str | None) -> pathlib.Path | None:
    """The file that a flag names, or None for none.

    Raises:
      InputError: it cannot be written, or belongs to a run.
    """
    if name is None:
        return None
    path = place(name)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: cannot be written; name a file in a folder that exists")
    whose = (path.parent, path.parent.parent)  # a study's rows lie in folders of its own
    if path.name in _OF_A_RUN and any((folder / "config.json").is_file() for folder in whose):
        raise InputError(f"{path}: belongs to the run in that folder; name another file")
    return path


def parsed(text: str) -> Any:
    """What JSON holds.

    Raises:
      ValueError: it is none, or nested far too deep.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def read_json(path: pathlib.Path, kind: type[Kind]) -> Kind:
    """The content of a JSON file that holds a dict, or a list, as ``kind`` says.

    Raises:
      InputError: it is damaged, or holds something else.
    """
    try:
        found = parsed(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error}); remove it") from error
    if not isinstance(found, kind):
        raise InputError(f"{path}: damaged (not a {kind.__name__}); remove it")
    return found


def write(path: pathlib.Path, content: str | bytes) -> None:
    """Replaces a file in one step, so that nobody sees half of it; writes into a link or device."""
    # Names of files may hold bytes that are no text.
    content = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with naming(path):
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_bytes(content)
            return
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: pathlib.Path) -> Iterator[None]:
    """Lets errors within name this file; those of a full disk name none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or os.fspath(path)
        raise


def write_figure(path: pathlib.Path, figure: Any, dpi: int = 110) -> None:
    """Replaces a picture with a figure of Matplotlib's, in the format of the file's suffix."""
    made = io.BytesIO()
    figure.savefig(made, format=path.suffix[1:], dpi=dpi)
    write(path, made.getvalue())


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Replaces an ``.npz`` file with these arrays."""
    write(path, packed(arrays))


def packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """What an ``.npz`` file of these arrays holds."""
    made = io.BytesIO()
    # The stubs take these for the option allow_pickle, which no array here is named.
    np.savez_compressed(made, **arrays)  # type: ignore[arg-type]
    return made.getvalue()


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file.

    Raises:
      InputError: it is not there, or damaged.
    """
    try:
        return unpacked(path)
    except Exception as error:  # whatever parsing a damaged archive raises
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not there or damaged ({reason})") from error


def unpacked(path: pathlib.Path | io.BytesIO) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file, with their checksums; raises anything if it is damaged."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
                # The checksum is compared at the end, which a damaged header may end before.
                if member.read(1):
                    raise ValueError(f"{name} holds more than its array")
                found[name.removesuffix(".npy")] = array
    return found


def folder_asked_for(name: str, mark: str) -> pathlib.Path:
    """The folder that a flag names; :func:`write_all` makes it if it is not there.

    Args:
      name: of the folder.
      mark: a file that folders have which the command may write again.

    Raises:
      InputError: it cannot be written, or holds a run or other things.
    """
    path = place(name)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file; name a folder")
    if (path / "checkpoints").is_dir():
        raise InputError(f"{path}: holds a run; name another folder")
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"{path}: cannot be written, as {there} cannot; name another folder")
    if path.exists() and any(path.iterdir()) and not (path / mark).is_file():
        raise InputError(f"{path}: holds other things; name a new folder")
    return path


def write_all(folder: pathlib.Path, contents: Mapping[str, bytes]) -> None:
    """Writes files by their names below a folder, each in one step."""
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / name, content)
