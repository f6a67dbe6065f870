"""Makes parity.json: what SciPy answers on random and adversarial samples.

They are made again, bit for bit, by parity_test.go. SciPy is 1.17.1 (NumPy 2.4.6, CPython 3.11).

    pip install scipy==1.17.1 numpy==2.4.6 mpmath==1.3.0 && python parity.py > parity.json

A value comes from fourteen outputs of splitmix64 by operations that IEEE 754 defines to the
last bit. Numbers are written by repr; "inf" is infinite, and null is no answer.

SciPy cuts the series of the Cramér-von Mises limit off at terms of 1e-7. That limit is summed
here to the end, with as many digits as it takes, and must be SciPy's up to what that cut off.
"""

import json
import math
import sys
import warnings

import mpmath
import numpy as np
from scipy import stats
from scipy.spatial import distance

CASES = 600
PER_VALUE = 14


def uniforms(seed, count):
    """Return outputs of splitmix64 in [0, 1)."""
    with np.errstate(over="ignore"):
        steps = np.arange(1, count + 1, dtype=np.uint64)
        state = np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15) * steps
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return (state >> np.uint64(11)).astype(float) * 2.0**-53


SHAPES = [
    lambda z, u, v: z,
    lambda z, u, v: z + 0.25,
    lambda z, u, v: z * 1.5,
    lambda z, u, v: z / (u + 2.0**-53),  # no mean
    lambda z, u, v: z * z * z,
    lambda z, u, v: np.floor(z * 2),
    lambda z, u, v: np.floor(z * 10) / 10,
    lambda z, u, v: np.floor(u * 3),
    lambda z, u, v: np.where(u < 0.9, 1.0, z),
    lambda z, u, v: z * 2.0**400,
    lambda z, u, v: np.where(u < 0.3, -0.0, np.where(u < 0.6, 0.0, z)),
    lambda z, u, v: u,
    lambda z, u, v: np.ldexp(1 + u, np.floor(z * 6).astype(int)),  # like log-normal
    lambda z, u, v: 1e6 + z,
    lambda z, u, v: np.where(v < 0.02, np.inf, np.where(v < 0.04, -np.inf, z)),
    lambda z, u, v: z * 2.0**-1000 * 2.0**-70,  # subnormal
]
INFINITE, SUBNORMAL = 14, 15


def sample(shape, seed, n):
    """Return n values of a shape."""
    u = uniforms(seed, PER_VALUE * n).reshape(n, PER_VALUE)
    z = u[:, 0].copy()
    for k in range(1, 12):
        z += u[:, k]
    return SHAPES[shape](z - 6, u[:, 12], u[:, 13])


