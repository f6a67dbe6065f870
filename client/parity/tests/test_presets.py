"""The presets evidently and nannyml decide as the packages do, column by column."""

from __future__ import annotations

import json
import math
import os
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

BINARY = os.environ.get("DRIFTLINE_BIN", str(Path(__file__).parents[3] / "bin" / "driftline"))
DRIFT = 3  # exit code


def driftline(folder: Path, preset: str, reference: pd.DataFrame, current: pd.DataFrame) -> dict:
    """Returns the report of the command line."""
    paths = [folder / "reference.parquet", folder / "current.parquet"]
    for path, frame in zip(paths, (reference, current), strict=True):
        frame.to_parquet(path, index=False)
    command = [BINARY, "drift", "--preset", preset, "--json", "--reference", paths[0]]
    done = subprocess.run([*command, "--current", paths[1]], capture_output=True, check=False)
    assert done.returncode in (0, DRIFT), done.stderr.decode()
    report = json.loads(done.stdout)
    assert report["drift"] == (done.returncode == DRIFT)
    return report


def tables(seed: int, n: int, m: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns columns of all shapes that the defaults tell apart, some drifting a little."""
    chance = np.random.default_rng(seed)

    def table(size: int, moved: float) -> pd.DataFrame:
        letters = np.array(list("abcdefghij"))
        nulls = chance.normal(moved, 1, size)
        nulls[chance.random(size) < 0.1 + moved / 5] = np.nan
        infinite = chance.normal(size=size)
        infinite[:3] = [np.inf, -np.inf, np.nan]
        holes = pd.Series(chance.choice(letters[:4], size), dtype=object)
        holes[chance.random(size) < 0.05] = None
        return pd.DataFrame(
            {
                "normal": chance.normal(moved / 2, 1, size),
                "lognormal": np.exp(2 * chance.normal(size=size)) * (1 + moved),
                "rounded": chance.normal(moved, 1, size).round(1),
                "nulls": nulls,
                "infinite": infinite,
                "two": chance.choice([0.5, 1.5], size, p=[0.5 + moved / 10, 0.5 - moved / 10]),
                "four": chance.choice([1.0, 2.0, 3.0, 4.0], size),
                "whole": chance.integers(0, 1000, size),
                "few_whole": chance.integers(0, 8, size),
                "two_whole": chance.integers(0, 2, size),
                "letters": chance.choice(letters, size),
                "holes": holes,
                "pair": chance.choice(["yes", "no"], size),
                "new": chance.choice(letters[: 6 if moved else 5], size),
                "gone": chance.choice(letters[: 5 if moved else 6], size),
                "constant": np.full(size, 7.0),
                "flag": chance.random(size) < 0.5 + moved / 10,
            }
        )

    return table(n, 0.0), table(m, 0.3)


SIZES = [(1, 300, 300), (2, 1000, 700), (3, 1001, 400), (4, 3000, 5000), (5, 95, 2000)]


@pytest.mark.parametrize(("seed", "n", "m"), SIZES)
def test_evidently(tmp_path, seed, n, m):
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    reference, current = tables(seed, n, m)
    if seed % 2:  # its plots cannot take infinities, though its tests drop them
        reference, current = (t.drop(columns="infinite") for t in (reference, current))
    else:
        reference, current = (t.replace([np.inf, -np.inf], np.nan) for t in (reference, current))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sides = [Dataset.from_pandas(t, DataDefinition()) for t in (current, reference)]
        theirs = Report([DataDriftPreset()]).run(*sides).dict()["metrics"]
    scores = {}
    for metric in theirs:
        config = metric.get("config", {})
        if config.get("type", "").endswith("ValueDrift"):
            scores[config["column"]] = (
                float(metric["value"]),
                config["method"],
                config["threshold"],
            )
    ours = driftline(tmp_path, "evidently", reference, current)
    compared = {c["column"]: c for c in ours["columns"] if c["verdict"] != "not compared"}
    assert set(compared) == set(scores)
    drifted = 0
    for column, (score, method, threshold) in scores.items():
        c = compared[column]
        distance = c["p_value"] == "NaN"
        got = float(c["statistic"] if distance else c["p_value"])
        assert math.isclose(got, score, rel_tol=1e-9, abs_tol=1e-12), (column, method, score, c)
        assert float(c["threshold"]) == threshold, (column, method)
        drift = evidently_verdict(method, score, threshold)
        assert (c["verdict"] == "drift") == drift, (column, method, score, c)
        drifted += drift
    share = next(m["value"]["share"] for m in theirs if "share" in str(m["value"]))
    assert float(ours["share"]) == pytest.approx(share) == pytest.approx(drifted / len(scores))
    assert ours["drift"] == (drifted / len(scores) >= 0.5)


def evidently_verdict(method: str, score: float, threshold: float) -> bool:
    if "p_value" not in method:
        return score >= threshold
    return score <= threshold if method.startswith("K-S") else score < threshold


@pytest.mark.parametrize(("seed", "n", "m"), SIZES)
def test_nannyml(tmp_path, seed, n, m):
    from nannyml.chunk import DefaultChunker
    from nannyml.drift.univariate.methods import FeatureType, MethodFactory
    from nannyml.thresholds import StandardDeviationThreshold

    reference, current = (t.drop(columns="infinite") for t in tables(seed, n, m))
    ours = driftline(tmp_path, "nannyml", reference, current)
    by_name = {c["column"]: c for c in ours["columns"]}
    any_drift = False
    for column in reference.columns:
        kind = FeatureType.CONTINUOUS
        if reference[column].dtype in ("object", "bool"):
            kind = FeatureType.CATEGORICAL
        method = MethodFactory.create(
            "jensen_shannon", kind, chunker=DefaultChunker(), threshold=StandardDeviationThreshold()
        )
        method.fit(reference[column])
        value = float(method.calculate(current[column]))
        c = by_name[column]
        assert float(c["statistic"]) == pytest.approx(value, rel=1e-9, abs=1e-7), column
        limit = method.upper_threshold_value
        assert float(c["threshold"]) == pytest.approx(limit, rel=1e-9, abs=1e-7), column
        alert = bool(method.alert(value))
        assert (c["verdict"] == "drift") == alert, (column, value, limit, c)
        any_drift |= alert
    assert ours["drift"] == any_drift


def test_the_defaults_are_still_these():
    """What the presets copy, read from the packages themselves."""
    import evidently
    import nannyml
    from nannyml.drift.univariate import UnivariateDriftCalculator

    assert evidently.__version__.startswith("0.7.")
    assert nannyml.__version__.startswith("0.13.")
    calculator = UnivariateDriftCalculator(column_names=["x"])
    assert calculator.continuous_method_names == ["jensen_shannon"]
    assert calculator.categorical_method_names == ["jensen_shannon"]
