"""Fetches the real recordings.

    python -m experiments.download --dataset=nmnist --path=data/nmnist
    python -m experiments.download --dataset=dvs_gesture --path=data/dvs_gesture
    python -m experiments.download --dataset=shd --path=data/shd

N-MNIST: 1.2 GB, CC BY-SA 4.0. DVS Gesture: as tonic cuts it into gestures, CC BY 4.0. SHD: 0.2 GB,
CC BY 4.0. Only the archives are needed: they are read in place, never unpacked. A download that was
cut off continues where it was, and a file that was fetched by hand is used if its checksum is
right.
"""

import hashlib
import http.client
import os
import pathlib
import shlex
import socket
import urllib.error
import urllib.request

import tonic.datasets
from absl import flags
from tonic import download_utils
from tqdm import tqdm

from experiments import cli
from sast_jax import files
from sast_jax.errors import InputError
from sast_jax.runs import workdirs

SILENCE = 60  # seconds without an answer before a host counts as gone
_BLOCK = 2**20


class DVSGesture(tonic.datasets.DVSGesture):
    """Tonic's data set, at addresses that answer programs; names and checksums are tonic's."""

    train_url = "https://api.figshare.com/v2/file/download/38022171"
    test_url = "https://api.figshare.com/v2/file/download/38020584"


class SHD(tonic.datasets.SHD):
    """Tonic's data set, with names and addresses under the names that the others have."""

    train_filename, test_filename = tonic.datasets.SHD.train_zip, tonic.datasets.SHD.test_zip
    train_url = tonic.datasets.SHD.base_url + train_filename
    test_url = tonic.datasets.SHD.base_url + test_filename


SETS = {"nmnist": tonic.datasets.NMNIST, "dvs_gesture": DVSGesture, "shd": SHD}
_DATASET = flags.DEFINE_enum("dataset", "nmnist", list(SETS), "which recordings to fetch")
_PATH = flags.DEFINE_string("path", None, "folder to write to; data/<dataset> by default")


def main() -> None:
    usual = pathlib.Path("data", _DATASET.value)
    folder = files.place(_PATH.value or usual)
    socket.setdefaulttimeout(SILENCE)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = SETS[_DATASET.value]
    for url, name, md5 in (
        (chosen.train_url, chosen.train_filename, chosen.train_md5),
        (chosen.test_url, chosen.test_filename, chosen.test_md5),
    ):
        fetch(url, folder, name, md5)
    there = "" if folder == usual else f" --config.data.path={shlex.quote(str(folder))}"
    reads = f"python -m experiments.{_DATASET.value}{there}"
    print(f"{folder}: complete; '{reads}' reads it from there")


def fetch(url: str, folder: pathlib.Path, name: str, md5: str) -> None:
    """Downloads a file unless it is there and whole; what was cut off goes on where it was.

    The file gets its name only once its checksum is right, so that no run reads a part of it.

    Raises:
      InputError: the host does not answer, what came is not the file, another file has its name, or
        another process fetches into the folder.
      OSError: the disk is full.
    """
    whole, part, anew = (folder / f"{name}{end}" for end in ("", ".part", ".new"))
    if download_utils.check_integrity(str(whole), md5):
        print(f"{whole}: already here")
        return
    if whole.exists():
        raise InputError(
            f"{whole}: is there but is not the published file (md5 {md5}); move it away, or name "
            "another --path"
        )
    with workdirs.locked(folder, "this download", "--path"):
        try:
            came = _download(url, part, anew)
            with open(came, "rb") as file:
                found = hashlib.file_digest(file, "md5").hexdigest()
            if found != md5:
                came.unlink()  # nothing that could go on
                raise RuntimeError(f"what came has the checksum {found}")
            os.replace(came, whole)
            part.unlink(missing_ok=True)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and files.is_full(error):
                with files.naming(whole):
                    raise  # what came is kept, and goes on once there is room
            raise InputError(
                f"{whole}: could not be fetched from {url} ({error}); try again, or fetch it with "
                f"a browser, save it as {whole} (md5 {md5}) and start this command again"
            ) from error
        finally:
            anew.unlink(missing_ok=True)


def _download(url, part, anew) -> pathlib.Path:
    """Appends to a part what it lacks, or writes all of it ``anew`` where the host sends all of it.

    Returns:
      Which of the two holds what came. The part stays as it is unless the host goes on with it.
    """
    begin = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={begin}-"} if begin else {})
    try:
        answer = urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return part  # all of it is here already
        raise
    with answer:
        goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        begins = answer.headers.get("Content-Range") or ""
        right = begins.startswith(f"bytes {begin}-")
        if not (right if goes_on else answer.status == http.HTTPStatus.OK):
            raise OSError(f"byte {begin:,} was asked for; status {answer.status} came, {begins!r}")
        came = anew if begin and not goes_on else part
        left = int(answer.headers.get("Content-Length") or 0)
        begin = begin if goes_on else 0
        bar = tqdm(total=begin + left, initial=begin, desc=part.stem, unit="B", unit_scale=True)
        with bar, open(came, "ab" if goes_on else "wb") as file:
            while block := answer.read(_BLOCK):
                file.write(block)
                bar.update(len(block))
    if begin + left > came.stat().st_size:
        raise OSError(f"cut off after {came.stat().st_size:,} of {begin + left:,} bytes")
    return came


if __name__ == "__main__":
    cli.run(main)
