"""HDF5 files whose links or arrays point into other files are refused."""

from typing import Any

from sast_jax.errors import needed


def child(group: Any, key: str) -> Any:
    """What a group of ``h5py`` holds under a name; None for a link that leads nowhere.

    Raises:
      ValueError: it lies in another file, which is not read.
    """
    h5py: Any = needed("h5py", "recordings")
    elsewhere = isinstance(group.get(key, getlink=True), h5py.ExternalLink)
    found = None if elsewhere else group.get(key)
    if isinstance(found, h5py.Dataset):
        elsewhere = bool(found.external) or found.is_virtual
    if found is not None:  # a link within the file may pass through one that leads out of it
        files = {h5py.h5o.get_info(one.id).fileno for one in (group, found)}
        elsewhere = elsewhere or len(files) > 1
    if elsewhere:
        raise ValueError(f"its {key} lies in another file")
    return found


def require_whole(file: Any) -> None:
    """Raises ValueError if anything in a file, or in a group of it, lies in another file."""
    h5py: Any = needed("h5py", "recordings")
    waiting, seen = [file], set()
    while waiting:
        group = waiting.pop()
        place = h5py.h5o.get_info(group.id).addr
        if place in seen:  # links may lead back
            continue
        seen.add(place)
        children = [child(group, key) for key in group]
        waiting += [found for found in children if isinstance(found, h5py.Group)]
