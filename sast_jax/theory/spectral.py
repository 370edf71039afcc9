"""Spectral norms with proven bounds, of matrices and of the strided convolutions used here."""

from typing import NamedTuple

import numpy as np

_ROUNDING = 1e-10  # far above what float64 loses here


class Enclosed(NamedTuple):
    """A value that lies between ``lower``, which is attained, and ``upper``, which is proven."""

    lower: float
    upper: float


def matrix_norm(matrix_xMxN: np.ndarray, squarings: int = 14) -> Enclosed:
    r"""The largest l2 norm of a matrix, or of several with leading axes.

    Power iteration from all starts at once: the Gram matrix :math:`G = A^* A` is squared p times.
    Its eigenvalues are not negative, so that
    :math:`\lambda_1^{2^p} \le \mathrm{tr}\, G^{2^p} \le n \lambda_1^{2^p}`, and with
    :math:`\lVert A \rVert^2 = \lambda_1`

    .. math::
        \lVert A \rVert \le (\mathrm{tr}\, G^{2^p})^{1 / 2^{p+1}}
        \le n^{1 / 2^{p+1}} \lVert A \rVert.

    From below stands :math:`\lVert A v \rVert / \lVert v \rVert` of the longest column v of
    that power.

    Args:
      matrix_xMxN: real or complex; taken in double precision.
      squarings: p.

    Examples:
      >>> import numpy as np
      >>> from sast_jax.theory.spectral import matrix_norm
      >>> print(round(matrix_norm(np.diag([3.0, -4.0])).upper, 6))
      4.0
    """
    A = np.asarray(matrix_xMxN)
    A = A.astype(complex if np.iscomplexobj(A) else float)
    if A.shape[-2] < A.shape[-1]:  # the adjoint has the same norm and a smaller Gram matrix
        A = _adjoint(A)
    largest = np.abs(A).max() or 1.0  # its square may be beyond double precision
    A = A / largest
    power = _adjoint(A) @ A
    log_scale = np.zeros(power.shape[:-2])
    with np.errstate(divide="ignore"):  # the logarithm of 0 is as it should be
        for _ in range(squarings):
            # Divided by its trace, or it would overflow; log_scale collects what was divided out.
            trace = _trace(power)
            power = power / np.where(trace > 0, trace, 1)[..., None, None]
            power, log_scale = power @ power, 2 * (log_scale + np.log(trace))
        log_upper = (log_scale + np.log(_trace(power))) / 2 ** (squarings + 1)
    lengths = np.linalg.norm(power, axis=-2)
    longest = lengths.argmax(axis=-1)[..., None, None]
    v = np.take_along_axis(power, longest, axis=-1)
    v = v / np.maximum(lengths.max(axis=-1), np.finfo(float).tiny)[..., None, None]
    lower = largest * np.linalg.norm(A @ v, axis=-2)
    upper = largest * np.exp(log_upper)
    return Enclosed(float(lower.max()), float(upper.max()) * (1 + _ROUNDING))


def convolution_norm(kernel_kxkxCxO: np.ndarray, height: int, width: int) -> Enclosed:
    """The l2 norm of a :class:`sast_jax.snn.networks.HalvingConv` on frames of this size.

    Put the frame, with zeros around it, on a torus of even sides, large enough that no output sees
    across its edge. The outputs are then some of the outputs of the convolution on the whole torus,
    whose norm is therefore no smaller; that is ``upper``. A convolution of stride 2 is one of
    stride 1 on the four images of even and odd rows and columns (its phases), which the discrete
    Fourier transform, an isometry up to scale, makes block diagonal: its norm is the largest of the
    matrices (4C, O) of all frequencies. ``lower`` is of the torus, and need not be attained by the
    smaller frame.

    Reference: Sedghi, Gupta and Long, The Singular Values of Convolutional Layers, ICLR 2019, arXiv
    1805.10408, for stride 1.
    """
    kernel = np.asarray(kernel_kxkxCxO, float)
    k, _, channels, outputs = kernel.shape
    sides = [-(-(side + k) // 2) for side in (height, width)]
    offsets = np.arange(k) - k // 2
    # Pixel 2 i + o of the frame is pixel i + o // 2 of the phase o % 2.
    phases, shifts = offsets % 2, offsets // 2
    taps = np.zeros((2, 2, *sides, channels, outputs))
    rows, columns = shifts % sides[0], shifts % sides[1]
    taps[phases[:, None], phases[None], rows[:, None], columns[None]] = kernel
    response = np.moveaxis(np.fft.fft2(taps, axes=(2, 3)), (0, 1), (2, 3))
    return matrix_norm(response.reshape(-1, 4 * channels, outputs))


def row_norm(kernel: np.ndarray) -> float:
    """The l-infinity norm of a connection: the largest sum of an output's absolute weights."""
    return float(np.abs(np.asarray(kernel, float)).reshape(-1, kernel.shape[-1]).sum(axis=0).max())


def _adjoint(A):
    return np.conj(np.swapaxes(A, -1, -2))


def _trace(A):
    return np.trace(A, axis1=-2, axis2=-1).real
