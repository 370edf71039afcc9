"""Trains a network in snnTorch on a folder with N-MNIST, and writes it as a NIR file.

    python docs/snntorch_nmnist.py FOLDER network.nir

Spikes are hard, with a smooth derivative. ``python -m experiments.bench`` tries the file.
"""

import argparse

import nir
import numpy as np
import snntorch
import torch
from snntorch import surrogate
from snntorch.export_nir import export_to_nir
from torch import nn

from sast_jax.data import packing, sets
from sast_jax.errors import InputError

SIZE, CLASSES = (2, 34, 34), 10  # channels, rows, columns


def frames_of(split) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames (recordings, steps, channels, rows, columns) of zeros and ones, and classes."""
    frames = np.asarray(packing.unpack(split.packed_NxTxP, split.frame_shape))
    frames = torch.from_numpy(frames.transpose(0, 1, 4, 2, 3).copy())
    return frames, torch.from_numpy(np.array(split.labels_N)).long()


def leaky(neurons: int, last: bool = False) -> snntorch.Leaky:
    """Neurons that NIR can say: they are reset to zero. Its arrays have a number a neuron."""
    return snntorch.Leaky(
        beta=torch.full((neurons,), 0.9),
        threshold=torch.ones(neurons),
        reset_mechanism="zero",
        spike_grad=surrogate.atan(),
        init_hidden=True,
        output=last,
    )


def spikes(network: nn.Sequential, frames: torch.Tensor) -> torch.Tensor:
    """The mean spikes of the outputs, (recordings, classes)."""
    for part in network:
        if isinstance(part, snntorch.Leaky):
            part.reset_mem()
    steps = [network(frame)[0] for frame in frames.float().transpose(0, 1)]
    return torch.stack(steps).mean(dim=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--hidden", type=int, default=128)
    given = parser.parse_args()
    torch.manual_seed(0)
    try:
        source = sets.load_nmnist("folder", given.folder, time_bins=6)
    except InputError as error:
        parser.error(str(error))
    frames, labels = frames_of(source.train)
    hidden = given.hidden
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(2 * 34 * 34, hidden), leaky(hidden),
        nn.Linear(hidden, CLASSES), leaky(CLASSES, last=True),
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for epoch in range(given.epochs):
        for batch in torch.randperm(len(labels)).split(32):
            loss = nn.functional.cross_entropy(10 * spikes(network, frames[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss:.3f}", flush=True)
    frames, labels = frames_of(source.test)
    with torch.no_grad():
        right = (spikes(network, frames).argmax(dim=1) == labels).float().mean()
    print(f"{100 * right:.2f} % of {len(labels)} test recordings")
    nir.write(given.out, export_to_nir(network, torch.zeros(1, *SIZE), ignore_dims=[0]))


if __name__ == "__main__":
    main()
