"""Writes statistics.json in this folder: correlations, their intervals, ranks and rankings by scipy, for tests/statistics.rs.

What: Pearson's r with Fisher's interval (`scipy.stats.pearsonr(...).confidence_interval()`), Spearman's rho with average ranks
(`spearmanr`), Bonett and Wright's interval for it (2000, Psychometrika 65: z' with variance (1 + rho^2 / 2) / (n - 3), written out
here, since scipy has none), and average ranks (`rankdata`). Cases: plain, ties on one side, ties on both, offsets that cost
digits, four values, three, two, and a constant. null stands where a number is not defined. Kendall's tau-b of the same (`kendalltau`).
Rankings: area under the receiver operating characteristic (`mannwhitneyu`, U / pairs), its variance by DeLong, DeLong and
Clarke-Pearson (1988) from their definition pair by pair with the interval on the logit scale, and average precision from its
definition threshold by threshold, since scipy has neither.

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
        "kendall": number(stats.kendalltau(x, y).statistic),
        "ranks_x": stats.rankdata(x).tolist(), "ranks_y": stats.rankdata(y).tolist(),
    }


def ranking(name, scores, positive):
    """Scores and which of them are positive."""
    above, below = scores[positive], scores[~positive]
    area = stats.mannwhitneyu(above, below).statistic / (len(above) * len(below))
    wins = (above[:, None] > below[None, :]) + 0.5 * (above[:, None] == below[None, :])
    variance = np.var(wins.mean(1), ddof=1) / len(above) + np.var(wins.mean(0), ddof=1) / len(below)
    logit, reach = math.log(area / (1 - area)), Z * math.sqrt(variance) / (area * (1 - area))
    precision, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        called = scores >= threshold
        recall = (called & positive).sum() / positive.sum()
        precision += (recall - recall_before) * (called & positive).sum() / called.sum()
        recall_before = recall
    return {
        "name": name, "scores": scores.tolist(), "positive": positive.tolist(),
        "auc": area, "interval": [1 / (1 + math.exp(-(logit + side * reach))) for side in (-1, 1)],
        "average_precision": precision,
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
    planted = draw.random(60) < 0.3
    rankings = [
        ranking("plain", draw.normal(size=60) + planted, planted),
        ranking("ties", np.round(draw.normal(size=60) + planted), planted),
        ranking("worse than chance", draw.normal(size=60) - planted, planted),
        ranking("dattri's 8 of 9", np.arange(100.0), (np.arange(100) >= 80) & (np.arange(100) < 90)),
    ]
    about = {"scipy": scipy.__version__, "numpy": np.__version__}
    rows = ",\n".join(json.dumps(each) for each in cases)
    ranked = ",\n".join(json.dumps(each) for each in rankings)
    text = f'{{"about": {json.dumps(about)}, "cases": [\n{rows}\n], "rankings": [\n{ranked}\n]}}\n'
    (Path(__file__).parent / "statistics.json").write_text(text)


if __name__ == "__main__":
    main()
