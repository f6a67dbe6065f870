"""One SELECT over plain Parquet by DuckDB in this process, the answer as Arrow."""

import time

import duckdb
from protocol import Measured


class Peer:
    modules = ("duckdb",)

    def __init__(self, config):
        self.query, self.repeats = config["query"], config["repeats"]
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")

    def run(self, check):
        start = time.perf_counter()
        for _ in range(self.repeats):
            table = self.connection.sql(self.query).to_arrow_table()
        milliseconds = (time.perf_counter() - start) * 1000
        return Measured(milliseconds / self.repeats, table=table)
