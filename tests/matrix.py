"""Tries the oldest and the newest versions of every dependency, on several Pythons: make matrix.

    python tests/matrix.py [python3.11 python3.13]

The first Python gets both, the others the newest, as old versions have no packages for them. Each
is a fresh virtual environment in a temporary folder, which uv fills and in which the tests of the
core run. Prints a table in Markdown, and ends with exit code 1 if one of them fails.
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

ROOT = pathlib.Path(__file__).parents[1]
PYTHONS = ("python3.11", "python3.13")
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "packaging", "aedat", "event_stream")  # of dev
SHOWN = ("jax", "flax", "optax", "numpy", "orbax-checkpoint", "ml-collections", "tonic")
CORE = (  # without torch and other references
    *("test_face", "test_sam", "test_lif", "test_neurons", "test_recipe", "test_training"),
    *("test_run", "test_checkpoints", "test_workdirs", "test_settings", "test_packing"),
    *("test_stopped", "test_streaming", "test_evaluation", "test_formats", "test_intervals"),
)


def declared(extra: str = "all") -> list[str]:
    """The requirements of the package and of one of its extras, such as ``jax>=0.10``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted, found = [extra], list(project["dependencies"])
    while wanted:
        for requirement in extras[wanted.pop()]:
            own = re.fullmatch(r"sast_jax\[(.*)\]", requirement)
            (wanted.extend(own[1].split(",")) if own else found.append(requirement))
    return sorted(set(found))


def tried(python: str, resolution: str, folder: pathlib.Path) -> tuple[str, str]:
    """The versions of an environment, and how its tests end."""
    bin_ = folder / "bin"
    run([python, "-m", "venv", folder])
    run([bin_ / "pip", "install", "--quiet", "uv"])
    install = [bin_ / "uv", "pip", "install", "--quiet", "--python", bin_ / "python"]
    run([*install, "--resolution", resolution, *declared()])
    run([*install, *(line for line in declared("dev") if line.partition(">")[0] in TOOLS)])
    run([*install, "--no-deps", "--editable", ROOT])
    listed = run([bin_ / "pip", "list", "--format=freeze"]).splitlines()
    versions = dict(line.replace("_", "-").split("==") for line in listed if "==" in line)
    shown = ", ".join(f"{name} {versions[name]}" for name in SHOWN)
    tests = [ROOT / "tests" / f"{name}.py" for name in CORE]
    done = subprocess.run(
        [bin_ / "python", "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", *tests],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1]
    print(done.stdout if done.returncode else last, file=sys.stderr)
    return shown, last if done.returncode == 0 else f"**failed**: {last}"


def run(command) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    pythons = sys.argv[1:] or PYTHONS
    print("| Python | versions | tests |\n|---|---|---|")
    failed = False
    for python in pythons:
        try:
            version = run([python, "--version"]).split()[1]
        except (OSError, subprocess.CalledProcessError):  # a shim of another version fails
            print(f"| {python} | | **failed**: it does not start |", flush=True)
            failed = True
            continue
        for name, resolution in {"oldest": "lowest-direct", "newest": "highest"}.items():
            if name == "oldest" and python != pythons[0]:
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    shown, ended = tried(python, resolution, pathlib.Path(folder, "venv"))
                except subprocess.CalledProcessError as error:
                    shown, ended = name, f"**failed**: {error.stderr.strip().splitlines()[-1]}"
            failed |= ended.startswith("**failed**")
            print(f"| {version}, {name} | {shown} | {ended} |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
