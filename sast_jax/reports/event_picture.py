"""A picture of a recording: its events by polarity, over three parts of the time."""

from typing import TYPE_CHECKING

import numpy as np

from sast_jax.errors import needed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PARTS = 3
_ON, _OFF = (0.84, 0.15, 0.16), (0.12, 0.47, 0.71)  # red and blue, as elsewhere
_BRIGHT = 0.95  # quantile of the counts of active pixels that is drawn in full colour


def picture(
    x_M: np.ndarray, y_M: np.ndarray, t_M: np.ndarray, p_M: np.ndarray, size: tuple[int, int]
) -> "Figure":
    """Draws where events were, ON in red and OFF in blue, in each third of the recording.

    Args:
      x_M, y_M, t_M, p_M: of the events; time in microseconds.
      size: (height, width) of the sensor.
    """
    needed("matplotlib", "reports")
    from matplotlib.figure import Figure

    height, width = (max(1, side) for side in size)
    inside_M = (x_M < width) & (y_M < height)
    x_M, y_M, t_M, p_M = (column[inside_M] for column in (x_M, y_M, t_M, p_M))
    figure = Figure(figsize=(12, max(2.0, 4.2 * min(height / width, 2.0)) + 0.6))
    axes = figure.subplots(1, _PARTS)
    first, last = (int(t_M.min()), int(t_M.max())) if len(t_M) else (0, 0)
    ends = np.linspace(first, last + 1, _PARTS + 1)
    for i, ax in enumerate(axes):
        own_M = (t_M >= ends[i]) & (t_M < ends[i + 1])
        counts = [_counts(x_M, y_M, own_M & (p_M == p), height, width) for p in (1, 0)]
        ax.imshow(_colours(*counts), interpolation="nearest", aspect="equal" if height > 1 else 40)
        start, end = ((ends[j] - first) * 1e-6 for j in (i, i + 1))
        ax.set_title(f"{start:.4g} to {end:.4g} s: {int(own_M.sum()):,} events", fontsize=10)
        ax.set_xlabel("x (pixels)")
    axes[0].set_ylabel("y (pixels)")
    figure.suptitle("ON red, OFF blue", fontsize=10)
    figure.tight_layout()
    return figure


def _counts(x_M, y_M, own_M, height, width) -> np.ndarray:
    place_M = y_M[own_M].astype(np.int64) * width + x_M[own_M]
    return np.bincount(place_M, minlength=height * width).reshape(height, width)


def _colours(on_HxW, off_HxW) -> np.ndarray:
    """White without events; the more of a polarity, the more of its colour."""
    both = np.concatenate([on_HxW[on_HxW > 0], off_HxW[off_HxW > 0]])
    most = float(np.quantile(both, _BRIGHT)) if len(both) else 1.0
    image = np.ones((*on_HxW.shape, 3))
    for counts, colour in ((on_HxW, _ON), (off_HxW, _OFF)):
        share = np.clip(counts / most, 0, 1)[..., None] ** 0.5
        image *= 1 - share * (1 - np.array(colour))
    return image
