"""Is SAST worth it, against what, and at what cost: all methods, tuned alike, on all conditions.

    python -m experiments.assessment.command --config.dataset=nmnist --config.data.path=FOLDER
    python -m experiments.assessment.command --config.dataset=dvs_gesture
    python -m experiments.assessment.command --config=experiments/configs/assessment.py:quick

In each regime every method has its learning rate tuned, and a setting of its own where there is
one: the best hard accuracy of equally many trials on a validation split of the training recordings,
over ``config.tuning_seeds`` seeds. With them, ``config.seeds`` networks are trained, on the same
recordings, and measured on the test split: soft and hard, on hardware, on corrupted recordings,
with the loss around them. A regime's training times are measured after its methods, in turns in one
process; leave the machine otherwise idle then. Writes ``assessment.html``, ``.md`` and ``.json``.
What is finished is not done again, so an interrupted assessment goes on where it was.
"""

import functools
import json
import pathlib

import jax
from ml_collections import ConfigDict

from experiments import cli
from experiments.assessment import methods, page
from experiments.assessment.methods import METHODS, REGIMES, Method
from experiments.assessment.page import PLAIN, REFERENCE
from experiments.configs.assessment import get_config
from sast_jax.data import cache, sets
from sast_jax.errors import DivergedError, InputError
from sast_jax.reports import results
from sast_jax.runs import files, run, settings, study, workdirs
from sast_jax.training import machine

_LEAST = {"seeds": 2, "tuning_seeds": 1, "epochs": 1, "rounds": 0, "draws": 2}

_config = cli.define_config("assessment")


