"""Default run on N-MNIST, with SAM; ``nmnist_robust.py``, without it, is more accurate.

python -m experiments.nmnist --config.rho=0.4
"""

from ml_collections import ConfigDict

from sast_jax.runs import settings


def get_config() -> ConfigDict:
    return settings.config("nmnist")
