"""Trains on the data set that a config names, whichever it is, and reports as the others do.

python -m experiments.train --config=mine.py

A config of one's own starts from ``sast_jax.runs.settings.config(NAME)``.
"""

from absl import flags

from experiments import cli
from sast_jax.errors import InputError
from sast_jax.runs import run, settings

_config = cli.define_config("nmnist")
cli.define_processes()


def main() -> None:
    if not flags.FLAGS["config"].present:
        raise InputError("name a config: --config=my_config.py")
    run.run(settings.read(_config()))


if __name__ == "__main__":
    cli.run(main)
