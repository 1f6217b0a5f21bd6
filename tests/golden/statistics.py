"""Writes statistics.json in this folder: correlations, their intervals, ranks and rankings by scipy, for tests/statistics.rs.

What: Pearson's r with Fisher's interval (`scipy.stats.pearsonr(...).confidence_interval()`), Spearman's rho with average ranks
(`spearmanr`), Bonett and Wright's interval for it (2000, Psychometrika 65: z' with variance (1 + rho^2 / 2) / (n - 3), written out
here, since scipy has none), and average ranks (`rankdata`); p-values as scipy gives them, for Kendall's tau-b exact or normal. Cases: plain, ties on one side, ties on both, offsets that cost
digits, four values, three, two, and a constant. null stands where a number is not defined. Kendall's tau-b of the same (`kendalltau`).
Rankings: area under the receiver operating characteristic (`mannwhitneyu`, U / pairs), its variance by DeLong, DeLong and
Clarke-Pearson (1988) from their definition pair by pair with the interval on the logit scale, and average precision from its
definition threshold by threshold, since scipy has neither.
Tails: Student's t and the normal distribution two-sided by mpmath at 50 digits. One sample: `ttest_1samp`, the normal tail of
mean / std, `binomtest` of the signs and `permutation_test` over all choices of signs.
Power of the one-sample t-test: [d, n, level, power] by the noncentral t distribution (`nct`), and the fewest n that reach a power, [d, level,
power, n], by trying one after the other.
One way: mean squares from group means, `f_oneway`'s p-value, and the exact interval of the intraclass correlation by `f.ppf`.
Many tests: `false_discovery_control`, and Bonferroni, Holm and Storey from their definitions test by test.

Versions: scipy, numpy of benches/requirements.txt; the file names them.

Command, from the repository's root:

    "$(scripts/peers)" tests/golden/statistics.py
"""

import json
import math
import warnings
from pathlib import Path

import mpmath
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
    rho, tau = stats.spearmanr(x, y), stats.kendalltau(x, y)
    return {
        "name": name, "x": list(map(float, x)), "y": list(map(float, y)),
        "pearson": number(pearson.statistic), "pearson_interval": [number(end) for end in interval],
        "spearman": number(rho.statistic), "spearman_interval": bonett_wright(rho.statistic, len(x)),
        "kendall": number(tau.statistic),
        # scipy gives 1 for two pairs, where t has no degree of freedom.
        "p": [number(found.pvalue) if len(x) > least else None for found, least in ((pearson, 2), (rho, 2), (tau, 0))],
        "ranks_x": stats.rankdata(x).tolist(), "ranks_y": stats.rankdata(y).tolist(),
    }


def partial(name, x, y, given):
    """Correlation given other columns, from the inverse of the matrix of all correlations."""
    columns = np.column_stack([x, y, given])

    def of(columns):
        precision = np.linalg.inv(np.corrcoef(columns, rowvar=False))
        r, freedom = -precision[0, 1] / math.sqrt(precision[0, 0] * precision[1, 1]), len(x) - 2 - given.shape[1]
        return [r, 2 * stats.t.sf(abs(r) * math.sqrt(freedom / (1 - r * r)), freedom)]

    rows = [column.tolist() for column in columns.T]
    return {"name": name, "columns": rows, "pearson": of(columns), "spearman": of(stats.rankdata(columns, axis=0))}


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


def tails():
    """Two-sided tails of Student's t, [freedom, t, p], and of the normal distribution, [z, p]."""
    mpmath.mp.dps = 50

    def student(freedom, t):
        x = mpmath.mpf(freedom) / (freedom + mpmath.mpf(t) ** 2)
        return [freedom, t, mpmath.betainc(mpmath.mpf(freedom) / 2, mpmath.mpf(1) / 2, 0, x, regularized=True)]

    values = (1e-300, 1e-8, 1e-3, 0.5, 1.0, 2.0, 4.5, 7.0, 20.0, 1e3, 1e8)
    students = [student(nu, t) for nu in (1, 2, 3, 4, 5, 8, 9, 10, 48, 49, 99, 250, 999, 1000) for t in values]
    students += [student(nu, t) for nu in (1001, 100_000, 2_499_998) for t in (1e-8, 0.5, 2.0, 7.0, 30.0)]
    normals = [[z, mpmath.erfc(mpmath.mpf(z) / mpmath.sqrt(2))] for z in (0.0, 1e-300, 1e-8, *(k / 7 for k in range(1, 20)), 5.0, 10.0, 20.0, 37.0)]
    keep = lambda rows: [[*row[:-1], float(row[-1])] for row in rows if row[-1] == 0 or row[-1] > 1e-300]
    return {"student": keep(students), "normal": keep(normals)}


