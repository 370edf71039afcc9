"""Compiles an exported network and measures it on this machine."""

import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile

from sast_jax.errors import InputError

_FLAGS = ("-std=c99", "-O2")
_REPEATS = 5  # of the example; the fastest counts


def compiler() -> str | None:
    """The C compiler: ``CC``, or the first of cc, gcc and clang that is there."""
    wanted = [os.environ["CC"]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    return next((name for name in wanted if shutil.which(shlex.split(name)[0])), None)


def measured(folder: pathlib.Path) -> dict | None:
    """What the network in a folder takes on this machine; None without a compiler.

    Returns:
      A dict with ``compiler`` (name and flags), ``code`` (bytes of instructions; None without the
      program ``size``) and ``microseconds`` (of a recording; the example run five times, the
      fastest).

    Raises:
      InputError: the compiler or the example fails, or the answers are others than expected.
    """
    name = compiler()
    if name is None:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        there = pathlib.Path(temporary)
        common = [*shlex.split(name), *_FLAGS, "-I", str(folder)]
        _run([*common, "-c", str(folder / "network.c"), "-o", str(there / "network.o")])
        example = there / "example"
        _run([*common, str(folder / "example.c"), str(there / "network.o"), "-o", str(example)])
        runs = [_run([str(example), str(folder / "recordings.bin")]) for _ in range(_REPEATS)]
        code = _instructions(there / "network.o")
    if {run.stdout for run in runs} != {(folder / "answers.txt").read_text()}:
        raise InputError(f"{folder}: compiled with {name}, the network answers something else")
    return {
        "compiler": " ".join((name, *_FLAGS)),
        "code": code,
        "microseconds": min(float(run.stderr) for run in runs),
    }


def _run(command: list[str]) -> subprocess.CompletedProcess:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().partition("\n")[0]
        raise InputError(f"{command[0]}: ended with code {done.returncode} ({reason})")
    return done


def _instructions(path: pathlib.Path) -> int | None:
    """Bytes of instructions in an object file; None without the program ``size``."""
    if shutil.which("size") is None:
        return None
    try:
        lines = _run(["size", "-A", str(path)]).stdout.splitlines()
    except InputError:  # that of another system
        return None
    return sum(int(line.split()[1]) for line in lines if line.startswith(".text"))
