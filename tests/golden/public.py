"""Writes public.safetensors and vit/: networks whose weights are public, run by the packages that publish them.

* `resnet18` is torchvision's, `mobilenet` is built here in plain torch.nn; weights, inputs and what is stored (`<name>.output`,
  `<name>.norms`) as in models.py, so that no weights need be stored.
* `vit/base.safetensors` is a tiny ViT as transformers saves it, `vit/adapter.safetensors` its LoRA adapters and classifier as PEFT saves
  them, `vit/whole.txt` the names in the state dict of the whole model. `vit.input`, `vit.output` with adapters, `vit.plain` without, and
  `vit.grad.<name>` [2, ...], the gradient of each example's log-likelihood in adapters and classifier.

Versions: torch 2.13.0, torchvision 0.28.0, transformers 5.24.0, peft 0.21.2, safetensors 0.8.0. Command, in an environment of these:

    python tests/golden/public.py
"""

import shutil
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import resnet18
from transformers import ViTConfig, ViTForImageClassification

from models import fill, noise

HERE = Path(__file__).resolve().parent
STAGES = [(1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


class Inverted(nn.Module):
    def __init__(self, inputs, expansion, outputs, stride):
        super().__init__()
        inner = expansion * inputs
        self.conv1, self.bn1 = nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.stride = stride
        if stride == 1 and inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        else:
            self.shortcut = nn.Sequential()

    def forward(self, x):
        inner = F.relu(self.bn1(self.conv1(x)))
        inner = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(inner)))))
        return inner + self.shortcut(x) if self.stride == 1 else inner


class MobileNetV2(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
        layers, inputs = [], 32
        for expansion, outputs, repeats, stride in STAGES:
            for step in [stride] + [1] * (repeats - 1):
                layers.append(Inverted(inputs, expansion, outputs, step))
                inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.conv2, self.bn2 = nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280)
        self.linear = nn.Linear(1280, classes)

    def forward(self, x):
        x = F.relu(self.bn2(self.conv2(self.layers(F.relu(self.bn1(self.conv1(x)))))))
        return self.linear(F.avg_pool2d(x, 4).flatten(1))


def gradients(model, inputs, targets, parameters):
    for x, y in zip(inputs, targets):
        yield torch.autograd.grad(-F.cross_entropy(model(x[None]), y[None]), parameters)


def vit(labels):
    config = ViTConfig(image_size=16, patch_size=8, hidden_size=24, num_attention_heads=3, num_hidden_layers=2,
                       intermediate_size=48, num_labels=3, attn_implementation="eager")
    torch.manual_seed(3)
    base = ViTForImageClassification(config)
    for parameter in base.parameters():
        parameter.data = torch.randn_like(parameter) * (0.3 if parameter.dim() > 1 else 0.1) + (parameter.data == 1)
    folder = HERE / "vit"
    folder.mkdir(exist_ok=True)
    inputs = torch.randn(2, 3, 16, 16)
    stored = {"vit.input": inputs, "vit.plain": base.eval()(inputs).logits.detach()}
    with tempfile.TemporaryDirectory() as temporary:
        base.save_pretrained(temporary)
        shutil.copy(Path(temporary) / "model.safetensors", folder / "base.safetensors")
        lora = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.1, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"])
        model = get_peft_model(base, lora).eval()
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        for parameter in trained.values():
            parameter.data = torch.randn_like(parameter) * 0.3
        model.save_pretrained(temporary)
        shutil.copy(Path(temporary) / "adapter_model.safetensors", folder / "adapter.safetensors")
    (folder / "whole.txt").write_text("".join(f"{name}\n" for name in model.state_dict()))
    print([*load_file(folder / "base.safetensors")][:6], [*load_file(folder / "adapter.safetensors")][:6])
    stored["vit.output"] = model(inputs).logits.detach()
    exact = model.double()
    rows = gradients(lambda x: exact(x).logits, inputs.double(), labels, list(trained.values()))
    for name, pair in zip(trained, zip(*rows)):
        stored[f"vit.grad.{name}"] = torch.stack(pair).float()
    return stored


def main():
    labels = torch.tensor([1, 0])
    cases = {"resnet18": (resnet18(num_classes=10), noise((2, 3, 64, 64), 97)),
             "mobilenet": (MobileNetV2(10), noise((2, 3, 32, 32), 98))}
    stored = vit(labels)
    for name, (model, inputs) in cases.items():
        with torch.no_grad():
            fill(model)
        model.double().eval()
        inputs = inputs.float().double()
        parameters = dict(model.named_parameters())
        rows = gradients(model, inputs, labels, [parameters[key] for key in sorted(parameters)])
        stored[f"{name}.output"] = model(inputs).detach().float()
        stored[f"{name}.norms"] = torch.stack([torch.stack([g.norm() for g in row]) for row in rows]).float()
        print(name, sum(p.numel() for p in parameters.values()), stored[f"{name}.output"].abs().max().item())
    save_file(stored, HERE / "public.safetensors")


if __name__ == "__main__":
    main()
