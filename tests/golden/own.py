"""Writes tests/golden/own/examples.npz: inputs, targets and metadata of three examples, as numpy saves them.

Versions: numpy 2.3.5, Python 3.11. Command, from the repository's root:

    "$(scripts/peers)" tests/golden/own.py
"""

from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent / "own"

if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    np.savez_compressed(
        HERE / "examples.npz",
        images=np.arange(12, dtype=np.uint8).reshape(3, 2, 2),
        label=np.array([2, 0, 1], dtype=np.int16),
        writer=np.array([7, 9, 12], dtype=np.int32),
        weight=np.array([0.25, 1, 2], dtype=np.float32),
        held_out=np.array([False, True, False]),
        mean=np.float64(5.5),
    )