def main() -> None:
    config = _config()
    regimes, names = chosen(config)
    for regime in regimes:  # all that can be wrong, before hours of work
        for name in names:
            settings.read(_final(config, _settings(config, regime, METHODS[name])))
    source = settings.read(_settings(config, regimes[0], METHODS[REFERENCE])).data.load()
    for line in source.caveats:
        print(f"note: {line}")
    workdir = _workdir(config, source.fingerprint)
    jax.config.update("jax_compilation_cache_dir", str(workdir / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)  # as methods share many
    with workdirs.held(workdir):
        done = _all(config, regimes, names, source, workdir)
    print(page.summary(done))
    print(f"report: {workdir / 'assessment.html'}")


def _all(config, regimes, names, source, workdir) -> dict:
    environment = machine.environment()
    about = {"config": config.to_dict(), "data": source.name, "caveats": source.caveats}
    about |= {"environment": environment}
    done = about | {"regimes": {}}
    for regime in regimes:
        of_it = [name for name in names if regime in METHODS[name].values]
        rests_on = _identity(config, source.fingerprint)
        abouts = {name: rests_on | _about(config, regime, METHODS[name]) for name in of_it}
        make = functools.partial(_assess, config, regime, workdir / regime)
        rows = study.rows(workdir / regime / "rows.json", abouts, make)
        if config.rounds:
            tuned = [name for name in of_it if rows[name]["tuned"]]
            configs = {name: _timed(config, regime, name, rows[name]) for name in tuned}
            if PLAIN in configs:
                file = workdir / regime / "times.json"
                times = study.times(file, config.dataset, configs, PLAIN, config.rounds)
                rows = rows | {name: rows[name] | {"time": times[name]} for name in tuned}
        done["regimes"][regime] = {"about": REGIMES[regime].about, "methods": rows}
        page.write(workdir, done)
    return done


def chosen(config: ConfigDict) -> tuple[list[str], list[str]]:
    """The regimes and methods that a config names, in their order in ``methods``.

    Raises:
      InputError: one is not known, or what all is compared with is missing; or other keys of the
        config are wrong.
    """
    _check_keys(config)
    found = []
    for key, known in (("regimes", REGIMES), ("methods", METHODS)):
        named = list(known) if config[key] == "all" else config[key].split(",")
        if unknown := [name for name in named if name.strip() not in known]:
            raise InputError(
                f"config.{key}: {unknown[0]!r} is none of {', '.join(known)}; or say 'all'"
            )
        found.append([name for name in known if name in map(str.strip, named)])
    for needed in (PLAIN, REFERENCE):
        if needed not in found[1]:
            raise InputError(f"config.methods lacks {needed!r}, which the others are compared with")
    if config.dataset not in sets.SETS:
        raise InputError(f"config.dataset={config.dataset!r} must be one of {', '.join(sets.SETS)}")
    for key, least in _LEAST.items():
        if not isinstance(config[key], int) or config[key] < least:
            raise InputError(f"config.{key}={config[key]!r} must be a whole number from {least}")
    settings.check_severities("severities", config.severities)
    if not config.data.validation:
        raise InputError("config.data.validation=0 leaves nothing to tune on; try 0.1667")
    return found[0], found[1]


def _check_keys(config):
    wanted, found = (set(workdirs.flat(one.to_dict())) for one in (get_config(), config))
    if wanted != found:
        key = min(wanted ^ found)
        raise InputError(
            f"config.{key} is {'missing' if key in wanted else 'not known'}; a config starts from "
            "experiments.configs.assessment.get_config()"
        )


def _settings(config: ConfigDict, regime: str, method: Method) -> ConfigDict:
    """A method's runs in a regime, untuned."""
    made = REGIMES[regime].configs[config.dataset]()
    made.rho = 0.0
    made.epochs = round(method.longer * config.epochs)
    made.update_from_flattened_dict(method.changes)
    made.data.update({key: value for key, value in config.data.items() if value != ""})
    made.hardware.update(weight_bits=(), draws=0)
    made.corruptions.kinds = ""
    made.resume = True
    return made


def _final(config: ConfigDict, made: ConfigDict) -> ConfigDict:
    """The same runs as they are reported, on all conditions."""
    made = made.copy_and_resolve_references()
    made.sweep.seeds = config.seeds
    made.hardware.update(weight_bits=(8, 4, 2), draws=config.draws, weights=(0.3, 0.6))
    made.hardware.update(thresholds=(), leaks=(), dead=(), dropped=(), spurious=())
    made.corruptions.update(kinds="all", severities=tuple(config.severities))
    return made


def _identity(config, fingerprint) -> dict:
    """What the rows rest on: all but where files are, and which of the methods are asked for."""
    not_the_rows = ("methods", "regimes", "rounds")
    whole = workdirs.identity(config.to_dict() | {"data_fingerprint": fingerprint})
    return {key: value for key, value in whole.items() if key not in not_the_rows}


def _workdir(config, fingerprint) -> pathlib.Path:
    identity = _identity(config, fingerprint)
    default = pathlib.Path("runs", "assessment", cache.digest(identity)[:12])
    workdir = pathlib.Path(config.workdir or default).expanduser()
    file = workdir / "config.json"
    if file.exists():
        workdirs.compare(workdir, files.read_json(file), identity)
    elif workdirs.holds_anything(workdir):
        raise InputError(f"{workdir}: not empty and no assessment; name another --config.workdir")
    workdir.mkdir(parents=True, exist_ok=True)
    files.write(file, json.dumps(identity, indent=2))
    return workdir


def _about(config, regime, method) -> dict:
    """What a method's row rests on besides the assessment."""
    made = _settings(config, regime, method)
    grid = methods.grid(config.dataset, made, regime, method)
    about = {"settings": workdirs.identity(made.to_dict()), "tuned": grid}
    if method.taken:
        about["reference"] = _about(config, regime, METHODS[REFERENCE])
    return about


def _assess(config, regime, folder, name, rows) -> dict:
    """A method's row: tuned, trained and measured."""
    method, place = METHODS[name], folder / study.folder(name)
    made, score, taken = _settings(config, regime, method), study.most_accurate, {}
    if method.taken:
        if not rows[REFERENCE]["tuned"]:
            return _diverged(config, method, made, f"no run of {REFERENCE} is finite")
        own = rows[REFERENCE]
        rate = round(page.held_out_rate(own["runs"]), 4)
        taken = {method.taken: {"rho": own["tuned"]["rho"], "rates.target": rate}[method.taken]}
        made.update_from_flattened_dict(taken)
    if method.taken == "rates.target":
        score = functools.partial(nearest_rate, made.rates.target)
    trial = made.copy_and_resolve_references()
    trial.seed += config.seeds  # others than those that are reported
    trial.sweep.seeds = config.tuning_seeds
    grid = methods.grid(config.dataset, made, regime, method)
    try:
        best, trials = study.tuned(config.dataset, trial, grid, place / "trials", score)
        made = _final(config, _tuned(made, best))
        made.workdir = str(place / "final")
        runs = run.results_of(config.dataset, made)[0]["runs"]
    except DivergedError as error:
        return _diverged(config, method, made, str(error))
    around = study.landscape(made)
    jax.clear_caches()  # of programs that no other method uses
    remarks = results.remarks(runs) + page.failures(runs)
    if method.taken == "rates.target":
        remarks += page.missed_rate(made.rates.target, runs)
    return _row(method, made) | {
        "tuned": best,
        "taken": taken,
        "trials": trials,
        "remarks": remarks + study.uncertain(around),
        "runs": [page.entry(one, near) for one, near in zip(runs, around, strict=True)],
    }


def nearest_rate(target: float, row: dict) -> float:
    """A score of trials: hard accuracy within a tenth of the rate, beyond it how near they are."""
    away = abs(row["validation_soft_rate_mean"] - target)
    return study.most_accurate(row) if away <= 0.1 * target else -away


def _row(method, made) -> dict:
    return {
        "about": method.about,
        "gradients": study.gradients(made),
        "epochs": made.epochs,
        "environment": machine.environment(),
    }


def _diverged(config, method, made, why) -> dict:
    """The row of a method without a finite run, so that the others go on."""
    seeds = range(made.seed, made.seed + config.seeds)
    nothing = {"hardware": [], "corruptions": []}
    runs = [page.entry(nothing | {"seed": seed}, {}) for seed in seeds]
    lost = {"tuned": {}, "taken": {}, "trials": [], "remarks": [why], "runs": runs}
    return _row(method, made) | lost


def _tuned(made, best) -> ConfigDict:
    growth = made.slope_end / made.slope
    made.update_from_flattened_dict(best)
    if "slope" in best:  # as in a sweep of it
        made.slope_end = growth * made.slope
    return made


def _timed(config, regime, name, row) -> ConfigDict:
    """One run of a method as its row has it."""
    return _tuned(_settings(config, regime, METHODS[name]), row["tuned"] | row["taken"])
