"""How well class scores tell how sure a network may be: NLL, Brier score, calibration error.

Probabilities are the softmax of the scores, as in the training loss. A network is calibrated if, of
the answers that it gives with confidence p, a share p is right.

References: Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (expected calibration
error with 15 bins of equal width, temperature scaling); Brier, Monthly Weather Review 78, 1950.
"""

import numpy as np
import scipy

BINS = 15
_TEMPERATURES = (1e-3, 1e3)


def calibration_of(scores_NxK: np.ndarray, labels_N: np.ndarray) -> dict:
    """How confident answers are, and how often they are right.

    Args:
      scores_NxK: finite class scores.
      labels_N: true classes.

    Returns:
      ``nll`` (mean negative log likelihood of the true class, nats), ``brier`` (mean over
      recordings of the squared distance between the probabilities and the true class, 0..2),
      ``ece`` (expected calibration error, a fraction) and ``reliability``, for each of 15 bins of
      the answer's probability: ``count``, and ``confidence`` (mean of that probability) and
      ``accuracy``, None where the bin is empty.
    """
    logs_NxK = _log_softmax(scores_NxK)
    probabilities_NxK = np.exp(logs_NxK)
    targets_NxK = np.eye(scores_NxK.shape[-1])[labels_N]
    confidence_N = probabilities_NxK.max(axis=-1)
    right_N = scores_NxK.argmax(axis=-1) == labels_N
    # A confidence of exactly 1 would open a bin of its own, and belongs to the last one.
    bin_N = np.minimum((confidence_N * BINS).astype(int), BINS - 1)
    counts = np.bincount(bin_N, minlength=BINS)
    confidences = np.bincount(bin_N, confidence_N, minlength=BINS)
    hits = np.bincount(bin_N, right_N, minlength=BINS)
    return {
        "nll": _nll(logs_NxK, labels_N),
        "brier": float(((probabilities_NxK - targets_NxK) ** 2).sum(axis=-1).mean()),
        # |accuracy - confidence| of each bin, weighted by its share of the answers: counts cancel.
        "ece": float(np.abs(hits - confidences).sum() / len(labels_N)),
        "reliability": [
            {
                "count": int(count),
                "confidence": float(total / count) if count else None,
                "accuracy": float(hit / count) if count else None,
            }
            for count, total, hit in zip(counts, confidences, hits, strict=True)
        ],
    }


def temperature(scores_NxK: np.ndarray, labels_N: np.ndarray) -> float:
    """The temperature that scores are divided by for the least NLL on these recordings.

    These must not be the recordings that are reported. The NLL is convex in the inverse of the
    temperature. If every answer is right it has no minimum, and some low temperature is returned.
    If all scores of each recording tie, no temperature changes it, and 1 is returned.
    """
    if (scores_NxK == scores_NxK[:, :1]).all():
        return 1.0

    def nll(log_inverse):
        return _nll(_log_softmax(np.exp(log_inverse) * scores_NxK), labels_N)

    ends = np.log(_TEMPERATURES)
    best = scipy.optimize.minimize_scalar(nll, bounds=tuple(ends), method="bounded")
    return float(np.exp(-best.x))


def _log_softmax(scores_NxK):
    return scipy.special.log_softmax(scores_NxK.astype(np.float64), axis=-1)


def _nll(logs_NxK, labels_N):
    return float(-logs_NxK[np.arange(len(labels_N)), labels_N].mean())
