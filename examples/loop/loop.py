"""Five months of a model in minutes: it serves, the world drifts, it learns again.

    python examples/loop/loop.py --bin bin/driftline --out build/loop

A server goes through the past (`serve --replay`). Every three hours what has happened is
written, and the flights of the next three hours are asked about, one request each, through the
gateway. Their labels follow when they have landed. All else is up to the server, as
examples/loop/definitions.yaml says.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import string
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import driftline
import pandas as pd
import requests
from driftline import Split

HERE = Path(__file__).parent
FLIGHTS = HERE.parent / "flights"
sys.path.append(str(FLIGHTS))

from diary import WEEK, WIDTH, Diary, fold  # noqa: E402
from late_model import Broken, LateModel  # noqa: E402
from past import DATA, Past  # noqa: E402
from server import Server, relative  # noqa: E402
from train import register  # noqa: E402

MODEL = "late_departure"
MONITOR = "late_served"
CLIENTS = 4
PATIENT_WEEKS = timedelta(weeks=6)  # of the clock of the replay
PATIENCE = 300  # seconds that the server may take for what is due
BEFORE = datetime(2012, 12, 31, tzinfo=timezone.utc)
APRIL = datetime(2013, 4, 1, tzinfo=timezone.utc)
SPINE = f"""
    SELECT event_timestamp, origin, carrier, tailnum, distance, hour, label = 1 AS late
    FROM predictions.{MODEL} WHERE label IS NOT NULL"""


@dataclass(frozen=True)
class Story:
    """When what happens, and how much of it.

    The mishap waits for the first candidate to be champion, and the end for the mishap's.
    """

    begin: datetime = APRIL
    mishap: datetime = datetime(2013, 8, 12, tzinfo=timezone.utc)  # a broken candidate
    end: datetime = datetime(2013, 9, 1, tzinfo=timezone.utc)
    step: timedelta = timedelta(hours=3)
    one_in: int = 15  # of so many flights one is asked about
    delta: float = 0.03  # by how much a candidate may be worse on the rows of the gate


SHORT = Story(
    begin=datetime(2013, 5, 27, tzinfo=timezone.utc),
    mishap=datetime(2013, 7, 8, tzinfo=timezone.utc),
    end=datetime(2013, 7, 15, tzinfo=timezone.utc),
    step=timedelta(hours=12),
    one_in=12,
    delta=0.1,  # it has fewer rows to show anything on
)


class Loop:
    """The replay of a story."""

    def __init__(self, story: Story, store: driftline.FeatureStore, server: Server, models: str):
        self.story, self.store, self.server, self.models = story, store, server, models
        self.past = Past(story.begin, story.one_in)
        self.diary = Diary(store, server, MODEL, MONITOR)
        self.sessions = threading.local()
        self.broken: datetime | None = None  # since when a broken candidate is there

    def prepare(self) -> None:
        """Writes what is known, trains the first model on January to March, and has it serve."""
        for view in self.past.tables:
            self.store.ingest(view, self.past.known(view, BEFORE, self.story.begin))
        self.store.ingest("planes", pd.read_parquet(DATA / "planes.parquet"))
        flights = self.past.landed_before(APRIL, self.story.step)
        dataset = self.store.get_historical_features(
            entity_df=flights, features="delay_model", known_at=True, save_as="late_first"
        ).dataset
        self.first = LateModel.fit(dataset.to_df())
        first = register(self.store, MODEL, self.first, [dataset], self.models)
        self.store.set_alias(MODEL, first, "champion", reason="the first one")
        self.until_ready()
        self.diary.say(
            f"{MODEL}@{first.version} learned from the {len(flights):,} flights of January to"
            " March, and serves",
            "services ask the gateway for the model, not for a version of it",
        )

    def until_ready(self) -> None:
        """Waits until the server of the champion has loaded it."""
        until = time.monotonic() + PATIENCE
        while not requests.get(f"{self.store.url}/v2/models/{MODEL}/ready", timeout=60).ok:
            if time.monotonic() > until:
                raise SystemExit(f"the model server did not load {MODEL} within {PATIENCE} s")
            time.sleep(0.1)

    def run(self, definitions: Path) -> None:
        """Lives through the months, step by step."""
        now, month, watched = self.story.begin, self.story.begin, False
        with ThreadPoolExecutor(CLIENTS) as pool:
            while now < self.story.end or not self.over(now):
                self.step(pool, now)
                now += self.story.step
                self.store.clock(to=now)
                if not watched and now >= self.story.begin + WEEK:
                    self.watch(definitions)
                    watched = True
                if now >= self.story.mishap and self.broken is None and self.happened("promoted"):
                    self.broken = now
                    self.mishap()
                if watched:
                    self.settle()
                if watched and now.hour == 0:
                    self.diary.look()
                if now.day == 1 and now.hour == 0:
                    self.diary.month(month, now)
                    month = now

    def happened(self, what: str) -> bool:
        return what in self.diary.told

    def over(self, now: datetime) -> bool:
        """Whether there is nothing to wait for: all has happened, or will not any more."""
        return self.happened("rolled_back") or now >= self.story.end + PATIENT_WEEKS

    def step(self, pool: ThreadPoolExecutor, now: datetime) -> None:
        """Writes what became known in the last hours, and asks about the next."""
        before, after = now - self.story.step, now + self.story.step
        for view in self.past.tables:
            rows = self.past.known(view, before, now)
            if len(rows) and now > self.story.begin:
                self.store.push(view, rows)
        if labels := self.past.labels(before, now):
            self.post(f"/api/v1/models/{MODEL}/labels", {"labels": labels})
        list(pool.map(self.ask, self.past.due(now, after).itertuples()))

    def ask(self, flight) -> None:
        """Asks about one flight, as a service would: its features are the server's to know."""
        columns = {
            "origin": ("BYTES", flight.origin),
            "carrier": ("BYTES", flight.carrier),
            "tailnum": ("BYTES", flight.tailnum),
            "distance": ("FP64", float(flight.distance)),
            "hour": ("FP64", float(flight.hour)),
        }
        inputs = [
            {"name": name, "datatype": datatype, "shape": [1], "data": [value]}
            for name, (datatype, value) in columns.items()
        ]
        headers = {"X-Prediction-Id": flight.id, "X-Driftline-Key": flight.id}
        self.post(f"/v2/models/{MODEL}/infer", {"inputs": inputs}, headers)

    def post(self, path: str, body: dict, headers: dict | None = None) -> None:
        """One request; each thread keeps its connection."""
        if not hasattr(self.sessions, "session"):
            self.sessions.session = requests.Session()
        url = self.store.url + path
        answer = self.sessions.session.post(url, json=body, headers=headers, timeout=120)
        if not answer.ok:
            raise SystemExit(f"POST {path}: {answer.status_code} {answer.text[:300]}")

    def watch(self, definitions: Path) -> None:
        """From now on the server looks after the model."""
        live = self.store.get_historical_features(
            entity_df=SPINE,
            features="delay_model",
            known_at=True,
            save_as="late_live",
            split=Split.by_time({"train": 0.8, "test": 0.2}),
        ).dataset
        self.diary.say(
            "a monitor and a policy look after it from now on",
            f"{live.ref}, the predictions that have a label, is made anew for each training",
        )
        self.server.cli("apply", str(definitions))

    def mishap(self) -> None:
        """Somebody registers a model that cannot digest calm air, and rolls it out."""
        dataset = self.store.dataset("late_first", 1)
        broken = Broken(self.first.trees)
        version = register(self.store, MODEL, broken, [dataset], self.models)
        name = f"{MODEL}@{version.version}"
        self.diary.say(f"ann rolls out {name}, past the gate: she tried it on a windy day")
        self.server.cli("rollout", "start", name, "--by", "ann", "--reason", "it is faster")

    def settle(self) -> None:
        """Time stands still while the server is at work on what is due."""
        until = time.monotonic() + PATIENCE
        while self.diary.at_work():
            if time.monotonic() > until:
                raise SystemExit(f"the server was not ready with what is due within {PATIENCE} s")
            self.diary.look()
            time.sleep(0.05)

    def trace(self) -> None:
        """Leads from the new model's last prediction to the rows that it learned from."""
        last = self.server.rows(
            f"""SELECT prediction_id FROM predictions.{MODEL} WHERE model_version = 2
                ORDER BY event_timestamp DESC, prediction_id LIMIT 1"""
        )
        words = ("why", last[0]["prediction_id"], "--rows", "2")
        print("$ driftline", *words)
        for line in self.server.output(*words).splitlines():
            print(line if len(line) <= WIDTH else line[: WIDTH - 2] + " …")


