"""whylogs on a Parquet file, by way of pandas, which is what it takes."""

import math
import time

import pandas as pd
import whylogs
from protocol import Measured


class Peer:
    modules = ("whylogs", "pandas")

    def __init__(self, config):
        self.file, self.columns = config["file"], config["columns"]
        self.numbers = set(config["numbers"])

    def run(self, check):
        start = time.perf_counter()
        frame = pd.read_parquet(self.file)
        view = whylogs.log(pandas=frame).view()
        view.serialize()
        seconds = time.perf_counter() - start
        numbers = []
        if check:
            for name in self.columns:
                numbers += self._numbers(view.get_column(name).to_summary_dict(), name)
        return Measured(len(frame) * len(frame.columns) / seconds, numbers=numbers)

    def _numbers(self, summary, name):
        moments = [math.nan] * 4
        if name in self.numbers:
            moments = [summary[f"distribution/{k}"] for k in ("min", "max", "mean", "stddev")]
        distinct = summary.get("cardinality/est", math.nan)  # not of times
        return [summary["counts/n"], summary["counts/null"], distinct, *moments]
