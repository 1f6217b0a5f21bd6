"""Trains a few of dattri's MNIST models on random halves, one after the other as `dattri_retrain` does, and prints one JSON line:
{"seconds": per model, "models": how many, "peer": who}.

    "$(scripts/peers)" benches/peer_retrain.py mlp --mnist FOLDER --models 3

The training loops are dattri's own (`train_mnist_lr`: 20 epochs, batches of 32; `train_mnist_mlp`: 50 epochs, batches of 64, dropout
0.1), the loader is PyTorch's over tensors in memory, without worker processes. Threads: the faster of 1 and --threads, by one epoch of
each, since several threads slow down what is small.
"""

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import torch
from dattri.benchmark.datasets.mnist.mnist_lr import train_mnist_lr
from dattri.benchmark.datasets.mnist.mnist_mlp import train_mnist_mlp
from torch.utils.data import DataLoader, Subset

from peer import load_mnist

WORKS = {"logistic": (train_mnist_lr, 32), "mlp": (train_mnist_mlp, 64)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=WORKS)
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--n-train", type=int, default=5000)
    parser.add_argument("--models", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    train, batch = WORKS[args.name]
    data = load_mnist(args.mnist, "train", args.n_train)

    def model(seed, **options):
        half = torch.randperm(args.n_train, generator=torch.Generator().manual_seed(seed))[: args.n_train // 2].tolist()
        start = time.perf_counter()
        train(DataLoader(Subset(data, half), batch_size=batch, shuffle=True), seed=seed, **options)
        return time.perf_counter() - start

    def epoch(threads):
        torch.set_num_threads(threads)
        return min(model(0, epoch_num=1) for _ in range(3))

    threads = min((1, args.threads), key=epoch)
    torch.set_num_threads(threads)
    seconds = sum(model(seed) for seed in range(args.models)) / args.models
    peer = f"dattri {version('dattri')}, {threads} thread{'s' * (threads > 1)}"
    print(json.dumps({"seconds": round(seconds, 4), "models": args.models, "peer": peer}))


if __name__ == "__main__":
    main()
