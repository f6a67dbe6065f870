"""Makes goldens.json: what SciPy 1.17.1 (NumPy 2.4.6, CPython 3.11) answers.

    pip install scipy==1.17.1 numpy==2.4.6 && python goldens.py > goldens.json

Numbers are written as strings by repr, so that infinities survive. "exact" one-sided
probabilities of unequal sizes do not come from SciPy, whose sum cancels: they are counted
in whole numbers here and divided once.
"""

import json
import math
from fractions import Fraction

import numpy as np
from scipy import stats
from scipy.stats._stats_py import _attempt_exact_2kssamp


def text(values):
    return [repr(float(v)) for v in values]


def outside_share(n, m, h, two_sided):
    """Share of lattice paths that touch x/n - y/m >= h/lcm, counted exactly."""
    g = math.gcd(n, m)
    a, b = m // g, n // g
    inside = [0] * (m + 1)
    for x in range(n + 1):
        for y in range(m + 1):
            gap = x * a - y * b
            if gap >= h or (two_sided and -gap >= h):
                inside[y] = 0
            elif x == 0 and y == 0:
                inside[y] = 1
            else:
                inside[y] = (inside[y] if x > 0 else 0) + (inside[y - 1] if y > 0 else 0)
    return float(1 - Fraction(inside[m], math.comb(n + m, n)))


