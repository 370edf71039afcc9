"""HDF5 files are taken as whole in themselves: their links and arrays may name any other file."""

from collections.abc import Iterator
from typing import Any

from sast_jax.errors import needed


def child(group: Any, key: str) -> Any:
    """What a group of ``h5py`` holds under a name; None for a link that leads nowhere.

    Raises:
      ValueError: it lies in another file, which is not opened.
    """
    h5py: Any = needed("h5py", "recordings")
    elsewhere = isinstance(group.get(key, getlink=True), h5py.ExternalLink)
    found = None if elsewhere else group.get(key)
    if elsewhere or (isinstance(found, h5py.Dataset) and (found.external or found.is_virtual)):
        raise ValueError(f"its {key} lies in another file")
    return found


def arrays(file: Any) -> Iterator[Any]:
    """All arrays of a file, or of a group of it.

    Raises:
      ValueError: one lies in another file.
    """
    h5py: Any = needed("h5py", "recordings")
    waiting, seen = [file], set()
    while waiting:
        group = waiting.pop()
        place = h5py.h5o.get_info(group.id).addr
        if place in seen:  # links may lead back
            continue
        seen.add(place)
        for found in (child(group, key) for key in group):
            if isinstance(found, h5py.Group):
                waiting.append(found)
            elif isinstance(found, h5py.Dataset):
                yield found
