"""Policies: how models are kept good.

A policy is applied as a feature view is:

    from driftline import Policy

    store.apply(Policy(
        model="late_departure",
        triggers=[{"name": "weekly", "time": {"cron": "0 6 * * 1"}}],
        training={"command": ["python", "train.py"], "dataset": "late_departure"},
    ))
    store.policies()["late_departure"].state
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from driftline._http import HTTP
from driftline.times import parse_time


@dataclass(frozen=True)
class Policy:
    """The policy of a model, as it is defined. Its parts have the fields that the YAML has.

    Attributes:
        model: The model; a model has one policy at most.
        triggers: What asks for it to be trained: dicts of ``name`` and one of ``time``,
            ``performance``, ``data``, ``drift`` and ``feature_version``.
        pacing: How often it may be trained: ``{"cooldown": "6h", "budget": 4}``.
        training: What trains it: one of ``command``, ``webhook``, ``airflow`` and
            ``kubernetes``, and ``dataset``, ``timeout``, ``parameters``.
        evaluation: What a candidate must show before it gets any traffic.
        rollout: How a candidate becomes champion.
        notices: Who is told of what: ``{"channels": ["ops"], "on": ["rollout_rolled_back"]}``.
        disabled: Whether nothing is triggered.
        description: For people.
        owner: Whom to ask.
        tags: For people and scripts.
    """

    model: str
    triggers: Sequence[Mapping[str, Any]] = ()
    pacing: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] | None = None
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    rollout: Mapping[str, Any] = field(default_factory=dict)
    notices: Sequence[Mapping[str, Any]] = ()
    disabled: bool = False
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the form that the server reads."""
        body = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in body.items() if value}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Policy:
        """Reads the server's form."""
        names = set(cls.__dataclass_fields__)
        # What a part leaves out is left out here too.
        filled = {name: value for name, value in body.items() if name in names and value}
        return cls(**filled)


class RegisteredPolicy:
    """A policy that the server has, and where the training of its model stands."""

    def __init__(self, http: HTTP, body: Mapping[str, Any]) -> None:
        self._http = http
        self._body = body

    def __repr__(self) -> str:
        return f"<RegisteredPolicy {self.model} version {self.version}>"

    @property
    def model(self) -> str:
        """The model whose policy it is."""
        return self._body["policy"]["model"]

    @property
    def version(self) -> int:
        """How many definitions it has had."""
        return self._body["policy"]["version"]

    @property
    def policy(self) -> Policy:
        """Its definition."""
        return Policy.from_json(self._body["policy"])

    @property
    def state(self) -> Mapping[str, Any]:
        """Where it stands: ``active``, ``queued`` and ``last`` runs, ``suppressed`` causes."""
        return self._body["state"]

    @property
    def next(self) -> datetime | None:
        """When it is looked at again without anything having happened."""
        text = self._body.get("next")
        return parse_time(text) if text else None

    def train(self, *, key: str = "", reason: str = "", by: str = "") -> dict[str, Any]:
        """Asks for a training run, and returns it.

        Args:
            key: The same key is the same request, and has the same run.
            reason: Why, for whoever reads the history.
            by: Who asks.
        """
        said = {"reason": reason, "by": by}
        body = {name: value for name, value in said.items() if value}
        headers = {"Idempotency-Key": key} if key else None
        return self._http.post("models", self.model, "runs", body=body, headers=headers)["run"]

    def runs(self, limit: int = 50) -> list[dict[str, Any]]:
        """Returns the model's training runs, the newest first."""
        return self._http.get("training-runs", model=self.model, limit=limit)["runs"]

    def suppressions(self, limit: int = 50) -> list[dict[str, Any]]:
        """Returns what triggers saw that led to no run, and why, the newest first."""
        found = self._http.get("trigger-suppressions", model=self.model, limit=limit)
        return found["suppressions"]

    def versions(self) -> list[Policy]:
        """Returns the definitions that it has had, from the first."""
        found = self._http.get("policies", self.model, "versions")["versions"]
        return [Policy.from_json(body) for body in found]

    def delete(self, *, by: str = "", reason: str = "") -> list[str]:
        """Takes the policy away, and returns the IDs of the training runs that it cancels."""
        body = self._http.delete("policies", self.model, by=by, reason=reason)
        return [run["id"] for run in body["cancelled"]]