def case(i):
    """Return both samples of case i, mostly of one shape."""
    u = uniforms(1000 + i, 6)
    shape = i % len(SHAPES)
    other = shape if u[0] < 0.6 else min(shape, 1) ^ 1 if shape < 2 else int(u[1] * len(SHAPES))
    reach = [12, 20, 60, 60, 300, 1500][i // len(SHAPES) % 6]
    n, m = 5 + int(u[2] * reach), 5 + int(u[3] * reach)
    if u[4] < 0.1:
        n = 2 + int(u[5] * 7)
    return sample(shape, 2 * i + 1, n), sample(other, 2 * i + 2, m)


def number(value):
    """Return what JSON can hold."""
    value = float(value)
    return "inf" if value == math.inf else value if math.isfinite(value) else None


def answer(test, *args, **kwargs):
    """Return statistic and p, None where SciPy refuses."""
    try:
        result = test(*args, **kwargs)
    except (ValueError, np.linalg.LinAlgError):
        return [None, None]
    return [number(result.statistic), number(result.pvalue)]


def finite(x):
    """Tell whether all values are finite."""
    return bool(np.isfinite(x).all())


def cramer(x, y):
    """Return T and its p, the latter from a series summed to the end."""
    statistic, p = answer(stats.cramervonmises_2samp, x, y)
    n, m = len(x), len(y)
    if p is None or max(n, m) <= 20:
        return [statistic, p]
    total = n + m
    mean = (1 + 1 / total) / 6
    variance = (total + 1) * (4 * n * m * total - 3 * (n**2 + m**2) - 2 * n * m)
    variance /= 45 * total**2 * 4 * n * m
    normalized = 1 / 6 + (statistic - mean) / math.sqrt(45 * variance)
    if normalized > 18:
        return [statistic, "below 1e-38"]
    limit = cramer_limit(normalized)
    assert abs(limit - p) < 5e-7, (limit, p)
    return [statistic, number(limit)]


def cramer_limit(x):
    """Return the upper tail of the Cramér-von Mises limit."""
    if x < 0.003:
        return 1.0
    mpmath.mp.dps = 40 + int(2.2 * x)
    x = mpmath.mpf(x)
    total, k = mpmath.mpf(0), 0
    while True:
        y = 4 * k + 1
        q = mpmath.mpf(y * y) / (16 * x)
        term = mpmath.gamma(k + mpmath.mpf(1) / 2) / mpmath.factorial(k) * mpmath.sqrt(y)
        term *= mpmath.exp(-q) * mpmath.besselk(mpmath.mpf(1) / 4, q)
        total += term
        k += 1
        if term < mpmath.mpf(10) ** -mpmath.mp.dps:
            return float(1 - total / (mpmath.pi ** mpmath.mpf(1.5) * mpmath.sqrt(x)))


def plain(x, y):
    """Return the samples without a common level that hides their digits, at a scale near 1.

    Neither changes the tests that get them, but SciPy's rounding errors and overflows.
    """
    pooled = np.concatenate([x, y])
    level = np.median(pooled)
    if abs(level) < 100 * np.ptp(pooled):
        level = 0
    x, y = x - level, y - level
    unit = math.ldexp(1, min(1023, -math.frexp(max(abs(x).max(), abs(y).max()))[1]))
    return x * unit, y * unit


def epps(x, y):
    """Return W and its p where they have digits.

    They have none where the covariance is singular, because its rank is then made of rounding
    errors, nor where values are so far out that angles have no digits left.
    """
    if not (finite(x) and finite(y)):
        return [None, None]
    x, y = plain(x, y)
    pooled = np.concatenate([x, y])
    scale = stats.iqr(pooled) / 2
    if not scale > 0 or min(len(x), len(y)) < 5:
        return [None, None]
    t = np.reshape([0.4, 0.8], (2, 1)) / scale
    u, v = (np.concatenate([np.cos(t * s), np.sin(t * s)]) for s in (x, y))
    covariance = np.cov(u) / len(x) + np.cov(v) / len(y)
    if abs(pooled).max() > 1e4 * scale or np.linalg.cond(covariance) > 1e7:
        return ["no digits", "no digits"]
    return answer(stats.epps_singleton_2samp, x, y)


def of_samples(x, y):
    """Return the row of one case."""
    row = []
    for alternative in ("two-sided", "less", "greater"):
        row += answer(stats.ks_2samp, x, y, alternative=alternative)
    row += cramer(x, y)
    row += answer(stats.anderson_ksamp, [x, y], midrank=True)
    row += answer(stats.mannwhitneyu, x, y)
    leveled = plain(x, y) if finite(x) and finite(y) else (x, y)
    row += answer(stats.ttest_ind, *leveled, equal_var=False)
    row += epps(x, y)
    if finite(x) and finite(y):
        row += [number(stats.wasserstein_distance(x, y)), number(stats.energy_distance(x, y))]
        row += [fingerprint(x, "sturges"), fingerprint(np.concatenate([x, y]), "doane")]
    else:
        row += [None] * 4
    return row


def fingerprint(values, rule):
    """Return the number of edges and FNV-1a over their bits."""
    try:
        edges = np.histogram_bin_edges(values, rule) + 0.0
    except (ValueError, OverflowError):
        return None
    fnv = 0xCBF29CE484222325
    for byte in edges.tobytes():
        fnv = (fnv ^ byte) * 0x100000001B3 % 2**64
    return f"{len(edges)}:{fnv:016x}"


def counts(i):
    """Return a table of two rows and 2 to 40 categories; every third has empty cells."""
    u = uniforms(5000 + i, 4)
    k = 2 + int(u[0] * [1, 4, 12, 38][i % 4])
    size, drift = [30, 300, 3000, 2e5][int(u[1] * 4)], u[2]
    v = uniforms(9000 + i, 2 * k)
    a = np.floor(v[:k] * size).astype(int) + 10
    b = np.floor((v[:k] * (1 - drift) + v[k:] * drift) * size).astype(int) + 10
    if i % 3 == 0:
        a[0], b[-1] = 0, 0
    return a, b


def of_counts(a, b):
    """Return the row of one table."""
    p, q = a / a.sum(), b / b.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        g = stats.chi2_contingency([a, b], correction=False, lambda_="log-likelihood")
        chi = stats.chi2_contingency([a, b], correction=False)
        row = [number(chi.statistic), number(chi.pvalue), number(g.statistic), number(g.pvalue)]
        row += [number(distance.jensenshannon(p, q, 2)), number(distance.jensenshannon(p, q))]
        row += [number(stats.entropy(p, q)), number(stats.entropy(p, q) + stats.entropy(q, p))]
        hellinger = np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2)
        row += [number(np.abs(p - q).sum() / 2), number(hellinger)]
    fisher = stats.fisher_exact([[a[0], a[1]], [b[0], b[1]]])
    return [*row, number(fisher.statistic), number(fisher.pvalue)]


warnings.simplefilter("ignore")
np.seterr(all="ignore")
samples = [of_samples(*case(i)) for i in range(CASES)]
tables = [of_counts(*counts(i)) for i in range(CASES)]
json.dump({"samples": samples, "tables": tables}, sys.stdout, separators=(",", ":"))
