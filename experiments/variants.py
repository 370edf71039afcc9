"""Compares the members of the SAM family on N-MNIST, each with a radius of its own.

    python -m experiments.variants --data_path=FOLDER --workdir=runs/variants

Variants are compared in the papers' regime and in the default one, for 12 epochs each. Only the
radius of a variant is tuned: of three, it is the one with the best hard accuracy on a validation
split of the training recordings, over two seeds. Then the variant trains on all of them from the
start, and is measured on the test split. For plain training with as many gradients as full SAM, the
learning rate is chosen in the same way. Finished parts are kept, so an interrupted study continues
where it was. FOLDER holds recordings in N-MNIST's layout. Times are measured last, in turns in one
process; leave the machine otherwise idle then. ``--scheduler=local:2`` trains in two processes, and
``--scheduler=tcp://HOST:PORT`` on any Dask cluster; rows are the same
up to rounding, as a worker has one core and adds in another order than several cores do.
"""

import functools
import pathlib

from absl import flags

from experiments import cli
from experiments.sam_family import family
from sast_jax import files
from sast_jax.errors import InputError
from sast_jax.runs import workdirs
from sast_jax.runs.study import cost, kept_rows, trainings
from sast_jax.training import passes

_DATA_PATH = flags.DEFINE_string("data_path", None, "folder with recordings", required=True)
_WORKDIR = flags.DEFINE_string("workdir", "runs/variants", "folder for the runs and the table")
_REGIMES = flags.DEFINE_list("regimes", ["paper", "default"], "which to do")
_SEEDS = flags.DEFINE_integer("seeds", 5, "runs of each variant", lower_bound=2)
_SCHEDULER = cli.define_scheduler()
_ROUNDS = flags.DEFINE_integer("rounds", 10, "turns of the timing; 0: no timing", lower_bound=0)


def main() -> None:
    folder = files.place(_WORKDIR.value)
    unknown = set(_REGIMES.value) - set(family.REGIMES)
    if unknown:
        raise InputError(f"--regimes={min(unknown)} is none of {', '.join(family.REGIMES)}")
    if folder.is_dir() and (others := _others(folder)):
        raise InputError(f"{folder}: holds other things ({others[0]}); name another --workdir")
    regime, variant = family.REGIMES[_REGIMES.value[0]], family.VARIANTS["SAM"]
    source = family.settings(regime, variant, _DATA_PATH.value).data.load()
    folder.mkdir(parents=True, exist_ok=True)
    with workdirs.held(folder):
        for name in _REGIMES.value:
            _compare(name, folder, source.fingerprint)


def _others(folder) -> list[str]:
    """What a folder holds that no comparison wrote."""
    inside = sorted(path.name for path in folder.iterdir())
    return [name for name in inside if name not in family.REGIMES and not name.startswith(".")]


def _compare(name: str, folder: pathlib.Path, recordings: str) -> None:
    """Makes the rows of a regime, and prints them."""
    regime = family.REGIMES[name]
    configs = {
        key: family.settings(regime, variant, _DATA_PATH.value)
        for key, variant in family.VARIANTS.items()
    }
    tried = {
        key: family.choices(regime, family.VARIANTS[key], config) for key, config in configs.items()
    }
    abouts = {
        key: {
            "recordings": recordings,
            "seeds": _SEEDS.value,
            "config": workdirs.identity(config.as_dict()),
            "tuned": tried[key],
        }
        for key, config in configs.items()
    }
    with trainings.of(_SCHEDULER.value, recordings) as trained:
        make = functools.partial(_row, regime, configs, folder / name, trained)
        rows = kept_rows.made(folder / name / "rows.json", abouts, make, trained.at_once)
    configs = {
        key: config.changed({tuned: rows[key][tuned] for tuned in ("rho", "learning_rate")})
        for key, config in configs.items()
        if "failed" not in rows[key]
    }
    times = {}
    if _ROUNDS.value and "Adam" in configs:
        times = cost.times(folder / name / "times.json", configs, "Adam", _ROUNDS.value)
    print(f"\n{name} regime, {_SEEDS.value} seeds\n{family.table(rows, tried, times)}")


def _row(regime, configs, folder, trained, name, _) -> dict:
    place = folder / kept_rows.folder(name)
    variant = family.VARIANTS[name]
    row = family.row(configs[name], regime, variant, _SEEDS.value, place, trained)
    passes.forget_programs()  # which no other variant uses
    return row


if __name__ == "__main__":
    cli.run(main)
