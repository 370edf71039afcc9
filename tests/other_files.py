"""Readers of all files that hold no events, and whole files for them.

Each entry of ``READERS`` takes a folder to write in, and gives the name of the file, its content in
some forms, and a function that reads it and returns what is wrong with what it found, or nothing.
"""

import io
import json

import gesture_writing
import h5py
import nmnist_files
import numpy as np
import small

from sast_jax import files
from sast_jax.data import cache, sets
from sast_jax.data.layouts import choosing
from sast_jax.data.layouts.gathered import Gathered, Item
from sast_jax.hardware.graphs.network import Graph
from sast_jax.runs import answers, workdirs
from sast_jax.runs.study import kept_rows

MADE = small.frames()


def _set(name, file, folder):
    """A data set whose training file is damaged; its other files are whole."""

    def read(path):
        own = sets.SETS[name](source="folder", path=str(path.parent))
        source = own.load(("train",))
        if len(source.train.labels_N) == 0:
            return "a set without recordings"

    return f"{name}/{file}", [(folder / file).read_bytes()], read


def digits(folder):
    nmnist_files.dataset(folder, per_class=1, splits=("train",))
    return _set("nmnist", "train.zip", folder)


def gestures(folder):
    rng = np.random.default_rng(0)
    named = {
        f"ibmGestureTrain/user{user:02d}_led/{label}.npy": gesture_writing.npy(
            gesture_writing.learnable(rng, label)
        )
        for user in (1, 2)
        for label in range(11)
    }
    gesture_writing.write_archive(folder / "ibmGestureTrain.tar.gz", named, compresslevel=1)
    return _set("dvs_gesture", "ibmGestureTrain.tar.gz", folder)


def json_file(name, content, read):
    return lambda folder: (name, [json.dumps(content).encode()], read)


def kept_frames(folder):
    key = {"a": 1}
    cache.frames(folder, key, lambda: MADE)
    (file,) = folder.glob("*.npz")

    def read(path):
        found = cache.frames(path.parent, key, lambda: MADE)
        same = all(np.array_equal(a, b) for a, b in zip(found, MADE, strict=True) if a is not None)
        if not same:
            return "other frames than were kept"

    return f"cache/{file.name}", [file.read_bytes()], read


def right_answers(folder):
    made = io.BytesIO()
    np.savez_compressed(made, runs=np.int64(1), truth=np.arange(9), **{"0 a hard": np.ones(9)})

    def read(path):
        if len(answers.read(path.parent)) > 10**6:
            return "a million runs"

    return f"answers/{answers.NAME}", [made.getvalue()], read


def nir(folder):
    import nir as nir_library

    weights = np.ones((3, 4), np.float32)
    graph = nir_library.NIRGraph.from_list(
        nir_library.Affine(weights, np.zeros(3, np.float32)),
        nir_library.LIF(*(np.full(3, value, np.float32) for value in (1e-2, 1.0, 0.0, 1.0, 0.0))),
    )
    folder.mkdir(parents=True, exist_ok=True)
    nir_library.write(str(folder / "net.nir"), graph)
    return "net.nir", [(folder / "net.nir").read_bytes()], lambda path: _unit(Graph.read(path))


def recorded_gestures(kind):
    """A file of IBM's recordings, which are cut into gestures by a table and chosen by a list."""

    def make(folder):
        rng = np.random.default_rng(0)
        rows = [gesture_writing.learnable(rng, label) for label in range(11)]
        for n, own in enumerate(rows):
            own[:, 3] = 1000 * (own[:, 3] + 500 * n)  # microseconds
        cuts = "".join(f"{n + 1},{500_000 * n},{500_000 * (n + 1)}\n" for n in range(11))
        whole = {
            "user01_led.aedat": gesture_writing.aedat(np.concatenate(rows)),
            "user01_led_labels.csv": (gesture_writing.CSV + cuts).encode(),
            "trials_to_train.txt": b"user01_led.aedat\n",
        }
        (damaged,) = [name for name in whole if name.endswith(kind)]

        def read(path):
            for name, content in whole.items():
                if name != damaged and not (path.parent / name).exists():
                    gesture_writing.write(path.parent, {name: content})
            own = sets.GestureData(source="folder", path=str(path.parent))
            if not len(own.load(("train",)).train.labels_N):
                return "a set without recordings"

        return f"{kind}/{damaged}", [whole[damaged]], read

    return make


def chosen(folder):
    """A list of the recordings to test on."""
    items = tuple(Item(f"a/{i}.npy", f"a/{i}.npy", "", "a") for i in range(9))
    found = Gathered(items, ({},) * 9, ("a",), (), None, "", ())
    names = "\r\n".join(item.name for item in items).encode()
    return "list.txt", [names], lambda path: _unit(choosing.listed(path, found))


def spoken(folder):
    rng = np.random.default_rng(0)
    (folder / "shd").mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        with h5py.File(folder / "shd" / f"shd_{split}.h5", "w") as file:
            kinds = {"times": np.float32, "units": np.uint16}
            rows = {key: file.create_dataset(f"spikes/{key}", 12, h5py.vlen_dtype(kind))
                    for key, kind in kinds.items()}  # fmt: skip
            for i in range(12):
                rows["times"][i] = np.sort(rng.random(30)).astype(np.float32)
                rows["units"][i] = rng.integers(0, 700, 30).astype(np.uint16)
            file["labels"] = np.arange(12) % 20

    def read(path):
        if not len(sets.ShdData(source="folder", path=str(path.parent)).load().train.labels_N):
            return "a set without recordings"

    return "shd/shd_train.h5", [(folder / "shd" / "shd_train.h5").read_bytes()], read


def kept_list(folder):
    key, kept = {"a": 1}, [["name", 12, 1.5]]
    cache.listing(folder, key, lambda: kept)
    (file,) = folder.glob("*.json")

    def read(path):
        if cache.listing(path.parent, key, lambda: kept) != kept:
            return "another list than was kept"

    return f"list/{file.name}", [file.read_bytes()], read


def log(folder):
    lines = "".join(json.dumps({"epoch": epoch, "run": 0}) + "\n" for epoch in range(1, 9))
    return (
        "run/metrics.jsonl",
        [lines.encode()],
        lambda path: _unit(workdirs.trim_metrics(path.parent, 6)),
    )


NUMBERS = list(range(10**6, 10**6 + 60))
DONE = {"config": {"rho": 0.1}, "runs": [{"seed": NUMBERS}], "summary": [{"n": NUMBERS}]}
EXACT = ("IBM list", "list of tests")  # of names, of which every byte counts
MENDED = ("cache", "list")  # which is made again where it is damaged
READERS = {
    "digits.zip": digits,
    "gestures.tar.gz": gestures,
    "cache": kept_frames,
    "answers": right_answers,
    "results.json": json_file(
        "run/results.json", DONE, lambda path: _unit(workdirs.finished(path.parent))
    ),
    "config.json": json_file(
        "run/config.json", {"a": NUMBERS}, lambda path: _unit(files.read_json(path, dict))
    ),
    "rows.json": json_file(
        "rows.json",
        {"plain": {"about": {"a": NUMBERS}, "row": {}}},
        lambda path: _unit(kept_rows.kept(path)),
    ),
    "IBM recording": recorded_gestures("aedat"),
    "IBM table": recorded_gestures("csv"),
    "IBM list": recorded_gestures("train.txt"),
    "list of tests": chosen,
    "NIR": nir,
    "SHD": spoken,
    "list": kept_list,
    "metrics.jsonl": log,
}


def _unit(_):
    """Whatever JSON holds is nothing wrong."""
