"""Compiled programs are kept between processes, and within one."""

import os
import subprocess
import sys

import jax
import pytest
import small
from commands import ROOT

import sast_jax
from sast_jax.errors import InputError
from sast_jax.runs import programs
from sast_jax.training import passes

KEPT = ("jax_compilation_cache_dir", "jax_compilation_cache_max_size")

SCRIPT = "import jax; from experiments import cli; cli.run(lambda: print(jax.jit(abs)(-2)))"


def alone(cache):
    """The environment of a process with a cache of its own."""
    environment = os.environ | {"SAST_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    return {k: v for k, v in environment.items() if not k.startswith("JAX_COMPILATION_CACHE")}


@pytest.fixture
def nothing_kept(monkeypatch, tmp_path):
    """JAX without a folder for programs, as in a command that just began."""
    before = {name: getattr(jax.config, name) for name in KEPT}
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("SAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SAST_PROGRAMS", raising=False)
    yield tmp_path / "cache"
    for name, value in before.items():
        jax.config.update(name, value)


def test_a_folder_of_bounded_size_is_used(nothing_kept):
    programs.keep()
    assert jax.config.jax_compilation_cache_dir == str(nothing_kept / "programs")
    assert jax.config.jax_compilation_cache_max_size == 2**30


def test_a_folder_that_jax_knows_stays(nothing_kept, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "elsewhere"))
    programs.keep()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "elsewhere")


def test_a_variable_says_how_much_is_kept(nothing_kept, monkeypatch):
    monkeypatch.setenv("SAST_PROGRAMS", "0")
    programs.keep()
    assert jax.config.jax_compilation_cache_dir is None
    monkeypatch.setenv("SAST_PROGRAMS", "many")
    with pytest.raises(InputError, match="SAST_PROGRAMS='many' must be a number of megabytes"):
        programs.keep()
    monkeypatch.setenv("SAST_PROGRAMS", "7")
    programs.keep()
    assert jax.config.jax_compilation_cache_max_size == 7 * 2**20


def test_a_folder_that_cannot_be_made_is_named(nothing_kept):
    nothing_kept.write_text("a file")
    with pytest.warns(UserWarning, match="cache/programs: programs are compiled each time"):
        programs.keep()
    assert jax.config.jax_compilation_cache_dir is None


def test_a_second_command_finds_the_programs_of_the_first(tmp_path):
    kept = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=alone(tmp_path), capture_output=True, text=True
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")
        kept.append({file.name for file in (tmp_path / "programs").glob("*-cache")})
    assert kept[0] and kept[0] == kept[1]


def test_of_many_programs_the_oldest_half_goes(nothing_kept, monkeypatch):
    monkeypatch.setattr(programs, "MOST", 10)
    folder = nothing_kept / "programs"
    folder.mkdir(parents=True)
    for number in range(11):
        (folder / f"jit_{number}-cache").write_text("x")
        (folder / f"jit_{number}-atime").write_bytes((100 - number).to_bytes(8, "little"))
    programs.keep()
    left = {f"jit_{number}-{kind}" for number in range(6) for kind in ("cache", "atime")}
    assert {file.name for file in folder.glob("jit_*")} == left


@pytest.mark.parametrize("left", ["no time", "half"])
def test_a_program_that_was_half_written_is_compiled_again(tmp_path, left):
    """A kill leaves a program cut off, or without the file of when it was used."""
    arguments = [sys.executable, "-c", SCRIPT]
    environment = alone(tmp_path)
    subprocess.run(arguments, env=environment, check=True, capture_output=True)
    program = max((tmp_path / "programs").glob("*-cache"), key=lambda path: path.stat().st_size)
    whole = program.read_bytes()
    if left == "half":
        program.write_bytes(whole[: len(whole) // 2])
    (used,) = (tmp_path / "programs").glob(program.name.removesuffix("cache") + "atime")
    used.unlink()
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")
    assert used.exists() and program.stat().st_size > 0.9 * len(whole)


def test_equal_settings_compile_once_in_a_process():
    for seed in range(2):
        recipe = small.recipe(epochs=2)
        sast_jax.train(recipe, small.frames(), rho=0.1, seeds=(seed,))
    assert passes._program.cache_info()[:2] == (3, 1)  # hits, misses
