"""Trains spiking networks on N-MNIST and reports how they fare with hard spikes.

python -m experiments.nmnist --config.rho=0.4
python -m experiments.nmnist --config=experiments/configs/nmnist_paper.py
"""

from experiments import cli
from sast_jax.runs import run, settings

_config = cli.define_config("nmnist")
cli.define_processes()


def main() -> None:
    run.run(settings.read(_config(), "nmnist"))


if __name__ == "__main__":
    cli.run(main)
