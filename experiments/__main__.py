"""Runs a command of this package by its name, from anywhere: ``sast-jax nmnist --config.rho=0.4``.

The same as ``python -m experiments.nmnist --config.rho=0.4``, also beside a project that has a
package ``experiments`` of its own.
"""

import ast
import pathlib
import runpy
import sys

_FOLDER = pathlib.Path(__file__).parent
_NO_COMMANDS = ("__init__", "__main__", "cli", "messages")


def commands() -> dict[str, str]:
    """The commands, each with the first line of what it says of itself."""
    files = {path.stem: path for path in _FOLDER.glob("*.py") if path.stem not in _NO_COMMANDS}
    files |= {path.parent.name: path for path in _FOLDER.glob("*/__main__.py")}
    trees = {name: ast.parse(files[name].read_text()) for name in sorted(files)}
    return {
        name: (ast.get_docstring(tree) or "").partition("\n")[0] for name, tree in trees.items()
    }


def main() -> None:
    """Runs the command that the first argument names."""
    known = commands()
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in known:
        sys.argv[:2] = [f"{sys.argv[0]} {name}"]
        runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
        return
    if name in ("", "-h", "--help", "help"):
        lines = "\n".join(f"  {command:14} {about}" for command, about in known.items())
        from experiments import cli  # here, as it loads JAX, which a wrong name does without

        cli.show(f"usage: sast-jax COMMAND [flags]\n\n{lines}")
        return
    print(f"error: {name!r} is no command; choose from {', '.join(known)}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
