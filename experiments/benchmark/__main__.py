"""How fast training is: see :mod:`experiments.benchmark.command`."""

from experiments import cli
from experiments.benchmark import command

if __name__ == "__main__":
    __doc__ = command.__doc__  # which --help shows
    cli.run(command.main)
