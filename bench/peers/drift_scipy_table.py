"""The two-sample Kolmogorov–Smirnov test of SciPy on every column of two Parquet files."""

import time

import pyarrow.parquet as pq
from protocol import Measured
from scipy.stats import ks_2samp


class Peer:
    modules = ("scipy", "pyarrow")

    def __init__(self, config):
        self.config = config

    def run(self, check):
        start = time.perf_counter()
        reference = pq.read_table(self.config["reference"])
        current = pq.read_table(self.config["current"])
        numbers = []
        for name in sorted(reference.column_names):
            result = ks_2samp(reference[name].to_numpy(), current[name].to_numpy(), method="auto")
            numbers += [result.statistic, result.pvalue]
        return Measured(time.perf_counter() - start, numbers=numbers)
