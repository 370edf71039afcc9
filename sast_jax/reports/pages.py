"""A Markdown page with plots, and the same page as a single HTML file."""

import base64
import json
import mimetypes
import pathlib
import re

import markdown

from sast_jax import files

_STYLE = """
body { font-family: sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } th, td { padding: .2em .7em; text-align: right }
tr:nth-child(even) { background: #f4f4f4 } th { border-bottom: 2px solid #888 }
img { max-width: 100% } pre { background: #f4f4f4; padding: 1em; overflow-x: auto }
"""


def write_page(folder: pathlib.Path, name: str, title: str, text: str) -> None:
    """Writes ``<name>.md`` and ``<name>.html``, into which the images it names are copied.

    Args:
      folder: where; images are named from there.
      name: of the files.
      title: of the page.
      text: in Markdown, with tables and fenced code.
    """
    files.write(folder / f"{name}.md", text)
    html = markdown.markdown(text, extensions=["tables", "fenced_code"])
    html = re.sub(r'src="([^"]+)"', lambda m: f'src="{_inline(folder / m[1])}"', html)
    files.write(
        folder / f"{name}.html",
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>{html}</body></html>",
    )


def settings(config: dict, environment: dict) -> list[str]:
    """The last parts of a page: the settings, and the machine."""
    asked = f"```json\n{json.dumps(config, indent=2)}\n```"
    choice = "The papers publish no settings: those that the user did not set are our choice."
    return ["## Settings", choice, asked, f"Machine: {listed(environment)}."]


def listed(environment: dict) -> str:
    """Device, cores and versions in a line."""
    return ", ".join(f"{key} {value}" for key, value in environment.items())


def _inline(path: pathlib.Path) -> str:
    kind = mimetypes.guess_type(path.name)[0]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
