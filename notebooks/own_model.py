"""Trains the small network of notebook 6 in PyTorch and writes what the notebook brings along: data/own-model/.

    "$(scripts/peers)" notebooks/own_model.py

* `images.npy` [800, 1, 8, 8] uint8, `labels.npy` [800]: digits, 0 to 16 as in data/digits.csv.gz; the first 600 are trained on, and every
  fifteenth of these has a wrong label, marked in `wrong.npy` [600];
* `weights.pt`: the state dict; `net.pt`: the same network as TorchScript;
* `outputs.npy` [200, 10] and `layers.safetensors`: what network and layers give for the last 200 images, and for the first 2 of these.

Version: torch 2.13.0. Training on another processor may change the last digits: commit all files of one run together.
"""

import csv
import gzip
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "data" / "own-model"
TRAIN, ALL = 600, 800


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )
        self.head = nn.Linear(128, 10)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


def main():
    warnings.simplefilter("ignore")  # torch.jit is deprecated in Python; its files are not
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    with gzip.open(ROOT / "data" / "digits.csv.gz", "rt") as file:
        rows = np.array([[float(value) for value in row] for row in csv.reader(file)])
    rows = rows[random.permutation(len(rows))[:ALL]]
    images, labels = rows[:, :-1].astype(np.uint8).reshape(-1, 1, 8, 8), rows[:, -1].astype(np.int64)
    wrong = np.arange(TRAIN) % 15 == 7
    labels[:TRAIN][wrong] = (labels[:TRAIN][wrong] + random.integers(1, 10, wrong.sum())) % 10

    x, y = (torch.from_numpy(images).float() / 16 - 0.3) / 0.37, torch.from_numpy(labels)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(20):
        for batch in torch.randperm(TRAIN).split(50):
            optimizer.zero_grad()
            F.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        outputs = net(x[TRAIN:])
    print(f"accuracy {(outputs.argmax(1) == y[TRAIN:]).float().mean():.3f}")

    FOLDER.mkdir(exist_ok=True)
    np.save(FOLDER / "images.npy", images)
    np.save(FOLDER / "labels.npy", labels)
    np.save(FOLDER / "wrong.npy", wrong)
    np.save(FOLDER / "outputs.npy", outputs.numpy())
    torch.save(net.state_dict(), FOLDER / "weights.pt")
    torch.jit.script(net).save(FOLDER / "net.pt")

    stored = {}
    for name, module in net.named_modules():
        if not list(module.children()):  # a layer
            module.register_forward_hook(lambda module, x, y, name=name: stored.update({name: y.contiguous()}))
    with torch.no_grad():
        net(x[TRAIN:TRAIN + 2])
    save_file(stored, FOLDER / "layers.safetensors")


if __name__ == "__main__":
    main()
