"""A peer that answers with a file's rows, prints where it must not, and has one number."""

import pyarrow.parquet as pq
from protocol import Measured


class Peer:
    modules = ("pyarrow",)

    def __init__(self, config):
        print("this line is no answer")
        self.table = pq.read_table(config["file"])

    def run(self, check):
        return Measured(1.5, table=self.table, numbers=[0.1])
