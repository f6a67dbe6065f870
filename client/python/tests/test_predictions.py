"""Predictions and labels from Python, over Flight."""

from __future__ import annotations

from datetime import timedelta

import driftline
import pytest
from conftest import HOUR, NOON


def test_predictions_and_labels(store: driftline.FeatureStore) -> None:
    store.create_model("served")
    rows = [
        {
            "prediction_id": f"p-{i}",
            "event_timestamp": NOON + timedelta(minutes=i),
            "model_version": 1,
            "station": "EWR",
            "temp": float(i),
            "prediction": i % 2,
            "score": 0.25 + 0.5 * (i % 2),
        }
        for i in range(10)
    ]
    receipt = store.log_predictions("served", rows, entity=["station"])
    assert (receipt.log, receipt.predictions, receipt.ids) == ("served_predictions", 10, ())
    store.log_predictions("served", rows, entity=["station"])  # sent again
    counts = store.prediction_log("served")["counts"]
    assert (counts["served"], counts["logged"], counts["duplicates"]) == (10, 10, 10)

    unnamed = store.log_predictions("served", [{"temp": 1.5, "prediction": 1}])
    assert len(unnamed.ids) == 1

    labels = [
        {"prediction_id": f"p-{i}", "label": 1, "event_timestamp": NOON + HOUR} for i in range(4)
    ]
    assert store.log_labels("served", labels).labels == 4
    by_entity = [{"station": "EWR", "prediction_time": NOON + timedelta(minutes=5), "label": 0}]
    store.log_labels("served", by_entity, entity=["station"])
    status = store.labels("served")
    assert (status["predictions"], status["labelled"], status["orphans"]) == (11, 5, 0)

    table = store.sql("SELECT prediction_id, temp, label FROM predictions.served WHERE label = 0")
    assert table.to_pylist() == [{"prediction_id": "p-5", "temp": 5.0, "label": 0.0}]
    groups = store.model_performance("served", by=["model_version"])["groups"]
    assert (groups[0]["predictions"], groups[0]["labelled"]) == (10, 5)

    asked = store.ask_labels("served", budget=3)
    assert asked["rows"] == 3
    config = store.configure_prediction_log("served", mode="sync", fields=["temp"])["config"]
    assert (config["mode"], config["fields"]) == ("sync", ["temp"])


def test_what_is_no_prediction(store: driftline.FeatureStore) -> None:
    store.create_model("refused")
    with pytest.raises(driftline.NotFoundError):
        store.log_predictions("nobody", [{"prediction": 1}])
    with pytest.raises(driftline.InvalidError, match="fault"):
        store.log_predictions("refused", [{"fault": "exploded"}])
    with pytest.raises(driftline.InvalidError, match="no column"):
        store.log_predictions("refused", [{"prediction": 1}], entity=["station"])
    with pytest.raises(driftline.InvalidError, match="does not say of which"):
        store.log_labels("refused", [{"label": 1}])
    with pytest.raises(driftline.InvalidError, match="nothing of a label"):
        store.log_labels("refused", [{"prediction_id": "p", "lable": 1}])
