"""An installed package: what it needs without extras, and that it works from any folder."""

import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import venv
import zipfile

import matrix
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).parents[1]
CORE = {"flax", "jax", "numpy", "optax"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The package as ``pip install .`` builds it, from a copy of what is tracked."""
    folder = tmp_path_factory.mktemp("wheel")
    build = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
    copy = folder / "source"
    for part in ("sast_jax", "experiments"):
        for file in (ROOT / part).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                target = copy / file.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (copy / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=copy, check=True, capture_output=True
    )
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with the unpacked wheel, which stands before this checkout on the path."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_locked_versions_are_those_that_are_declared():
    lines = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    locked = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}
    for requirement in map(Requirement, matrix.declared("dev")):
        version = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def closure(names):
    """The packages that these need, all the way down, without extras."""
    found, left = set(), list(names)
    while left:
        name = left.pop().lower().replace("_", "-")
        if name in found:
            continue
        found.add(name)
        needs = map(Requirement, importlib.metadata.requires(name) or ())
        left += [n.name for n in needs if n.marker is None or n.marker.evaluate({"extra": ""})]
    return found


def test_without_extras_it_needs_four_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {re.split(r"[><=]", line)[0] for line in project["dependencies"]} == CORE
    extras = project["optional-dependencies"]
    assert {"commands", "data", "reports", "export", "all"} <= set(extras)
    assert set(re.findall(r"\w+", extras["all"][0])) >= {"commands", "data", "reports", "export"}


ONLY_THE_CORE = """
import importlib.metadata, sys
allowed, own = set(sys.argv[1].split(",")), sys.argv[2]
names = importlib.metadata.packages_distributions()

class Missing:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        distributions = {d.lower().replace("_", "-") for d in names.get(top, ())}
        if distributions and not distributions & allowed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import sast_jax
assert own in sast_jax.__file__, sast_jax.__file__
"""


def run(installed, program, *arguments, cwd):
    environment = os.environ | {"PYTHONPATH": str(installed)}
    allowed = ",".join({*closure(CORE), "sast-jax"})
    return subprocess.run(
        [sys.executable, "-c", program, allowed, str(installed), *arguments],
        capture_output=True, text=True, cwd=cwd, env=environment,
    )  # fmt: skip


def test_the_link_and_the_face_work_with_the_core_alone(installed, tmp_path):
    """As in an empty environment: every other package that is installed here seems missing."""
    program = (
        ONLY_THE_CORE
        + """
import numpy as np
from sast_jax import sam
rows = [np.array([[i % 4, 1, 10 * i, 1]]) for i in range(8)]
frames = sast_jax.frames(rows, [0, 1] * 4, sensor=(4, 4), time_bins=2)
recipe = sast_jax.Recipe(sast_jax.Model(sast_jax.MLP((3, 2))), epochs=1,
                         batches=sast_jax.Shuffled(4))
print(sast_jax.evaluate(sast_jax.train(recipe, frames, rho=0.1), frames))
try:
    import matplotlib
except ModuleNotFoundError:
    print("alone")
"""
    )
    done = run(installed, program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "hard %" in done.stdout and done.stdout.rstrip().endswith("alone")


def test_the_link_does_without_scipy_too(installed, tmp_path):
    program = """
import sys
for name in ("scipy", "tonic", "matplotlib", "nir", "absl", "orbax", "ml_collections"):
    assert name not in sys.modules
before = set(sys.modules)
import jax, numpy, optax
theirs = set(sys.modules)
from sast_jax import sam
own = {name for name in set(sys.modules) - theirs if not name.startswith("sast_jax")}
print(sorted(own & {"scipy", "tonic", "matplotlib", "nir", "absl", "orbax", "flax"}))
"""
    done = run(installed, program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_an_extra_that_is_missing_is_named_with_its_line(installed, tmp_path):
    program = (
        ONLY_THE_CORE
        + """
from sast_jax.errors import needed
try:
    needed("tqdm", "commands")
except sast_jax.InputError as error:
    print(error)
"""
    )
    done = run(installed, program, cwd=tmp_path)
    assert done.stdout.strip() == "this needs the package tqdm: pip install 'sast_jax[commands]'"


@pytest.mark.parametrize(
    "program, package, extra",
    [
        ("import sast_jax.hardware.nir_graph", "nir", "export"),
        ("sast_jax.LIF().nir(0.9, 1e-4, (1,), 'A')", "nir", "export"),
        ("import sast_jax.hardware.graphs.network", "nir", "export"),
        (
            "from sast_jax.data import streaming; next(streaming.chunks(None, (), 1))",
            "grain",
            "data",
        ),
    ],
)
def test_every_extra_that_the_library_asks_for_is_named(
    installed, tmp_path, program, package, extra
):
    done = run(installed, f"{ONLY_THE_CORE}\n{program}", cwd=tmp_path)
    wanted = f"InputError: this needs the package {package}: pip install 'sast_jax[{extra}]'"
    assert done.stderr.rstrip().endswith(wanted)


def test_a_command_without_its_extras_ends_in_one_line(installed, tmp_path):
    program = (
        "import importlib.util as u; u.find_spec = lambda name: None; import experiments.nmnist"
    )
    done = run(installed, program, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    wanted = "error: commands need packages that are missing here: pip install"
    assert done.stderr == f"{wanted} 'sast_jax[all]'\n"


SMALL = [
    "--config.data.source=simulated", "--config.data.train_limit=64",
    "--config.data.test_limit=8", "--config.epochs=1", "--config.batch_size=32",
    "--config.network.hidden=8,", "--config.hardware.weight_bits=()",
    "--config.hardware.draws=0", "--config.corruptions.kinds=", "--config.workdir=mine",
]  # fmt: skip


@pytest.mark.slow
def test_it_works_beside_a_project_with_its_own_experiments(installed, tmp_path):
    """The command that pip makes of the entry point, where another package has that name."""
    other = tmp_path / "experiments"
    other.mkdir()
    (other / "__init__.py").write_text("raise SystemExit('the other package')")
    (tmp_path / "neighbour.py").write_text(
        "from experiments.configs import nmnist\n"
        "def base():\n    config = nmnist.get_config()\n    config.rho = 0.0\n    return config\n"
    )
    (tmp_path / "mine.py").write_text(
        "import neighbour\ndef get_config():\n    config = neighbour.base()\n"
        "    config.seed = 7\n    return config\n"
    )
    entry = next(installed.glob("*.dist-info")) / "entry_points.txt"
    assert "sast-jax = experiments.__main__:main" in entry.read_text()
    script = tmp_path / "bin" / "sast-jax"  # as pip writes it
    script.parent.mkdir()
    script.write_text("import sys\nfrom experiments.__main__ import main\nsys.exit(main())\n")

    def command(*arguments):
        return subprocess.run(
            [sys.executable, str(script), *arguments],
            capture_output=True, text=True, cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(installed)},
        )  # fmt: skip

    listed = command()
    assert listed.returncode == 0 and "nmnist" in listed.stdout and "cli" not in listed.stdout
    wrong = command("nmnits")
    assert wrong.returncode == 2 and wrong.stderr.startswith("error: 'nmnits' is no command")
    done = command("nmnist", "--config=mine.py", *SMALL)
    assert done.returncode == 0, done.stderr
    record = (tmp_path / "mine" / "config.json").read_text()
    assert '"seed": 7' in record and '"rho": 0.0' in record
    (tmp_path / "nmnist_conv").mkdir()  # a folder of that name is no config
    bare = command("nmnist", "--config=nmnist_conv", "--config.epochs=0")
    assert bare.returncode == 2 and "config.epochs=0" in bare.stderr  # the shipped file was read


@pytest.mark.slow
def test_pip_installs_it_into_an_empty_environment(tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(ROOT)], check=True)
    program = (
        "import importlib.util as u; from sast_jax import sam; import sast_jax;"
        "print([n for n in ('tonic', 'matplotlib', 'nir', 'orbax', 'absl') if u.find_spec(n)])"
    )
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tonic" not in done.stdout and "matplotlib" not in done.stdout
    assert (tmp_path / "env" / "bin" / "sast-jax").exists()
