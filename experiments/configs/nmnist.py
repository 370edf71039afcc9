"""Default run on N-MNIST: the recipe for chips.

python -m experiments.nmnist --config.rho=0.4
"""

from ml_collections import ConfigDict

from experiments.configs import nmnist_chip


def get_config() -> ConfigDict:
    return nmnist_chip.get_config()
