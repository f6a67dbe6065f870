"""Feast's own feature server, filled with the rows of one Parquet file.

The file has the columns entity, event_timestamp and feature_0, feature_1, …, all int64
but the time. Every ten features are one feature view (feature_view_0, …), as in
feast-benchmarks. The server runs with what Feast's documentation recommends for speed:
no access log, several workers that are never restarted, a registry that is not read
again.

On Redis there is also a precomputed service per size asked for: Feast's fastest way to
answer, one blob per entity.
"""

from __future__ import annotations

import logging
import os
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from datetime import timedelta
from typing import Any

import pyarrow.parquet as pq
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Int64

FEATURES_PER_VIEW = 10
START_SECONDS = 60
STORES = {"sqlite": "type: sqlite\n    path: online.db", "redis": "type: redis"}


class Peer:
    modules = ("feast",)

    def __init__(self, config: dict[str, Any]):
        """Fill the store and serve it.

        Config is {"rows": file, "folder", "store": "sqlite" or "redis", "port", "redis_port",
        "workers", "services": sizes in features, "go_server": the program of Feast's Go
        feature server, to be served by that and not by Python's, or ""}.
        """
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        self.config = config
        self.folder = pathlib.Path(config["folder"])
        self.folder.mkdir()
        self.processes: list[subprocess.Popen] = []
        online = STORES[config["store"]]
        if config["store"] == "redis":
            online += f"\n    connection_string: 127.0.0.1:{config['redis_port']}"
            self._start_redis()
        (self.folder / "feature_store.yaml").write_text(_configuration(online))
        self._fill()
        if config["go_server"]:
            self._serve_go()
        else:
            self._serve()

    def run(self, check: bool) -> None:
        raise NotImplementedError("ask the server by HTTP")

    def close(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
            process.wait()

    def _start(self, name: str, *command: str) -> None:
        environment = {**os.environ, "HOME": str(self.folder)}  # gunicorn leaves a socket there
        with open(self.folder / f"{name}.log", "w") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log
            )
        self.processes.append(process)

    def _start_redis(self) -> None:
        port = str(self.config["redis_port"])
        self._start("redis", "redis-server", "--port", port, "--save", "", "--appendonly", "no")
        time.sleep(1)

    def _fill(self) -> None:
        table = pq.read_table(self.config["rows"])
        features = [name for name in table.column_names if name.startswith("feature_")]
        sizes = self.config["services"] if self.config["store"] == "redis" else []
        entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
        views = _views(entity, features, self.config["rows"])
        services = [
            FeatureService(
                name=f"features_{size}",
                features=views[: size // FEATURES_PER_VIEW],
                precompute_online=True,
            )
            for size in sizes
        ]
        store = FeatureStore(repo_path=str(self.folder))
        store.apply([entity, *views, *services])
        for view in views:
            names = ["entity", "event_timestamp", *(field.name for field in view.features)]
            store.write_to_online_store(view.name, df=table.select(names).to_pandas())
        for service in services:
            written = store.precompute_feature_service(service.name)
            if written != table.num_rows:
                raise RuntimeError(f"precomputed {written} entities of {table.num_rows}")

    def _serve(self) -> None:
        feast = pathlib.Path(sys.executable).with_name("feast")
        self._start(
            "feast",
            str(feast),
            "serve",
            f"--port={self.config['port']}",
            f"--workers={self.config['workers']}",
            "--no-access-log",
            "--max-requests=0",
            "--max-requests-jitter=0",
            "--registry_ttl_sec=86400",
        )
        self._wait("feast", "/health")
        time.sleep(3)  # the other workers

    def _serve_go(self) -> None:
        port = self.config["port"]
        self._start(
            "feast-go",
            self.config["go_server"],
            "-type=http",
            f"-chdir={self.folder}",
            "-host=127.0.0.1",
            f"-port={port}",
            f"-metrics-port={self.config['metrics_port']}",
        )
        self._wait("feast-go", "/health")

    def _wait(self, name: str, path: str) -> None:
        for _ in range(START_SECONDS):
            try:
                urllib.request.urlopen(
                    f"http://127.0.0.1:{self.config['port']}{path}", timeout=5
                ).close()
            except urllib.error.HTTPError:
                return  # it answers
            except OSError:
                time.sleep(1)
            else:
                return
        log = (self.folder / f"{name}.log").read_text()[-2000:]
        raise TimeoutError(f"{name} does not answer: {log}")


def _configuration(online: str) -> str:
    return f"""project: bench
provider: local
registry:
    path: registry.db
    cache_ttl_seconds: 0
online_store:
    {online}
offline_store:
    type: file
entity_key_serialization_version: 3
"""


def _views(entity: Entity, features: list[str], rows: str) -> list[FeatureView]:
    source = FileSource(name="rows", path=rows, timestamp_field="event_timestamp")
    return [
        FeatureView(
            name=f"feature_view_{first // FEATURES_PER_VIEW}",
            entities=[entity],
            ttl=timedelta(0),
            schema=[
                Field(name=name, dtype=Int64)
                for name in features[first : first + FEATURES_PER_VIEW]
            ],
            source=source,
        )
        for first in range(0, len(features), FEATURES_PER_VIEW)
    ]
