"""Recordings gathered from a folder or from a library, and their splits."""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sast_jax.data import recordings
from sast_jax.data.formats import Stream
from sast_jax.data.layouts.facts import as_events
from sast_jax.data.layouts.split import Split
from sast_jax.data.parallel import mapped
from sast_jax.errors import InputError

_CHUNK = 16  # recordings that a process reads at once
_FEW_CHUNKS = 16  # not worth starting processes for


class Item(NamedTuple):
    """A recording.

    Attributes:
      name: below the folder of all.
      where: for messages.
      split: "train", "test", or "" where nothing says.
      label: name of its class.
    """

    name: str
    where: str
    split: str
    label: str

    @property
    def stem(self) -> str:
        """Name below the split and without ending: the same in whatever format and split."""
        name = pathlib.PurePath(self.name)
        return name.relative_to(name.parts[0] if self.split else ".").with_suffix("").as_posix()


class Gathered(NamedTuple):
    """Recordings of a set.

    Attributes:
      items: in order.
      facts: what each holds, as :func:`sast_jax.data.layouts.facts.facts_of` says.
      classes: their names.
      sources: of the items, what ``read`` takes.
      read: a source -> the events of that recording; it can be sent to another process.
      reading: changes when the same recordings would be read otherwise.
      warnings: what is there and not read, one line each.
      polarities: kinds of polarity that a recording has.
    """

    items: tuple[Item, ...]
    facts: tuple[dict[str, Any], ...]
    classes: tuple[str, ...]
    sources: tuple[Any, ...]
    read: Callable[[Any], Stream]
    reading: str
    warnings: tuple[str, ...] = ()
    polarities: int = 2


def split_of(
    found: Gathered,
    chosen: Sequence[int],
    classes: Sequence[str],
    subjects: Sequence[int] | None,
    notes: Sequence[str],
) -> Split:
    """Some of the recordings as a split."""
    items = [found.items[i] for i in chosen]
    contents = np.array([found.facts[i]["content"] for i in chosen], np.int64)
    facts = [found.facts[i] for i in chosen]
    lines = "".join(
        f"{item.stem} {own['content']} {own['first']}\n"
        for item, own in zip(items, facts, strict=True)
    )

    def streams(indices) -> Iterator[recordings.Events]:
        sources = [found.sources[chosen[i]] for i in indices]
        work = [(found.read, sources[at : at + _CHUNK]) for at in range(0, len(sources), _CHUNK)]
        for part in mapped(_events_of, work, "packing", few=_FEW_CHUNKS, at_once=2):
            yield from part

    return Split(
        tuple(item.where for item in items),
        np.array([classes.index(item.label) for item in items]),
        recordings.fingerprint(f"{found.reading} {lines}"),
        streams,
        lambda: contents,
        same=_same,
        seeds_N=np.array([recordings.seed(item.stem) for item in items]),
        subjects_N=None if subjects is None else np.array([subjects[i] for i in chosen]),
        warnings=tuple(notes),
    )


def _events_of(work: tuple[Callable, Sequence[Any]]) -> list[recordings.Events]:
    read, sources = work
    return [as_events(read(source)) for source in sources]


def _same(one: recordings.Events, other: recordings.Events) -> bool:
    first, second = ([e.t_M - e.t_M[:1], e.x_M, e.y_M, e.p_M] for e in (one, other))
    return all(map(np.array_equal, first, second))


def select(
    split: Split, indices: np.ndarray, extent: recordings.Extent, rebase: bool
) -> recordings.Recordings:
    """Some recordings of a split, read a few at a time.

    Args:
      split: from :func:`split_of`.
      indices: which, (N,).
      extent: of each.
      rebase: count times from the first event of each recording; else an event before 0 is an
        error.
    """

    def events():
        each = split.read(indices)
        for start in range(0, len(indices), _CHUNK):
            names = [split.names[i] for i in indices[start : start + _CHUNK]]
            yield _together([next(each) for _ in names], names, extent, rebase)

    assert split.seeds_N is not None  # split_of gives them
    return recordings.Recordings(
        split.labels_N[indices].astype(np.int32),
        np.full(len(indices), -1),
        split.seeds_N[indices],
        events,
        extent,
        None if split.subjects_N is None else split.subjects_N[indices],
    )


def natural(name: str) -> tuple:
    """A key that sorts numbers by size and names by letters."""
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _together(each, names, extent, rebase) -> recordings.Events:
    """The events of several recordings as of one chunk, on the sensor and from time 0 on."""
    firsts = [own.t_M[:1] if rebase else 0 for own in each]
    both = zip(each, firsts, strict=True)
    columns = [(own.t_M - first, own.x_M, own.y_M, own.p_M) for own, first in both]
    unsorted_N = np.concatenate([own.unsorted_N for own in each])
    events = recordings.joined(columns)._replace(unsorted_N=unsorted_N)
    events = recordings.within(
        events, extent, names, "of this sensor; remove it, or set config.data.sensor"
    )
    early_M = events.t_M < 0
    if early_M.any():
        bad = names[int(events.recording_M[early_M.argmax()])]
        raise InputError(
            f"{bad}: an event at {int(events.t_M[early_M][0])} microseconds, before time 0; count "
            "times from the first event with --config.data.rebase=True"
        )
    return events
