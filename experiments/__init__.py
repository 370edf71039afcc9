"""The commands. They need three extras of the installation, and end in one line without them."""

import importlib.util
import sys

_EXTRAS = {"absl": "commands", "mlxtend": "data", "matplotlib": "reports"}
_MISSING = [extra for name, extra in _EXTRAS.items() if importlib.util.find_spec(name) is None]
if _MISSING:
    print(
        f"error: commands need packages that are missing here: pip install "
        f"'sast_jax[{','.join(_MISSING)}]'",
        file=sys.stderr,
    )
    sys.exit(2)
