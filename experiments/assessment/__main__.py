"""Is SAST worth it, against what, and at what cost; see :mod:`experiments.assessment.command`."""

from experiments import cli
from experiments.assessment import command

if __name__ == "__main__":
    cli.run(command.main, costly="config.seeds")
