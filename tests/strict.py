"""Numbers that change their type or rank unasked are errors, as are deprecated calls."""

import functools
import pathlib
import tomllib
import warnings

import jax
import optax
from _pytest.config import parse_warning_filter

ROOT = pathlib.Path(__file__).parents[1]


def numerics() -> None:
    """Lets JAX refuse promotions of dtypes and ranks, but for Optax's own."""
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    _let_optax_promote()


def deprecations() -> None:
    """Makes deprecated calls errors in a command, with the exceptions of the tests.

    Other warnings are what a command tells its user.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for kind in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
        warnings.simplefilter("error", kind)
    for line in project["tool"]["pytest"]["ini_options"]["filterwarnings"]:
        if line.startswith("ignore") and "pytest." not in line:
            warnings.filterwarnings(*parse_warning_filter(line, escape=False))


def _let_optax_promote():
    """Optax's own sums of counts (int32), rates and gradients of another precision stay."""

    def promoting(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            with jax.numpy_dtype_promotion("standard"):
                return function(*args, **kwargs)

        return call

    for place, name in (
        (optax.tree, "bias_correction"),
        (optax.tree, "update_moment"),
        (optax.MultiSteps, "update"),
        (optax, "apply_updates"),
    ):
        setattr(place, name, promoting(getattr(place, name)))
    transform = optax._src.transform
    by_schedule = transform.scale_by_schedule
    transform.scale_by_schedule = lambda schedule: by_schedule(promoting(schedule))
