"""Finding recordings: names in any case, links followed, and nothing left out in silence."""

import os
import pathlib
from collections.abc import Callable, Iterable

from sast_jax.data.formats.stream import LARGEST_RATIO
from sast_jax.errors import InputError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
ENDINGS = (
    ".bin", ".bs2", ".npy", ".npz", ".mat", ".raw", ".dat", ".aedat", ".aedat4", ".es", ".h5",
    ".hdf5",
)  # fmt: skip
PAPERS = (
    ".md", ".rst", ".txt", ".pdf", ".html", ".json", ".yaml", ".yml", ".xml", ".csv", ".ini", ".db",
    ".log", ".py", ".m", ".sh", ".part", ".png", ".jpg", ".tmp_index", ".bias",
)  # fmt: skip
_DEPTH = 3  # levels of folders that are searched for what looks like recordings


def named(folder: pathlib.Path, *names: str) -> pathlib.Path | None:
    """The entry of a folder with one of these names, in any case; the first name counts most.

    Raises:
      InputError: two entries differ in the case of their letters alone.
    """
    if not folder.is_dir():
        return None
    entries = sorted(os.listdir(folder))
    for name in names:
        alike = [entry for entry in entries if entry.lower() == name.lower()]
        if name in alike or len(alike) == 1:
            return folder / (name if name in alike else alike[0])
        if alike:
            raise InputError(f"{folder}: holds {' and '.join(alike)}; keep one of them")
    return None


def places(folder: pathlib.Path) -> list[pathlib.Path]:
    """A folder, and the folders in it."""
    if not folder.is_dir():
        return [folder]
    inner = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not hidden(entry))
    return [folder, *inner]


def files(root: pathlib.Path) -> list[pathlib.Path]:
    """All files below a folder, sorted; links are followed, but not back to where they lead from.

    Raises:
      OSError: a folder cannot be listed.
    """
    found = []

    def walk(folder, above):
        real = os.path.realpath(folder)
        if real in above:
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                path = pathlib.Path(entry.path)
                if hidden(path):
                    continue
                if entry.is_dir():
                    walk(entry.path, {*above, real})
                else:
                    found.append(path)

    walk(root, frozenset())
    return sorted(found)


def hidden(path: pathlib.PurePath) -> bool:
    """Whether a file or folder is one that systems leave behind, and people do not see."""
    return path.name.startswith(".") or path.name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def unread(where: object, names: Iterable[str], is_read: Callable[[str], bool]) -> tuple[str, ...]:
    """A warning if some of these files are not read, although they are no papers."""
    left = [
        name
        for name in names
        if not is_read(name)
        and not name.endswith("/")
        and not name.lower().endswith(PAPERS)
        and not any(hidden(pathlib.PurePath(part)) for part in name.split("/"))
        and not pathlib.PurePath(name).name.upper().startswith(("README", "LICENSE"))
    ]
    if not left:
        return ()
    return (f"{where}: {len(left)} files there are not read, first {left[0]}",)


def like_recordings(folder: pathlib.Path) -> str | None:
    """The name of something in a folder that may hold recordings: an archive, or an event file."""
    waiting = [(folder, 0)] if folder.is_dir() else []
    while waiting:
        place, depth = waiting.pop(0)
        for entry in sorted(place.iterdir()):
            if hidden(entry):
                continue
            if entry.is_dir():
                if depth < _DEPTH:
                    waiting.append((entry, depth + 1))
            elif entry.name.lower().endswith((*ARCHIVES, *ENDINGS)):
                return str(entry.relative_to(folder))
    return None


def require_room(name: str, unpacked: int, packed: int) -> None:
    """Refuses a file in an archive that says it unpacks to far more than recordings do.

    Args:
      name: of the file, for the message.
      unpacked, packed: bytes.

    Raises:
      InputError: it does.
    """
    if unpacked > LARGEST_RATIO * max(packed, 1):
        raise InputError(
            f"{name}: would unpack to {unpacked:,} bytes from {packed:,}; no recording packs so "
            "tightly, so fetch the archive again"
        )
