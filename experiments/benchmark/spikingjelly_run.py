"""A whole run with SpikingJelly and tonic, as a user of these would write it, for comparison.

    python -m experiments.benchmark.spikingjelly_run FOLDER RESULT.json

reads train.zip and test.zip of FOLDER, in N-MNIST's layout, keeps their frames in memory, trains
the network of :mod:`experiments.benchmark.yardstick` and evaluates it.
"""

import itertools
import json
import pathlib
import sys
import tempfile
import time
import zipfile

import numpy as np

TIME_BINS, EPOCHS, SIZE = 20, 8, 64


def frames(archive: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Binary frames (N, T, I) of an archive's recordings, and their labels."""
    import tonic

    size = tonic.datasets.NMNIST.sensor_size
    to_frames = tonic.transforms.ToFrame(sensor_size=size, n_time_bins=TIME_BINS)
    found, labels = [], []
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(scratch)
        for file in sorted(pathlib.Path(scratch).rglob("*.bin")):
            events = tonic.io.read_mnist_file(str(file), dtype=tonic.datasets.NMNIST.dtype)
            found.append(to_frames(events).reshape(TIME_BINS, -1) > 0)
            labels.append(int(file.parent.name))
    return np.stack(found), np.array(labels)


def main(folder: str, result: str) -> None:
    import torch
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    train, labels = frames(pathlib.Path(folder, "train.zip"))
    test, truth = frames(pathlib.Path(folder, "test.zip"))
    torch.manual_seed(0)
    parts, sizes = [], (train.shape[-1], 256, 256, 10)
    for inputs, outputs in itertools.pairwise(sizes):
        parts.append(layer.Linear(inputs, outputs, step_mode="m"))
        spike = surrogate.Sigmoid(4.0)
        lif = neuron.LIFNode(10.0, decay_input=False, surrogate_function=spike, step_mode="m")
        parts.append(lif)
    network = torch.nn.Sequential(*parts)
    adam = torch.optim.Adam(network.parameters(), 1e-3)

    def scores(some):
        functional.reset_net(network)
        inputs = torch.from_numpy(some).transpose(0, 1).float()
        return 10 * network(inputs).mean(0)

    rng, started = np.random.default_rng(0), time.perf_counter()
    for _ in range(EPOCHS):
        order = rng.permutation(len(train))
        for batch in np.split(order, range(SIZE, len(order), SIZE)):
            adam.zero_grad()
            target = torch.from_numpy(labels[batch])
            torch.nn.functional.cross_entropy(scores(train[batch]), target).backward()
            adam.step()
    training = time.perf_counter() - started
    with torch.no_grad():
        starts = range(0, len(test), 256)
        answers = [scores(test[i : i + 256]).argmax(1).numpy() for i in starts]
    accuracy = float((np.concatenate(answers) == truth).mean())
    pathlib.Path(result).write_text(json.dumps({"training": training, "accuracy": accuracy}))


if __name__ == "__main__":
    main(*sys.argv[1:])
