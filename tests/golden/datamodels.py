"""Ridge and lasso of measurements on inclusion masks, by scikit-learn: tests/golden/datamodels.safetensors.

    python -m venv FOLDER && FOLDER/bin/pip install scikit-learn==1.9.1 numpy==2.4.6 safetensors==0.8.0
    FOLDER/bin/python tests/golden/datamodels.py

Two designs, more examples than subsets and fewer. Leave-one-out cross-validation depends on no draw of folds.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from sklearn.linear_model import Lasso, LassoCV, Ridge, RidgeCV
from sklearn.model_selection import LeaveOneOut

ALPHAS = np.array([10.0, 3.0, 1.0, 0.3, 0.1])
SHARES = np.array([0.1, 0.03, 0.01])
out = {}
rng = np.random.default_rng(7)
for name, subsets, n in [("wide", 24, 40), ("tall", 60, 20)]:
    masks = np.stack([rng.permutation(n) < n // 2 for _ in range(subsets)]).astype(np.float64)
    weights = rng.normal(size=(3, n)) * (rng.random((3, n)) < 0.2)
    values = (masks @ weights.T + 0.3 * rng.normal(size=(subsets, 3)) + [1.0, -2.0, 30.0]).astype(np.float32).astype(np.float64)
    out[f"{name}.masks"], out[f"{name}.values"] = masks, values
    for kind, grid in [("ridge", ALPHAS), ("lasso", SHARES)]:
        make = (lambda a: Ridge(alpha=a)) if kind == "ridge" else (lambda a: Lasso(alpha=a, tol=1e-14, max_iter=1_000_000))
        fits = [make(a).fit(masks, values) for a in grid]
        out[f"{name}.{kind}.weights"] = np.stack([fit.coef_ for fit in fits])
        out[f"{name}.{kind}.intercepts"] = np.stack([fit.intercept_ for fit in fits])
    ridge = RidgeCV(alphas=ALPHAS, alpha_per_target=True, store_cv_results=True).fit(masks, values)
    out[f"{name}.ridge.chosen"] = ridge.alpha_
    out[f"{name}.ridge.errors"] = ridge.cv_results_.mean(axis=0)  # [n_test, alphas]
    lasso = [LassoCV(alphas=SHARES, cv=LeaveOneOut(), tol=1e-12, max_iter=1_000_000).fit(masks, v) for v in values.T]
    out[f"{name}.lasso.chosen"] = np.array([fit.alpha_ for fit in lasso])
    out[f"{name}.lasso.errors"] = np.stack([fit.mse_path_.mean(axis=1) for fit in lasso])
out["alphas"], out["shares"] = ALPHAS, SHARES
save_file({key: np.ascontiguousarray(value) for key, value in out.items()}, Path(__file__).parent / "datamodels.safetensors")
