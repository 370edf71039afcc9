"""A simulated event sensor that watches a moving scene.

Each pixel low-passes the logarithm of the intensity in front of it and remembers its value at the
last event. If the difference passes a threshold, the pixel emits an event of that sign and is blind
for a refractory period; afterwards it compares with the value that it then sees. Thresholds differ
a little from pixel to pixel, and a few events are noise.

Its constants are calibrated on raw N-MNIST recordings; see :mod:`sast_jax.data.simulated.digits`.

Sensor: Lichtsteiner et al., A 128x128 120 dB 15 us latency asynchronous temporal contrast vision
sensor, IEEE JSSC 43(2), 2008.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data import recordings


class Sensor(NamedTuple):
    """An event sensor; intensities are relative to the brightest thing in the scene.

    Attributes:
      rising, falling: thresholds in log intensity.
      mismatch: standard deviation of the thresholds from pixel to pixel, relative.
      background: intensity of black.
      blur: standard deviation of the optical blur, pixels.
      time_constant: of the low-pass filter, milliseconds.
      refractory: milliseconds.
      refractory_spread: standard deviation of it from pixel to pixel, milliseconds.
      noise: events per pixel and second that have no cause in the scene.
    """

    rising: float = 0.196
    falling: float = 0.187
    mismatch: float = 0.0699
    background: float = 0.278
    blur: float = 0.418
    time_constant: float = 4.89
    refractory: float = 0.733
    refractory_spread: float = 0.146
    noise: float = 0.35


SENSOR = Sensor()


class Pixels(NamedTuple):
    """The pixels of B sensors, each array (B, H, W).

    Attributes:
      rising, falling: thresholds.
      period: in which a pixel is blind after an event, milliseconds.
      noise_step: step at which a pixel has its one noise event.
      noise_rises: whether that event is a rise.
    """

    rising: jax.Array
    falling: jax.Array
    period: jax.Array
    noise_step: jax.Array
    noise_rises: jax.Array


def draw(
    key: jax.Array,
    sensor: Sensor,
    shape: tuple[int, int, int],
    waiting: Callable[[jax.Array, tuple[int, int, int]], jax.Array],
    step: int,
) -> Pixels:
    """Draws the pixels of sensors, which differ from pixel to pixel.

    Args:
      key: of the draws.
      sensor: the mean values, and how much pixels differ.
      shape: (B, H, W).
      waiting: (key, shape) -> time until a pixel's noise, in mean times between two such events.
      step: microseconds.
    """
    keys = jax.random.split(key, 4)
    mismatch_2xBxHxW = 1 + sensor.mismatch * jax.random.normal(keys[0], (2, *shape))
    rising, falling = jnp.array([sensor.rising, sensor.falling])[:, None, None, None] * jnp.maximum(
        mismatch_2xBxHxW, 0.2
    )
    period = sensor.refractory + sensor.refractory_spread * jax.random.normal(keys[1], shape)
    noise_step = jnp.floor(waiting(keys[2], shape) / (sensor.noise * step * 1e-6))
    noise_rises = jax.random.bernoulli(keys[3], 0.5, shape)
    return Pixels(rising, falling, period, noise_step.astype(jnp.int32), noise_rises)


def watch(
    pixels: Pixels,
    sensor: Sensor,
    light: Callable[[Any], jax.Array],
    views_S: Any,
    step: int,
) -> jax.Array:
    """Events of the pixels: (S, B, H, W) int8, 1 where brightness rose and -1 where it fell.

    Args:
      pixels: from :func:`draw`.
      sensor: the one that was given to :func:`draw`.
      light: view -> logarithm of the intensity in front of each pixel, (B, H, W).
      views_S: of all steps.
      step: microseconds.
    """
    gain = 1 - jnp.exp(-step / 1000 / sensor.time_constant)

    def advance(carry, inputs):
        seen, reference, blind = carry
        view, index = inputs
        seen = seen + gain * (light(view) - seen)
        # A blind pixel forgets: it will compare with what it sees when it wakes.
        reference = jnp.where(blind > 0, seen, reference)
        change = seen - reference
        noisy, rises = pixels.noise_step == index, pixels.noise_rises
        ready = blind <= 0
        rise = ready & ((change > pixels.rising) | (noisy & rises))
        fall = ready & ((change < -pixels.falling) | (noisy & ~rises))
        reference = jnp.where(rise | fall, seen, reference)
        blind = jnp.where(rise | fall, pixels.period, blind - step / 1000)
        return (seen, reference, blind), rise.astype(jnp.int8) - fall.astype(jnp.int8)

    first = light(jax.tree.map(lambda leaf: leaf[0], views_S))
    start = first, first, jnp.zeros(pixels.rising.shape)
    steps = len(jax.tree.leaves(views_S)[0])
    return jax.lax.scan(advance, start, (views_S, jnp.arange(steps)))[1]


def listed(signs_SxBxHxW: np.ndarray, step: int, rises: int) -> recordings.Events:
    """The events of at most 256 recordings one by one, in the middle of their steps.

    Args:
      signs_SxBxHxW: from :func:`watch`.
      step: microseconds.
      rises: polarity bit of an event where brightness rises.
    """
    B, H, W = signs_SxBxHxW.shape[1:]
    where_M = np.flatnonzero(signs_SxBxHxW != 0)
    step_M, rest_M = np.divmod(where_M, B * H * W)
    recording_M, pixel_M = np.divmod(rest_M, H * W)
    # In 8 bits a stable sort goes by radix and is much faster: hence at most 256 recordings.
    order_M = np.argsort(recording_M.astype(np.uint8), kind="stable")
    events = recordings.Events(
        recording_M.astype(np.int32),
        (step_M * step + step // 2).astype(np.int32),
        (pixel_M % W).astype(np.uint8),
        (pixel_M // W).astype(np.uint8),
        (signs_SxBxHxW.reshape(-1)[where_M] < 0).astype(np.uint8) ^ np.uint8(rises),
        np.zeros(B, bool),
    )
    return events.those(order_M)
