"""Strict numerics everywhere, caches of the tests' own, and where the real recordings are."""

import os
import pathlib

import jax
import pytest
import strict

from sast_jax.runs import run
from sast_jax.training import passes

strict.numerics()


def _set(name, value):
    """Sets an option of JAX in this process and in the commands that it starts."""
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)


def pytest_configure(config):
    """Compiles without optimisation if the tests marked "optimised" are left out.

    Most tests compile for longer than they compute.
    """
    if "not optimised" not in config.option.markexpr:
        return
    _set("jax_disable_most_optimizations", True)
    # A newer XLA may not know this flag, and would end the process.
    if jax.__version_info__ < (0, 11):
        flags = os.environ.get("XLA_FLAGS", ""), "--xla_cpu_use_fusion_emitters=false"
        os.environ["XLA_FLAGS"] = " ".join(flags).strip()


@pytest.fixture(scope="session", autouse=True)
def _shared(tmp_path_factory):
    """What one test process or command has read or compiled, the others need not do again."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ["SAST_CACHE"] = str(base / "recordings")
    _set("jax_compilation_cache_dir", str(base / "programs"))
    _set("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture(scope="module")
def own_programs(tmp_path_factory):
    """Commands that are killed compile apart, and keep the times by which a half is known.

    JAX reads all of these times whenever it adds a program, so other tests do without.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("programs")))
        patch.setenv("JAX_COMPILATION_CACHE_MAX_SIZE", str(2**30))
        yield


@pytest.fixture(scope="module", autouse=True)
def _programs_of_a_file():
    """Lets go of a file's programs: the kernel maps only so many into a process."""
    yield
    passes.forget_programs()


@pytest.fixture(scope="module")
def no_pages():
    """Runs in this process draw nothing, and their reports are empty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_examples", lambda *_: [])
        patch.setattr(
            run.run_page, "write_report", lambda workdir, *_: (workdir / "report.html").touch()
        )
        yield


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """Folder of the real recordings: $SAST_TEST_DATA, or shared/data beside the repository."""
    folder = _data()
    if not (folder / "nmnist_small" / "train.zip").is_file():
        pytest.skip(f"no real recordings at {folder}; set SAST_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def digits() -> pathlib.Path | None:
    """Folder of 12,000 real recordings of digits; None for simulated ones where it is not there."""
    folder = _data() / "nmnist_8class"
    return folder if (folder / "train.zip").is_file() else None


def _data() -> pathlib.Path:
    beside = pathlib.Path(__file__).parents[2] / "shared" / "data"
    return pathlib.Path(os.environ.get("SAST_TEST_DATA", beside))
