"""Performance: a planted fall is found in predictions of the server, and its cause named."""

import math

import pytest
from driftline import DriftlineError

COLUMNS = {"task": "classification", "prediction": "predicted", "score": "score", "label": "late"}


def predictions(days: int, busy_from: int) -> str:
    """Writes a SELECT of 400 predictions a day, of which 9 of 20 are wrong if the airport is
    busy and a tenth is otherwise. From some day on 80 % are busy in place of 20 %."""
    return f"""
        SELECT i % 2 AS predicted,
            i * 7 % 100 < CASE WHEN i // 400 >= {busy_from} THEN 80 ELSE 20 END AS busy,
            ['JFK', 'EWR', 'LGA'][1 + i // 7 % 3] AS airport,
            abs(i % 2 - CASE WHEN busy THEN 0.45 ELSE 0.1 END) AS score,
            CASE WHEN i // 400 = 15 THEN NULL
                WHEN (i // 100 * 31 + i * 3) % 20 < CASE WHEN busy THEN 9 ELSE 2 END THEN 1 - i % 2
                ELSE i % 2 END AS late,
            TIMESTAMP '2026-03-01' + INTERVAL 1 DAY * (i // 400) AS at
        FROM range({days * 400}) t(i)"""


def test_the_cause_of_a_planted_fall_is_named(store):
    report = store.performance(
        predictions(16, 10), reference=predictions(8, 99), time="at", **COLUMNS
    )
    assert report.fell
    assert report.metrics["accuracy"]["fell"]
    assert report.metrics["accuracy"]["worse"]
    assert report.causes[0][0] == "busy"
    assert report.explanation["inputs"]["value"] > 2 * report.explanation["relationship"]["value"]
    frame = report.to_df()
    accuracy = frame[frame["metric"] == "accuracy"].reset_index(drop=True)
    assert len(accuracy) == 16
    assert accuracy["labels"].tolist() == [400] * 15 + [0]
    assert math.isnan(accuracy["measured"][15])
    assert accuracy["estimated"][15] == pytest.approx(0.62, abs=0.03), "without any label"
    assert "fell" in repr(report)
    assert "inputs changed" in report.to_html()
    assert report.to_markdown().startswith("## The model does worse")
    assert "<failure" in report.to_junit()
    assert "<table>" in report._repr_html_()


def test_a_model_that_is_as_good_as_it_was(store):
    report = store.performance(predictions(8, 99), reference=predictions(9, 99), **COLUMNS)
    assert not report.fell
    assert report.explanation is None
    assert report.causes == []
    assert report.segments == []


def test_what_is_wrong_is_said(store):
    with pytest.raises(DriftlineError, match="task"):
        store.performance(predictions(1, 99), task="clustering", label="late")
    with pytest.raises(TypeError, match="SELECT"):
        store.performance({"x": [1]}, task="regression")
