"""Our Python client that reads all runs into pandas, as a notebook does."""

from __future__ import annotations

import time
from typing import Any

import driftline
from protocol import Measured


class Peer:
    modules = ("adbc_driver_flightsql", "pandas", "pyarrow")

    def __init__(self, config: dict[str, Any]):
        """Connect to a server.

        Config is {"url": of the server, "sql": a SELECT, "rows": how many it has}.
        """
        self.config = config
        self.store = driftline.connect(config["url"])

    def run(self, check: bool) -> Measured:
        started = time.perf_counter()
        frame = self.store.sql(self.config["sql"]).to_pandas()
        seconds = time.perf_counter() - started
        if len(frame) != self.config["rows"]:
            raise ValueError(f"{len(frame)} runs were read, want {self.config['rows']}")
        return Measured(seconds, rows=len(frame))

    def close(self) -> None:
        self.store.close()
