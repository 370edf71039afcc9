"""Strict numerics everywhere, caches of the tests' own, and where the real recordings are."""

import os
import pathlib

import jax
import pytest

from sast_jax.runs import run

jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config):
    """Without the tests marked "optimised", which need the programs that users get, compiles fast.

    Most tests compile for longer than they compute.
    """
    if "not optimised" not in config.option.markexpr:
        return
    jax.config.update("jax_disable_most_optimizations", True)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
    if jax.__version_info__ < (
        0,
        11,
    ):  # a newer XLA may not know the flag, and then ends the process
        flags = os.environ.get("XLA_FLAGS", ""), "--xla_cpu_use_fusion_emitters=false"
        os.environ["XLA_FLAGS"] = " ".join(flags).strip()


@pytest.fixture(scope="session", autouse=True)
def _shared(tmp_path_factory):
    """What one test process or command has read or compiled, the others need not do again."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ["SAST_CACHE"] = str(base / "recordings")
    settings = {
        "jax_compilation_cache_dir": str(base / "programs"),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


@pytest.fixture(scope="module", autouse=True)
def _programs_of_a_file():
    """Lets go of a file's programs: the kernel maps only so many into a process."""
    yield
    jax.clear_caches()


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
    beside = pathlib.Path(__file__).parents[2] / "shared" / "data"
    folder = pathlib.Path(os.environ.get("SAST_TEST_DATA", beside))
    if not (folder / "nmnist_small" / "train.zip").is_file():
        pytest.skip(f"no real recordings at {folder}; set SAST_TEST_DATA")
    return folder
