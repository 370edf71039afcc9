"""The commands. They need an extra of the installation, and end in one line without it."""

import importlib.util
import sys

_PACKAGES = ("absl", "matplotlib", "mlxtend", "nir")  # one of each extra
if any(importlib.util.find_spec(name) is None for name in _PACKAGES):
    print(
        "error: commands need packages that are missing here: pip install 'sast_jax[all]'",
        file=sys.stderr,
    )
    sys.exit(2)
