"""Which test recordings each network of a run answers right: ``answers.npz`` in its workdir.

Comparisons over recordings, such as McNemar's test or a bootstrap, need these and not the means.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from sast_jax import files
from sast_jax.data import packing
from sast_jax.errors import InputError
from sast_jax.hardware.bench import Bench

NAME, MOST = "answers.npz", 10**6  # runs


def write(
    workdir: pathlib.Path,
    benches_R: Sequence[Bench | None],
    frames: packing.Frames,
    name: str = NAME,
) -> None:
    """Keeps what the benches of R runs remember of the test split, after all else was tried.

    The file holds ``truth`` (class of each recording, M), ``runs`` (R), and for run r, each
    condition and each kind of network an array (M,) with a name such as ``"0 INT4 integer"``: 1 for
    a right answer, 0 for a wrong one, and of several devices the share that is right.
    """
    arrays = {"truth": frames.truth_M, "runs": np.array(len(benches_R))}
    for r, bench in enumerate(benches_R):
        if bench is not None:
            bench.as_trained(frames)
            arrays |= {f"{r} {name}": right_M for name, right_M in bench.right.items()}
    files.write_arrays(workdir / name, arrays)


def read(workdir: pathlib.Path, name: str = NAME) -> list[dict[str, np.ndarray]]:
    """What :func:`write` kept: for each run an array for each condition and kind of network.

    Raises:
      InputError: there is no such file, or it is damaged.
    """
    arrays = files.read_arrays(workdir / name)
    try:
        count = min(int(arrays.pop("runs")), MOST)
        runs: list[dict[str, np.ndarray]] = [{} for _ in range(count)]
        del arrays["truth"]
        for key, right in arrays.items():
            number, _, condition = key.partition(" ")
            runs[int(number)][condition] = right
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{workdir / name}: damaged (not the answers of runs)") from error
    return runs
