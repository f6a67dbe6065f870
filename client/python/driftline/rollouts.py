"""Who answers which request of a model, and how a candidate becomes champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from driftline._http import HTTP


@dataclass(frozen=True)
class RouteDecision:
    """Who answers the requests of one key.

    Attributes:
        version: The version that answers.
        arm: ``champion`` or ``candidate``.
        slot: 0 to 9,999: the candidate's below a hundred times its weight in percent.
        seq: The sequence of the route, to log predictions with; 0 without a rollout.
        rollout: The rollout's id, or "".
        mirror: Versions that get the request too, their answers discarded.
        fallback: The version that answers where this one fails, or None.
        pinned: The key was pinned to its arm: the request is no evidence.
    """

    model: str
    key: str
    version: int
    arm: str
    slot: int
    seq: int
    rollout: str
    mirror: tuple[int, ...]
    fallback: int | None
    pinned: bool

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> RouteDecision:
        """Reads the server's form."""
        return cls(
            body["model"],
            body["key"],
            body["version"],
            body["arm"],
            body["slot"],
            body["seq"],
            body.get("rollout", ""),
            tuple(m["version"] for m in body.get("mirror") or ()),
            body.get("fallback") or None,
            body.get("pinned", False),
        )


class Rollouts:
    """What ``FeatureStore`` does with rollouts."""

    _http: HTTP

    def route(self, model: str, key: str) -> RouteDecision:
        """Says which version of a model answers the requests of a key.

        The same key has the same answer on every server and after every restart, as long as
        the shares of a rollout are the same.

        Example:
            >>> store.route("late_departure", "user-42").version
            3

        Args:
            model: The model's name.
            key: What requests are dealt by, such as the id of a user.

        Raises:
            NotFoundError: There is no such model.
            FailedPreconditionError: Nobody answers for it yet.
        """
        return RouteDecision.from_json(self._http.get("models", model, "route", key=key))
