"""Strict numerics everywhere, caches of the tests' own, and where the real recordings are."""

import os
import pathlib

import jax
import pytest

from sast_jax.runs import run

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    os.environ["SAST_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _shared_programs(tmp_path_factory):
    """What one test process or command has compiled, the others need not compile again."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "programs"
    settings = {
        "jax_compilation_cache_dir": str(folder),
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