def one_sample(name, draws):
    """Tests of the hypothesis that draws are about zero."""
    draws = np.asarray(draws, dtype=float)
    n, mean, std = len(draws), draws.mean(), draws.std(ddof=1) if len(draws) > 1 else math.nan
    known = n > 1 and not (draws == draws[0]).all() and np.isfinite(draws).all()
    up, down = int((draws > 0).sum()), int((draws < 0).sum())
    test = stats.ttest_1samp(draws, 0) if known else None
    flips = 1.0 if n == 1 else None  # scipy asks for two
    if n > 1 and np.isfinite(draws).all():
        scaled = draws / max(np.abs(draws).max(), 5e-324)
        total = lambda x, axis: x.sum(axis)
        found = stats.permutation_test((scaled,), total, permutation_type="samples", n_resamples=np.inf, vectorized=True)
        flips = float(found.pvalue)
    return {
        "name": name, "draws": [float(x) if math.isfinite(x) else None for x in draws], "mean": number(mean), "std": number(std),
        "t": float(test.statistic) if known else None, "p": float(test.pvalue) if known else None,
        "z_p": float(2 * stats.norm.sf(abs(mean / std))) if known else None,
        "sign_p": stats.binomtest(up, up + down).pvalue if up + down and np.isfinite(draws).all() else None,
        "flip_p": flips,
    }


def many(name, p):
    """p-values, None where there is no test, adjusted for how many there are."""
    known = np.array([x for x in p if x is not None])
    m = len(known)
    rank = stats.rankdata(known, "max")

    def back(values):
        values = iter(map(float, values))
        return [None if x is None else next(values) for x in p]

    def storey(pi0):
        # The definition: of all thresholds at or above one's own p-value the one with the smallest estimated share of false discoveries.
        return {"pi0": pi0, "q": back(min(1.0, min(pi0 * m * t / (known <= t).sum() for t in known if t >= own)) for own in known)}

    def bootstrap():
        lambdas = np.array([k / 20 for k in range(1, 20)])
        counts = np.array([(known >= each).sum() for each in lambdas])
        found = counts / (m * (1 - lambdas))
        error = counts / (m * (1 - lambdas)) ** 2 * (1 - counts / m) + (found - np.quantile(found, 0.1)) ** 2
        return float(np.clip(found[error == error.min()].min(), 1 / m, 1))

    return {
        "name": name, "p": p,
        "bh": back(stats.false_discovery_control(known)), "by": back(stats.false_discovery_control(known, method="by")),
        "bonferroni": back(np.minimum(known * m, 1)),
        # Holm: what the hypotheses with p-values at or below one's own ask for, the most demanding of them.
        "holm": back(min(1.0, max((m - (known < t).sum()) * t for t in known if t <= own)) for own in known),
        "storey": storey(float(min((1 + (known > 0.5).sum()) / (m * 0.5), 1))), "bootstrap": storey(bootstrap()),
    }


def one_way(name, rows):
    """Rows are groups."""
    rows = np.asarray(rows, dtype=float)
    a, n = rows.shape
    b, w = n * rows.mean(1).var(ddof=1), rows.var(axis=1, ddof=1).mean()
    found = stats.f_oneway(*rows)
    ends = [found.statistic / stats.f.ppf(level, a - 1, a * (n - 1)) for level in (0.975, 0.025)]
    return {
        "name": name, "rows": rows.tolist(), "between": (b - w) / n, "within": w, "icc": (b - w) / (b + (n - 1) * w),
        "interval": [(end - 1) / (end + n - 1) for end in ends], "p": float(found.pvalue),
    }


def power(d, n, level):
    point, shift = stats.t.isf(level / 2, n - 1), d * math.sqrt(n)
    both = stats.nct.sf(point, n - 1, shift), stats.nct.cdf(-point, n - 1, shift)
    # The lower tail is NaN in scipy where it is next to nothing.
    return float(both[0] + (0 if math.isnan(both[1]) else both[1]))


