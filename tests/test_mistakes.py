"""Each mistake of a user ends in one line that names it, and docs/mistakes.md lists them all.

``SAST_WRITE_DOCS=1 pytest tests/test_mistakes.py`` writes the page again.
"""

import os
import pathlib

import mistakes
import nmnist_files
import pytest
from commands import ROOT, command

PAGE = ROOT / "docs" / "mistakes.md"
INTRO = """\
# What can go wrong, and what is said

Every mistake ends in one line and exit code 2, before anything is overwritten. These are tried by
the tests, which write this page. `FOLDER` stands for a folder of yours; more on each in
[troubleshooting.md](troubleshooting.md).
"""


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """For each title the commands, what they print, and their exit code."""
    folder = tmp_path_factory.mktemp("mistakes")
    nmnist_files.dataset(folder / "own")
    quick = [argument.replace("{}/data", str(folder / "own")) for argument in mistakes.QUICK]
    code, _, err = command("nmnist", *quick, f"--config.workdir={folder / 'trained'}")
    assert code == 0, err
    mistakes.prepare(folder, folder / "trained")
    found = {}
    for title, rows in mistakes.MISTAKES.items():
        found[title] = []
        for module, *arguments in rows:
            typed = [argument.replace("{}", str(folder)) for argument in arguments]
            code, _, err = command(module, *typed)
            quick_ones = set(mistakes.QUICK)
            shown = [a.replace("{}", "FOLDER") for a in arguments if a not in quick_ones]
            said = err.replace(str(folder), "FOLDER").replace(f"{ROOT}/", "")
            found[title].append((" ".join([module, *shown]), said, code))
    return found


def page(lines) -> str:
    parts = [INTRO]
    for title, rows in lines.items():
        parts.append(f"## {title}\n")
        table = ["| `python -m experiments.` ... | what is printed |", "|---|---|"]
        for typed, said, _ in rows:
            escaped = said.strip().replace("|", "\\|")
            table.append(f"| `{typed}` | `` {escaped} `` |")
        parts.append("\n".join(table) + "\n")
    return "\n".join(parts)


def test_every_mistake_is_one_line_and_exit_code_2(lines):
    rows = [row for own in lines.values() for row in own]
    assert len(rows) >= 60
    for typed, said, code in rows:
        assert code == 2, f"{typed}: {said}"
        errors = [line for line in said.splitlines() if not line.startswith("warning: ")]
        assert len(errors) == 1 and errors[0].startswith("error: "), f"{typed}: {said}"
        assert "Traceback" not in said


def test_the_page_is_what_is_printed(lines):
    if os.environ.get("SAST_WRITE_DOCS"):
        pathlib.Path(PAGE).write_text(page(lines))
    assert PAGE.read_text() == page(lines)
