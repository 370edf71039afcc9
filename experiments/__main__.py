"""Runs a command of this package by its name, from anywhere: ``sast-jax nmnist --config.rho=0.4``.

The same as ``python -m experiments.nmnist --config.rho=0.4``, also beside a project that has a
package ``experiments`` of its own.
"""

import importlib
import pathlib
import pkgutil
import runpy
import sys

PACKAGE = __package__ or "experiments"
_NO_COMMANDS = ("cli", "configs", "__main__")


def commands() -> dict[str, str]:
    """The commands, each with the first line of what it says of itself."""
    found = {}
    for _, name, _ in pkgutil.iter_modules([str(pathlib.Path(__file__).parent)]):
        if name not in _NO_COMMANDS:
            spec = importlib.util.find_spec(f"{PACKAGE}.{name}")
            text = pathlib.Path(spec.origin).read_text()
            found[name] = text.lstrip('"').partition("\n")[0]
    return found


def main() -> None:
    """Runs the command that the first argument names."""
    known = commands()
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in known:
        sys.argv[:2] = [f"{sys.argv[0]} {name}"]
        runpy.run_module(f"{PACKAGE}.{name}", run_name="__main__", alter_sys=True)
        return
    lines = "\n".join(f"  {command:14} {about}" for command, about in known.items())
    if name in ("", "-h", "--help", "help"):
        print(f"usage: sast-jax COMMAND [flags]\n\n{lines}")
        return
    print(f"error: {name!r} is no command; choose from {', '.join(known)}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
