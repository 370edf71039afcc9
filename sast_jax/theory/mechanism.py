r"""Why small parameter gradients make small input gradients, recording by recording.

Proposition. Let x_t be a recording's frames, W and b the first connection (fully connected), and
:math:`\delta_t` the gradient of the loss with respect to its current. Then
:math:`\nabla_W = \sum_t x_t \delta_t^\top`, :math:`\nabla_b = \sum_t \delta_t` and
:math:`\nabla_{x_t} = W \delta_t`. With :math:`\Delta` the matrix (T, N) of all :math:`\delta_t` and
J the matrix (T, pixels + 1) of the frames with a column of ones, the first two are
:math:`J^\top \Delta` and the last is :math:`\Delta W^\top`, so that

.. math::
    \lVert \nabla_x \rVert \le \lVert W \rVert \lVert \Delta \rVert \le
    \frac{\lVert W \rVert}{s_{\min}(J)} \lVert \nabla_{W, b} \rVert \le
    \frac{\lVert W \rVert}{s_{\min}(J)} \lVert \nabla_{\text{parameters}} \rVert,

where s_min is the least of J's T singular values: the Jacobian from the currents' gradient to the
parameters' is :math:`\Delta \mapsto J^\top \Delta`. It is well conditioned if the frames differ,
and says nothing if two of them are equal, such as empty ones. In a convolution a row of J
is one place at one step. There are more such rows than weights in a kernel, so that s_min is 0 and
the bound says nothing.
"""

import numpy as np


def conditioning(frames_NxTxP: np.ndarray) -> np.ndarray:
    """s_min of each recording, (N,): the least singular value of its frames and a column of ones.

    Args:
      frames_NxTxP: frames of recordings, for a network with a fully connected first layer.
    """
    N, T, P = frames_NxTxP.shape
    # With more steps than columns, the least of T singular values is 0.
    if T > P + 1:
        return np.zeros(N)
    jacobian = np.concatenate([np.asarray(frames_NxTxP, float), np.ones((N, T, 1))], axis=-1)
    return np.linalg.svd(jacobian, compute_uv=False)[:, -1]


def input_bound(parameters_N: np.ndarray, conditioning_N: np.ndarray, norm: float) -> np.ndarray:
    """The proposition's bound on each recording's input-gradient norm; infinite where s_min is 0.

    Args:
      parameters_N: norms of the parameter gradients of single recordings.
      conditioning_N: s_min of them.
      norm: l2 norm of the first connection.
    """
    small = conditioning_N < 1e-9  # rounding of 0
    return np.where(small, np.inf, norm * parameters_N / np.where(small, 1, conditioning_N))
