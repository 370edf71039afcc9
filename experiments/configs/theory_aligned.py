"""A run that meets the assumptions of the convergence theorem in sast_jax/theory/convergence.py.

    python -m experiments.nmnist --config=experiments/configs/theory_aligned.py

The subtractive reset with this decay and slope contracts by q = 0.9 for any weights at all, so that
nothing has to bound them. Training is plain SGD with a constant step below 1 / L, where L is the
largest curvature that experiments.theory measures along the run. The scores are mean currents,
because with spike counts L is tens of times larger and the step would have to shrink as much. Every
minibatch, SAM's second one included, is drawn independently, and the recordings are not deformed,
so that the risk is a mean over the training set.
"""

from ml_collections import ConfigDict

from experiments.configs import nmnist_robust


def get_config() -> ConfigDict:
    config = nmnist_robust.get_config()
    config.rho = 0.05
    config.epochs = 30
    config.optimizer = "sgd"
    config.learning_rate = 0.05
    config.schedule = "constant"
    config.batches = "independent"
    config.readout = "current"
    config.readout_scale = 1.0
    config.spike = "sigmoid"
    config.lif.reset = "subtract"
    config.lif.decay = 0.9
    config.lif.threshold = 1.0
    config.slope = 4.0
    config.slope_end = 4.0
    config.sam.warmup = 0.0
    config.sam.ascent_batch = "independent"
    config.sam.ascent_fraction = 1.0
    config.data.shift = 0
    config.data.rotation = 0.0
    config.data.zoom = 0.0
    return config
