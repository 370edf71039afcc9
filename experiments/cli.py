"""What every command shares: parsing its flags, and one line for what a user got wrong."""

import contextlib
import dataclasses
import itertools
import math
import os
import pathlib
import re
import runpy
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from experiments import messages
from sast_jax import files, processes
from sast_jax.errors import InputError
from sast_jax.runs import interrupts, programs

USER_ERROR = 2
_CONFIGS = pathlib.Path(__file__).parent / "configs"
INTERRUPTED = 130
CUT_OFF = 141  # as of a process that SIGPIPE ends
_GROUPS: dict[str, Any] = {}  # of settings that are flags of their own


def define_config(name: str) -> Callable[[], ConfigDict]:
    """Defines the flag --config, with ``experiments/configs/<name>.py`` as its default.

    The name of a config that comes with the package stands for its file, and a config file can
    import its neighbours.

    Returns:
      A function that gives the config once the flags are parsed.
    """
    default = _CONFIGS / f"{name}.py"
    messages.CONFIG_OF.append(name)
    sys.argv[1:] = _last_of_each(_with_files(sys.argv[1:]))
    for file in _named_files(sys.argv[1:]):
        try:
            load_config(file)
        except InputError as error:
            _fail(error, USER_ERROR)
    logging.set_verbosity(logging.ERROR)  # a flag on the command line sets it again
    try:  # looks at the command line at once
        flag = config_flags.DEFINE_config_file("config", str(default), "the run's settings")
    except Exception as error:
        _fail(messages.of(error), USER_ERROR)

    return lambda: flag.value


def _named_files(arguments: list[str]) -> list[str]:
    """The config files that a command line names."""
    flag = re.compile(r"--?config(=.*)?")
    pairs = itertools.pairwise([*arguments, ""])
    found = ((flag.fullmatch(argument), after) for argument, after in pairs)
    return [named[1][1:] if named[1] else after for named, after in found if named]


def _with_files(arguments: list[str]) -> list[str]:
    """The arguments with names of shipped configs replaced by files; configs can import others."""
    found, is_value = [], False
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if is_value or (flag.lstrip("-") == "config" and equals):
            flag, value = ("", argument) if is_value else (f"{flag}=", value)
            path, colon, variant = value.partition(":")
            argument = f"{flag}{_file(path)}{colon}{variant}"
        is_value = argument in ("--config", "-config")
        found.append(argument)
    return found


def _last_of_each(arguments: list[str]) -> list[str]:
    """The arguments without keys that are given again; lists would hold the values of both."""
    found: dict[str, list[str]] = {}
    waiting = list(arguments)
    while waiting:
        name, equals, _ = waiting[0].partition("=")
        is_key = re.fullmatch(r"--?\w+(\.\w+)+", name)
        has_value = is_key and not equals and waiting[1:] and not waiting[1].startswith("-")
        key = name.lstrip("-") if is_key else f"{len(waiting)}"
        found.pop(key, None)
        found[key] = [waiting.pop(0) for _ in range(2 if has_value else 1)]
    return list(itertools.chain.from_iterable(found.values()))


def _file(path: str) -> str:
    """The file of a config, whose neighbours can be imported from now on."""
    shipped = _CONFIGS / f"{path}.py"
    if not pathlib.Path(path).is_file() and shipped.exists():
        return str(shipped)
    if pathlib.Path(path).is_file():
        sys.path.append(str(pathlib.Path(path).resolve().parent))
    return path


def load_config(file: str) -> ConfigDict:
    """The config that a file's ``get_config()`` returns, or that of a shipped one by its name.

    Args:
      file: its name, with a colon and an argument of ``get_config`` behind it where it takes one.

    Raises:
      InputError: there is no such file, or it returns none.
    """
    if file.startswith("-"):
        raise InputError(f"--config names no file before {file}; write --config=FILE")
    path, colon, variant = file.partition(":")
    place = _file(path)
    if not pathlib.Path(place).is_file():
        shipped = ", ".join(sorted(f.stem for f in _CONFIGS.glob("[a-z]*.py")))
        raise InputError(f"--config={file}: no such file; those that come with this are {shipped}")
    try:
        made = runpy.run_path(place)["get_config"](*[variant] if colon else [])
    except (Exception, SystemExit) as error:  # whatever a bad config file raises
        what = (
            "no get_config()" if "get_config" in str(error) else f"{type(error).__name__}: {error}"
        )
        raise InputError(f"{file}: {what} in this config file") from error
    if not isinstance(made, ConfigDict):
        raise InputError(f"{file}: its get_config() must return a ConfigDict")
    return made


