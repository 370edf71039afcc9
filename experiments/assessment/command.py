"""Which training survives hard spikes, few bits, mismatch and corruptions, and at what cost.

    python -m experiments.assessment --config.dataset=nmnist --config.data.path=FOLDER
    python -m experiments.assessment --config.dataset=dvs_gesture
    python -m experiments.assessment --config=assessment:quick
    python -m experiments.assessment --config=assessment:own --config.data.path=FOLDER

The last one is for recordings of your own, in a quarter of an hour: ``config.minutes`` leaves out
methods that would not end in time, and names them. ``config.base`` is a config file of runs, for
settings or a network of your own.

In each regime the learning rate of every method is tuned, and a setting of its own if it has one,
on a validation split of the training recordings with ``config.tuning_seeds`` seeds a trial: once by
the deployment score (:mod:`sast_jax.runs.study.deployment`), which its row reports, and once by
clean hard accuracy, which stands beside it with half of the seeds. ``experiments/PROTOCOL.md`` says
what is compared, and how. With the chosen settings ``config.seeds`` networks are trained on the
same recordings. On the
test split they are measured with soft and hard spikes, on hardware and on corrupted recordings; the
loss around them is measured too. Training times of a regime are measured after its methods, in
turns in one process; leave the machine otherwise idle then. Writes ``assessment.html``, ``.md`` and
``.json``. Finished parts are kept, so an interrupted assessment continues where it was.
``--scheduler=local:2`` trains in two processes, and ``--scheduler=tcp://HOST:PORT`` on any Dask
cluster; rows are the same up to rounding, as a worker has one core and adds in another order than
several cores do.
"""

import functools
import json
import math
import pathlib
import time

from ml_collections import ConfigDict

from experiments import cli
from experiments.assessment import conclusions, measures, methods, page
from experiments.assessment.measures import PLAIN, REFERENCE
from experiments.assessment.methods import METHODS, REGIMES, Method
from experiments.configs.assessment import get_config
from sast_jax import files
from sast_jax.data import cache, sets
from sast_jax.errors import DivergedError, InputError
from sast_jax.reports import results
from sast_jax.runs import answers, machine, settings, workdirs
from sast_jax.runs.settings import Settings
from sast_jax.runs.study import cost, deployment, kept_rows, landscape, trainings, tuning
from sast_jax.training import passes

_LEAST = {"seeds": 2, "tuning_seeds": 1, "further": 0, "epochs": 0, "rounds": 0, "draws": 2}
_LEAST |= {"minutes": 0}

_config = cli.define_config("assessment")
_SCHEDULER = cli.define_scheduler()


def main() -> None:
    config = _config()
    regimes, names = chosen(config)
    for regime in regimes:  # all that can be wrong, before hours of work
        for name in names:
            _final(config, untuned(config, regime, METHODS[name]))
    source = untuned(config, regimes[0], METHODS[REFERENCE]).data.load()
    for line in source.caveats:
        print(f"note: {line}")
    workdir = _workdir(config, source.fingerprint)
    with workdirs.held(workdir):
        done = _all(config, regimes, names, source, workdir, _SCHEDULER.value)
    print(conclusions.summary(done))
    print(f"report: {workdir / 'assessment.html'}")


def _all(config, regimes, names, source, workdir, scheduler="") -> dict:
    environment = machine.environment()
    about = {"config": config.to_dict(), "data": source.name, "caveats": source.caveats}
    about |= {"environment": environment}
    done = about | {"regimes": {}}
    for regime in regimes:
        of_it = [name for name in names if regime in METHODS[name].values]
        rests_on = _identity(config, source.fingerprint)
        abouts = {name: rests_on | _about(config, regime, METHODS[name]) for name in of_it}
        file = workdir / regime / "rows.json"
        left_out: list[str] = []
        with trainings.of(scheduler, source.fingerprint) as trained:
            make = functools.partial(_assess, config, regime, workdir / regime, trained)
            if config.minutes:
                rows, left_out = _in_time(config, regime, file, abouts, make)
            else:
                rows = kept_rows.made(file, abouts, make, trained.at_once)
        if config.rounds:
            tuned = [name for name in rows if rows[name]["tuned"]]
            configs = {name: _timed(config, regime, name, rows[name]) for name in tuned}
            if PLAIN in configs:
                file = workdir / regime / "times.json"
                times = cost.times(file, configs, PLAIN, config.rounds)
                rows = rows | {name: rows[name] | {"time": times[name]} for name in tuned}
        what = f"the settings of {config.base}" if config.base else REGIMES[regime].about
        done["regimes"][regime] = {"about": what, "methods": rows, "left_out": left_out}
        page.write_assessment(workdir, done)
    return done


