"""Fetches the real recordings.

    python -m experiments.download --dataset=nmnist --path=data/nmnist

N-MNIST (1.2 GB, CC BY-SA 4.0) comes through tonic, which shows a progress bar, verifies checksums
and leaves a whole archive alone. Only the archives are needed: they are read in place, never
unpacked.
"""

import http.client
import os
import pathlib
import socket

import tonic.datasets
from absl import flags
from tonic import download_utils

from experiments import cli
from sast_jax.errors import InputError

_DATASET = flags.DEFINE_enum("dataset", "nmnist", ["nmnist"], "which recordings to fetch")
_PATH = flags.DEFINE_string("path", None, "folder to write to; data/<dataset> by default")

SILENCE = 60  # seconds without an answer before a host counts as gone


def main() -> None:
    folder = pathlib.Path(_PATH.value or f"data/{_DATASET.value}")
    socket.setdefaulttimeout(SILENCE)
    folder.mkdir(parents=True, exist_ok=True)
    nmnist = tonic.datasets.NMNIST
    for url, name, md5 in (
        (nmnist.train_url, nmnist.train_filename, nmnist.train_md5),
        (nmnist.test_url, nmnist.test_filename, nmnist.test_md5),
    ):
        fetch(url, folder, name, md5)
    print(f"{folder}: complete; 'python -m experiments.nmnist' reads it from there")


def fetch(url: str, folder: pathlib.Path, name: str, md5: str) -> None:
    """Downloads a file unless it is there and whole; what was cut off is fetched anew.

    The file gets its name only once its checksum is right, so that no run reads a part of it.

    Raises:
      InputError: the host does not answer, what came is not the file, or another file has its name.
    """
    whole, part = folder / name, folder / f"{name}.part"
    if download_utils.check_integrity(str(whole), md5):
        print(f"{whole}: already here")
        return
    if whole.exists():
        raise InputError(
            f"{whole}: is there but is not the published file (md5 {md5}); move it away, or name "
            "another --path"
        )
    try:
        download_utils.download_url(url, str(folder), filename=part.name, md5=md5)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise InputError(
            f"{whole}: could not be fetched from {url} ({error}); try again, or fetch it with a "
            f"browser, save it as {whole} (md5 {md5}) and start this command again"
        ) from error
    os.replace(part, whole)


if __name__ == "__main__":
    cli.run(main)