def define_processes() -> None:
    """Defines the flags of commands that several processes can run together."""
    about = "host:port of the first of several processes that train together, or 'auto'"
    flags.DEFINE_string("coordinator", "", f"{about} where JAX finds it by itself, as with SLURM")
    flags.DEFINE_integer("processes", 0, "how many there are", lower_bound=0)
    flags.DEFINE_integer("process", 0, "the number of this one, from 0", lower_bound=0)


def _join_others() -> None:
    coordinator, number = flags.FLAGS.coordinator, flags.FLAGS.process
    known = coordinator not in ("", processes.AUTO)
    numbered = flags.FLAGS["processes"].present or flags.FLAGS["process"].present
    if (known and not number < flags.FLAGS.processes) or (numbered and not known):
        raise InputError(
            "--coordinator=HOST:PORT needs --processes=N, and --process=I from 0 to N - 1 in each "
            "of them; --coordinator=auto needs neither"
        )
    if coordinator:
        processes.join(coordinator, flags.FLAGS.processes, number)


def define_settings(name: str, group: Any) -> Callable[[], dict]:
    """Defines flags ``--<name>.<key>`` for a group of settings.

    Returns:
      A function that gives those that are on the command line, by keys with dots, once the flags
      are parsed.
    """
    _GROUPS[name] = group
    sys.argv[1:] = _last_of_each(sys.argv[1:])
    try:
        flag = config_flags.DEFINE_config_dict(name, ConfigDict(dataclasses.asdict(group)))
    except Exception as error:
        _fail(messages.of(error), USER_ERROR)
    keys = {field.name: f"{name}.{field.name}" for field in dataclasses.fields(group)}
    return lambda: {full: flag.value[key] for key, full in keys.items() if full in flags.FLAGS}


def define_split() -> tuple[flags.FlagHolder[str], flags.FlagHolder[int]]:
    """Defines the flags --split and --above, which choose recordings to evaluate on."""
    splits, above = ["test", "train"], "take only recordings with file numbers above this one"
    return (
        flags.DEFINE_enum("split", "test", splits, "which split to evaluate on"),
        flags.DEFINE_integer("above", 0, above, lower_bound=0),
    )


def define_scheduler() -> flags.FlagHolder[str]:
    """Defines the flag --scheduler of studies, for :mod:`sast_jax.runs.study.trainings`."""
    about = "local:N, or the address of a Dask scheduler; one training after another if empty"
    return flags.DEFINE_string("scheduler", "", about)


def define_foreign() -> Callable[[str], Any]:
    """Defines the flags of commands that take a NIR file of anybody and a folder of recordings.

    Returns:
      A function from the file's name to a :class:`sast_jax.runs.foreign.Tried`, once the flags are
      parsed.
    """
    from sast_jax.data import sets
    from sast_jax.hardware.graphs import dialects, network
    from sast_jax.runs import foreign

    folder = flags.DEFINE_string("data_path", None, "folder with recordings", required=True)
    split, above = define_split()
    kinds = ["", *sets.SETS]
    dataset = flags.DEFINE_enum("dataset", "", kinds, "kind of recordings; told if not stated")
    sources = list(dialects.DIALECTS)
    source = flags.DEFINE_enum("source", "nir", sources, "program that wrote the file")
    dt = flags.DEFINE_float("dt", 0.0, "seconds of a step; 0: the file's or the program's")
    resets = ["", *dialects.RESETS]
    reset = flags.DEFINE_enum("reset", "", resets, "what a spike does; the program's if empty")
    readout = flags.DEFINE_enum(
        "readout", "", ["", *network.READOUTS], "how classes are read: the file's, else the mean"
    )
    order = flags.DEFINE_enum("order", "CHW", network.ORDERS, "of pixels, where frames are vectors")
    changes = define_settings("data", sets.OwnData())

    def load(file):
        if flags.FLAGS["dt"].present and not 0 < dt.value < math.inf:
            raise InputError(f"--dt={dt.value} must be above 0 seconds")
        meaning = foreign.Meaning(source.value, dt.value, reset.value, readout.value, order.value)
        return foreign.load(
            files.place(file),
            folder.value,
            meaning,
            dataset=dataset.value,
            changes={key.removeprefix("data."): value for key, value in changes().items()},
            split=split.value,
            above=above.value,
        )

    return load


def run(
    main: Callable[..., None],
    costly: str = "config.batch_size, network.segment, data.time_bins or the network's widths",
    argument: str = "",
) -> None:
    """Parses the flags, runs ``main`` and exits; a user's mistake is one line and exit code 2.

    Args:
      main: what to run.
      costly: what to lower where memory runs out.
      argument: name of an argument without a flag, which ``main`` is then given; "" for none.
    """

    # A process may be started without them, and names of files may hold bytes that are no text.
    sys.stdout, sys.stderr = (_printable(stream) for stream in (sys.stdout, sys.stderr))

    def checked(argv):
        given = argv[1:]
        if argument and len(given) != 1:
            raise InputError(f"name one {argument}, and settings as --flag=value")
        if not argument and given:
            raise InputError(messages.unexpected(given[0]))
        main(*given)

    app.run(lambda argv: _ended(checked, argv, costly), flags_parser=_parse)


