"""Profiles: what is kept of a table's columns, to be merged and compared without its rows.

Merging is exact: the profile of a month is that of its days put together, in any order.
Comparisons are bounds that hold for certain; where they leave a verdict open it is
``not enough data``.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from driftline import _html
from driftline._http import HTTP
from driftline.drift import DriftReport
from driftline.times import parse_time


class Profile:
    """What is kept of the rows of a table.

    ``FeatureStore.profile`` makes one, and ``FeatureStore.read_profile`` reads one from a file.

    Example:
        >>> monday = store.profile(monday_frame)
        >>> tuesday = store.profile(tuesday_frame, like=monday)
        >>> tuesday.compare(monday).has_drift
        False
        >>> both = monday.merge(tuesday)
        >>> both.write("week.profile")

    Attributes:
        source: The name that the server keeps it under; empty if it does not.
        start: The profile is of rows from then on; None if it is of all.
        end: The profile is of rows before then; None if it is of all.
        rows: How many rows were profiled.
        columns: A dict for each column, in the server's form: ``column``, ``kind``,
            ``rows``, ``nulls``, ``distinct``, of numbers ``min``, ``max``, ``mean``, ``stddev``
            and ``quantiles``, of categories ``top``.
    """

    def __init__(self, http: HTTP, window: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        self.source: str = body["source"]
        self.start = parse_time(body.get("start"))
        self.end = parse_time(body.get("end"))
        self.rows: int = body["rows"]
        self.columns: list[dict[str, Any]] = list(body["columns"])
        self._http = http
        self._window = dict(window)  # what the server is told instead of the profile

    @classmethod
    def merged(cls, http: HTTP, windows: Sequence[Mapping[str, Any]]) -> Profile:
        """Has the server put windows together."""
        return cls.held(http, http.post("profiles", "merge", body={"windows": list(windows)}))

    @classmethod
    def held(cls, http: HTTP, body: Mapping[str, Any]) -> Profile:
        """Reads the server's form of a profile that comes with its bytes."""
        return cls(http, {"data": body["data"]}, body)

    def merge(self, *others: Profile) -> Profile:
        """Returns the profile of the rows of this one and of the others.

        Raises:
            FailedPreconditionError: If they were not made like one another.
        """
        return Profile.merged(self._http, [p._window for p in (self, *others)])

    def compare(
        self,
        baseline: Profile,
        *,
        columns: Sequence[str] = (),
        exclude: Sequence[str] = (),
        alpha: float | None = None,
        margin: float | None = None,
        exact: bool = False,
        histograms: str = "all",
    ) -> DriftReport:
        """Says column by column whether these rows come from the distribution of others.

        Args:
            baseline: The profile of what was.
            columns: The columns to compare; by default all.
            exclude: Columns to leave out.
            alpha: The rate of false alarms over all columns; 0.05 by default.
            margin: The smallest effect that counts; 0.01 by default.
            exact: Read the rows again where the profiles leave a verdict open. Both must
                be of tables of the server, which it keeps the profiles of.
            histograms: Which columns of the report have theirs: "all", "drifted" or "none".
                They are most of a report of a thousand columns.
        """
        body: dict[str, Any] = {"reference": baseline._window, "current": self._window}
        body |= {"columns": list(columns), "exclude": list(exclude)}
        body |= {"exact": exact, "histograms": histograms}
        body |= {k: v for k, v in {"alpha": alpha, "margin": margin}.items() if v is not None}
        report = self._http.post("profiles", "compare", body=body)
        return DriftReport(report, lambda r: self._http.post_text("drift", "report", body=r))

    def write(self, path: str | Path) -> None:
        """Writes the profile to a file, which ``driftline profiles`` reads too."""
        Path(path).write_bytes(base64.b64decode(self._bytes()))

    def _bytes(self) -> str:
        if "data" in self._window:
            return self._window["data"]
        return self._http.post("profiles", "merge", body={"windows": [self._window]})["data"]

    def __getitem__(self, column: str) -> dict[str, Any]:
        for c in self.columns:
            if c["column"] == column:
                return c
        names = [c["column"] for c in self.columns]
        raise KeyError(f"{column!r} was not profiled; columns: {names}")

    def to_df(self) -> Any:
        """Returns one row per column as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.columns)

    def __repr__(self) -> str:
        return f"Profile({self.source!r}, rows={self.rows:,}, columns={len(self.columns)})"

    def _repr_html_(self) -> str:
        rows = [tuple(str(c.get(name, "")) for name in _HEAD) for c in self.columns]
        return _html.bold(repr(self)) + _html.table(_HEAD, rows)


_HEAD = ("column", "kind", "rows", "nulls", "distinct", "min", "mean", "max")
