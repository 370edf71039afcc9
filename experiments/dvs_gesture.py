"""Trains convolutional spiking networks on DVS Gesture and reports how they fare with hard spikes.

python -m experiments.dvs_gesture --config.rho=0.4
python -m experiments.dvs_gesture --config=experiments/configs/dvs_gesture_paper.py
"""

from experiments import cli
from sast_jax.runs import run, settings

_config = cli.define_config("dvs_gesture")
cli.define_processes()


def main() -> None:
    run.run(settings.read(_config(), "dvs_gesture"))


if __name__ == "__main__":
    cli.run(main)
