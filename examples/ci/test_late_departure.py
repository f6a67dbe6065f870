"""The code test of the pipeline: the model's code on rows that are made up."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pandas as pd
import pytest
from late_departure import TIMETABLE, evaluate, fit, prepare


def flights(count: int) -> pd.DataFrame:
    """Flights that are late when the wind blows, and else at random."""
    chance = np.random.default_rng(7)
    wind = chance.uniform(0, 40, count)
    start = datetime(2013, 3, 1, tzinfo=timezone.utc)
    return pd.DataFrame(
        {
            "scheduled_departure": pd.date_range(start, periods=count, freq="17min"),
            "origin": chance.choice(["EWR", "JFK", "LGA"], count),
            "distance": chance.uniform(100, 2500, count),
            "wind_speed": wind,
            "late": (wind + chance.normal(0, 8, count)) > 30,
        }
    )


def test_the_hour_is_that_of_new_york_in_winter_and_in_summer():
    times = pd.to_datetime(["2013-03-10 06:59Z", "2013-03-10 07:00Z"])  # the clocks go forward
    rows = prepare(pd.DataFrame({"scheduled_departure": times, "origin": "JFK"}))
    assert rows["hour"].tolist() == pytest.approx([1 + 59 / 60, 3])
    assert rows["weekday"].tolist() == [6, 6]


def test_an_airport_that_was_never_seen_is_missing_and_no_error():
    rows = prepare(flights(3).assign(origin=["JFK", "XXX", None]))
    assert rows["origin"].isna().tolist() == [False, True, True]


def test_the_model_learns_what_there_is_to_learn():
    rows = prepare(flights(4000))
    model = fit(rows.iloc[:3000], ["wind_speed"])
    assert list(model.feature_names_in_) == [*TIMETABLE, "wind_speed"]
    metrics = evaluate(model, rows.iloc[3000:])
    assert metrics["auc"] > 0.85
    assert 0 < metrics["brier"] < metrics["log_loss"]


def test_missing_features_are_no_error():
    rows = prepare(flights(1000))
    model = fit(rows, ["wind_speed"])
    evaluate(model, rows.assign(wind_speed=np.nan))
