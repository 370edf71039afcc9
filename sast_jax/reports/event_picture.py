"""A picture of a recording: its events by polarity, over three parts of the time."""

import pathlib
from typing import TYPE_CHECKING

import numpy as np

from sast_jax.data.formats import Stream
from sast_jax.errors import InputError, needed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PARTS = 3
_MOST = 1400  # pixels of a side that are drawn apart
_ON, _OFF = (0.84, 0.15, 0.16), (0.12, 0.47, 0.71)  # red and blue, as elsewhere
_BRIGHT = 0.95  # quantile of the counts of active pixels that is drawn in full colour


def check(path: pathlib.Path) -> None:
    """Raises InputError if a picture cannot be written in the format that its name ends in."""
    needed("matplotlib", "reports")
    from matplotlib.backend_bases import FigureCanvasBase

    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix.lower().removeprefix(".") not in known:
        raise InputError(
            f"{path}: a picture cannot be of this kind; name one of {', '.join(known)}"
        )


def picture(stream: Stream, size: tuple[int, int]) -> "Figure":
    """Draws where events were, ON in red and OFF in blue, in each third of the recording.

    Args:
      stream: the events.
      size: (height, width) of the sensor. Pixels of a large one are drawn together.
    """
    needed("matplotlib", "reports")
    from matplotlib.figure import Figure

    height, width = (max(1, side) for side in size)
    merged = -(-max(height, width) // _MOST)
    inside_M = (stream.x_M < width) & (stream.y_M < height)
    x_M, y_M, t_M, p_M = (column[inside_M] for column in stream[:4])
    shape = -(-height // merged), -(-width // merged)
    figure = Figure(figsize=(12, max(2.0, 4.2 * min(height / width, 2.0)) + 0.6))
    axes = figure.subplots(1, _PARTS)
    first, last = (int(t_M.min()), int(t_M.max())) if len(t_M) else (0, 0)
    ends = np.linspace(first, last + 1, _PARTS + 1)
    for i, ax in enumerate(axes):
        own_M = (t_M >= ends[i]) & (t_M < ends[i + 1])
        counts = []
        for p in (1, 0):
            drawn_M = own_M & (p_M == p)
            counts.append(_counts(x_M[drawn_M] // merged, y_M[drawn_M] // merged, shape))
        place = (-0.5, shape[1] * merged - 0.5, shape[0] * merged - 0.5, -0.5)
        aspect = "equal" if height > 1 else "auto"
        ax.imshow(_colours(*counts), interpolation="nearest", aspect=aspect, extent=place)
        start, end = ((ends[j] - first) * 1e-6 for j in (i, i + 1))
        ax.set_title(f"{start:.4g} to {end:.4g} s: {int(own_M.sum()):,} events", fontsize=10)
        ax.set_xlabel("x (pixels)")
    axes[0].set_ylabel("y (pixels)")
    figure.suptitle("ON red, OFF blue", fontsize=10)
    figure.tight_layout()
    return figure


def _counts(x_M, y_M, shape) -> np.ndarray:
    place_M = y_M.astype(np.int64) * shape[1] + x_M
    return np.bincount(place_M, minlength=shape[0] * shape[1]).reshape(shape)


def _colours(on_HxW, off_HxW) -> np.ndarray:
    """White without events; the more of a polarity, the more of its colour."""
    both = np.concatenate([on_HxW[on_HxW > 0], off_HxW[off_HxW > 0]])
    most = float(np.quantile(both, _BRIGHT)) if len(both) else 1.0
    image = np.ones((*on_HxW.shape, 3))
    for counts, colour in ((on_HxW, _ON), (off_HxW, _OFF)):
        share = np.clip(counts / most, 0, 1)[..., None] ** 0.5
        image *= 1 - share * (1 - np.array(colour))
    return image
