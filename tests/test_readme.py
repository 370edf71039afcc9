"""The README's Python runs as it stands there."""

import pathlib
import re

from experiments import setup

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(block):
    names = {}
    exec(block, names)
    return names


def test_the_config_file_is_sound():
    (block,) = [block for block in BLOCKS if "def get_config" in block]
    config = run(block)["get_config"]()
    setup.check(config)
    assert config.network.hidden == (512,)


def test_the_sam_snippet_takes_a_step():
    (block,) = [block for block in BLOCKS if "optax.chain" in block]
    names = run(block)
    assert (names["params"] < 4.0).all()
    assert (names["updates"] < 0).all()


def test_configs_and_commands_exist():
    root = pathlib.Path(__file__).parents[1]
    named = re.findall(r"experiments/[\w/]+\.(?:py|png)", README)
    named += [
        f"{name.replace('.', '/')}.py" for name in re.findall(r"-m (experiments\.\w+)", README)
    ]
    assert named
    for path in named:
        assert (root / path).exists(), path
