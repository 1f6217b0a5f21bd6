"""Writes files/dattri-retrained in this folder: what retrain_lds of dattri 0.3.0 leaves, for tests/estimators.rs.

Three subsets of half of 12 examples, two runs each, of Linear(4, 3); expected.npy has the logits' log-softmax at the label for four
test examples, [subsets, runs, test], and test.npy, labels.npy those examples.

Command, from the repository's root:

    "$(scripts/peers)" tests/golden/files_dattri.py
"""

import os
import shutil
from pathlib import Path

import numpy as np
import torch
from dattri.model_util.retrain import retrain_lds
from torch.utils.data import DataLoader, TensorDataset

folder = Path(__file__).parent / "files" / "dattri-retrained"
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
os.chdir(folder)
torch.manual_seed(0)
inputs, labels = torch.randn(12, 4), torch.arange(12) % 3
test, wanted = torch.randn(4, 4), torch.tensor([0, 1, 2, 1])


def train(loader, seed=None):
    torch.manual_seed(seed)
    model = torch.nn.Sequential()
    model.add_module("fc", torch.nn.Linear(4, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


retrain_lds(train, DataLoader(TensorDataset(inputs, labels), batch_size=4), ".", num_subsets=3, num_runs_per_subset=2, seed=5)
values = np.zeros((3, 2, 4), np.float32)
for i in range(3):
    for j in range(2):
        weights = torch.load(f"{i}/model_weights_{j}.pt")
        logits = test @ weights["fc.weight"].T + weights["fc.bias"]
        values[i, j] = logits.log_softmax(1)[range(4), wanted]
np.save("expected.npy", values)
np.save("test.npy", test.numpy())
np.save("labels.npy", wanted.numpy())
