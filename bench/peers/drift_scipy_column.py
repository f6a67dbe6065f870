"""The two-sample Kolmogorov–Smirnov test of SciPy on two arrays in memory."""

import time

import numpy as np
from protocol import Measured
from scipy.stats import ks_2samp


class Peer:
    modules = ("scipy", "numpy")

    def __init__(self, config):
        self.reference = np.fromfile(config["reference"])
        self.current = np.fromfile(config["current"])

    def run(self, check):
        start = time.perf_counter()
        result = ks_2samp(self.reference, self.current, method="auto")
        seconds = time.perf_counter() - start
        return Measured(seconds, numbers=[result.statistic, result.pvalue])
