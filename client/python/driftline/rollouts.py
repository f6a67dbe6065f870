"""Who answers which request of a model, and how a candidate becomes champion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from driftline._http import HTTP
from driftline._tables import to_table
from driftline.registry import person


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


@dataclass(frozen=True)
class Predictions:
    """What a model answered.

    Attributes:
        predictions: One for each row.
        id: By which labels come; of several rows ``id-0``, ``id-1`` and so on.
        version: The version that answered.
        arm: ``champion`` or ``candidate``.
        fallback_fault: What the candidate did wrong, in whose place the champion answered;
            "" if it did not have to.
    """

    predictions: list[Any]
    id: str
    version: int
    arm: str
    fallback_fault: str

    @classmethod
    def from_answer(cls, predictions: list[Any], headers: Mapping[str, str]) -> Predictions:
        """Reads the server's answer."""
        return cls(
            predictions,
            headers["X-Prediction-Id"],
            int(headers["X-Model-Version"]),
            headers.get("X-Arm", ""),
            headers.get("X-Fallback-Fault", ""),
        )


def _split_form(rows: Any) -> dict[str, Any]:
    """Returns rows as MLflow writes them; what is no number is null, and times are texts."""
    table = to_table(rows)
    return {
        "columns": table.column_names,
        "data": [[_cell(value) for value in row.values()] for row in table.to_pylist()],
    }


def _cell(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    return value


@dataclass(frozen=True)
class Rollout:
    """A rollout of a model version, and what it is at.

    Attributes:
        id: Such as ``late_departure-3``.
        candidate: The version that is to become champion.
        champion: The one that it is to replace, or None.
        phase: ``pending``, ``shadow``, ``canary``, ``promoting``, ``baking``, ``promoted``,
            ``rolling_back``, ``rolled_back``, ``paused``, ``superseded`` or ``failed``.
        weight: The percentage of the requests that the candidate gets.
        seq: Grows by every change; an action can say on which one it was decided.
        reason: Why the phase is what it is, in a sentence; ``cause`` says it in a word.
        waiting: For what it waits that does not come by itself, or "".
        blind: Why nothing is concluded although there are numbers, or "".
        verdict: The last verdict as the server has it: ``outcome``, ``e_value``,
            ``threshold``, ``guards`` with their ``ratio``, and how many more requests it
            ``needs``; None before there is one.
    """

    id: str
    model: str
    candidate: int
    champion: int | None
    phase: str
    weight: float
    seq: int
    cause: str
    reason: str
    by: str
    waiting: str
    blind: str
    verdict: dict[str, Any] | None

    @property
    def ended(self) -> bool:
        """Whether nothing happens to it any more by itself."""
        return self.phase in ("promoted", "rolled_back", "superseded", "failed")

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Rollout:
        """Reads the server's form."""
        arms = body["route"].get("arms") or ()
        return cls(
            body["id"],
            body["model"],
            body["candidate"],
            body.get("champion") or None,
            body["phase"],
            sum(arm["weight"] for arm in arms if arm["arm"] == "candidate"),
            body["seq"],
            body.get("cause", ""),
            body.get("reason", ""),
            body.get("by", ""),
            body.get("waiting", ""),
            body.get("blind", ""),
            body.get("verdict"),
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

    def predict(
        self, model: str, rows: Any, key: str = "", *, version: int | str = "", id: str = ""
    ) -> Predictions:
        """Asks a model for predictions, by way of the gateway, which logs what is answered.

        Columns called like the join keys of the model's features have these looked up.

        Example:
            >>> store.predict("late_departure", [{"airport": "JFK", "hour": 17}]).predictions
            [0.31]

        Args:
            model: The model's name.
            rows: The inputs: a list of dicts, a data frame, or any other table.
            key: What the request is dealt by in a rollout, such as the id of a user; that of
                the row's entity if left out.
            version: The version to be asked, or an alias; the rollout's choice if left out.
            id: Of the prediction, for labels to come by; made up if left out.

        Raises:
            NotFoundError: There is no such model.
            InvalidError: The rows are not what the model takes.
            FailedPreconditionError: Nobody said where the model is served.
            UnavailableError: Its server gave no answer.
        """
        given = {
            "X-Driftline-Key": key,
            "X-Model-Version": str(version),
            "X-Prediction-Id": id,
        }
        headers = {name: value for name, value in given.items() if value}
        answer = self._http.predict(model, {"dataframe_split": _split_form(rows)}, headers)
        return Predictions.from_answer(answer.json()["predictions"], answer.headers)

    def start_rollout(
        self,
        model: str,
        version: int | str,
        plan: Mapping[str, Any] | None = None,
        *,
        reason: str = "",
        notify: Sequence[str] = (),
    ) -> Rollout:
        """Begins to make a version champion, step by step.

        Example:
            >>> store.start_rollout("late_departure", 3, {"stages": [{"weight": 10}]}).id
            'late_departure-1'

        Args:
            model: The model's name.
            version: A number, or an alias.
            plan: As in a policy: ``shadow``, ``stages``, ``bake``, ``guards``, …; that of the
                model's policy if left out, or the usual one.
            reason: Why, for whoever reads the history.
            notify: Channels that are told of everything; those of the policy if left out.

        Raises:
            ConflictError: Another rollout of the model is under way.
        """
        body = {"model": model, "version": str(version), "by": person(), "reason": reason}
        if plan is not None:
            body["plan"] = dict(plan)
        if notify:
            body["notices"] = [{"channels": list(notify)}]
        return Rollout.from_json(self._http.post("rollouts", body=body)["rollout"])

    def rollouts(self, model: str | None = None) -> list[Rollout]:
        """Returns the rollouts of a model, or all, the newest first."""
        body = self._http.get("rollouts", model=model)
        return [Rollout.from_json(r) for r in body["rollouts"]]

    def rollout(self, id: str) -> Rollout:
        """Returns a rollout, and what it is at."""
        return Rollout.from_json(self._http.get("rollouts", id))

    def rollout_history(self, id: str) -> list[dict[str, Any]]:
        """Returns the changes of a rollout, oldest first, each with the verdict it rests on."""
        return self._http.get("rollouts", id, "history")["changes"]

    def act_on_rollout(
        self,
        rollout: Rollout | str,
        action: str,
        *,
        reason: str = "",
        expect: int | None = None,
        force: bool = False,
    ) -> Rollout:
        """Pauses, resumes, aborts, promotes, rolls back, or approves a stage.

        Args:
            rollout: A rollout, which must not have changed since it was read, or an id.
            action: ``pause``, ``resume``, ``abort``, ``promote``, ``rollback`` or ``approve``.
            reason: Why, for whoever reads the history.
            expect: With an id: the ``seq`` that it was decided on; whatever it is if left out.
            force: Promotes against the evidence, or without any; needs a reason.

        Raises:
            ConflictError: Somebody was faster, or the evidence is against it.
            FailedPreconditionError: Not in this phase.
        """
        id = rollout if isinstance(rollout, str) else rollout.id
        body: dict[str, Any] = {"by": person(), "reason": reason, "force": force}
        body["expect"] = expect if isinstance(rollout, str) else rollout.seq
        return Rollout.from_json(self._http.post("rollouts", id, action, body=body))

    def roll_back(self, model: str, *, reason: str = "") -> int:
        """Gives a model back to the version that was champion before, and returns it."""
        body = {"by": person(), "reason": reason}
        return self._http.post("models", model, "rollback", body=body)["version"]
