"""Sharpness-aware surrogate training of spiking networks, and what hard spikes cost it.

With the names of this package you can train on your own arrays, and measure what a threshold in
place of the smooth spike costs. ``__init__.pyi`` lists the names with their modules; these are
loaded when they are first used.
"""

import ast
import importlib
import pathlib
from typing import Any


def _modules() -> dict[str, str]:
    """The module of each public name, by the import statements of the stub beside this file."""
    stub = ast.parse(pathlib.Path(__file__).with_suffix(".pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module for node in imports for alias in node.names}


_MODULES = _modules()

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
