"""One experiment from its config to its report, whatever the data set."""

import contextlib
import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from sast_jax import files, processes
from sast_jax.data import packing
from sast_jax.data.sets import selection
from sast_jax.data.sets.loading import Source
from sast_jax.errors import InputError
from sast_jax.evaluation import calibration, swap
from sast_jax.reports import plots, results, run_page
from sast_jax.runs import (
    answers,
    build,
    fit,
    machine,
    measure,
    reloaded,
    workdirs,
)
from sast_jax.runs.settings import Settings
from sast_jax.training import passes
from sast_jax.training.trained import Trained

EXAMPLES = 4  # recordings shown in the report
_BRIEFLY = {"hardware.weight_bits": (), "hardware.draws": 0, "corruptions.kinds": ""}


def run(given: Settings) -> dict:
    """Runs :func:`results_of`, then raises if a network could not be quantised.

    Everything else is already written.
    """
    done, workdir = results_of(given, page=not given.brief)

    def told():
        measure.show(done)
        if not given.brief:
            print(f"report: {workdir / 'report.html'}")
        measure.raise_failure(done["runs"], f"evaluate --checkpoint={workdir}")
        return True

    processes.first_decides(told)
    return done


def results_of(
    given: Settings, to_the_end: bool = False, page: bool = True
) -> tuple[dict, pathlib.Path]:
    """Trains, evaluates and reports the runs of some settings; shows them again if finished.

    Args:
      given: the settings.
      to_the_end: train on where no run is finite any more, so that there are results of that too.
      page: write the report too, and try held-out recordings on hardware for it.

    Returns:
      What ``results.json`` holds, and the workdir; of several processes (:mod:`.processes`) only
      the first has results, and the others an empty dict.

    Raises:
      InputError: a setting or a file is wrong; nothing is overwritten before that is known.
    """
    given = dataclasses.replace(given, data=given.data.resolved())
    places = ("data.path", "workdir", "initial")  # which may be mounted elsewhere
    same = {k: str(v) for k, v in workdirs.flat(given.as_dict()).items() if k not in places}
    processes.agree(same, "their settings", "start each with the same command")
    source = given.data.load()
    print(f"Data: {source.name}", flush=True)
    for line in source.warnings:
        print(f"warning: {line}")
    whole, test = source.frames("train"), source.frames("test")
    measure.recorded(source, "test", given)  # whether there is what corruptions need
    train, validation = selection.hold_out(whole, given.data.validation, given.data.seed)
    recipe = build.recipe(given, source.frame_shape, source.classes, len(train.labels_N))
    hyper_R, initial_R = build.hyperparameters(given), None
    if given.initial:
        initial_R = reloaded.initial(given, recipe, hyper_R, source.fingerprint)
    workdir = processes.first_then_others(lambda: workdirs.claim(given, source.fingerprint))

    def is_open():
        unpaged = page and not (workdir / "report.html").exists()
        return workdirs.finished(workdir) is None or unpaged

    # A finished run is only read, so its folder may be one that cannot be locked or written.
    is_written = processes.first_decides(is_open)
    lock = workdirs.held(workdir) if is_written else contextlib.nullcontext()
    with processes.only_first(lock):
        if processes.first_decides(is_open):
            processes.share(workdir)
            about = {
                "experiment": given.data.name,
                "config": given.as_dict(),
                "data": source.name,
                "simulated": source.simulated,
                "data_fingerprint": source.fingerprint,
                "frame_shape": source.frame_shape,
                "classes": source.classes,
                "class_names": source.class_names,
                "train_recordings": len(train.truth_M),
                "train_rows": len(train.labels_N),  # windows, where there are several
            }
            job = fit.Job(
                recipe=recipe,
                hyper_R=hyper_R,
                initial_R=initial_R,
                runs=build.grid(given),
                train=train,
                streamed=passes.is_streamed(given.data.stream, train),
                batch_devices=given.batch_devices,
                checkpoint_minutes=given.checkpoint_minutes,
                watched=test if validation is None else validation,
                split="test" if validation is None else "validation",
                about=about,
                workdir=workdir,
                to_the_end=to_the_end,
            )
            trained = fit.fit(job)
            work = functools.partial(_conclude, job, given, source, validation, page, *trained)
            done = processes.first_works(work, workdir) or {}
        else:
            print(f"{workdir}: this run is finished; these are its results")
            done = _kept(workdir) if processes.is_first() else {}
    return done, workdir


