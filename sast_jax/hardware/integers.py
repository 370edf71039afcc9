"""A network in integer arithmetic: few-bit weights, fixed-point membranes, leaks by shifts.

    I_t = W s_t + b                              int8 weights, int32 sums, the bias at their scale
    u_t = sat(leak(u_{t-1} (1 - s_{t-1})) + I_t 2^f)         reset to zero
    u_t = sat(leak(u_{t-1} - theta s_{t-1}) + I_t 2^f)       reset by subtraction
    s_t = 1 if u_t > theta else 0

u and theta have the width of the membrane word, and sat clips to its range; clipped potentials are
counted. One unit of the word is the scale of the weights divided by 2^f. f is the largest number of
binary places, perhaps a negative one, that leaves room for the potentials asked for.
:func:`simulate` takes the same steps in floating point and agrees bit for bit wherever floats hold
the integers.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sast_jax.errors import InputError
from sast_jax.snn.connections import Connection, Transmit, along_outputs, intact
from sast_jax.snn.neurons import Reset
from sast_jax.snn.quantisation import Quantised
from sast_jax.snn.readouts import Response

_UNREAD = 2.0**20  # sums that a word holds where nobody reads the potential, so that none saturates
LEAK_BITS = 15  # at most, so that products stay within 32 bits


class Term(NamedTuple):
    """One term of a decay: ``factor * u / 2^shift``; each term is rounded on its own."""

    factor: int
    shift: int


@dataclasses.dataclass(frozen=True)
class IntegerNeurons:
    """What all neurons of an integer network share. Hashable, so that it can be static under jit.

    Attributes:
      bits: of the word that holds the membrane potential, 2 to 32.
      leak: terms of the decay, from :func:`fraction` or :func:`shifts`. Applied to a potential and
        summed, they give what is left of it a step later.
      nearest: round each term to the nearest integer (half up); else down, as a bare shift does.
      reset: what a spike leaves of the potential.
    """

    bits: int
    leak: tuple[Term, ...]
    nearest: bool
    reset: Reset

    def half(self, shift: int) -> int:
        """What is added before a shift to the right, so that it rounds to nearest if wanted."""
        return (1 << shift) >> 1 if self.nearest else 0

    @property
    def low(self) -> int:
        """The lowest potential that the word holds."""
        return -(2 ** (self.bits - 1))

    @property
    def high(self) -> int:
        """The highest potential that the word holds."""
        return 2 ** (self.bits - 1) - 1


class Layer(NamedTuple):
    """One layer of an integer network.

    Attributes:
      connection: its kernel in int8, its bias (outputs,) in int32 and in the scale of sums of
        weights.
      threshold: (outputs,) int32, in units of the word.
      point: (outputs,) int32: f, the binary places of the word below the unit of the sums.
      scale: (outputs,) float32: the floating-point current that a sum of 1 stands for.
    """

    connection: Connection
    threshold: jax.Array
    point: jax.Array
    scale: jax.Array


class Traced(NamedTuple):
    """What one layer of an integer network holds at each step, each (T, B, ...).

    Attributes:
      sums: of the weights whose inputs fired, with the bias, int32.
      potentials: in units of the word, before a spike resets them, int32.
      spikes: int8.
    """

    sums: jax.Array | np.ndarray
    potentials: jax.Array | np.ndarray
    spikes: jax.Array | np.ndarray


def fraction(decay: float, bits: int, tolerance: float = 0.1) -> tuple[Term, ...]:
    """The decay as k / 2^bits: one product and one shift.

    Raises:
      InputError: bits is out of range, or the leak 1 - k / 2^bits is off by more than this share of
        1 - decay.
    """
    factor = _numerator(decay, bits, tolerance)
    return (Term(factor, bits),)


def shifts(decay: float, bits: int, tolerance: float = 0.1) -> tuple[Term, ...]:
    """The same decay as a sum of shifts without a product, in the fewest terms.

    The terms are the digits of k / 2^bits in canonical signed-digit form.
    """
    left, place, terms = _numerator(decay, bits, tolerance), 0, []
    while left:
        if left % 2:
            # 1 or -1, whichever leaves a multiple of 4. The next digit is then 0, so few are set.
            digit = 2 - left % 4
            terms.append(Term(digit, bits - place))
            left -= digit
        left, place = left // 2, place + 1
    return tuple(reversed(terms))


def _numerator(decay, bits, tolerance):
    if not 1 <= bits <= LEAK_BITS:
        raise InputError(f"a leak of {bits} bits: choose from 1 to {LEAK_BITS}")
    factor = round(decay * 2**bits)
    leak = 1 - decay
    if abs(1 - factor / 2**bits - leak) > tolerance * leak:
        raise InputError(
            f"a leak of {bits} bits expresses the decay {decay:g} as {factor}/{2**bits}, which "
            f"leaks more or less by over {100 * tolerance:g} %; take more bits"
        )
    return factor


def build(
    network: Sequence[Connection],
    quantised: Sequence[Quantised],
    threshold: float | Sequence[float | None],
    neurons: IntegerNeurons,
    headroom: float,
) -> list[Layer]:
    """The layers of an integer network.

    Args:
      network: connections of the trained network; their biases are rounded to the sums' scale.
      quantised: their kernels.
      threshold: of the trained network, or one for each of its layers, None where the sums alone
        are read.
      neurons: the word, the leak and the reset.
      headroom: how many thresholds the word must hold at least, from 1 up.

    Raises:
      InputError: the word is too narrow for a threshold with this headroom, or 32 bits for a bias.
    """
    if not 2 <= neurons.bits <= 32:
        raise InputError(f"a membrane of {neurons.bits} bits: choose from 2 to 32")
    layers = []
    thresholds = threshold if isinstance(threshold, Sequence) else [threshold] * len(network)
    for number, (connection, (kernel, scale_O), own) in enumerate(
        zip(network, quantised, thresholds, strict=True), start=1
    ):
        unread = own is None
        # The threshold in units of a sum.
        sums_O = np.asarray(
            np.full(len(scale_O), _UNREAD) if own is None else own / scale_O, np.float64
        )
        # The largest f at which headroom thresholds fit in the word. More than 30 places are never
        # shifted, nor as many as the word has: no bit of a sum would be left.
        point_O = np.floor(np.log2(neurons.high / (headroom * sums_O)))
        point_O = np.clip(point_O, -30, min(neurons.bits - 1, 30)).astype(np.int32)
        threshold_O = np.round(sums_O * 2.0**point_O)
        if not unread and ((threshold_O < 1).any() or (threshold_O > neurons.high).any()):
            raise InputError(
                f"a membrane of {neurons.bits} bits cannot hold {headroom:g} times the threshold "
                f"of layer {number} in whole numbers; take more bits or less headroom"
            )
        bias_O = np.round(np.asarray(connection.bias, np.float64) / np.asarray(scale_O))
        if (abs(bias_O) > 2.0**30).any():  # the other half of 32 bits is for the sums of weights
            raise InputError(f"a bias of layer {number} does not fit in 32 bits at its scale")
        layers.append(
            Layer(
                connection=connection.replace(kernel=kernel, bias=jnp.asarray(bias_O, jnp.int32)),
                threshold=jnp.asarray(threshold_O, jnp.int32),
                point=jnp.asarray(point_O),
                scale=scale_O,
            )
        )
    return layers


def response_of(
    layers: Sequence[Layer],
    neurons: IntegerNeurons,
    frames_TxBxHxWxC: jax.Array,
    transmit: Transmit = intact,
    factor_B: jax.Array | None = None,
) -> tuple[Response, jax.Array]:
    """Runs an integer network on frames of zeros and ones, in integers alone.

    Args:
      layers, neurons: from :func:`build`.
      frames_TxBxHxWxC: time first.
      transmit: (layer, its spikes) -> the spikes that the next layer receives.
      factor_B: on the first layer's thresholds, for each recording; what it makes of them is
        rounded, to 1 at least.

    Returns:
      The response, with spikes of int8 and the last current in the unit of the float network; and
      the share of each layer's potentials that saturated, (B, layers).
    """
    frames_TxBxHxWxC = frames_TxBxHxWxC.astype(jnp.int8)
    step = functools.partial(_step, neurons)
    return _run(layers, frames_TxBxHxWxC, jnp.int32, step, transmit, factor_B)


def simulate(
    layers: Sequence[Layer], neurons: IntegerNeurons, frames_TxBxHxWxC: jax.Array
) -> tuple[Response, jax.Array]:
    """The same in the floating-point type of the frames.

    It is equal bit for bit where the type holds integers up to twice the word times the factor of
    the leak: in float32 for words of 16 bits and leaks of 7, in float64 for all formats.
    """
    dtype = frames_TxBxHxWxC.dtype
    step = functools.partial(_float_step, neurons)
    return _run(layers, frames_TxBxHxWxC, dtype, step, intact)


def trace(
    layers: Sequence[Layer], neurons: IntegerNeurons, frames_TxBxHxWxC: jax.Array
) -> list[Traced]:
    """Runs an integer network on frames of zeros and ones, and keeps everything.

    Args:
      layers, neurons: from :func:`build`.
      frames_TxBxHxWxC: time first.

    Returns:
      What each layer holds at each step.
    """
    spikes_TxBxS, traced = frames_TxBxHxWxC.astype(jnp.int8), []
    for layer in layers:
        sums_TxBxN = layer.connection.sums(spikes_TxBxS, jnp.int32)
        one, rest = _prepared(functools.partial(_step, neurons), layer, sums_TxBxN)

        def body(carry, sums, one=one):
            carry, _ = one(carry, sums)
            return carry, carry

        _, (potential_TxBxN, fired_TxBxN) = jax.lax.scan(body, (rest, rest), sums_TxBxN)
        spikes_TxBxS = fired_TxBxN.astype(jnp.int8)
        traced.append(Traced(sums_TxBxN, potential_TxBxN, spikes_TxBxS))
    return traced


def _run(layers, spikes_TxBxS, dtype, step, transmit, factor_B=None):
    spikes, shares = [], []
    for number, layer in enumerate(layers):
        sums_TxBxN = layer.connection.sums(spikes_TxBxS, dtype)
        one, rest = _prepared(step, layer, sums_TxBxN, None if number else factor_B)
        _, (fired_TxBxN, clipped) = jax.lax.scan(one, (rest, rest), sums_TxBxN)
        spikes_TxBxS = transmit(number, fired_TxBxN.astype(spikes_TxBxS.dtype))
        spikes.append(spikes_TxBxS)
        shares.append(clipped.mean(axis=(0, *range(2, clipped.ndim))))
    current = sums_TxBxN.astype(jnp.float32) * along_outputs(layers[-1].scale, sums_TxBxN)
    return Response(tuple(spikes), (current,), ()), jnp.stack(shares, axis=-1)


def _prepared(step, layer, sums_TxBxN, factor_B=None):
    """The step of a layer, and its potentials at rest."""
    rest = jnp.zeros_like(sums_TxBxN[0])
    threshold = along_outputs(layer.threshold.astype(rest.dtype), rest)
    if factor_B is not None:
        factor = factor_B.reshape(-1, *[1] * (rest.ndim - 1))
        exact = threshold.astype(factor.dtype) * factor
        threshold = jnp.maximum(jnp.round(exact), 1).astype(rest.dtype)
    point = along_outputs(layer.point, rest)
    return functools.partial(step, threshold=threshold, point=point), rest


def _step(neurons, carry, sums, threshold, point):
    u, s = carry
    u = neurons.reset.after(u, s, threshold)
    # The terms come largest first and the decay is at most 1, so no partial sum leaves 32 bits.
    leaked = jnp.zeros_like(u)
    for factor, shift in neurons.leak:
        part = _scaled(u, abs(factor), shift, neurons.half(shift))
        leaked = leaked + part if factor > 0 else leaked - part
    current, clipped = _placed(sums, point, neurons)
    total = leaked + current
    # Each summand lies in the word, but a word of 32 bits may not hold their sum. It has wrapped
    # around where both summands have one sign and the sum has the other.
    wrapped = ((leaked ^ total) & (current ^ total)) < 0
    total = jnp.where(wrapped, jnp.where(leaked < 0, neurons.low, neurons.high), total)
    u = jnp.clip(total, neurons.low, neurons.high)
    s = (u > threshold).astype(u.dtype)
    return (u, s), (s, clipped | wrapped | (u != total))


def _scaled(u, factor, shift, half):
    """(factor * u + half) / 2^shift in 32 bits, rounded down, for 0 <= factor <= 2^shift."""
    # u = above * 2^shift + below. above * factor is at most |u|, and below * factor is less than
    # 2^(2 shift), 30 bits, so neither overflows where factor * u would.
    above, below = u >> shift, u & ((1 << shift) - 1)
    return above * factor + ((below * factor + half) >> shift)


def _placed(sums, point, neurons):
    """sums * 2^point clipped to the word, and where it was; point is below the word's bits."""
    left, right = jnp.maximum(point, 0), jnp.maximum(-point, 0)
    # Clipped before the shift to the left: bits that leave the word could not be seen afterwards.
    fitting = jnp.clip(sums, neurons.low >> left, neurons.high >> left)
    # half is at most 2^29 and a bias 2^30, so sums + half overflows only beyond 4 million inputs.
    half = (1 << right) >> 1
    rounded = jnp.clip((sums + half) >> right, neurons.low, neurons.high)
    placed = jnp.where(point >= 0, fitting << left, rounded)
    clipped = jnp.where(point >= 0, fitting != sums, rounded != (sums + half) >> right)
    return placed, clipped


def _float_step(neurons, carry, sums, threshold, point):
    u, s = carry
    u = neurons.reset.after(u, s, threshold)
    half = 0.5 if neurons.nearest else 0.0
    leaked = jnp.zeros_like(u)
    for factor, shift in neurons.leak:
        # A term without a shift is whole. Half would be rounded into it where u fills the type.
        part = jnp.floor(u * (abs(factor) / 2**shift) + (half if shift else 0))
        leaked = leaked + part if factor > 0 else leaked - part
    place = jnp.ldexp(jnp.ones((), u.dtype), point)  # exact, unlike a power
    low, high = neurons.low, neurons.high
    # What is shifted left is clipped before, so that it stays a whole number of its unit.
    room = jnp.maximum(place, 1)
    exact = jnp.floor(sums * place + jnp.where(place < 1, 0.5, 0))
    current = jnp.clip(exact, jnp.floor(low / room) * room, jnp.floor(high / room) * room)
    total = leaked + current
    u = jnp.clip(total, low, high)
    s = (u > threshold).astype(u.dtype)
    return (u, s), (s, (current != exact) | (u != total))
