"""Writes script/: TorchScript files, with outputs and per-example gradients by torch.func to compare this library with.

* `net.pt` — torch.jit.script of a convolution, batch norm, max-pool, a weight outside any layer, dropout and a linear layer;
  `traced.pt` — torch.jit.trace of the same; both in evaluation mode, running averages moved from 0 and 1.
* `net.safetensors` — `input` [5, 1, 6, 6], `target` [5], `output` [5, 3] and, per parameter, `grad.<name>` [5, ...]: the gradient of
  each example's log-likelihood, by torch.func.vmap(torch.func.grad) in float64.
* `frozen.pt` (torch.jit.freeze: no parameters), `pair.pt` (gives a pair), `mean.pt` (gives one row for the whole batch),
  `double.pt` (float64), `fixed.pt` (no parameter requires a gradient) — what must be refused.

Version: torch 2.13.0. Command, from the repository's root:

    "$(scripts/peers)" tests/golden/script.py
"""

import copy
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torch.func import functional_call, grad, vmap

FOLDER = Path(__file__).resolve().parent / "script"


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block()
        self.scale = nn.Parameter(torch.full((36,), 1.5))
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(36, 3)

    @torch.jit.export
    def running_mean(self):
        return self.block.norm.running_mean

    @torch.jit.export
    def running_var(self):
        return self.block.norm.running_var

    def forward(self, x):
        return self.fc(self.drop(self.block(x).flatten(1) * self.scale))


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(36, 3)

    def forward(self, x):
        y = self.fc(x.flatten(1))
        return y, y


class Mean(Pair):
    def forward(self, x):
        return self.fc(x.flatten(1)).mean(0, keepdim=True)


def main():
    warnings.simplefilter("ignore")  # torch.jit is deprecated in Python; its files are not
    torch.manual_seed(5)
    FOLDER.mkdir(exist_ok=True)
    net = Net()
    x, y = torch.randn(5, 1, 6, 6), torch.tensor([0, 2, 1, 1, 0])
    for _ in range(3):
        net.train()(torch.randn(16, 1, 6, 6) * 2 + 1)
    net.eval()
    torch.jit.script(net).save(FOLDER / "net.pt")
    torch.jit.trace(net, x).save(FOLDER / "traced.pt")
    torch.jit.freeze(torch.jit.script(net)).save(FOLDER / "frozen.pt")
    torch.jit.script(copy.deepcopy(net).double()).save(FOLDER / "double.pt")
    torch.jit.script(copy.deepcopy(net).requires_grad_(False)).save(FOLDER / "fixed.pt")
    torch.jit.script(Pair()).save(FOLDER / "pair.pt")
    torch.jit.script(Mean()).save(FOLDER / "mean.pt")

    exact = copy.deepcopy(net).double()
    parameters, buffers = dict(exact.named_parameters()), dict(exact.named_buffers())

    def value(parameters, x, y):
        return -F.cross_entropy(functional_call(exact, (parameters, buffers), (x[None],)), y[None])

    rows = vmap(grad(value), in_dims=(None, 0, 0))({k: p.detach() for k, p in parameters.items()}, x.double(), y)
    stored = {"input": x, "target": y, "output": exact(x.double()).detach().float()}
    stored |= {f"grad.{name}": row.float().contiguous() for name, row in rows.items()}
    save_file(stored, FOLDER / "net.safetensors")


if __name__ == "__main__":
    main()
