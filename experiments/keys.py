"""Lists every key of a run: default, values it takes, meaning. Its output is docs/settings.md.

python -m experiments.keys
"""

import ast
import dataclasses
import importlib
import importlib.util
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from experiments import cli
from sast_jax import fields
from sast_jax.data import sets
from sast_jax.runs import settings

_CONFIGS = pathlib.Path(__file__).parent / "configs"
_INTRO = """\
# Settings

A key is set as `--config.KEY=VALUE`, for example `--config.sam.method=momentum`. A tuple is written
with commas: `--config.hardware.weight_bits=8,4`, one value as `8,`, none as `'()'`. `--config=FILE`
stands before single keys; FILE is one of the configs below or a file of your own.

`python -m experiments.keys` prints this page from the fields that define the keys.
"""


def main() -> None:
    print(page(), end="")


def page() -> str:
    """The page, as Markdown."""
    keys = {name: of(name) for name in sets.SETS}
    shared = [key for key in next(iter(keys.values())) if not key.startswith("data.")]
    rows = [
        [key, *(own[key][1] for own in keys.values()), *_about(*next(iter(keys.values()))[key])]
        for key in shared
    ]
    parts = [_INTRO, "## Configs\n", _table(["config", "what"], _configs())]
    parts += ["## Keys\n", _table(["key", *keys, "values", "meaning"], rows)]
    for name, own in keys.items():
        rows = [[key, own[key][1], *_about(*own[key])] for key in own if key not in shared]
        parts += [f"## Data of {name}\n", _table(["key", "default", "values", "meaning"], rows)]
    return "\n".join(parts)


def of(name: str) -> dict[str, tuple[dataclasses.Field, Any]]:
    """The keys of a data set's runs, each with its field and its default."""
    module = f"experiments.configs.{name}"
    own = importlib.util.find_spec(module)  # a set without a command of its own has none
    config = importlib.import_module(module).get_config() if own else settings.config(name)
    found = settings.flat_fields(settings.read(config, name))
    return {key: (field, value) for key, field, value in found}


def _configs() -> list[tuple[str, str]]:
    """Each config, and the first line of what it says of itself."""
    files = sorted(path for path in _CONFIGS.glob("*.py") if path.stem != "__init__")
    texts = [ast.get_docstring(ast.parse(path.read_text())) or "" for path in files]
    names = [f"experiments/configs/{path.name}" for path in files]
    return [(name, text.split("\n")[0]) for name, text in zip(names, texts, strict=True)]


def _about(field: dataclasses.Field, value: Any) -> tuple[str, str]:
    """The valid values of a key, in the words of its check, and its meaning."""
    wanted = field.metadata["wanted"]
    told = wanted and wanted((math.nan,) if isinstance(value, tuple) else "?")
    text = f"each {told.wanted}" if isinstance(told, fields.Fault) else told or ""
    if type(value) is int:
        text = text.replace("a number", "a whole number")
    return text, field.metadata["about"]


def _table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table. The last two cells of a row are words, and the others are code."""
    lines = [headers, ["---"] * len(headers)]
    for name, *values in rows:
        cells = [str(v) if i >= len(values) - 2 else f"`{v!r}`" for i, v in enumerate(values)]
        lines.append([f"`{name}`", *(cell.replace("|", r"\|") for cell in cells)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    cli.run(main)
