"""A bulk write as a careful script does it: sort, one Parquet file, fsync."""

import os
import time
from pathlib import Path

import pyarrow.parquet as pq
from protocol import Measured


class Peer:
    modules = ("pyarrow",)

    def __init__(self, config):
        self.rows = pq.read_table(config["rows"])
        self.order = [(name, "ascending") for name in config["sort_by"]]
        self.path = Path(config["folder"]) / "sorted.parquet"

    def run(self, check):
        self.path.unlink(missing_ok=True)
        start = time.perf_counter()
        # Random numbers are larger as a dictionary, and slower to write.
        pq.write_table(self.rows.sort_by(self.order), self.path, use_dictionary=False)
        _sync(self.path)
        _sync(self.path.parent)
        seconds = time.perf_counter() - start
        table = pq.read_table(self.path) if check else None
        return Measured(self.rows.num_rows / seconds, table=table)


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