def _in_time(config, regime, file, abouts, make) -> tuple[dict[str, dict], list[str]]:
    """The rows that are made within ``config.minutes``, and the names of those left out.

    A method begins only if it would end in time, at the pace of the slowest so far.
    """
    began, spent, pace, made, left_out = time.monotonic(), 0.0, 0.0, {}, []
    known = kept_rows.kept(file)
    for name in sorted(abouts, key=lambda name: name not in (PLAIN, REFERENCE)):
        method = METHODS[name]
        networks = _networks(config, abouts[name]["tuned"])
        work = networks * method.longer * _gradients(config, regime, method)
        late = spent + pace * work > 60 * config.minutes
        if late and name == REFERENCE and name not in known:
            raise InputError(
                f"config.minutes={config.minutes}: {PLAIN} alone took {spent / 60:.1f}, and "
                f"{name} would take {pace * work / 60:.1f} more; give it "
                f"{int((spent + 3 * pace * work) / 60) + 1}, or fewer config.epochs. What is "
                "finished is kept"
            )
        if late and name not in known:
            left_out.append(name)
            continue
        made[name] = abouts[name]
        kept_rows.made(file, made, make)
        took = time.monotonic() - began - spent
        spent += took
        pace = max(pace, took / work)
    rows = kept_rows.made(file, {name: abouts[name] for name in abouts if name in made}, make)
    return rows, left_out


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
    if config.base and found[0] != ["default"]:
        raise InputError(
            "config.base stands in the place of the default regime's config; add "
            "--config.regimes=default"
        )
    for key, least in _LEAST.items():
        if not isinstance(config[key], int) or config[key] < least:
            raise InputError(f"config.{key}={config[key]!r} must be a whole number from {least}")
    settings.check_severities("severities", config.severities)
    if not config.data.validation:
        raise InputError("config.data.validation=0 leaves nothing to tune on; try 0.1667")
    return found[0], found[1]


def _keys(nest: dict) -> set[str]:
    """All keys with dots, and the names of their groups."""
    keys = set(workdirs.flat(nest))
    return keys | {key.rpartition(".")[0] for key in keys if "." in key}


def _check_keys(config):
    wanted, found = (_keys(one.to_dict()) for one in (get_config(), config))
    if wanted != found:
        key = min(wanted ^ found)
        raise InputError(
            f"config.{key} is {'missing' if key in wanted else 'not known'}; a config starts from "
            "experiments.configs.assessment.get_config()"
        )


def untuned(config: ConfigDict, regime: str, method: Method) -> Settings:
    """A method's runs in a regime, before anything of it is tuned."""
    made = settings.read(methods.base(config.dataset, regime, config.base))
    changes = {f"data.{key}": value for key, value in config.data.items() if value != ""}
    changes |= {
        "hardware.weight_bits": (),
        "hardware.draws": 0,
        "corruptions.kinds": "",
        "resume": True,
    }
    return made.changed(changes | method.untuned(config.epochs or made.epochs))


def _final(config: ConfigDict, made: Settings) -> Settings:
    """The same runs as they are reported, on all conditions."""
    changes = {"weight_bits": (8, 4, 2), "draws": config.draws}
    changes |= {"weights": (0.1, 0.3, 0.6), "thresholds": (0.3,)}
    nothing = dict.fromkeys(("leaks", "dead", "dropped", "spurious"), ())
    return made.changed(
        {f"hardware.{key}": value for key, value in (changes | nothing).items()}
        | {"corruptions.kinds": "all", "corruptions.severities": tuple(config.severities)}
        | {"sweep.seeds": config.seeds}
    )


def _identity(config, fingerprint) -> dict:
    """The settings that rows depend on: not folders, nor the choice of methods and regimes."""
    not_the_rows = ("methods", "regimes", "rounds", "minutes", "base")  # settings name the last
    whole = workdirs.identity(config.to_dict() | {"data_fingerprint": fingerprint})
    return {key: value for key, value in whole.items() if key not in not_the_rows}


def _workdir(config, fingerprint) -> pathlib.Path:
    identity = _identity(config, fingerprint)
    default = pathlib.Path("runs", "assessment", cache.digest(identity)[:12])
    workdir = files.place(config.workdir or default)
    file = workdir / "config.json"
    if file.exists():
        workdirs.compare(workdir, files.read_json(file, dict), identity)
    elif workdirs.holds_anything(workdir):
        raise InputError(f"{workdir}: not empty and no assessment; name another --config.workdir")
    workdir.mkdir(parents=True, exist_ok=True)
    files.write(file, json.dumps(identity, indent=2))
    return workdir


def _about(config, regime, method) -> dict:
    """What a method's row depends on besides the settings of the assessment."""
    made = untuned(config, regime, method)
    grid = methods.grid(config, made, regime, method)
    about = {"settings": workdirs.identity(made.as_dict()), "tuned": grid}
    if method.taken:
        about["reference"] = _about(config, regime, METHODS[REFERENCE])
    return about


