"""Features over windows of time, from a definition in Python to values in every form."""

import math
from datetime import timedelta

import driftline
import pyarrow as pa
import pytest
from conftest import NOON
from driftline import Aggregation, Entity, FeatureView, Field
from driftline.types import Float64, Int64, String

MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def departures(store):
    """A view of events with one aggregation of each shape, and rows."""
    carrier = Entity("agg_carrier", join_keys=["carrier"], value_type=String)
    view = FeatureView(
        "agg_departures",
        entities=[carrier],
        schema=[Field("flight", Int64), Field("delay", Float64), Field("dest", String)],
        event_id="flight",
        aggregations=[
            Aggregation("delay", "mean", ["1h", timedelta(days=1)]),
            Aggregation(function="count", windows=["1d"], filter="delay > 15", name="late"),
            Aggregation("delay", "last_n", ["1d"], n=2),
            Aggregation("dest", "top_k", time_window="1d", n=2),
            Aggregation("delay", "sum", ["1d"], by="dest", name="by_dest"),
        ],
    )
    store.apply([carrier, view])
    store.ingest(
        view,
        pa.table(
            {
                "carrier": ["UA", "UA", "UA", "AA"],
                "event_timestamp": [NOON, NOON, NOON + 40 * MINUTE, NOON],
                "flight": [1, 2, 3, 4],
                "delay": [10.5, 20.0, None, 1.0],
                "dest": ["LAX", "SFO", "LAX", "MIA"],
            }
        ),
    )
    return view


def asked(*rows):
    carriers, times = zip(*rows, strict=True)
    return pa.table({"carrier": list(carriers), "event_timestamp": list(times)})


def test_training_sets_have_lists_and_maps(store, departures):
    names = [n for a in departures.aggregations for n in a.feature_names]
    assert names[:3] == ["delay_mean_1h", "delay_mean_1d", "late_1d"]
    job = store.get_historical_features(
        asked(("UA", NOON + 50 * MINUTE), ("UA", NOON + 60 * MINUTE), ("DL", NOON)),
        [departures[names]],
        save_as="agg_training",
    )
    table = job.to_arrow()
    assert table.select(names).to_pydict() == {
        "delay_mean_1h": [15.25, None, None],
        "delay_mean_1d": [15.25, 15.25, None],
        "late_1d": [1, 1, 0],
        "delay_last_n_1d": [[10.5, 20.0], [10.5, 20.0], None],
        "dest_top_k_1d": [["LAX", "SFO"], ["LAX", "SFO"], None],
        "by_dest_1d": [
            [("LAX", 10.5), ("SFO", 20.0)],
            [("LAX", 10.5), ("SFO", 20.0)],
            None,
        ],
    }
    frame = job.to_df()
    assert list(frame["dest_top_k_1d"][0]) == ["LAX", "SFO"]
    assert math.isnan(frame["delay_mean_1h"][1])
    assert job.to_polars()["delay_last_n_1d"].to_list() == [[10.5, 20.0], [10.5, 20.0], None]
    assert job.dataset.rebuild().equal
    assert job.dataset.to_df()["late_1d"].to_list() == [1, 1, 0]


def test_the_catalogue_gives_them_back(store, departures):
    assert store.get_feature_view(departures.name) == departures
    rows = store.sql("SELECT * FROM meta.features WHERE view = 'agg_departures'").to_pylist()
    described = {r["name"]: (r["type"], r["description"]) for r in rows}
    assert described["late_1d"] == ("int64", "count(*) over 1d where delay > 15")
    assert described["by_dest_1d"] == ("map<string, float64>", "sum(delay) over 1d by dest")


def test_a_wrong_one_is_refused(store, departures):
    wrong = FeatureView(
        departures.name,
        entities=departures.entities,
        schema=departures.schema,
        aggregations=[Aggregation("dest", "mean", ["1h"])],
    )
    with pytest.raises(
        driftline.InvalidError, match="mean cannot be applied to values of type string"
    ):
        store.plan([wrong])
