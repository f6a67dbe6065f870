"""Says what the server did with the model, one line per event, with the time of its clock."""

from __future__ import annotations

import textwrap
from datetime import datetime, timedelta

import driftline
import requests
from server import Server
from sklearn.metrics import roc_auc_score
from words import in_words

WIDTH = 96
INDENT = " " * 8
WEEK = timedelta(days=7)  # that the monitor looks at
AT_WORK = ("queued", "running")
UNDECIDED = ("evaluate", "roll_out")


class Diary:
    """What became of the model's runs and rollouts since the last look.

    Attributes:
        told: Words of what happened: "promoted", "rolled_back", "rejected" …
    """

    def __init__(self, store: driftline.FeatureStore, server: Server, model: str, monitor: str):
        self.store, self.server, self.model, self.monitor = store, server, model, monitor
        self.session = requests.Session()
        self.seen: set[tuple] = set()
        self.told: list[str] = []

    def say(self, text: str, why: str = "") -> None:
        """Writes one event, and what it is good for."""
        print(fold(f"{self.store.clock():%d %b}  {text}", INDENT), flush=True)
        if why:
            print(fold(f"{INDENT}↳ {why}", INDENT + "  "), flush=True)

    def at_work(self) -> bool:
        """Whether the server has yet to finish something that belongs to the past."""
        now = self.store.clock()
        through = [m["state"].get("through") for m in self.listed("monitors")]
        if any(at is None or datetime.fromisoformat(at) + WEEK <= now for at in through):
            return True
        runs = self.listed(f"training-runs?model={self.model}")
        return any(run["state"] in AT_WORK or run.get("next") in UNDECIDED for run in runs)

    def look(self) -> None:
        """Tells what is new."""
        for alert in reversed(self.listed("alerts")):
            if self.new("alert", alert["id"]):
                self.say(
                    f"the monitor raises {alert['id']}: {self.drifted(4)}",
                    "these are not the weeks that the model learned from; ops are told",
                )
        for run in reversed(self.listed(f"training-runs?model={self.model}")):
            if self.new("run", run["id"]):
                self.tell_cause(run)
            if run["state"] not in AT_WORK and self.new("run", run["id"], run["state"]):
                self.told.append(run["state"])
                self.tell_end(run)
        for held in self.listed(f"trigger-suppressions?model={self.model}"):
            if held["reason"] == "cooldown" and self.new("held back"):
                self.say(
                    f"the trigger {held['cause']['trigger']} fires again, and is held back:"
                    f" {held['detail']}",
                    "it is still summer, and that is why the policy has a cooldown",
                )
        for found in reversed(self.listed(f"models/{self.model}/evaluations")):
            if self.new("evaluation", found["id"]):
                self.tell_gate(found)
        for rollout in reversed(self.listed(f"rollouts?model={self.model}")):
            history = self.listed(f"rollouts/{rollout['id']}/history")
            for change in sorted(history, key=lambda c: c["seq"]):
                if self.new("rollout", rollout["id"], change["to"], change["stage"]):
                    self.told.append(change["to"])
                    self.tell_rollout(rollout, change)

    def new(self, *what) -> bool:
        known = what in self.seen
        self.seen.add(what)
        return not known

    def listed(self, what: str) -> list[dict]:
        """What the server has of something."""
        answer = self.session.get(f"{self.store.url}/api/v1/{what}", timeout=60)
        answer.raise_for_status()
        return next(value for value in answer.json().values() if isinstance(value, list))

    def tell_cause(self, run: dict) -> None:
        """Says why a training run begins."""
        cause = run["causes"][0]
        self.say(
            f"the trigger {cause['trigger']} fires: {cause['summary']}",
            f"{run['id']} begins, on all that is labelled by now, and that set is frozen",
        )

    def tell_end(self, run: dict) -> None:
        """Says what came of a training run."""
        if run["state"] != "succeeded":
            self.say(f"{run['id']} is {run['state']}: {run['reason']}")

    def tell_gate(self, found: dict) -> None:
        """Says what an evaluation found; both models' servers were asked about the same rows."""
        checks = {check["check"]: check["message"] for check in found["checks"]}
        gate = "open" if found["outcome"] in ("passed", "warned") else "closed"
        self.say(
            f"{self.model}@{found['candidate']} is trained, and the gate is {gate}:"
            f" {checks['metric']}",
            f"both were asked about {found['rows']} flights that neither learned from",
        )

    def tell_rollout(self, rollout: dict, change: dict) -> None:
        """Says which share of the requests a candidate gets from now on, and why."""
        name, reason = f"{self.model}@{rollout['candidate']}", change["reason"]
        match change["to"]:
            case "canary":
                self.say(f"{name} answers {change['weight']:g} % of the requests: {reason}")
            case "baking":
                self.say(
                    f"{name} answers all of them: {reason}",
                    "the champion before is kept warm for a while, in case this was a mistake",
                )
            case "promoted":
                self.say(f"{name} is champion: {reason}")
            case "rolled_back":
                self.say(
                    f"{name} is taken back: {reason}",
                    f"{self.model}@{rollout['champion']} answers all again",
                )
            case "pending":
                self.say(f"rollout {rollout['id']} of {name} begins: {reason}")

    def month(self, begin: datetime, end: datetime) -> None:
        """Says how the month before went: how many were asked, how late and how well."""
        rows = self.server.rows(
            f"""SELECT score, label FROM predictions.{self.model}
                WHERE event_timestamp >= TIMESTAMPTZ '{begin}' AND event_timestamp < '{end}'"""
        )
        known = [row for row in rows if row["label"] is not None and row["score"] is not None]
        auc = roc_auc_score([row["label"] > 0 for row in known], [row["score"] for row in known])
        self.say(
            f"{begin:%B}: {len(rows):,} flights asked about, {len(known):,} labels are in,"
            f" AUC {auc:.3f}; the last week: {self.drifted(3)}"
        )

    def drifted(self, most: int) -> str:
        """What is different in the week that the monitor looked at last."""
        rows = self.server.rows(
            f"""SELECT "column", effect, details FROM meta.drift_results
                WHERE monitor = '{self.monitor}' AND verdict = 'drift' AND segment IS NULL
                  AND pane_start = (SELECT max(pane_start) FROM meta.drift_results
                                    WHERE monitor = '{self.monitor}')
                ORDER BY effect DESC LIMIT {most}"""
        )
        return ", ".join(map(in_words, rows)) or "nothing that matters"


def fold(text: str, indent: str) -> str:
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
