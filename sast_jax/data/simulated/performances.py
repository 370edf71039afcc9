"""Simulated DVS Gesture: people who gesture in front of a simulated event sensor of 128x128 pixels.

A picture shows a dark room, a torso and a head that stand still, and arms of soft capsules in front
of them. Pictures are drawn every 5 ms on the device, and seen by the same sensor as the simulated
digits; a pixel has at most one event a step. As in the published set, 23 people are to train on and
6 others to test on. A person performs each gesture once in each of several lights.

No real recording was at hand to compare with: this is a test bed for methods, not a likeness.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.data import recordings
from sast_jax.data.layouts import tonic_gestures
from sast_jax.data.simulated import people, sensor

# Pictures are soft as they are, and blindness is shorter than a step.
SENSOR = sensor.SENSOR._replace(blur=0.0, refractory=0.0, refractory_spread=0.0)
RISES = 1  # polarity bit where brightness rises, as the format of the recordings defines it
STEP = 5000  # microseconds
EXTENT = tonic_gestures.EXTENT._replace(duration=2_000_000)
SUBJECTS = {"train": range(1, 24), "test": range(24, 30)}
# Brightness of the room, against arms of 1: the less, the more contrast.
LIGHTS = {"fluorescent": 0.0, "led": 0.1, "lab": 0.2, "natural": 0.35}
_CHUNK = 16  # recordings simulated at once
_SLEEVE, _HAND, _TORSO, _HEAD = 0.7, 1.0, 0.35, 0.6  # brightness


def settings() -> dict:
    """All that shapes a simulated recording besides its subject, class, light and seed."""
    return {
        "version": 2,  # raise it when recordings would come out otherwise
        "sensor": SENSOR._asdict(),
        "lights": LIGHTS,
        "step": STEP,
        "extent": EXTENT,
        "chunk": _CHUNK,
        "jax": jax.__version__,
        "backend": jax.default_backend(),  # rounds otherwise, and so moves an event now and then
    }


def simulate(split: str, *, seed: int, limit: int = 0) -> recordings.Recordings:
    """Simulates a split, one recording a subject, class and light.

    Args:
      split: "train" or "test".
      seed: of people, performances and noise.
      limit: number of recordings, drawn at random; 0 makes all.
    """
    everything = [
        (subject, label, light)
        for subject in SUBJECTS[split]
        for label in range(len(tonic_gestures.CLASSES))
        for light in LIGHTS
    ]
    order = np.random.default_rng(seed).permutation(len(everything))[: limit or None]
    order = np.sort(order)
    chosen = [everything[i] for i in order]
    return recordings.Recordings(
        labels_N=np.array([label for _, label, _ in chosen], np.int32),
        numbers_N=order,
        seeds_N=np.array(
            [recordings.seed(f"{subject} {k} {light}") for subject, k, light in chosen]
        ),
        events=lambda: _events(seed, chosen),
        extent=EXTENT,
        subjects_N=np.array([subject for subject, *_ in chosen]),
    )


def _events(seed, chosen) -> Iterator[recordings.Events]:
    for start in range(0, len(chosen), _CHUNK):
        part = chosen[start : start + _CHUNK]
        padded = part + part[:1] * (_CHUNK - len(part))  # one shape, one compilation
        scenes = [_scene(seed, *one) for one in padded]
        joints_BxS, *others = (
            np.stack(column).astype(np.float32) for column in zip(*scenes, strict=True)
        )
        # The pixels of a chunk depend on its first recording alone, and not on a place in a list.
        first = recordings.seed(" ".join(map(str, part[0])))
        key = jax.random.fold_in(jax.random.key(seed), first)
        signs = watch(key, np.moveaxis(joints_BxS, 0, 1), *others)
        yield sensor.listed(np.asarray(signs)[:, : len(part)], STEP, RISES)


def _scene(seed, subject, label, light):
    """Joints (S, 2, 4, 2), middle of the shoulders, arm length, thickness and light of the room."""
    who = people.person(np.random.default_rng((seed, subject)))
    rng = np.random.default_rng((seed, subject, label, list(LIGHTS).index(light)))
    times_S = np.arange(EXTENT.duration // STEP) * STEP * 1e-6
    joints = people.joints(who, label, rng, times_S)
    return joints, who.middle, who.arm, who.thickness * who.arm, LIGHTS[light]


@jax.jit
def watch(
    key: jax.Array,
    joints_SxBx2x4x2: jax.Array,
    middle_Bx2: jax.Array,
    arm_B: jax.Array,
    radius_B: jax.Array,
    room_B: jax.Array,
) -> jax.Array:
    """Events that people cause: (S, B, H, W) int8, 1 where brightness rose, -1 where it fell.

    Args:
      key: of the sensors' pixels and noise.
      joints_SxBx2x4x2: from :func:`sast_jax.data.simulated.people.joints`.
      middle_Bx2, arm_B, radius_B: middle of the shoulders, length and radius of an arm, pixels.
      room_B: brightness behind the people, relative to that of a hand.
    """
    shape = len(arm_B), EXTENT.height, EXTENT.width
    # At a constant rate and at most once, as a recording is shorter than the mean time between.
    pixels = sensor.draw(key, SENSOR, shape, jax.random.uniform, STEP)
    down_B = arm_B[:, None] * jnp.array([[0.0, 1.0]])
    body = jnp.zeros(shape) + room_B[:, None, None]
    # Torso and head: upright capsules from begin to end below the shoulders, in arm lengths.
    for brightness, begin, end, radius_times in (
        (_TORSO, 0.35, 2.5, 0.36),
        (_HEAD, -0.45, -0.35, 0.2),
    ):
        ends = middle_Bx2 + begin * down_B, middle_Bx2 + end * down_B
        body = _paint(body, brightness, *ends, radius_times * arm_B)

    def light(joints_Bx2x4x2):
        scene = body
        for arm in range(2):
            for part, brightness, wider in ((0, _SLEEVE, 1.0), (1, _SLEEVE, 0.9), (2, _HAND, 1.0)):
                ends = joints_Bx2x4x2[:, arm, part], joints_Bx2x4x2[:, arm, part + 1]
                scene = _paint(scene, brightness, *ends, wider * radius_B)
        return jnp.log(SENSOR.background + scene)

    return sensor.watch(pixels, SENSOR, light, joints_SxBx2x4x2, STEP)


def _paint(scene_BxHxW, brightness, begin_Bx2, end_Bx2, radius_B):
    """The scene with a capsule in front of it; its border is one pixel wide."""
    H, W = scene_BxHxW.shape[1:]
    y_1xHx1 = jnp.arange(H, dtype=jnp.float32)[None, :, None]
    x_1x1xW = jnp.arange(W, dtype=jnp.float32)[None, None, :]
    x0, y0, x1, y1, radius = (
        column[:, None, None] for column in (*begin_Bx2.T, *end_Bx2.T, radius_B)
    )
    along_x, along_y, away_x, away_y = x1 - x0, y1 - y0, x_1x1xW - x0, y_1xHx1 - y0
    share = (away_x * along_x + away_y * along_y) / (along_x**2 + along_y**2 + 1e-6)
    share = jnp.clip(share, 0, 1)
    distance = jnp.sqrt((away_x - share * along_x) ** 2 + (away_y - share * along_y) ** 2)
    cover = jnp.clip(0.5 + radius - distance, 0, 1)
    return scene_BxHxW + cover * (brightness - scene_BxHxW)