def _printable(stream):
    """The stream, which now takes any text; the null device in the place of a closed one."""
    if stream is None:
        return open(os.devnull, "w")  # as long as the process
    if hasattr(stream, "reconfigure"):  # not where a test or a notebook has its own
        stream.reconfigure(errors="backslashreplace")
    return stream


def _parse(argv):
    if messages.asks_for_help(argv[1:]):
        show(messages.help_text(_GROUPS))
        sys.exit(0)
    try:
        return flags.FLAGS(argv)
    except Exception as error:  # whatever a bad flag or config file raises
        _fail(messages.of(error), USER_ERROR)


def _ended(main, argv, costly):
    """Runs ``main``; one of several processes that fails leaves at once, as the others wait."""
    try:
        _guard(main, argv, costly)
    except BaseException as error:
        if jax.distributed.is_initialized() and not processes.alone():
            code = getattr(error, "code", 1)
            if not isinstance(error, SystemExit):
                sys.excepthook(*sys.exc_info())
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 1)
        raise


def _guard(main, argv, costly):
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.FATAL)  # Orbax logs what it raises, once a thread
    signal.signal(signal.SIGINT, _interrupted)
    interrupts.install()
    os.environ.pop("MPLBACKEND", None)  # figures are files here, and a name may be wrong
    sys.unraisablehook = _unraisable
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    try:
        programs.keep()
        if "coordinator" in flags.FLAGS:
            _join_others()
        _start_backend()
        if not processes.alone():
            processes.begin()
        with _reader_may_leave():
            main(argv)
            sys.stdout.flush()
    except InputError as error:
        _fail(_as_typed(str(error)), USER_ERROR)
    except interrupts.StoppedError as error:
        _fail(error, interrupts.STOPPED)
    except OSError as error:
        _fail_of_system(error)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        told = "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error)
        if not told and not isinstance(error, MemoryError):
            raise
        _fail(f"out of memory ({error}); lower {costly}", USER_ERROR)


def show(text: str) -> None:
    """Prints a help text, and ends in one line if nobody can keep it."""
    try:
        with _reader_may_leave():
            print(text, flush=True)
    except OSError as error:
        _fail_of_system(error)


def _fail_of_system(error):
    room = "; make room, then go on" if files.is_full(error) else ""
    _fail(f"{error.filename or _unnamed()}: {error.strerror or error}{room}", USER_ERROR)


def _start_backend():
    """Starts the backend that a user has named, so that one that is not there is told first.

    Raises:
      InputError: it is not there, or numbers would be of 64 bits.
    """
    if jax.config.jax_enable_x64:  # type: ignore[attr-defined]  # which JAX sets
        raise InputError(
            "JAX_ENABLE_X64 is set, and networks here are of float32; start the command without it"
        )
    named = jax.config.jax_platforms  # type: ignore[attr-defined]  # which JAX sets
    if named in (None, "", "cpu"):
        return
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).partition(" (set JAX_PLATFORMS")[0].split())
        raise InputError(
            f"JAX_PLATFORMS={named}: not on this machine{reason and f' ({reason})'}; unset it to "
            "take what is there, or install JAX for it"
        ) from error


def _unnamed() -> str:
    """What failed where the system names no file."""
    try:
        print(flush=True)
    except OSError:
        return "standard output"
    return "a disk or a connection"


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    """Ends the process quietly if nobody reads what it prints any more, as behind ``| head``."""
    try:
        yield
    except BrokenPipeError:
        # At once, as threads that save a checkpoint may wait for each other in a teardown.
        os._exit(CUT_OFF)


def _interrupted(*_):
    """Ends at once: threads of JAX and Orbax that are torn down in the middle crash or complain.

    Files are put in place in one step, so nothing that was written is lost.
    """
    print(f"\nerror: interrupted; {interrupts.SAID}", file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)


def _as_typed(message: str) -> str:
    """A message with the names of keys as this command has them."""
    for group in ("hardware", "corruptions"):
        if any(name.startswith(f"{group}.") for name in flags.FLAGS):
            message = message.replace(f"config.{group}.", f"--{group}.")
    if "workdir" in flags.FLAGS:
        message = message.replace("--config.workdir", "--workdir")
    return message


def _unraisable(unraisable):
    """Shows errors that nobody catches, but not TensorStore's late ones after a failed save."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def _fail(message, code):
    print("error:", " ".join(str(message).split()), file=sys.stderr)
    sys.exit(code)
