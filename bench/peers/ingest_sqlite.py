"""Durable one-row writes into SQLite: WAL, synchronous=FULL, one transaction each.

The library runs in this process, so unlike Driftline it pays for no network; and it keeps
the rows in one table, without a second copy for online reads.
"""

import sqlite3
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from protocol import Measured


class Peer:
    modules = ("pyarrow",)

    def __init__(self, config):
        table = pq.read_table(config["rows"])
        self.schema = table.schema
        times = [f.name for f in table.schema if pa.types.is_timestamp(f.type)]
        numbers = table.cast(pa.schema([pa.field(f.name, _stored(f, times)) for f in table.schema]))
        self.rows = list(zip(*(column.to_pylist() for column in numbers.columns), strict=True))
        self.writers = config["writers"]
        self.path = Path(config["folder"]) / "pushes.sqlite"

    def run(self, check):
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        columns = ", ".join(f.name for f in self.schema)
        with self._connect() as connection:
            connection.execute(f"CREATE TABLE rows ({columns})")
        insert = f"INSERT INTO rows VALUES ({', '.join('?' * len(self.schema))})"
        ready = threading.Barrier(self.writers + 1)
        threads = [
            threading.Thread(target=self._write, args=(insert, self.rows[i :: self.writers], ready))
            for i in range(self.writers)
        ]
        for thread in threads:
            thread.start()
        ready.wait()
        start = time.perf_counter()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - start
        (stored,) = self._connect().execute("SELECT count(*) FROM rows").fetchone()
        if stored != len(self.rows):
            raise RuntimeError(f"{stored} of {len(self.rows)} rows were written")
        return Measured(len(self.rows) / seconds, table=self._read() if check else None)

    def _connect(self):
        # Writers wait for each other; without isolation each statement is a transaction.
        connection = sqlite3.connect(self.path, timeout=120, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _write(self, insert, rows, ready):
        connection = self._connect()
        ready.wait()
        for row in rows:
            connection.execute(insert, row)
        connection.close()

    def _read(self):
        columns = zip(*self._connect().execute("SELECT * FROM rows").fetchall(), strict=True)
        arrays = [pa.array(c).cast(f.type) for c, f in zip(columns, self.schema, strict=True)]
        return pa.Table.from_arrays(arrays, schema=self.schema)


def _stored(field, times):
    return pa.int64() if field.name in times else field.type
