"""What happened in 2013, in the order in which it became known."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

DATA = Path(__file__).parent.parent / "flights" / "data"
HOUR = timedelta(hours=1)


class Past:
    """The flights of 2013 and what was known when.

    Args:
        begin: From when on flights are asked about.
        one_in: Of so many flights one is asked about.
    """

    def __init__(self, begin: datetime, one_in: int):
        flights = pd.read_parquet(DATA / "flights.parquet")
        local = flights["scheduled_departure"].dt.tz_convert("America/New_York")
        flights["hour"] = local.dt.hour + local.dt.minute / 60
        number = flights["carrier"] + flights["flight"].astype(str)
        flights["id"] = number + local.dt.strftime("-%m-%d")
        self.flights = flights.drop_duplicates("id")
        asked = (self.flights.index % one_in == 0) & self.flights["tailnum"].notna()
        self.asked = self.flights[asked & (self.flights["scheduled_departure"] >= begin)]
        self.tables = {
            "weather": (pd.read_parquet(DATA / "weather.parquet"), "created"),
            "departures": self._events("departure", ["origin", "dep_delay"]),
            "carrier_performance": self._events("arrival", ["carrier", "flight", "arr_delay"]),
        }

    def _events(self, time: str, columns: list[str]) -> tuple[pd.DataFrame, str]:
        rows = self.flights[self.flights[time].notna() & self.flights[columns[-1]].notna()]
        return rows[columns].assign(event_timestamp=rows[time]), "event_timestamp"

    def landed_before(self, end: datetime, step: timedelta) -> pd.DataFrame:
        """All flights that landed before a time, for a first training set.

        They are looked at when a service would have asked about them: at the beginning of the
        step of their departure.
        """
        rows = self.flights[self.flights["arrival"] < end].dropna(subset=["arr_delay", "tailnum"])
        return pd.DataFrame(
            {
                "event_timestamp": rows["scheduled_departure"].dt.floor(step),
                **{name: rows[name] for name in ("origin", "carrier", "tailnum")},
                **{name: rows[name] for name in ("distance", "hour")},
                "late": rows["arr_delay"] >= 15,
            }
        )

    def known(self, view: str, begin: datetime, end: datetime) -> pd.DataFrame:
        """The rows of a view that became known in (begin, end]."""
        rows, known = self.tables[view]
        return rows[(rows[known] > begin) & (rows[known] <= end)]

    def due(self, begin: datetime, end: datetime) -> pd.DataFrame:
        """The flights that are asked about in [begin, end)."""
        times = self.asked["scheduled_departure"]
        return self.asked[(times >= begin) & (times < end)]

    def labels(self, begin: datetime, end: datetime) -> list[dict]:
        """Whether they were late, of those whose delay became known: an hour after they landed."""
        times = self.asked["arrival"]
        landed = self.asked[(times >= begin - HOUR) & (times < end - HOUR)]
        return [
            {"prediction_id": row.id, "label": int(row.arr_delay >= 15)}
            for row in landed.dropna(subset=["arr_delay"]).itertuples()
        ]