def ks_exact():
    rows = []
    for n, m in [(5, 5), (30, 30), (200, 200), (3000, 3000), (10000, 10000)]:
        for h in sorted({1, 2, n // 50 + 1, n // 10 + 1, n // 4, n // 2, n - 1, n}):
            for alternative in ("two-sided", "greater"):
                ok, d, p = _attempt_exact_2kssamp(n, m, n, h / n, alternative)
                if ok:
                    rows.append([alternative, n, m, repr(d), repr(float(p))])
    for n, m in [(3, 2), (17, 4), (100, 110), (500, 400), (2000, 3000), (9999, 10000), (10000, 7)]:
        g = math.gcd(n, m)
        lcm = n // g * m
        for share in (0.001, 0.01, 0.03, 0.06, 0.1, 0.2, 0.5, 0.9, 1):
            h = max(1, round(share * lcm))
            ok, d, p = _attempt_exact_2kssamp(n, m, g, h / lcm, "two-sided")
            if ok and p > 0:
                rows.append(["two-sided", n, m, repr(d), repr(float(p))])
    for n, m in [(2, 3), (4, 17), (100, 110), (40, 60), (7, 150)]:
        lcm = math.lcm(n, m)
        for share in (0.01, 0.05, 0.1, 0.3, 0.6, 1):
            h = max(1, round(share * lcm))
            rows.append(["greater", n, m, repr(h / lcm), repr(outside_share(n, m, h, False))])
    return rows


def kolmogorov():
    rows = []
    for n in [
        1,
        2,
        3,
        5,
        10,
        50,
        100,
        139,
        140,
        141,
        200,
        500,
        1000,
        9999,
        50000,
        99999,
        100000,
        100001,
        250000,
        500000,
        999999,
        1000000,
        1000001,
        5000000,
        500000000,
    ]:
        xs = {0.4 / n, 0.6 / n, 0.9 / n, 1.5 / n, 1 - 0.5 / n, 0.5, 0.7}
        for z in (
            0.2,
            0.3,
            0.5,
            0.7,
            0.8,
            0.868,
            0.87,
            1,
            1.2,
            1.4,
            1.482,
            1.49,
            1.6,
            1.99,
            2.01,
            2.5,
            3,
            4,
            6,
            9,
            13,
            18,
            19.2,
        ):
            xs.add(z / math.sqrt(n))
        for x in sorted(xs):
            if 0 < x < 1:
                p = float(stats.kstwo.sf(x, n))
                if p > 1e-305:
                    rows.append([n, repr(x), repr(p)])
    return rows


def ks_samples():
    rng = np.random.default_rng(20130101)
    inf = math.inf
    pairs = [
        ([0], [1]),
        ([1.01, 2.01], [1, 2, 3]),
        ([0.99, 1.99], [1, 2, 3]),
        ([1.01, 2.01], [1, 2, 3, 4]),
        ([2] * 3 + [3] * 4 + [5] * 5 + [6] * 4, [3] * 3 + [4] * 4 + [6] * 5 + [7] * 4),
        ([2] * 3 + [3] * 4 + [5] * 10 + [6] * 4, [3] * 10 + [4] * 2 + [6] * 10 + [7] * 4),
        (np.linspace(1, 100, 100), np.linspace(1, 100, 100) + 2.1),
        (np.linspace(1, 100, 100), np.linspace(1, 100, 110) + 20.1),
        ([-inf, 0, inf], [-inf, -inf, 1, 2]),
        ([0.0, -0.0, 5e-324], [-5e-324, 0.0, 1e308]),
        ([7, 7, 7], [7, 7]),
        ([7, 7, 7], [8, 8]),
    ]
    for _ in range(120):
        n, m = rng.integers(1, 60, 2)
        kind = rng.integers(0, 4)
        x, y = rng.normal(size=n), rng.normal(rng.choice([0, 0.5]), size=m)
        if kind == 1:
            x, y = np.round(x), np.round(y)
        elif kind == 2:
            x, y = np.exp(5 * x), np.exp(5 * y)
        elif kind == 3:
            x, y = np.round(3 * x), np.round(3 * x[: max(1, n // 2)])
        pairs.append((x, y))
    rows = []
    for x, y in pairs:
        answers = {}
        for alternative in ("two-sided", "less", "greater"):
            r = stats.ks_2samp(x, y, alternative=alternative)
            answers[alternative] = [
                repr(float(r.statistic)),
                repr(float(r.pvalue)),
                repr(float(r.statistic_location) + 0.0),
                int(r.statistic_sign),
            ]
        rows.append({"x": text(x), "y": text(y), "answers": answers})
    return rows


def asymptotic():
    rows = []
    for n, m in [(20000, 5), (12000, 15000), (40000, 40000), (1000000, 1000000), (10001, 300)]:
        en = n * m / (n + m)
        for z in (0.3, 0.7, 1.1, 1.6, 3, 8):
            d = z / math.sqrt(en)
            if d >= 1:
                continue
            rows.append(["two-sided", n, m, repr(d), repr(float(stats.kstwo.sf(d, np.round(en))))])
            big, small = float(max(n, m)), float(min(n, m))
            zz = np.sqrt(en) * d
            root = np.sqrt(big * small * (big + small))
            p = np.exp(-2 * zz**2 - 2 * zz * (big + 2 * small) / root / 3.0)
            rows.append(["less", n, m, repr(d), repr(float(p))])
    return rows


def chi_square():
    rng = np.random.default_rng(4)
    rows = []
    for k in (2, 3, 7, 30, 400):
        for shift in (0, 0.2, 1):
            a = rng.integers(60, 300, k)
            b = np.maximum(30, (a * (1 + shift * rng.normal(size=k) * 0.3)).astype(int)) * 2
            r = stats.chi2_contingency([a, b], correction=False)
            rows.append(
                {
                    "reference": a.tolist(),
                    "current": b.tolist(),
                    "statistic": repr(float(r.statistic)),
                    "p": repr(float(r.pvalue)),
                }
            )
    tails = [
        [repr(float(x)), df, repr(float(stats.chi2.sf(x, df)))]
        for df in (1, 2, 5, 40, 1000, 200000)
        for x in (0.01 * df, 0.9 * df, df, 1.1 * df, 2 * df, df + 40, df + 300, df + 1200)
        if stats.chi2.sf(x, df) > 1e-300
    ]
    return {"tables": rows, "tails": tails}


def corrections():
    rng = np.random.default_rng(5)
    lists = [
        [
            0.0001,
            0.0004,
            0.0019,
            0.0095,
            0.0201,
            0.0278,
            0.0298,
            0.0344,
            0.0459,
            0.3240,
            0.4262,
            0.5719,
            0.6528,
            0.7590,
            1.0,
        ],
        [0.5],
        [0.2, 0.2, 0.2],
    ]
    lists += [(rng.random(40) ** 3).round(3).tolist() for _ in range(3)]
    return [[text(p), text(stats.false_discovery_control(p))] for p in lists]


print(
    json.dumps(
        {
            "ks_exact": ks_exact(),
            "kolmogorov": kolmogorov(),
            "ks_samples": ks_samples(),
            "ks_asymptotic": asymptotic(),
            "chi_square": chi_square(),
            "bh": corrections(),
        },
        separators=(",", ":"),
    )
    .replace("],[", "],\n[")
    .replace("},{", "},\n{")
)
