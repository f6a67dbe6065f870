"""DuckDB's SUMMARIZE of a Parquet file, in this process, on all cores.

SUMMARIZE rounds what it prints, so a checked run also asks for counts and moments, which is
not timed.
"""

import math
import time

import duckdb
from protocol import Measured


class Peer:
    modules = ("duckdb",)

    def __init__(self, config):
        self.columns, self.numbers = config["columns"], set(config["numbers"])
        self.table = f"read_parquet('{config['file']}')"
        self.connection = duckdb.connect()

    def run(self, check):
        start = time.perf_counter()
        found = self.connection.execute(f"SUMMARIZE SELECT * FROM {self.table}").fetchall()
        seconds = time.perf_counter() - start
        values = found[0][10] * len(self.columns)
        return Measured(values / seconds, numbers=self._numbers() if check else [])

    def _numbers(self):
        asked = []
        for name in self.columns:
            asked += ["count(*)", f'count(*) - count("{name}")', f'approx_count_distinct("{name}")']
            if name in self.numbers:
                asked += [f'{f}("{name}")::DOUBLE' for f in ("min", "max", "avg", "stddev_samp")]
            else:
                asked += ["'nan'::DOUBLE"] * 4
        row = self.connection.execute(f"SELECT {', '.join(asked)} FROM {self.table}").fetchone()
        return [math.nan if v is None else float(v) for v in row]
