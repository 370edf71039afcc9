"""Which training survives hard spikes, few bits, mismatch and corruptions, and at what cost.

See :mod:`experiments.assessment.command`.
"""

from experiments import cli
from experiments.assessment import command

if __name__ == "__main__":
    __doc__ = command.__doc__  # which --help shows
    cli.run(command.main, costly="config.seeds")
