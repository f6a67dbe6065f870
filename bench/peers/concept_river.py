"""One of River's drift detectors on an array in memory, value by value."""

import time

import numpy as np
from protocol import Measured
from river import drift

DETECTORS = {
    "adwin": drift.ADWIN,
    "ddm": drift.binary.DDM,
    "eddm": drift.binary.EDDM,
    "hddm_a": drift.binary.HDDMA,
    "hddm_w": drift.binary.HDDMW,
    "page_hinkley": drift.PageHinkley,
}


class Peer:
    modules = ("river",)

    def __init__(self, config):
        self.kind = config["kind"]
        self.values = np.fromfile(config["values"])
        if self.kind in ("ddm", "eddm", "hddm_a", "hddm_w"):
            self.values = self.values.astype(int)
        self.values = self.values.tolist()

    def run(self, check):
        detector = DETECTORS[self.kind]()
        alarms = []
        start = time.perf_counter()
        for i, x in enumerate(self.values):
            detector.update(x)
            if detector.drift_detected:
                alarms.append(i)
        nanoseconds = (time.perf_counter() - start) * 1e9
        return Measured(nanoseconds / len(self.values), numbers=alarms)
