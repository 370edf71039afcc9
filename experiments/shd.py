"""Trains spiking networks on spoken words (SHD) and reports how they fare with hard spikes.

python -m experiments.shd --config.rho=0.4
"""

from experiments import cli
from sast_jax.runs import run, settings

_config = cli.define_config("shd")
cli.define_processes()


def main() -> None:
    run.run(settings.read(_config(), "shd"))


if __name__ == "__main__":
    cli.run(main)
