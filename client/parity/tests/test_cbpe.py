"""Metrics without labels are estimated as NannyML estimates them (CBPE)."""

from __future__ import annotations

import json
import os
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # or it tells its makers what runs

BINARY = os.environ.get("DRIFTLINE_BIN", str(Path(__file__).parents[3] / "bin" / "driftline"))
METRICS = ["accuracy", "precision", "recall", "specificity", "f1", "roc_auc"]
FELL = 3  # exit code

# NannyML rounds the counts of its ROC curve to five decimals.
TOLERANCE = {"roc_auc": 1e-5}


def predictions(seed: int, rows: int, warp: float, ties: int | None = None) -> pd.DataFrame:
    """Returns predictions whose scores are the true probabilities, to a power."""
    chance = np.random.default_rng(seed)
    probability = chance.beta(0.8, 1.4, rows)
    label = (chance.random(rows) < probability).astype(float)
    score = probability**warp
    if ties:
        score = np.round(score * ties) / ties
    return pd.DataFrame({"predicted": (score >= 0.4).astype(float), "score": score, "label": label})


def ours(
    folder: Path, current: pd.DataFrame, reference: pd.DataFrame | None = None
) -> dict[str, float]:
    """Returns what the command line estimates of predictions without labels."""
    found = estimated(folder, current, reference)
    return {name: float(e["value"]) for name, e in found.items()}


def intervals(
    folder: Path, current: pd.DataFrame, reference: pd.DataFrame
) -> dict[str, tuple[float, float]]:
    found = estimated(folder, current, reference)
    return {name: (float(e["low"]), float(e["high"])) for name, e in found.items()}


def estimated(
    folder: Path, current: pd.DataFrame, reference: pd.DataFrame | None
) -> dict[str, dict]:
    blind = current.drop(columns="label")
    command = [BINARY, "performance", folder / "current.parquet", "--json"]
    command += ["--task", "classification", "--prediction", "predicted", "--score", "score"]
    if reference is not None:
        reference.to_parquet(folder / "reference.parquet", index=False)
        command += ["--reference", folder / "reference.parquet", "--label", "label"]
    blind.to_parquet(folder / "current.parquet", index=False)
    done = subprocess.run([str(c) for c in command], capture_output=True, check=False)
    assert done.returncode in (0, FELL), done.stderr.decode()
    (window,) = json.loads(done.stdout)["windows"]
    return {m["metric"]: m["estimated"] for m in window["metrics"]}


def check_equal(got: dict[str, float], want: dict[str, float]) -> None:
    for name in METRICS:
        assert got[name] == pytest.approx(want[name], rel=TOLERANCE.get(name, 1e-9)), name


def theirs(reference: pd.DataFrame, current: pd.DataFrame) -> tuple[dict[str, float], bool]:
    from nannyml.performance_estimation.confidence_based import CBPE

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = CBPE(
            metrics=METRICS,
            y_pred_proba="score",
            y_pred="predicted",
            y_true="label",
            problem_type="classification_binary",
            chunk_number=1,
        ).fit(reference)
        result = estimator.estimate(current.drop(columns="label"))
        frame = result.filter(period="analysis").to_df()
    found = {name: float(frame[(name, "value")].iloc[0]) for name in METRICS}
    return found, estimator.needs_calibration


@pytest.mark.parametrize(
    ("seed", "rows", "warp", "ties"),
    [
        (1, 2000, 2.0, None),
        (2, 500, 0.4, None),
        (3, 20_000, 3.0, None),
        (4, 3000, 2.0, 20),
        (5, 1200, 0.5, 5),
    ],
)
def test_scores_that_need_calibration(tmp_path, seed, rows, warp, ties):
    reference = predictions(seed, rows, warp, ties)
    current = predictions(seed + 100, rows // 2, warp, ties)
    want, calibrated = theirs(reference, current)
    assert calibrated, "or there is nothing to compare"
    check_equal(ours(tmp_path, current, reference), want)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_scores_that_are_taken_for_probabilities(tmp_path, seed):
    from nannyml.performance_estimation.confidence_based import metrics

    current = predictions(seed, 4000, 1.0)
    got = ours(tmp_path, current)
    predicted, score = current["predicted"].to_numpy(), current["score"].to_numpy()
    for name in METRICS:
        if name == "roc_auc":
            want = metrics.estimate_roc_auc(score, score)
        else:
            want = getattr(metrics, f"estimate_{name}")(predicted, score)
        assert got[name] == pytest.approx(want, rel=TOLERANCE.get(name, 1e-9)), name


def test_scores_that_need_none(tmp_path):
    """NannyML leaves scores alone where calibration does not help in its own validation; ours are
    always calibrated, and say how uncertain that is: its estimates lie in our intervals. Which
    scores it leaves alone can be a matter of a last digit, and so of the processor; of the others
    the estimates are equal."""
    left_alone = 0
    for seed in range(31, 39):
        reference, current = predictions(seed, 400, 1.0), predictions(seed + 100, 400, 1.0)
        want, calibrated = theirs(reference, current)
        folder = tmp_path / str(seed)
        folder.mkdir()
        if calibrated:
            check_equal(ours(folder, current, reference), want)
            continue
        left_alone += 1
        for name, (low, high) in intervals(folder, current, reference).items():
            if name in METRICS:
                assert low <= want[name] <= high, (seed, name)
    assert left_alone >= 2