class Models:
    """The model server, on a free port."""

    def __init__(self, url: str):
        self.server = url

    def __enter__(self) -> str:
        command = [sys.executable, HERE / "model_server.py", "--model", MODEL, "--port", "0"]
        environ = os.environ | {"DRIFTLINE_SERVER": self.server, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
        address = self.process.stdout.readline().strip()
        if not address:
            raise SystemExit("the model server did not start")
        return address

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
        self.process.stdout.close()


def live(binary: Path, out: Path, story: Story = Story()) -> None:
    """Tells a story in a folder of its own, and fails if it does not end as it should."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    flags = ("--replay", story.begin.isoformat(), "--allow-commands")
    with Server(binary, out, *flags) as server, Models(server.url) as models:
        os.environ["DRIFTLINE_SERVER"] = server.url
        server.output("apply", str(FLIGHTS))
        with driftline.connect(server.url) as store:
            loop = Loop(story, store, server, models)
            loop.prepare()
            loop.run(definitions(story, out, models))
            check(loop.diary.told, out)
            print("\nOne prediction, traced to the rows that its model learned from:")
            loop.trace()
    ending(out)


def definitions(story: Story, out: Path, models: str) -> Path:
    """Writes the definitions with their addresses filled in."""
    values = {"python": sys.executable, "here": HERE, "models": models, "delta": story.delta}
    text = string.Template((HERE / "definitions.yaml").read_text())
    filled = out / "definitions.yaml"
    filled.write_text(text.substitute(values, begin=story.begin.isoformat()))
    return filled


def check(told: list[str], out: Path) -> None:
    """Fails if something did not happen that the story is about."""
    notices = (out / "notices.jsonl").read_text()
    missing = [what for what in ("succeeded", "promoted", "rolled_back") if what not in told]
    missing += [what for what in ("rolled_back",) if what not in notices]
    if missing:
        raise SystemExit(f"the story did not come to its end: nothing was {', '.join(missing)}")


def ending(out: Path) -> None:
    """Says who was told of it."""
    notices = [json.loads(line) for line in (out / "notices.jsonl").read_text().splitlines()]
    happened = [notice["happening"] for notice in notices if "happening" in notice]
    last = next(h for h in reversed(happened) if h["event"] == "rollout_rolled_back")
    file = relative(out / "notices.jsonl")
    print(f"\nops were told: there are {len(notices)} notices in {file}; one of them:")
    print(fold(f"  {last['event']}: {last['text']}", "  "))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", type=Path, default=Path("bin/driftline"))
    parser.add_argument("--out", type=Path, default=Path("build/loop"))
    parser.add_argument("--short", action="store_true", help="eight weeks of it, as CI does")
    args = parser.parse_args()
    live(args.bin.resolve(), args.out.resolve(), SHORT if args.short else Story())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
