"""Reads an integer network from a folder as the folder's README says, and from nothing else."""

import json
import pathlib
import re

import numpy as np


def clip(x, low, high):
    return np.minimum(np.maximum(x, low), high)


class Reader:
    """A network read from a folder as its README says, and nothing of this project."""

    def __init__(self, folder: pathlib.Path):
        self.about = json.loads((folder / "network.json").read_text())
        text = (folder / "README.md").read_text()
        block = re.search(r"```\n(at each step.*?)```", text, re.S)[1].replace("[o]", "")
        patterns = {
            "left": r"if p >= 0: +current = (.*)",
            "right": r"else: +current = (.*)",
            "reset": r"if v > thresholds: +v = (.*)",
            "next": r"\n    v = (.*)",
            "fires": r"the neuron fires if (.*)",
            "place": r"p += (.*)",
        }
        self.says = {name: re.search(p, block)[1] for name, p in patterns.items()}
        self.widths = dict(re.findall(r"`layerN_(\w+)\.mem` \| (\d+) \|", text))
        self.layers = [
            {name: self.words(folder, n, name) for name in self.widths}
            for n in range(1, len(self.about["layers"]) + 1)
        ]
        with np.load(folder / "network.npz") as arrays:
            self.scales = arrays[f"layer{len(self.layers)}_scales"].astype(float)
        for own, layer in zip(self.about["layers"], self.layers, strict=True):
            kernel, outputs = own["kernel"], len(layer["biases"])
            inside = (*kernel, own["input_shape"][-1]) if kernel else (-1,)
            layer["weights"] = layer["weights"].reshape(*inside, outputs)

    def words(self, folder, number, name):
        bits = int(self.widths[name])
        lines = (folder / f"layer{number}_{name}.mem").read_text().split()
        values = np.array([int(line, 16) for line in lines], np.int64)
        return np.where(values >= 1 << (bits - 1), values - (1 << bits), values)

    def sums(self, own, layer, spikes):
        if not own["kernel"]:
            return layer["weights"].T @ spikes.reshape(-1) + layer["biases"]
        (rows, columns, _), (top, left) = own["output_shape"], own["border"]
        (down, right) = own["stride"]
        found = np.zeros(own["output_shape"], np.int64) + layer["biases"]
        for r, c, i, j in np.ndindex(rows, columns, *own["kernel"]):
            y, x = down * r + i - top, right * c + j - left
            if 0 <= y < spikes.shape[0] and 0 <= x < spikes.shape[1]:
                found[r, c] += spikes[y, x] @ layer["weights"][i, j]
        return found

    def scores(self, last):
        sums, _, spikes = last
        if self.about["answer"] == "most spikes":
            return spikes.sum(axis=0)
        return sums.sum(axis=0) * self.scales

    def run(self, frames):
        """Sums, potentials and spikes of each layer after each step of one recording."""
        v_L = [np.zeros(own["output_shape"], np.int64) for own in self.about["layers"]]
        steps = []
        for spikes in frames.astype(np.int64):
            step = []
            for number, (own, layer) in enumerate(
                zip(self.about["layers"], self.layers, strict=True)
            ):
                sums = self.sums(own, layer, spikes)
                p = eval(self.says["place"], dict(layer))
                own_numbers = {"clip": clip, "sum": sums, **layer}
                left = eval(self.says["left"], own_numbers | {"p": np.maximum(p, 0)})
                right = eval(self.says["right"], own_numbers | {"p": np.minimum(p, -1)})
                own_numbers["current"] = np.where(p >= 0, left, right)
                v = v_L[number]
                fired = eval(self.says["fires"], own_numbers | {"v": v})
                v = np.where(fired, eval(self.says["reset"], own_numbers | {"v": v}), v)
                v = eval(self.says["next"], own_numbers | {"v": v})
                spikes = np.asarray(eval(self.says["fires"], own_numbers | {"v": v}), np.int64)
                v_L[number] = v
                step.append((sums, v, spikes))
            steps.append(step)
        return [
            [np.stack(x) for x in zip(*layer, strict=True)] for layer in zip(*steps, strict=True)
        ]
