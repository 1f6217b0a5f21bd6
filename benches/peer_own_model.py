"""Per-example gradients in PyTorch of the networks of benches/own_model.rs: by torch.func.vmap(grad), and by hooks as opacus has them.

    python peer_own_model.py NETWORK WAY FOLDER THREADS REPEATS

NETWORK is `resnet18` or `gpt`, WAY `vmap`, `hooks` (not for gpt) or `loop`. FOLDER holds `weights.safetensors`, `data.safetensors`
(`inputs`, `targets`) and, from Rust, `norms` of the gradients. Prints JSON: seconds of each repeat after one that is not counted, and
the largest difference of the norms relative to the largest norm.
"""

import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn
from torch.func import functional_call, grad, vmap

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "golden"))
from models import Gpt


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        else:
            self.downsample = nn.Identity()

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.downsample(x))


class ResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        inputs = 64
        for stage in range(1, 5):
            outputs = 64 << (stage - 1)
            first = Block(inputs, outputs, 1 if stage == 1 else 2)
            setattr(self, f"layer{stage}", nn.Sequential(first, Block(outputs, outputs, 1)))
            inputs = outputs
        self.fc = nn.Linear(512, 1000)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


def loss(outputs, targets):
    return F.cross_entropy(outputs.flatten(0, -2), targets.reshape(-1), reduction="sum", ignore_index=-100)


def by_vmap(net):
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    buffers = dict(net.named_buffers())

    def one(parameters, x, y):
        return loss(functional_call(net, (parameters, buffers), (x[None],)), y[None])

    gradients = vmap(grad(one), in_dims=(None, 0, 0))
    return lambda x, y: list(gradients(parameters, x, y).values())


def by_loop(net):
    parameters = list(net.parameters())

    def run(x, y):
        rows = [torch.autograd.grad(loss(net(x[i:i + 1]), y[i:i + 1]), parameters) for i in range(len(x))]
        return [torch.stack(parts) for parts in zip(*rows)]

    return run


def by_hooks(net):
    """Input and output gradient of every layer, then a product for each example."""
    seen = {}

    def forward(layer, inputs, outputs):
        seen[layer] = [inputs[0].detach(), outputs]

    layers = [layer for layer in net.modules() if isinstance(layer, (nn.Linear, nn.Conv2d, nn.BatchNorm2d))]
    for layer in layers:
        layer.register_forward_hook(forward)

    def run(x, y):
        total = loss(net(x), y)
        deltas = torch.autograd.grad(total, [seen[layer][1] for layer in layers])
        gradients = []
        for layer, delta in zip(layers, deltas):
            a = seen[layer][0]
            if isinstance(layer, nn.Conv2d):
                patches = F.unfold(a, layer.kernel_size, padding=layer.padding, stride=layer.stride)
                gradients.append(torch.einsum("nop,nip->noi", delta.flatten(2), patches))
            elif isinstance(layer, nn.BatchNorm2d):
                shape = (1, -1, 1, 1)
                normed = (a - layer.running_mean.view(shape)) / (layer.running_var.view(shape) + layer.eps).sqrt()
                gradients += [(delta * normed).sum((2, 3)), delta.sum((2, 3))]
            else:
                gradients += [torch.einsum("no,ni->noi", delta, a), delta]
        return gradients

    return run


def main():
    network, way, folder, threads, repeats = sys.argv[1:]
    torch.set_num_threads(int(threads))
    net = ResNet18() if network == "resnet18" else Gpt(65, 64, 64, 4, 2, False)
    net.load_state_dict(load_file(Path(folder) / "weights.safetensors"), strict=False)
    net.eval()
    data = load_file(Path(folder) / "data.safetensors")
    run = {"vmap": by_vmap, "hooks": by_hooks, "loop": by_loop}[way](net)
    seconds = []
    for _ in range(1 + int(repeats)):
        begun = time.perf_counter()
        gradients = run(data["inputs"], data["targets"])
        seconds.append(time.perf_counter() - begun)
    norms = sum(g.flatten(1).square().sum(1) for g in gradients).sqrt()
    apart = ((norms - data["norms"]).abs().max() / norms.max()).item()
    print(json.dumps({"seconds": seconds[1:], "apart": apart}))


if __name__ == "__main__":
    main()
