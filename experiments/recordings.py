"""Trains spiking networks on recordings of your own and reports how they fare with hard spikes.

python -m experiments.recordings --config.data.path=FOLDER --config.rho=0.4

FOLDER holds a folder for each class, or ``train/`` and ``test/`` with these; the files may be of
any event format. ``python -m experiments.inspect FOLDER`` says what training would make of it.
"""

from experiments import cli
from sast_jax.runs import run, settings

_config = cli.define_config("recordings")
cli.define_processes()


def main() -> None:
    run.run(settings.read(_config(), "recordings"))


if __name__ == "__main__":
    cli.run(main)
