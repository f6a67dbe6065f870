"""Stored tables and their snapshots."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from driftline.times import parse_time

if TYPE_CHECKING:
    from driftline._http import HTTP


@dataclass(frozen=True)
class Snapshot:
    """One committed state of a table.

    Attributes:
        table: The table, such as "features.weather".
        id: Its number.
        time: When it was committed; None for a table without a snapshot.
        rows: How many rows it has.
        files: How many files they are in.
        bytes: The size of those.
        cause: What made it: "write", "flush", "compaction", "rollback" or "erasure".
        tags: Its names, which keep it.
        pins: Datasets, runs and models that were made from it, which keep it too.
    """

    table: str
    id: int
    time: datetime | None
    rows: int
    files: int
    bytes: int
    cause: str
    tags: list[str] = field(default_factory=list)
    pins: list[str] = field(default_factory=list)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Snapshot:
        """Reads the server's form."""
        known = body["id"] != 0
        return cls(
            body["table"],
            body["id"],
            parse_time(body["time"]) if known else None,
            body["rows"],
            body["files"],
            body["bytes"],
            body["cause"],
            list(body.get("tags") or ()),
            list(body.get("pins") or ()),
        )


class StoredTable:
    """A table of the server: its snapshots, and its upkeep.

    Example:
        >>> weather = store.table("features.weather")
        >>> weather.tag(weather.snapshots()[-1].id, "before_backfill")
    """

    def __init__(self, name: str, http: HTTP) -> None:
        self.name = name
        self._http = http

    def snapshots(self) -> list[Snapshot]:
        """Returns the snapshots, oldest first."""
        body = self._http.get("tables", self.name, "snapshots")
        return [Snapshot.from_json(s) for s in body["snapshots"]]

    def diff(self, start: int, end: int) -> dict[str, Any]:
        """Says what changed from one snapshot to another."""
        return self._http.get("tables", self.name, "diff", **{"from": start, "to": end})

    def tag(self, snapshot: int, name: str) -> None:
        """Gives a snapshot a name, which keeps it until the tag is removed."""
        self._http.put("tables", self.name, "tags", name, body={"snapshot": snapshot})

    def untag(self, name: str) -> None:
        """Removes a tag."""
        self._http.delete("tables", self.name, "tags", name)

    def rollback(self, snapshot: int) -> Snapshot:
        """Makes a new snapshot with the rows of an older one, online too."""
        body = self._http.post("tables", self.name, "rollback", body={"snapshot": snapshot})
        return Snapshot.from_json(body)

    def compact(self) -> dict[str, Any]:
        """Merges files where that pays, and says what was done."""
        return self._http.post("tables", self.name, "compact", body={})

    def expire(self, *, last: int = 10, max_age: str = "168h") -> dict[str, Any]:
        """Gives up old snapshots that nothing needs, and says what was done.

        Args:
            last: Keep the newest so many.
            max_age: Keep those of at most this age.
        """
        body = {"last": last, "max_age": max_age}
        return self._http.post("tables", self.name, "expire", body=body)

    def scrub(self) -> dict[str, Any]:
        """Reads every file, compares it with its name, and says what was found."""
        return self._http.post("tables", self.name, "scrub", body={})
