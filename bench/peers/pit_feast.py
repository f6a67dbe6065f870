"""Point-in-time joins by Feast with its DuckDB offline store over plain Parquet."""

import time
import warnings
from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64, Int64
from feast.value_type import ValueType
from protocol import Measured

# Feast switches warnings of what it imports back on.
warnings.simplefilter("ignore")


class Peer:
    modules = ("feast", "duckdb", "pandas", "pyarrow")

    def __init__(self, config):
        folder = Path(config["folder"])
        views = config["views"]
        registry = folder / f"feast-{views[0]['name']}-{views[0]['ttl_seconds']}.db"
        self.store = FeatureStore(
            config=RepoConfig(
                project="bench",
                provider="local",
                registry=str(registry),
                offline_store={"type": "duckdb"},
                online_store={"type": "sqlite", "path": str(folder / "feast-online.db")},
                entity_key_serialization_version=3,
            )
        )
        key = config["entity"]
        entity = Entity(name=key, join_keys=[key], value_type=ValueType.INT64)
        self.store.apply([entity, *(_feature_view(view, entity, config["time"]) for view in views)])
        names = [name for view in views for name in view["features"]]
        self.columns = [key, config["time"], "label", *names]
        self.features = [f"{v['name']}:{name}" for v in views for name in v["features"]]
        self.spine = pd.read_parquet(config["spine"]).rename(
            columns={config["time"]: "event_timestamp"}
        )

    def run(self, check):
        start = time.perf_counter()
        table = self.store.get_historical_features(
            entity_df=self.spine, features=self.features
        ).to_arrow()
        return Measured(time.perf_counter() - start, table=table.select(self.columns))


def _feature_view(view, entity, time_column):
    return FeatureView(
        name=view["name"],
        entities=[entity],
        ttl=timedelta(seconds=view["ttl_seconds"]),
        schema=[Field(name=entity.join_key, dtype=Int64)]
        + [Field(name=name, dtype=Float64) for name in view["features"]],
        source=FileSource(
            path=view["path"],
            timestamp_field=time_column,
            created_timestamp_column=view["created"] or None,
        ),
    )
