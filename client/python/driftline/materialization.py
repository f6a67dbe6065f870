"""Jobs that bring rows online which were written offline only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from driftline.errors import InternalError, UnavailableError
from driftline.times import parse_time


@dataclass(frozen=True)
class Materialization:
    """A materialization, and how far it is.

    Attributes:
        id: Its name.
        views: The feature views.
        start: The least event time, inclusive; None if it is the first.
        end: The greatest event time, inclusive; None for a rebuild.
        incremental: Whether it takes everything that is not online yet.
        rebuild: Whether it makes all online rows of the views anew.
        state: "running", "done", "failed" or "cancelled".
        rows: How many rows it has looked at, of ``total``.
        total: How many there were when it began.
        done: The views that are finished.
        error: Why it failed.
    """

    id: str
    views: tuple[str, ...]
    start: datetime | None
    end: datetime | None
    incremental: bool
    rebuild: bool
    state: str
    rows: int
    total: int
    done: tuple[str, ...]
    error: str

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Materialization:
        """Reads the server's form."""
        return cls(
            id=body["id"],
            views=tuple(body["feature_views"] or ()),
            start=parse_time(body.get("start_ts")),
            end=parse_time(body.get("end_ts")),
            incremental=body["incremental"],
            rebuild=body.get("rebuild", False),
            state=body["state"],
            rows=body["rows"],
            total=body["total"],
            done=tuple(body["done"] or ()),
            error=body.get("error", ""),
        )

    def checked(self) -> Materialization:
        """Returns it if it succeeded, and raises what became of it otherwise."""
        if self.state == "failed":
            raise InternalError(f"{self.id} failed: {self.error}")
        if self.state == "cancelled":
            raise UnavailableError(f"{self.id} was cancelled")
        return self