def fewest(d, level, wanted):
    return next(n for n in range(2, 100_000) if power(d, n, level) >= wanted)


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
        case("33, no ties", x[:33], (x + noise)[:33]),
        case("in order", x[:7], x[:7] ** 3),
        case("one pair out of order", np.arange(40), [1, 0, *range(2, 40)]),
        case("ties, few", [1, 1, 2, 3], [1, 2, 2, 4]),
        case("huge", x[:12] * 1e200, noise[:12] * 1e-200),
    ]
    given = np.random.default_rng(5).normal(size=(40, 3))
    x3, y3 = x + given @ [1, -1, 0.5], noise + given @ [0.5, 1, 1] + 0.3 * x
    partials = [
        partial("one", x3, y3, given[:, :1]),
        partial("three", x3, y3, given),
        partial("ties", np.round(x3), np.round(y3), np.round(given[:, :2])),
    ]
    planted = draw.random(60) < 0.3
    rankings = [
        ranking("plain", draw.normal(size=60) + planted, planted),
        ranking("ties", np.round(draw.normal(size=60) + planted), planted),
        ranking("worse than chance", draw.normal(size=60) - planted, planted),
        ranking("dattri's 8 of 9", np.arange(100.0), (np.arange(100) >= 80) & (np.arange(100) < 90)),
    ]
    z = np.random.default_rng(1).normal(size=(4, 16))
    samples = [
        one_sample("plain", z[0, :10]),
        one_sample("far from zero", z[1, :12] + 2),
        one_sample("ties", np.round(z[2] * 2)),
        one_sample("zeros among them", [0.0, 0.0, 1.0, -2.0, 0.5, 0.5, 3.0]),
        one_sample("three", [0.5, -0.25, 1.0]),
        one_sample("two", [1.0, 3.0]),
        one_sample("two opposites", [1.0, -1.0]),
        one_sample("one", [2.0]),
        one_sample("constant", [0.1] * 10),
        one_sample("all zero", [0.0] * 5),
        one_sample("not a number", [1.0, math.nan, 2.0]),
        one_sample("huge", z[3, :9] * 1e150),
        one_sample("tiny", z[3, :9] * 1e-150),
        one_sample("an outlier", [*z[0, :6] + 1, 1e6]),
    ]
    uniform = np.random.default_rng(2).random(200)
    mixed = np.where(np.arange(200) < 60, uniform * 1e-3, uniform)
    tests = [
        many("mixed", mixed.tolist()),
        many("uniform", uniform.tolist()),
        many("ties", np.round(mixed, 1).tolist()),
        many("gaps", [None if i % 7 == 0 else x for i, x in enumerate(mixed.tolist())]),
        many("discrete", np.random.default_rng(3).choice([0.002, 0.109375, 0.34375, 0.754, 1.0], 60).tolist()),
        many("all equal", [0.3] * 5),
        many("all one", [1.0] * 4),
        many("zeros", [0.0, 0.0, 0.5]),
        many("tiny", [1e-300, 1e-12, 0.04, 0.9]),
        many("one", [0.03]),
        many("two", [0.04, 0.03]),
    ]
    e = np.random.default_rng(4).normal(size=(10, 5))
    ways = [
        one_way("runs differ", e + 3 * e[:, :1]),
        one_way("runs do not", e),
        one_way("two of two", [[1.0, 2.0], [4.0, 3.5]]),
        one_way("less than chance", [[1.0, -1.0, 0.5], [-0.9, 1.1, 0.2], [0.8, -0.7, 0.3]]),
        one_way("huge", (e + e[:, :1]) * 1e150),
        one_way("tiny", (e + e[:, :1]) * 1e-150),
        one_way("offset", e + 1e6),
    ]
    about = {"mpmath": mpmath.__version__, "scipy": scipy.__version__, "numpy": np.__version__}
    rows = ",\n".join(json.dumps(each) for each in cases)
    ranked = ",\n".join(json.dumps(each) for each in rankings)
    sampled = ",\n".join(json.dumps(each) for each in samples)
    adjusted = ",\n".join(json.dumps(each) for each in tests)
    grouped = ",\n".join(json.dumps(each) for each in ways)
    remaining = ",\n".join(json.dumps(each) for each in partials)
    levels = [(d, n, level) for d in (0.01, 0.3, 1.0, 3.0) for n in (2, 3, 5, 10, 50, 500) for level in (0.05, 0.001)]
    powers = [[d, n, level, power(d, n, level)] for d, n, level in levels]
    runs = [[d, level, wanted, fewest(d, level, wanted)] for d in (0.1, 0.5, 2.0, 10.0) for level in (0.05, 0.001) for wanted in (0.5, 0.9)]
    far = ",\n".join(f'"{name}": {json.dumps(rows)}' for name, rows in tails().items())
    text = f'{{"about": {json.dumps(about)}, "cases": [\n{rows}\n], "rankings": [\n{ranked}\n],\n"tails": {{\n{far}\n}},\n"one_sample": [\n{sampled}\n],\n"many": [\n{adjusted}\n],\n"one_way": [\n{grouped}\n],\n"partial": [\n{remaining}\n],\n"power": {json.dumps(powers)},\n"runs": {json.dumps(runs)}}}\n'
    (Path(__file__).parent / "statistics.json").write_text(text)


if __name__ == "__main__":
    main()
