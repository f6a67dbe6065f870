"""pyarrow's Flight server (C++): sends batches that it holds in memory, counts what it gets.

Sending is C++ from the batch to the socket, without Python in between. It is the upper
limit of what a Flight server can do on the machine, not a store: it reads no file,
checks no value, and forgets what it was sent.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.parquet as pq


class Server(fl.FlightServerBase):
    def __init__(self, table: pa.Table, port: int):
        self.table = table
        super().__init__(f"grpc://127.0.0.1:{port}")

    def do_get(self, context: fl.ServerCallContext, ticket: fl.Ticket) -> fl.FlightDataStream:
        return fl.RecordBatchStream(self.table)

    def do_put(
        self,
        context: fl.ServerCallContext,
        descriptor: fl.FlightDescriptor,
        reader: fl.MetadataRecordBatchReader,
        writer: fl.FlightMetadataWriter,
    ) -> None:
        rows = sum(chunk.data.num_rows for chunk in reader)
        writer.write(json.dumps({"rows": rows}).encode())


class Peer:
    modules = ("pyarrow",)

    def __init__(self, config: dict[str, Any]):
        """Serve until the process ends.

        Config is {"port", and either "from": "host:port" of a server whose answer to "get" is
        served, in the same batches, or "rows": a file, and "batch_rows": of each batch sent}.
        """
        if "from" in config:
            ticket = fl.Ticket(json.dumps(config["get"]))
            reader = fl.connect(f"grpc://{config['from']}").do_get(ticket)
            batches = [chunk.data for chunk in reader]
        else:
            table = pq.read_table(config["rows"]).combine_chunks()
            batches = table.to_batches(max_chunksize=config["batch_rows"])
        sizes = sorted(batch.num_rows for batch in batches)
        print(f"  {len(batches)} batches of {sizes[len(sizes) // 2]} rows", file=sys.stderr)
        table = pa.Table.from_batches(batches)
        self.server = Server(table, config["port"])
        threading.Thread(target=self.server.serve, daemon=True).start()

    def run(self, check: bool) -> None:
        raise NotImplementedError("ask the server by Flight")

    def close(self) -> None:
        self.server.shutdown()
