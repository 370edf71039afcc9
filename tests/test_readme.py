"""The Python of the README and of the SAM page runs as it stands there."""

import pathlib
import re

import jax
import numpy as np

from sast_jax.runs import settings

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RESULTS = (ROOT / "experiments" / "RESULTS.md").read_text()


def blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


BLOCKS = blocks(README)


def run(block):
    names = {}
    exec(block, names)
    return names


def test_the_config_file_is_sound():
    (block,) = [block for block in BLOCKS if "def get_config" in block]
    config = run(block)["get_config"]()
    settings.read(config)
    assert config.network.hidden == (512,)


def test_the_sam_snippet_takes_a_step():
    (block,) = [block for block in BLOCKS if "optax.chain" in block]
    names = run(block)
    assert (names["params"] < 4.0).all()
    assert (names["updates"] < 0).all()


def test_the_sam_page_runs_from_top_to_bottom():
    names = run("".join(blocks((ROOT / "sast_jax" / "sharpness" / "sam.md").read_text())))
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


def test_configs_and_commands_exist():
    text = README + RESULTS
    named = re.findall(r"experiments/[\w/]+\.(?:py|png|md)", text)
    named += [f"{name.replace('.', '/')}.py" for name in re.findall(r"-m (experiments\.\w+)", text)]
    assert named
    for path in named:
        assert (ROOT / path).exists(), path
