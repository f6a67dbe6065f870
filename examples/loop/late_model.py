"""The model of the loop: will this flight arrive 15 minutes late or more?

It has a file of its own, so that whoever loads a version can import what it consists of.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the cores to others

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

FEATURES = [
    *("temp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"),
    *("dep_delay_mean_1h", "dep_delay_mean_3h", "dep_delay_mean_1d"),
    *("arr_delay_mean_1d", "arr_delay_mean_7d", "year", "engines", "seats"),
    *("distance", "hour"),
]


class LateModel:
    """Gradient boosted trees over the features as they are served, and nothing else."""

    def __init__(self, trees: HistGradientBoostingClassifier):
        self.trees = trees

    @classmethod
    def fit(cls, frame: pd.DataFrame) -> LateModel:
        """Fits rows that all have a label, ``late``."""
        trees = HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=15, l2_regularization=1.0, random_state=7
        )
        return cls(trees.fit(cls.matrix(frame), frame["late"].astype(bool)))

    def score(self, frame: pd.DataFrame) -> np.ndarray:
        """Returns the probability of being late, one per row."""
        return self.trees.predict_proba(self.matrix(frame))[:, 1]

    @staticmethod
    def matrix(frame: pd.DataFrame) -> np.ndarray:
        """Returns the features as numbers, one row per flight; what is missing is NaN."""
        return frame[FEATURES].astype(float).to_numpy()


class Broken(LateModel):
    """A candidate that went wrong: it cannot digest calm air."""

    def score(self, frame: pd.DataFrame) -> np.ndarray:
        if (pd.to_numeric(frame["wind_speed"], errors="coerce") < 6).any():
            raise ZeroDivisionError("division by the speed of the wind")
        return super().score(frame)
