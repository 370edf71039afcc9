"""README and docs: their Python runs; their commands, keys, links, modules and files exist."""

import ast
import functools
import importlib
import importlib.util
import itertools
import json
import pathlib
import pkgutil
import re
import shlex
import tomllib

import jax
import made_up_results
import nmnist_files
import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from experiments import keys
from experiments.configs import assessment
from sast_jax.data import sets
from sast_jax.runs import run, settings, workdirs
from sast_jax.runs.groups import CorruptionKeys, HardwareKeys
from sast_jax.runs.settings import Settings

ROOT = pathlib.Path(__file__).parents[1]
README, RESULTS = ROOT / "README.md", ROOT / "experiments" / "RESULTS.md"
SAM = ROOT / "sast_jax" / "sharpness" / "sam.md"
GENERATED = "mistakes.md"  # by the tests of mistakes, which type its commands
DOCS = sorted(page for page in (ROOT / "docs").glob("*.md") if page.name != GENERATED)
DETAILS = sorted((ROOT / "experiments" / "results").glob("*.md"))
PAGES = [README, *DOCS, SAM, RESULTS, *DETAILS]

PYTHON = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)
FENCED = re.compile(r"```.*?```", re.DOTALL)
INDENTED = re.compile(r"^    .+$", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
ROW = re.compile(r"^\| (`.+?) \| ", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
COMMAND = re.compile(
    r"(?:python -m experiments\.|sast-jax )([a-z_]+)((?: +(?:'[^']*'|--?[^\s|]+))*)"
)
CONFIGURED = (*sets.SETS, "train", "assessment")  # commands with --config
AFFIXES = ["soft_", "hard_", "integer_", "validation_", "_ci95", "_mean", "_std", "_by_layer"]
SWEEP = made_up_results.collected(
    [
        made_up_results.run(rho, seed, 0.8, validation_hard_accuracy=0.8 + rho * (1 + 0.1 * seed))
        for rho in (0.0, 0.1, 0.2)
        for seed in range(3)
    ]
)

each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(ROOT)).replace("/", " ")
)


@functools.cache
def text(page):
    return page.read_text()


@functools.cache
def spans(page):
    """What a page shows as code: indented lines, and within sentences and tables."""
    rest = FENCED.sub("", text(page).replace("\\\n", " "))
    found = [*INDENTED.findall(rest), *CODE.findall(INDENTED.sub("", rest))]
    return [" ".join(code.split()) for code in found]


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", text(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def check_loop(names):
    params, x, y = (names[name] for name in ("params", "x", "y"))
    start = {"w": np.ones((1, 1)), "b": np.zeros(1)}
    assert names["loss"](params, x, y) < names["loss"](start, x, y)


def check_sam(names):
    assert names["losses"].shape == (3, 2)
    assert np.isfinite(names["losses"]).all()
    # One device holds the whole batch, so its mean over devices is SAM of the whole batch.
    loss, w, batch = names["loss"], names["params"], names["batch"]
    whole, _ = names["sharded_gradient"](w, names["link"].init(w), *batch)
    g = jax.grad(loss)(w, *batch)
    norm = np.sqrt(sum((leaf**2).sum() for leaf in g.values()))
    moved = {key: w[key] + 0.05 * g[key] / norm for key in w}
    for key, expected in jax.grad(loss)(moved, *batch).items():
        np.testing.assert_allclose(whole[key], expected, atol=1e-6)


def check_config(names):
    config = names["get_config"]()
    settings.read(config)
    assert config.network.hidden == (512,)


def check_own_parts(names):
    assert all(own["hard_accuracy"] > 0.6 for own in names["results"])


def check_sweep(names):
    assert names["best"]["rho"] == 0.2
    assert names["difference"].mean == pytest.approx(0.22)


CHECKS = {
    "sam-in-your-loop.md": check_loop,
    "sam.md": check_sam,
    "first-run.md": check_config,
    "own-model-and-neuron.md": check_own_parts,
    "sweeps.md": check_sweep,
}


def is_there(block):
    """Whether the packages that a block says it needs are installed."""
    needs = re.findall(r"\A# needs: (.+)\n", block)
    return all(importlib.util.find_spec(name) for line in needs for name in line.split(", "))


@pytest.mark.parametrize("page", [p for p in PAGES if PYTHON.search(text(p))], ids=lambda p: p.stem)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sweep = pathlib.Path("runs", "sweep")
    sweep.mkdir(parents=True)
    (sweep / "results.json").write_text(json.dumps(SWEEP))
    names = {}
    for block, shown in PYTHON.findall(text(page)):
        if not is_there(block):
            continue
        capsys.readouterr()
        exec(compile(block, page.name, "exec"), names)
        out = capsys.readouterr().out
        assert not shown or out == shown
        for expected in re.findall(r"^ *print\(.*\)  # (.+)$", block, re.MULTILINE):
            assert expected in out
    CHECKS.get(page.name, lambda names: None)(names)


