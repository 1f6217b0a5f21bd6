"""Writes tests/golden/weights/: one network's weights in the files that Python software leaves, about 20 KB.

The network is Linear(4, 6), ReLU, Linear(6, 3) with names layers.0 and layers.2; outputs.npy has what it gives for inputs.npy.

Versions: torch 2.13.0, safetensors 0.6.2, numpy 2.3.5, Python 3.11. Command, from the repository's root:

    "$(scripts/peers)" tests/golden/weights.py
"""

import json
import pickle
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent / "weights"


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))

    def forward(self, x):
        return self.layers(x)


def main():
    HERE.mkdir(exist_ok=True)
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    inputs = torch.randn(5, 4)
    net(inputs).square().sum().backward()
    optimizer.step()
    state = net.state_dict()
    np.save(HERE / "inputs.npy", inputs.numpy())
    np.save(HERE / "outputs.npy", net(inputs).detach().numpy())

    save_file(state, HERE / "plain.safetensors")
    save_file(state, HERE / "said.safetensors", metadata={"run": "2", "step": "31", "learning_rate": "0.125", "format": "pt"})
    save_file({name: tensor.bfloat16() for name, tensor in state.items()}, HERE / "bfloat16.safetensors")
    others = {"u8": torch.uint8, "i8": torch.int8, "i16": torch.int16, "i32": torch.int32, "i64": torch.int64,
              "f16": torch.float16, "f64": torch.float64, "bool": torch.bool}
    save_file({name: torch.tensor([[0, 1, 1]]).to(kind) for name, kind in others.items()}, HERE / "kinds.safetensors")
    save_file({"scalar": torch.tensor(1.5), "none": torch.zeros(0, 2)}, HERE / "sizes.safetensors")

    sharded = HERE / "sharded"
    sharded.mkdir(exist_ok=True)
    names = sorted(state)
    parts = {"model-00001-of-00002.safetensors": names[:2], "model-00002-of-00002.safetensors": names[2:]}
    for file, some in parts.items():
        save_file({name: state[name] for name in some}, sharded / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": sum(t.numel() * 4 for t in state.values())},
             "weight_map": {name: file for file, some in parts.items() for name in some}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")

    torch.save(state, HERE / "plain.pt")
    torch.save({"module." + name: tensor for name, tensor in state.items()}, HERE / "parallel.pth")
    run = {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": optimizer.state_dict(), "loss": 0.5}
    torch.save(run, HERE / "run.pt")
    torch.save({"state_dict": {"model." + n: t for n, t in state.items()}, "global_step": 7, "optimizer_states": [optimizer.state_dict()],
                "lr_schedulers": [], "pytorch-lightning_version": "2.5.0"}, HERE / "lightning.ckpt")
    torch.save({"model": state, "ema": {n: t * 0 for n, t in state.items()}, "iter": 1}, HERE / "two.pt")
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    np.savez(HERE / "arrays.npz", **arrays)
    np.savez_compressed(HERE / "compressed.npz", **arrays)
    (HERE / "arrays.pkl").write_bytes(pickle.dumps(arrays))
    print(sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file()), "bytes")


if __name__ == "__main__":
    main()
