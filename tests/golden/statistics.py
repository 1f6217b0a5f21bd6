"""Writes statistics.json in this folder: correlations, their intervals and ranks by scipy, for tests/statistics.rs.

What: Pearson's r with Fisher's interval (`scipy.stats.pearsonr(...).confidence_interval()`), Spearman's rho with average ranks
(`spearmanr`), Bonett and Wright's interval for it (2000, Psychometrika 65: z' with variance (1 + rho^2 / 2) / (n - 3), written out
here, since scipy has none), and average ranks (`rankdata`). Cases: plain, ties on one side, ties on both, offsets that cost
digits, four values, three, two, and a constant. null stands where a number is not defined.

Versions: scipy, numpy of benches/requirements.txt; the file names them.

Command, from the repository's root:

    "$(scripts/peers)" tests/golden/statistics.py
"""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import scipy
from scipy import stats

warnings.simplefilter("ignore")
Z = stats.norm.ppf(0.975)


def bonett_wright(rho, n):
    if n < 4 or not math.isfinite(rho):
        return [None, None]
    if abs(rho) >= 1.0:
        return [rho, rho]
    spread = Z * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return [math.tanh(math.atanh(rho) - spread), math.tanh(math.atanh(rho) + spread)]


def number(value):
    return float(value) if math.isfinite(value) else None


def case(name, x, y):
    pearson = stats.pearsonr(x, y)
    interval = pearson.confidence_interval() if len(x) > 3 and math.isfinite(pearson.statistic) else (math.nan, math.nan)
    rho = stats.spearmanr(x, y).statistic
    return {
        "name": name, "x": list(map(float, x)), "y": list(map(float, y)),
        "pearson": number(pearson.statistic), "pearson_interval": [number(end) for end in interval],
        "spearman": number(rho), "spearman_interval": bonett_wright(rho, len(x)),
        "ranks_x": stats.rankdata(x).tolist(), "ranks_y": stats.rankdata(y).tolist(),
    }


def main():
    draw = np.random.default_rng(0)
    x, noise = draw.normal(size=40), draw.normal(size=40)
    cases = [
        case("plain", x, 0.6 * x + noise),
        case("negative", x, -2 * x + 0.3 * noise),
        case("ties on one side", np.round(x), noise + x),
        case("ties on both sides", np.round(x), np.round(x + noise)),
        case("offset", x + 1e6, noise - 0.5 * x - 1e6),
        case("four", x[:4], noise[:4]),
        case("three", x[:3], noise[:3]),
        case("two", x[:2], noise[:2]),
        case("constant", np.ones(9), noise[:9]),
    ]
    about = {"scipy": scipy.__version__, "numpy": np.__version__}
    rows = ",\n".join(json.dumps(each) for each in cases)
    text = f'{{"about": {json.dumps(about)}, "cases": [\n{rows}\n]}}\n'
    (Path(__file__).parent / "statistics.json").write_text(text)


if __name__ == "__main__":
    main()