def test_the_readme_is_short():
    assert len(text(README).splitlines()) <= 130


@each_page
def test_links_lead_somewhere(page):
    for path, anchor in LINK.findall(CODE.sub("", FENCED.sub("", text(page)))):
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_the_indices_name_all_pages():
    def named(page):
        return {(page.parent / path).resolve() for path, _ in LINK.findall(text(page)) if path}

    index = ROOT / "docs" / "README.md"
    assert {*DOCS, SAM, RESULTS} - {index} <= named(index)
    assert {index, RESULTS} <= named(README)
    assert set(DETAILS) <= named(RESULTS)


def parse(command, arguments):
    """Parses the flags of a command with a config as it does, and checks their values."""
    files = [a for a in arguments if a.startswith("--config=")]
    path, _, variant = files[-1].removeprefix("--config=").partition(":") if files else ("",) * 3
    module = assessment
    shipped = f"experiments/configs/{path}.py"  # a config's name stands for its file
    path = shipped if path and (ROOT / shipped).is_file() else path
    if (ROOT / path).is_file():
        spec = importlib.util.spec_from_file_location("named", ROOT / path)
        spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    elif command != "assessment":
        assert path in ("", "my_config.py"), path  # the latter is the reader's
        module = importlib.import_module(
            f"experiments.configs.{command}".replace("train", "nmnist")
        )
    config = module.get_config(*filter(None, [variant]))
    beside = tuple(f"--{name}=" for name in shared_flags(command))
    others = [a for a in arguments if a not in files and not a.startswith(beside or "?")]
    values, line = flags.FlagValues(), [command, *others]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", line)  # where ml_collections looks for keys
        config_flags.DEFINE_config_dict("config", config, flag_values=values)
        assert values(line) == [command]
    if command != "assessment":
        settings.read(config, None if command == "train" else command)


def code_of(command):
    """The source of a command."""
    folder = ROOT / "experiments" / command
    return (folder / "command.py" if folder.is_dir() else folder.with_suffix(".py")).read_text()


def shared_flags(command):
    """The names of the flags that it shares with other commands that train."""
    shared = {"processes": {"coordinator", "processes", "process"}, "scheduler": {"scheduler"}}
    code = code_of(command)
    return set().union(*(own for key, own in shared.items() if f"cli.define_{key}()" in code))


@functools.cache
def flags_of(command):
    """The names of the flags of a command without a config."""
    code = code_of(command)
    found = set(re.findall(r'flags\.DEFINE_\w+\(\s*"(\w+)"', code)) | shared_flags(command)
    for name, group in (("hardware", HardwareKeys()), ("corruptions", CorruptionKeys())):
        if f'define_settings("{name}"' in code:
            found |= {f"{name}.{key}" for key in vars(group)}
    if "cli.define_foreign()" in code:
        shared = (ROOT / "experiments" / "cli.py").read_text().partition("def define_foreign")[2]
        found |= set(re.findall(r'flags\.DEFINE_\w+\(\s*"(\w+)"', shared))
        found |= {f"data.{key}" for key in vars(sets.OwnData())} | {"data.KEY"}
        code += "cli.define_split()"
    return found | {"split", "above"} if "cli.define_split()" in code else found


def require(command, arguments):
    if command in CONFIGURED:
        return parse(command, arguments)
    code = code_of(command)
    for argument in arguments:
        if not argument.startswith("-"):
            assert "argument=" in code, argument
            continue
        name, _, value = argument.removeprefix("--").partition("=")
        assert name in flags_of(command), argument
        assert value, argument


@each_page
def test_commands_take_their_flags(page):
    for span in spans(page):
        for command, rest in COMMAND.findall(span):
            require(command, shlex.split(rest))


def every_command():
    folder = ROOT / "experiments"
    found = {path.stem for path in folder.glob("*.py")} - {
        "__init__",
        "__main__",
        "cli",
        "messages",
    }
    return found | {path.parent.name for path in folder.glob("*/__main__.py")}


def test_the_table_of_commands_has_all_of_them_with_their_flags():
    table = text(README).partition("## Commands")[2].partition("##")[0]
    commands = [code.split() for row in ROW.findall(table)[1:] for code in CODE.findall(row)]
    for command, *arguments in commands:
        require(command, arguments)
    assert {command for command, *_ in commands} == every_command()


