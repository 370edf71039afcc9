"""Trains spiking networks on N-MNIST and reports how they fare with hard spikes.

python -m experiments.nmnist --config.rho=0.4
python -m experiments.nmnist --config=experiments/configs/nmnist_paper.py
"""

from experiments import cli, run
from sast_jax.data import sources

_CONFIG = cli.define_config("nmnist")


def load(data) -> sources.Source:
    """The data set that ``config.data`` asks for."""
    return sources.nmnist(
        data.source,
        data.path,
        time_bins=data.time_bins,
        train_limit=data.train_limit,
        test_limit=data.test_limit,
        seed=data.seed,
    )


def main() -> None:
    run.run("nmnist", _CONFIG.value, load)


if __name__ == "__main__":
    cli.run(main)