def _assess(config, regime, folder, trained, name, rows) -> dict:
    """A method's row: tuned by each score, and for each trained and measured."""
    method, place = METHODS[name], folder / kept_rows.folder(name)
    made, taken, target = untuned(config, regime, method), {}, None
    if method.taken:
        own = rows[REFERENCE]
        rate = measures.held_out_rate(own["runs"])
        if not own["tuned"] or rate is None:
            return _diverged(config, regime, method, made, f"no run of {REFERENCE} is finite")
        known = {"rho": own["tuned"]["rho"], "rates.target": round(rate, 4)}
        taken = {method.taken: known[method.taken]}
        made = made.changed(taken)
        target = taken.get("rates.target")
    seeds = {"seed": made.seed + config.seeds, "sweep.seeds": config.tuning_seeds}
    trial = made.changed(seeds)  # others than those that are reported
    grid = methods.grid(config, made, regime, method)
    score, further = functools.partial(scores, target), config.further
    make, measure = functools.partial(_tuned, trial), deployment.on_validation
    trials = tuning.searched(make, grid, place / "trials", score, measure, trained, further)
    row = _row(config, regime, method, made) | {"taken": taken, "trials": trials}
    try:
        for by in measures.SCORES:
            best = tuning.chosen(trials, by, method.key)
            if best == row.get("tuned"):
                continue
            final = _final(config, _tuned(made, best))
            if "tuned" in row:  # what else would have been chosen, with half of the seeds
                final = final.changed({"sweep.seeds": (config.seeds + 1) // 2})
            own = _trained(final, place / by, trained) | {"tuned": best}
            row |= own if "tuned" not in row else {by: own}
    except DivergedError as error:
        return _diverged(config, regime, method, made, str(error)) | {"trials": trials}
    if target is not None:
        row["remarks"] += measures.missed_rate(target, row["runs"])
    passes.forget_programs()  # which no other method uses
    return row


def _trained(made, place, trained) -> dict:
    """What a row keeps of the runs that are reported; their answers lie beside their workdir."""
    made = made.changed({"workdir": str(place)})
    wanted = (landscape.around, answers.read, deployment.following)
    runs, (around, right, followed) = trained.train(made, wanted, urgency=2)
    both = [own | other for own, other in zip(right, followed, strict=True)]
    measures.keep_answers(place.with_name(f"{place.name}.npz"), both)
    kept = [measures.entry(*of_it) for of_it in zip(runs, around, followed, strict=True)]
    return {"runs": kept, "remarks": results.remarks(runs) + landscape.uncertain(around)}


def scores(target: float | None, run: dict, deployed: dict) -> dict[str, float | None]:
    """What a trial's run is chosen by, on the validation split: deployment and clean accuracy.

    Args:
      target: firing rate that the run is to have; farther than a tenth from it, both scores are
        minus the distance, so that they are below all others.
      run: of ``results.json``; empty for one that diverged.
      deployed: of :func:`sast_jax.runs.study.deployment.on_validation`.
    """
    found = {"deployment": deployed.get("score"), "clean": run.get("validation_hard_accuracy")}
    if target is not None and None not in found.values():
        away = abs(run["validation_soft_rate"] - target)
        if away > 0.1 * target:
            return dict.fromkeys(found, -away)
    return found


def _networks(config, grid) -> int:
    """Of a row: those of each trial, and those that are reported."""
    return math.prod(map(len, grid.values())) * config.tuning_seeds + config.seeds


def _gradients(config, regime, method) -> float:
    """Gradients of a step, with the first values that are tried of what is tuned."""
    made = untuned(config, regime, method)
    grid = methods.grid(config, made, regime, method)
    return cost.gradients(_tuned(made, {key: values[0] for key, values in grid.items()}))


def _row(config, regime, method, made) -> dict:
    return {
        "about": method.about,
        "gradients": _gradients(config, regime, method),
        "epochs": made.epochs,
        "environment": machine.environment(),
    }


def _diverged(config, regime, method, made, why) -> dict:
    """The row of a method without a finite run; the other methods continue."""
    seeds = range(made.seed, made.seed + config.seeds)
    nothing: dict = {"hardware": [], "corruptions": []}
    runs = [measures.entry(nothing | {"seed": seed}, {}, {}) for seed in seeds]
    lost: dict = {"tuned": {}, "taken": {}, "trials": [], "remarks": [why], "runs": runs}
    lost["clean"] = {"tuned": {}, "remarks": [], "runs": runs}
    return _row(config, regime, method, made) | lost


def _tuned(made, best) -> Settings:
    return made.changed(methods.with_slope_end(best, made.slope, made.slope_end))


def _timed(config, regime, name, row) -> Settings:
    """One run of a method, with the settings that its row was measured with."""
    return _tuned(untuned(config, regime, METHODS[name]), row["tuned"] | row["taken"])
