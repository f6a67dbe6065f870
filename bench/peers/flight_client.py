"""The pyarrow Flight client that measures every Flight server alike, in MB of values per second."""

from __future__ import annotations

import json
import time
from typing import Any

import pyarrow.flight as fl
import pyarrow.parquet as pq
from protocol import Measured

MEGABYTE = 1e6


class Peer:
    modules = ("pyarrow",)

    def __init__(self, config: dict[str, Any]):
        """Connect to a server.

        Config is {"address": "host:port", "bytes": size of the values, and either "get": a
        ticket's command, or "put": commands, one for each run in turn, with "rows": a file,
        and "batch_rows"}.
        """
        self.config = config
        self.client = fl.connect(f"grpc://{config['address']}")
        if "put" in config:
            table = pq.read_table(config["rows"]).combine_chunks()
            self.batches = table.to_batches(max_chunksize=config["batch_rows"])
            self.commands = iter(config["put"])

    def run(self, check: bool) -> Measured:
        return self._put() if "put" in self.config else self._get()

    def close(self) -> None:
        self.client.close()

    def _get(self) -> Measured:
        ticket = fl.Ticket(json.dumps(self.config["get"]))
        started = time.perf_counter()
        table = self.client.do_get(ticket).read_all()
        return Measured(self._speed(started), table=table)

    def _put(self) -> Measured:
        descriptor = fl.FlightDescriptor.for_command(json.dumps(next(self.commands)))
        started = time.perf_counter()
        writer, answers = self.client.do_put(descriptor, self.batches[0].schema)
        for batch in self.batches:
            writer.write_batch(batch)
        writer.done_writing()
        rows = json.loads(answers.read().to_pybytes())["rows"]
        writer.close()
        return Measured(self._speed(started), rows=rows)

    def _speed(self, started: float) -> float:
        return self.config["bytes"] / MEGABYTE / (time.perf_counter() - started)
