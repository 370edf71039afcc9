"""Times functions in turns, in one process; only the ratios of these times mean something."""

import time
from collections.abc import Callable

import jax
import numpy as np
from tqdm import trange


def in_turns(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds (rounds,) of each function; each round calls all of them once."""
    for function in functions.values():
        jax.block_until_ready(function())
    seconds = {name: np.empty(rounds) for name in functions}
    for i in trange(rounds, desc="timing in turns", unit="turn"):
        # Every second round runs backwards, so that a machine that slows down favours nobody.
        for name, function in list(functions.items())[:: 1 if i % 2 == 0 else -1]:
            started = time.perf_counter()
            jax.block_until_ready(function())
            seconds[name][i] = time.perf_counter() - started
    return seconds


def against(seconds: np.ndarray, reference: np.ndarray) -> list[float]:
    """Quartiles of the ratios within the rounds."""
    return np.quantile(seconds / reference, (0.25, 0.5, 0.75)).tolist()
