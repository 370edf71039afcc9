"""The papers' regime with SAM at little more than the time of plain training.

    python -m experiments.nmnist --config=experiments/configs/nmnist_fast.py

Momentum-SAM: the perturbation comes from the gradients of earlier steps, so each step takes one.
Method and radius are the best on a validation split of the training recordings among those of
``experiments.variants`` that take at most 1.2 times as long as plain training; a late phase with
the ascent on an eighth of the batch is as good within its noise.
"""

from ml_collections import ConfigDict

from experiments.configs import nmnist_paper


def get_config() -> ConfigDict:
    config = nmnist_paper.get_config()
    config.rho = 2.0
    config.sam.method = "momentum"
    return config
