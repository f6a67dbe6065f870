"""Tables that other programs write, read in place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import driftline
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import HOUR, NOON
from driftline import Entity, FeatureView, Field, IcebergSource, ParquetSource
from driftline.types import Float64, String
from server_process import running

STATION = Entity(name="station", join_keys=["station"], value_type=String)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def store(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A server that may read the folder."""
    home = tmp_path_factory.mktemp("server")
    with running(home, "--allow-source", folder) as url, driftline.connect(url) as store:
        yield store


def rows(*readings: tuple[str, timedelta, float]) -> pa.Table:
    return pa.table(
        {
            "station": [station for station, _, _ in readings],
            "event_timestamp": pa.array(
                [NOON + after for _, after, _ in readings], pa.timestamp("us", "UTC")
            ),
            "temp": [temp for _, _, temp in readings],
        }
    )


SPINE = {
    "station": ["a", "b", "a"],
    "event_timestamp": [NOON + HOUR, NOON + HOUR, NOON - HOUR],
}


def view(name: str, source: ParquetSource | IcebergSource) -> FeatureView:
    return FeatureView(
        name=name, entities=[STATION], schema=[Field("temp", Float64)], source=source
    )


def temps(store: driftline.FeatureStore, name: str) -> list[float | None]:
    job = store.get_historical_features(entity_df=SPINE, features=[f"{name}:temp"])
    return job.to_arrow()["temp"].to_pylist()


def test_a_folder_of_parquet_files(store: driftline.FeatureStore, folder: Path) -> None:
    files = folder / "readings"
    files.mkdir()
    pq.write_table(rows(("a", -HOUR / 2, 1.0), ("b", HOUR, 2.0)), files / "one.parquet")
    store.apply([STATION, view("readings", ParquetSource(str(files)))])
    assert temps(store, "readings") == [1.0, 2.0, None]
    pq.write_table(rows(("a", HOUR, 3.0)), files / "two.parquet")
    assert temps(store, "readings") == [3.0, 2.0, None]
    with pytest.raises(driftline.FailedPreconditionError, match="in place"):
        store.ingest("readings", rows(("a", HOUR, 4.0)))


def test_a_table_that_pyiceberg_writes(store: driftline.FeatureStore, folder: Path) -> None:
    """Also after it was appended to, and after a column was renamed."""
    catalog = pytest.importorskip("pyiceberg.catalog.sql").SqlCatalog(
        "other", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse"
    )
    catalog.create_namespace("ops")
    first = rows(("a", -HOUR / 2, 1.0), ("b", HOUR, 2.0)).rename_columns(
        ["station", "event_timestamp", "temperature"]
    )
    table = catalog.create_table("ops.readings", schema=first.schema)
    table.append(first)
    with table.update_schema() as update:
        update.rename_column("temperature", "temp")
    table.append(rows(("a", HOUR, 3.0)))
    path = table.location().removeprefix("file://")
    store.apply([STATION, view("lake", IcebergSource(path))])
    assert temps(store, "lake") == [3.0, 2.0, None]
    assert store.sql("SELECT count(*) AS n FROM features.lake").to_pydict() == {"n": [3]}
    table.overwrite(rows(("b", HOUR, 9.0)))
    assert temps(store, "lake") == [None, 9.0, None]
    with pytest.raises(driftline.InvalidError, match="training sets"):
        store.get_online_features(features=["lake:temp"], entity_rows=[{"station": "a"}])
