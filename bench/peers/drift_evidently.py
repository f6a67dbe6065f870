"""The default drift report of Evidently on two Parquet files.

What it finds is not what others find: its default tests are other ones. So that answers can
be compared at all, a checked run also says what SciPy finds, which is not timed.
"""

import time

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
from protocol import Measured
from scipy.stats import chi2_contingency, ks_2samp


class Peer:
    modules = ("evidently", "pandas", "scipy")

    def __init__(self, config):
        self.config = config
        self.categorical = config["categorical"] or []

    def run(self, check):
        start = time.perf_counter()
        reference = pd.read_parquet(self.config["reference"])
        current = pd.read_parquet(self.config["current"])
        numerical = [name for name in reference.columns if name not in self.categorical]
        definition = DataDefinition(
            numerical_columns=numerical, categorical_columns=self.categorical
        )
        report = Report([DataDriftPreset()]).run(
            Dataset.from_pandas(current, data_definition=definition),
            Dataset.from_pandas(reference, data_definition=definition),
        )
        report.dict()
        seconds = time.perf_counter() - start
        numbers = self._scipy(reference, current) if check else []
        return Measured(seconds, numbers=numbers)

    def _scipy(self, reference, current):
        numbers = []
        for name in sorted(reference.columns):
            if name in self.categorical:
                counts = pd.concat(
                    [reference[name].value_counts(), current[name].value_counts()], axis=1
                ).fillna(0)
                result = chi2_contingency(counts.T, correction=False)
            else:
                result = ks_2samp(reference[name], current[name], method="auto")
            numbers += [result.statistic, result.pvalue]
        return numbers
