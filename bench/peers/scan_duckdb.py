"""A scan of all columns of a plain Parquet file, by DuckDB."""

import time

import duckdb
from protocol import Measured


class Peer:
    modules = ("duckdb",)

    def __init__(self, config):
        (view,) = config["views"]
        sums = ", ".join(f"sum({name})" for name in view["features"])
        self.query = (
            f"SELECT count({config['entity']}), max({config['time']}), {sums} "
            f"FROM read_parquet('{view['path']}')"
        )
        self.connection = duckdb.connect()

    def run(self, check):
        start = time.perf_counter()
        self.connection.sql(self.query).fetchall()
        return Measured(time.perf_counter() - start)
