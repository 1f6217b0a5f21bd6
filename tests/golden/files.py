"""Writes tests/golden/files/: what numpy, torch and pickle write, small, for the readers. About 60 KB.

The values are small known numbers, so that the tests can say what must come out. traker's folder is made by traker.py.

Versions: torch 2.13.0, numpy 2.3.5, Python 3.11. Command, from the repository's root:

    "$(scripts/peers)" tests/golden/files.py
"""

import collections
import os
import pickle
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy

HERE = Path(__file__).resolve().parent / "files"
GRID = np.arange(6).reshape(2, 3)


class System:
    def __reduce__(self):
        return os.system, ("echo executed",)


def save_npy():
    for name in ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint64"]:
        np.save(HERE / f"{name}.npy", GRID.astype(name))
    np.save(HERE / "bool.npy", GRID % 2 == 0)
    for name in [">f2", ">f4", ">f8", ">i2", ">i4", ">i8", ">u4"]:
        np.save(HERE / f"big-{name[1:]}.npy", GRID.astype(name))
    np.save(HERE / "fortran.npy", np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4)))
    np.save(HERE / "big-fortran.npy", np.asfortranarray(GRID.astype(">i4")))
    np.save(HERE / "scalar.npy", np.float64(2.5))
    np.save(HERE / "empty.npy", np.zeros((0, 3), np.float32))
    for version in [2, 3]:
        with open(HERE / f"version-{version}.npy", "wb") as file:
            npy.write_array(file, GRID.astype(np.float32), (version, 0))
    np.save(HERE / "object.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    np.save(HERE / "record.npy", np.zeros(2, dtype=[("a", "<i4"), ("b", "<f4")]))
    np.save(HERE / "complex.npy", np.zeros(2, np.complex64))
    np.savez(HERE / "stored.npz", grid=GRID, half=np.float16([0.5, 1.5]))
    np.savez_compressed(HERE / "deflated.npz", zeros=np.zeros((30, 10)), grid=GRID)


def save_pickle():
    array = {
        "f4": GRID.astype(np.float32),
        "fortran": np.asfortranarray(GRID.astype(np.float64)),
        "big": GRID.astype(">i4"),
        "bool": GRID % 2 == 0,
        "half": GRID.astype(np.float16),
        "none": np.zeros((0, 2)),
        "zero": np.array(7),
    }
    shared = [1, 2]
    plain = {
        "none": None,
        "bools": [True, False],
        "ints": [0, 255, 65535, 65536, -1, 2**31 - 1, -(2**31), 2**62, -(2**63), 2**63 - 1],
        "floats": (0.5, -1e300, float("inf")),
        "text": "a\nb\\ é 漢",
        "long": "x" * 300,
        "bytes": b"\x00\xff",
        "nobytes": b"",
        "bytearray": bytearray(b"ab"),
        "set": {3},
        "frozen": frozenset([4]),
        "shared": [shared, shared],
        "nested": {"a": {"b": [[]]}},
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        5: "five",
        "ordered": collections.OrderedDict(z=1, a=2),
    }
    scalars = [np.int64(-1), np.float32(0.5), np.bool_(True), np.uint8(200), np.float16(1.5), np.int32(-7)]
    for protocol in range(6):
        for name, value in [("plain", plain), ("arrays", array), ("scalars", scalars)]:
            data = pickle.dumps(value, protocol)
            (HERE / f"{name}-{protocol}.pkl").write_bytes(data)
    # As numpy before 2 named its modules.
    old = pickle.dumps(array, 4).replace(b"\x16numpy._core.multiarray", b"\x15numpy.core.multiarray")
    old = bytearray(old)
    assert old[2] == 0x95
    old[3:11] = (len(old) - 11).to_bytes(8, "little")
    (HERE / "arrays-numpy1.pkl").write_bytes(bytes(old))
    (HERE / "support.pkl").write_bytes(pickle.dumps(160))
    (HERE / "support-none.pkl").write_bytes(pickle.dumps(-1, 4))
    (HERE / "system.pkl").write_bytes(pickle.dumps(System(), 2))
    (HERE / "system-4.pkl").write_bytes(pickle.dumps([1, System()], 4))
    (HERE / "object.pkl").write_bytes(pickle.dumps(np.array([None, 1], dtype=object)))
    (HERE / "namespace.pkl").write_bytes(pickle.dumps(__import__("argparse").Namespace(a=1), 4))


def save_papers():
    losses = [
        [np.float32([10 * t + i for i in part]) for t in range(4)] for part in [range(0, 3), range(3, 5)]
    ]
    (HERE / "e-100-val.pkl").write_bytes(pickle.dumps(losses))
    (HERE / "idx-train.pkl").write_bytes(pickle.dumps([17488, 17769, 25061]))
    (HERE / "kept.pkl").write_bytes(pickle.dumps(np.arange(0, 10, 3)))
    (HERE / "scores.pkl").write_bytes(pickle.dumps(GRID.astype(np.float32) - 2.5))
    np.arange(8, dtype=np.float32).tofile(HERE / "ddpm-train-keys-0-100-4-mean-squared-l2-norm-uniform.npy")
    np.save(HERE / "topk-position.npy", np.array([[5, 0, 2], [9, 8, 7]]))
    (HERE / "attribution_ckpt_3.csv").write_text("train_idx,z_test_7,z_test_2\n40,0.5,-1e-3\n12,2,0.25\n3,-4.5,1\n")
    (HERE / "indices.txt").write_text("4\n0\n17\n")


def save_torch():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    with torch.no_grad():
        for i, tensor in enumerate(model.state_dict().values()):
            tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape) + i)
    torch.save(model.state_dict(), HERE / "state.pt")
    run = {
        "epoch": 3,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "loss": 0.25,
        "seed": np.int64(9),
    }
    torch.save(run, HERE / "ckpt_epoch_3.pth")
    torch.save({"model": model.state_dict(), "ema": model.state_dict()}, HERE / "two.pt")
    base = torch.arange(12, dtype=torch.float32)
    kinds = {
        "base": base,
        "tail": base[4:],
        "transposed": base.view(3, 4).t(),
        "column": base.view(3, 4)[:, 1],
        "expanded": torch.tensor([2.0]).expand(3),
        "scalar": torch.tensor(1.5, dtype=torch.float64),
        "none": torch.zeros(0, 2),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "shape": torch.Size([2, 3]),
    }
    for kind in ["float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool"]:
        kinds[kind] = torch.tensor([0, 1, 1]).to(getattr(torch, kind))
    torch.save(kinds, HERE / "tensors.pt")
    torch.save(np.array([3, 1, 2]), HERE / "random_seeds.pt")
    torch.save({"a": torch.ones(2)}, HERE / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), str(HERE / "script.pt"))
    torch.save(torch.nn.Linear(1, 1), HERE / "module.pt")


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    save_npy()
    save_pickle()
    save_papers()
    save_torch()
    print(sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file()), "bytes")
