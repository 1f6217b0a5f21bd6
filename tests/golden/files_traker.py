"""Writes tests/golden/files/traker/: a real save_dir of traker 0.3.2, 20 train examples, 8 dimensions, two checkpoints, one
experiment of 3 targets. The scores that the library returned are kept beside it, `traker-scores.npy`, [20, 3].

traker is not among benches/requirements.txt: install it into an environment that has torch, without dependencies.

    pip install --no-deps traker==0.3.2
    python tests/golden/files_traker.py
"""

import logging
import shutil
from pathlib import Path

import numpy as np
import torch
from trak import TRAKer

HERE = Path(__file__).resolve().parent / "files"

if __name__ == "__main__":
    folder = HERE / "traker"
    shutil.rmtree(folder, ignore_errors=True)
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(23, 4, generator=generator), torch.arange(23) % 3
    model = torch.nn.Linear(4, 3)
    traker = TRAKer(
        model=model,
        task="image_classification",
        train_set_size=20,
        proj_dim=8,
        save_dir=str(folder),
        device="cpu",
        lambda_reg=0.1,
        logging_level=logging.ERROR,
        use_half_precision=False,
    )
    states = [
        {"weight": torch.randn(3, 4, generator=generator), "bias": torch.randn(3, generator=generator)} for _ in range(2)
    ]
    for model_id, state in enumerate(states):
        traker.load_checkpoint(state, model_id=model_id)
        traker.featurize(batch=[inputs[:20], labels[:20]], num_samples=20)
    traker.finalize_features()
    for model_id, state in enumerate(states):
        traker.start_scoring_checkpoint(exp_name="digits", checkpoint=state, model_id=model_id, num_targets=3)
        traker.score(batch=[inputs[20:], labels[20:]], num_samples=3)
    np.save(HERE / "traker-scores.npy", np.array(traker.finalize_scores(exp_name="digits")))
    # The one machine-dependent line: where the folder stood when it was made.
    note = folder / "experiments.json"
    note.write_text(note.read_text().replace(str(folder), "traker"))
