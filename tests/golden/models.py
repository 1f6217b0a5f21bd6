"""Writes models.safetensors: outputs and gradient lengths of the library's architectures, built here in plain torch.nn.

Weights, inputs and targets follow a closed formula that tests/models.rs knows too, so that no weights need be stored:
number j of the i-th tensor (names sorted) is made of u = frac(43758.5453 sin(12.9898 j + 78.233 (i + 1))), in (-1, 1).

For each architecture: `<name>.output`, and `<name>.norms` [n, P], the Euclidean length of the gradient of each example's
log-likelihood (summed over positions, targets of -100 left out) in each parameter, names sorted. Computed in float64,
one backward pass per example; stored as float32.

Version: torch 2.13.0. Command, from the repository's root:

    "$(scripts/peers)" tests/golden/models.py
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn


def noise(shape, i):
    j = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.frac(torch.sin(j * 12.9898 + 78.233 * (i + 1)) * 43758.5453).view(shape)


def fill(model):
    tensors = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    for i, name in enumerate(sorted(tensors)):
        tensor = tensors[name]
        u = noise(tensor.shape, i)
        if tensor.dim() > 1:
            value = u * 1.7 / (tensor.numel() / tensor.shape[0]) ** 0.5
        elif name.endswith("weight"):
            value = 1 + 0.2 * u
        elif name.endswith("running_var"):
            value = 1 + 0.5 * u
        else:
            value = 0.1 * u
        tensor.copy_(value.float())


class GeluCnn(nn.Module):
    def __init__(self, channels, convolutions, features, hidden):
        super().__init__()
        for i, (outputs, kernel, padding) in enumerate(convolutions, 1):
            setattr(self, f"conv{i}", nn.Conv2d(channels, outputs, kernel, padding=padding))
            channels = outputs
        self.fc1 = nn.Linear(features, hidden)
        self.fc2 = nn.Linear(hidden, 10)
        self.depth = len(convolutions)

    def forward(self, x):
        for i in range(1, self.depth + 1):
            x = F.max_pool2d(F.gelu(getattr(self, f"conv{i}")(x)), 2)
        return self.fc2(F.gelu(self.fc1(x.flatten(1))))


class Unit(nn.Module):
    def __init__(self, inputs, outputs, kernel=3, stride=1, padding=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.norm(self.conv(x))


class ResNet9Trak(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.unit1 = Unit(3, 64)
        self.unit2 = Unit(64, 128, 5, 2, 2)
        self.unit3a, self.unit3b = Unit(128, 128), Unit(128, 128)
        self.unit4 = Unit(128, 256)
        self.unit5a, self.unit5b = Unit(256, 256), Unit(256, 256)
        self.unit6 = Unit(256, 128, 3, 1, 0)
        self.fc = nn.Linear(128, classes, bias=False)

    def forward(self, x):
        x = F.relu(self.unit2(F.relu(self.unit1(x))))
        x = x + F.relu(self.unit3b(F.relu(self.unit3a(x))))
        x = F.max_pool2d(F.relu(self.unit4(x)), 2)
        x = x + F.relu(self.unit5b(F.relu(self.unit5a(x))))
        x = F.adaptive_max_pool2d(F.relu(self.unit6(x)), 1).flatten(1)
        return 0.2 * self.fc(x)


class ResNet9Dattri(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.unit1 = Unit(3, 64)
        for i, (inputs, outputs, stride) in enumerate([(64, 128, 1), (128, 256, 2), (256, 512, 2)], 2):
            setattr(self, f"unit{i}a", Unit(inputs, outputs, 3, stride))
            setattr(self, f"unit{i}b", Unit(outputs, outputs))
            setattr(self, f"unit{i}s", Unit(inputs, outputs, 1, stride, 0))
        self.fc = nn.Linear(512, classes)

    def forward(self, x):
        x = F.relu(self.unit1(x))
        for i in (2, 3, 4):
            inner = F.relu(getattr(self, f"unit{i}b")(F.relu(getattr(self, f"unit{i}a")(x))))
            x = F.relu(inner + getattr(self, f"unit{i}s")(x))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Block(nn.Module):
    def __init__(self, width, heads, bias):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, bias=bias), nn.LayerNorm(width, bias=bias)
        self.attention = nn.ModuleDict(
            {"qkv": nn.Linear(width, 3 * width, bias=bias), "out": nn.Linear(width, width, bias=bias)}
        )
        self.expand = nn.Linear(width, 4 * width, bias=bias)
        self.shrink = nn.Linear(4 * width, width, bias=bias)
        self.heads = heads

    def forward(self, x):
        n, t, width = x.shape
        parts = self.attention["qkv"](self.norm1(x)).split(width, dim=2)
        q, k, v = (part.view(n, t, self.heads, -1).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention["out"](mixed.transpose(1, 2).reshape(n, t, width))
        return x + self.shrink(F.gelu(self.expand(self.norm2(x))))


class Gpt(nn.Module):
    def __init__(self, vocab, context, width, heads, layers, bias):
        super().__init__()
        self.token, self.place = nn.Embedding(vocab, width), nn.Embedding(context, width)
        for i in range(1, layers + 1):
            setattr(self, f"block{i}", Block(width, heads, bias))
        self.norm = nn.LayerNorm(width, bias=bias)
        self.layers = layers

    def forward(self, tokens):
        x = self.token(tokens) + self.place(torch.arange(tokens.shape[1]))
        for i in range(1, self.layers + 1):
            x = getattr(self, f"block{i}")(x)
        return self.norm(x) @ self.token.weight.T


def main():
    labels = torch.tensor([1, 0])
    tokens = torch.arange(20).square().add(3).remainder(13).view(2, 10)
    following = tokens.roll(-1, 1)
    following[:, -1] = -100
    grey, small, large = noise((2, 1, 28, 28), 99), noise((2, 3, 32, 32), 99), noise((2, 3, 32, 32), 98)
    cases = {
        "cnn2_mnist": (GeluCnn(1, [(32, 3, 0), (64, 3, 0)], 1600, 128), grey, labels),
        "cnn2_cifar": (GeluCnn(3, [(32, 5, 0), (64, 5, 0)], 1600, 128), small, labels),
        "cnn3_mnist": (GeluCnn(1, [(32, 3, 0), (64, 3, 2), (128, 3, 2)], 2048, 256), grey, labels),
        "cnn3_cifar": (GeluCnn(3, [(32, 3, 0), (64, 3, 0), (128, 3, 2)], 2048, 256), small, labels),
        "resnet9_trak": (ResNet9Trak(10), large, labels),
        "resnet9_dattri": (ResNet9Dattri(2), large, labels),
        "gpt": (Gpt(13, 12, 24, 3, 2, False), tokens, following),
        "gpt_bias": (Gpt(13, 12, 24, 3, 2, True), tokens, following),
    }
    stored = {}
    for name, (model, inputs, targets) in cases.items():
        with torch.no_grad():
            fill(model)
        model.double().eval()
        inputs = inputs.float().double() if inputs.is_floating_point() else inputs
        parameters = dict(model.named_parameters())
        norms = []
        for x, y in zip(inputs, targets):
            output = model(x[None])
            loss = F.cross_entropy(output.flatten(0, -2), y.reshape(-1), reduction="sum", ignore_index=-100)
            gradients = torch.autograd.grad(loss, [parameters[key] for key in sorted(parameters)])
            norms.append(torch.stack([gradient.norm() for gradient in gradients]))
        stored[f"{name}.output"] = model(inputs).detach().float()
        stored[f"{name}.norms"] = torch.stack(norms).float()
        print(name, sum(p.numel() for p in parameters.values()), stored[f"{name}.output"].abs().max().item())
    save_file(stored, Path(__file__).resolve().parent / "models.safetensors")


if __name__ == "__main__":
    main()