@functools.cache
def known_keys():
    """All keys of a config, and the groups that they are in."""
    found = set(workdirs.flat(assessment.get_config().to_dict()))
    for kind in sets.SETS.values():
        found |= {key for key, *_ in settings.flat_fields(Settings(data=kind()))}
    found = {f"config.{key}" for key in found}
    return found | {key.rpartition(".")[0] for key in found}


@each_page
def test_keys_and_flags_in_sentences_exist(page):
    commands = every_command() - set(CONFIGURED)
    known = known_keys().union(*map(flags_of, commands), *map(shared_flags, CONFIGURED))
    for span in spans(page):
        for key in re.findall(r"(?<![\w/-])config(?:\.[a-z_]+)+(?![\w(])", span):
            assert key in {"config.json", *known_keys()}, key
        for name in re.findall(r"(?<!\S)--([\w.]+)", span) if span[:2] == "--" else ():
            assert name in {"config.KEY", *known}, name


@each_page
def test_modules_and_files_exist(page):
    for span in spans(page):
        for path in re.findall(r"(?<![\w./])(?:sast_jax|experiments|tests)/[\w./]*\w", span):
            assert "NAME" in path or (ROOT / path).exists(), path
        for name in re.findall(r"(?<![\w./])sast_jax(?:\.[A-Za-z_]\w*)+", span):
            pkgutil.resolve_name(name)


def test_messages_that_a_page_explains_are_those_of_the_code():
    literals = set()
    for file in [*(ROOT / "sast_jax").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                literals.add(node.value)
            elif isinstance(node, ast.JoinedStr):  # a field stands for anything
                parts = (
                    part.value if isinstance(part, ast.Constant) else "..." for part in node.values
                )
                literals.add("".join(map(str, parts)))
    said = "\n".join(literals)
    tables = text(ROOT / "docs" / "troubleshooting.md").partition("## Workdirs")[2]
    for row in ROW.findall(tables):
        for message in CODE.findall(row):
            for part in filter(lambda part: len(part) > 3, message.split("...")):
                assert part.strip() in said, message


def test_the_page_of_settings_is_that_of_the_fields():
    assert text(ROOT / "docs" / "settings.md") == keys.page()


def test_the_wings_are_those_of_the_contract():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    table = text(ROOT / "docs" / "development.md").partition("| wing ")[2].partition("\n\n")[0]
    named = itertools.chain(*map(CODE.findall, ROW.findall(table)))
    found = [name.removesuffix(".py").replace("/", ".") for name in named]
    assert found == [name for layer in layers for name in layer.split(" | ")]


@pytest.fixture(scope="module")
def small_run(tmp_path_factory, no_pages):
    """The workdir of a run that is measured in every way, but for devices."""
    folder = tmp_path_factory.mktemp("docs")
    nmnist_files.dataset(folder / "data")
    given = {"rho": 0.0, "epochs": 1, "batch_size": 10, "workdir": str(folder / "run")}
    given |= {"network.hidden": (), "hardware.weight_bits": (4,), "hardware.draws": 0}
    given |= {"hardware.calibration": 10, "corruptions.kinds": "polarity"}
    given |= {"data.path": str(folder / "data"), "data.test_limit": 10, "data.validation": 0.25}
    given |= {"data.time_bins": 2, "data.shift": 0, "data.rotation": 0.0, "data.zoom": 0.0}
    run.run(Settings().changed(given))
    return folder / "run"


def keys_of(nest):
    if isinstance(nest, list):
        return set().union(*map(keys_of, nest))
    if not isinstance(nest, dict):
        return set()
    return set(nest).union(*(keys_of(value) for key, value in nest.items() if key != "config"))


def is_explained(key, names):
    """Whether a key is among names, or is one of them with affixes."""
    before = [key.removeprefix(a) for a in AFFIXES if a[0] != "_" and key.startswith(a)]
    behind = [key.removesuffix(a) for a in AFFIXES if a[0] == "_" and key.endswith(a)]
    return key in names or any(is_explained(rest, names) for rest in before + behind)


def test_every_key_of_the_results_is_explained(small_run):
    page = text(ROOT / "docs" / "results-json.md")
    log = (small_run / "metrics.jsonl").read_text().splitlines()
    found = keys_of(json.loads((small_run / "results.json").read_text()))
    found |= keys_of([json.loads(line) for line in log])
    explained = {name for row in ROW.findall(page) for name in CODE.findall(row)}
    assert set(AFFIXES) <= explained
    assert {key for key in found if not is_explained(key, explained)} == set()
    absent = {name for name in explained if not any(name in key for key in found)}
    assert absent == {"error", "unsupported"}  # where there is no integer network