def _kept(workdir) -> dict:
    """The results of a finished run, if they can be shown.

    Raises:
      InputError: they cannot.
    """
    done = workdirs.finished(workdir)
    if done is None:
        raise InputError(f"{workdir}: its results are gone; start the same command again")
    try:
        measure.lines(done)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{workdir / 'results.json'}: damaged, or of another version ({error!r}); remove "
            "it, and the same command with --config.resume=True measures the run again"
        ) from error
    return done


def _conclude(
    job: fit.Job, given: Settings, source: Source, validation, page, state_R, progress
) -> dict:
    """Evaluates the last epoch on the whole test split, and writes results and report."""
    models, test = Trained.of(job.recipe, state_R, job.hyper_R), source.frames("test")
    given = given.changed(_BRIEFLY) if given.brief else given
    stages = _stages(given, validation is not None, page)
    next(stages)
    benches_R = measure.benches(models, job.train, given)
    measured = measure.measure(models, benches_R, test, given)
    next(stages)
    corrupted = measure.corrupted(benches_R, measure.recorded(source, "test", given), given)
    measured = [one | other for one, other in zip(measured, corrupted, strict=True)]
    answers.write(job.workdir, benches_R, test)  # before they see the validation split
    next(stages)
    if validation is not None:
        if page:
            held_out = measure.measure(models, benches_R, validation, given)
        else:
            held_out = swap.soft_and_hard(models, validation)
        for entry, result in zip(measured, held_out, strict=True):
            entry |= {f"validation_{key}": value for key, value in result.items()}
        chosen = calibration.after_training(models, validation, test)
        measured = [one | other for one, other in zip(measured, chosen, strict=True)]
    next(stages)
    keys = ("experiment", "data", "class_names", "train_recordings")
    about = {key: job.about[key] for key in keys}
    done = results.collect(
        job.about["config"],
        about | {"environment": machine.environment()},
        results.entries(job.runs, measured, progress.train_seconds, progress.finite),
    )
    if page:
        lines = (job.workdir / "metrics.jsonl").read_text().splitlines()
        run_page.write_report(
            job.workdir,
            done,
            [json.loads(line) for line in lines],
            _examples(models, source),
            [*source.warnings, *source.caveats],
        )
    next(stages, None)
    # Last of all, as this file says that the run is finished.
    files.write(pathlib.Path(job.workdir, "results.json"), json.dumps(done, indent=2))
    return done


def _stages(given, validated, page) -> Iterator[str]:
    """A progress bar of what follows training: gives the name of each part as it begins."""
    trials = len(given.hardware.weight_bits) or given.hardware.draws
    parts = {
        "test split, with hardware" if trials else "test split": True,
        "corrupted recordings": given.corruptions.kinds,
        "held-out recordings": validated,
        "report": page,
    }
    with tqdm(total=sum(map(bool, parts.values())), desc="measuring", unit="part") as bar:
        for part, wanted in parts.items():
            bar.set_postfix_str(part if wanted else "")
            yield part
            bar.update(bool(wanted))


def _examples(models: Trained, source: Source) -> list[plots.Example]:
    """Test recordings of different classes, and how the first run responds to them."""
    test, names = source.frames("test"), source.class_names
    firsts = [np.flatnonzero(test.labels_N == label)[:1] for label in np.unique(test.labels_N)]
    chosen = np.concatenate(firsts)[:EXAMPLES]
    first = models[0]
    packed_BxTxP = jnp.asarray(test.packed_NxTxP[chosen])

    def respond(cell):
        response = swap.apply(first, cell, packed_BxTxP)
        flat = [np.asarray(s).reshape(*s.shape[:2], -1) for s in response.spikes]
        return flat, first.model.readout(response).argmax(axis=-1)

    frames_BxTxHxWxC = np.asarray(packing.unpack(packed_BxTxP, source.frame_shape))
    soft, soft_class = respond(first.soft_cell())
    hard, hard_class = respond(first.hard_cell())
    return [
        plots.Example(
            label=names[test.labels_N[chosen[i]]],
            rises_TxHxW=frames_BxTxHxWxC[i, ..., source.rises],
            falls_TxHxW=frames_BxTxHxWxC[i, ..., 1 - source.rises],
            soft=[layer[:, i] for layer in soft],
            hard=[layer[:, i] for layer in hard],
            soft_prediction=names[soft_class[i]],
            hard_prediction=names[hard_class[i]],
        )
        for i in range(len(chosen))
    ]
