"""Stored tables and their snapshots."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from driftline.errors import InvalidError, NotFoundError
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
        logged: Of those, how many are in the ingest log still; a list of tables says it.
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
    logged: int = 0

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
            body.get("logged", 0),
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

    def diff(self, start: int | str, end: int | str) -> dict[str, Any]:
        """Says what changed from one snapshot to another, given as ids or tags."""
        between = {"from": self._find(start), "to": self._find(end)}
        return self._http.get("tables", self.name, "diff", **between)

    def tag(self, snapshot: int | str, name: str) -> None:
        """Gives a snapshot a name, which keeps it until the tag is removed.

        Args:
            snapshot: Its id, or a name that it has already.
            name: Letters, digits, spaces, dots, dashes and underscores, 128 at most.

        Raises:
            InvalidError: If that is no name.
            AlreadyExistsError: If another snapshot of the table has it.
        """
        if "/" in name:  # which would be another address
            raise InvalidError(
                f'tag name "{name}" is not valid',
                "use letters, digits, spaces, dots, dashes and underscores (128 at most)",
            )
        choice = {"snapshot": self._find(snapshot)}
        self._http.put("tables", self.name, "tags", name, body=choice)

    def untag(self, name: str) -> None:
        """Removes a tag, which must be there."""
        self._http.delete("tables", self.name, "tags", name)

    def rollback(self, snapshot: int | str) -> Snapshot:
        """Makes a new snapshot with the rows of an older one (id or tag), online too."""
        choice = {"snapshot": self._find(snapshot)}
        body = self._http.post("tables", self.name, "rollback", body=choice)
        return Snapshot.from_json(body)

    def _find(self, snapshot: int | str) -> int:
        if isinstance(snapshot, int):
            return snapshot
        tagged = {tag: s.id for s in self.snapshots() for tag in s.tags}
        if snapshot not in tagged:
            raise NotFoundError(
                f"{self.name} has no snapshot that is tagged {snapshot!r}",
                "its tags are " + ", ".join(sorted(tagged)) if tagged else "it has no tags",
            )
        return tagged[snapshot]

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
