"""The model of the pipeline: will this flight arrive 15 minutes late or more?

    late_departure.py load      writes the flights up to a day to the feature store
    late_departure.py train     trains on the eight weeks before that day, logs the run
    late_departure.py register  makes a model version of the run, and calls it the candidate
    late_departure.py champion  has the model that serves answer the rows of the gate
    late_departure.py traffic   asks production's models, as its services would, until it is stopped

The feature store is the one that DRIFTLINE_SERVER names. `prepare`, `fit` and `evaluate` need none.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from time import perf_counter

import driftline
import joblib
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import requests
from driftline import RouteDecision, Split
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

DATA = Path(__file__).parents[1] / "flights" / "data"
MODEL = "late_departure"
SERVICE = "delay_model"
WEEKS = 8
KEYS, TIME = ("origin", "carrier", "tailnum"), "scheduled_departure"
AIRPORTS = ["EWR", "JFK", "LGA"]
TIMETABLE = ["hour", "weekday", "origin", "distance"]
SEED = int(os.environ.get("SEED", "7"))
PARAMS = {"max_iter": 60, "learning_rate": 0.1, "max_leaf_nodes": 15, "l2_regularization": 1.0}


def prepare(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds what follows from the timetable itself; used in training and in serving."""
    local = frame["scheduled_departure"].dt.tz_convert("America/New_York")
    return frame.assign(
        hour=local.dt.hour + local.dt.minute / 60,
        weekday=local.dt.day_of_week,
        origin=pd.Categorical(frame["origin"].where(frame["origin"].isin(AIRPORTS)), AIRPORTS),
    )


def fit(frame: pd.DataFrame, features: list[str]) -> HistGradientBoostingClassifier:
    """Fits the prepared rows, which all have a label."""
    model = HistGradientBoostingClassifier(
        **PARAMS, categorical_features="from_dtype", early_stopping=False, random_state=SEED
    )
    return model.fit(frame[[*TIMETABLE, *features]], frame["late"].astype(bool))


def evaluate(model: HistGradientBoostingClassifier, frame: pd.DataFrame) -> dict[str, float]:
    """Returns the metrics of the model on prepared rows, which all have a label."""
    probability = model.predict_proba(frame[model.feature_names_in_])[:, 1]
    late = frame["late"].astype(bool)
    return {
        "auc": float(roc_auc_score(late, probability)),
        "log_loss": float(log_loss(late, probability)),
        "brier": float(brier_score_loss(late, probability)),
    }


def predict(model: HistGradientBoostingClassifier, frame: pd.DataFrame) -> pa.Table:
    """Returns the probability of being late for prepared rows, with what tells them apart."""
    score = model.predict_proba(frame[model.feature_names_in_])[:, 1]
    return pa.table({name: frame[name] for name in (*KEYS, TIME)} | {"score": score})


def flights_until(as_of: datetime) -> pa.Table:
    """Returns the flights that were due to leave before that time."""
    return pq.read_table(DATA / "flights.parquet", filters=[("scheduled_departure", "<", as_of)])


def load(store: driftline.FeatureStore, as_of: datetime) -> None:
    """Writes what had happened by that time, as the services of an airline would have."""
    flights = flights_until(as_of)
    weather = pq.read_table(DATA / "weather.parquet", filters=[("created", "<", as_of)])
    events = {
        "departures": ("departure", ["origin", "dep_delay"]),
        "carrier_performance": ("arrival", ["carrier", "flight", "arr_delay"]),
    }
    tables = {"weather": weather, "planes": pq.read_table(DATA / "planes.parquet")}
    for view, (time, columns) in events.items():
        over = pc.and_(pc.less(flights[time], as_of), pc.is_valid(flights[columns[-1]]))
        table = flights.filter(over)
        tables[view] = table.select(columns).append_column("event_timestamp", table[time])
    for view, table in tables.items():
        written = store.ingest(view, table, idempotency_key=f"ci/{view}/{as_of:%F}")
        print(f"{view}: {written.rows:,} rows")


def train(store: driftline.FeatureStore, as_of: datetime, results: Path) -> None:
    """Saves the training set, trains on its first part, measures on its last, logs the run."""
    flights = flights_until(as_of)
    recent = flights.filter(
        pc.greater_equal(flights["scheduled_departure"], as_of - timedelta(weeks=WEEKS))
    )
    landed = pc.less(recent["arrival"], as_of)  # labels that are known by then
    late = pc.if_else(landed, pc.greater_equal(recent["arr_delay"], 15), None)
    spine = recent.select(["scheduled_departure", "origin", "carrier", "tailnum", "distance"])
    dataset = store.get_historical_features(
        entity_df=spine.append_column("late", late),
        features=SERVICE,
        event_timestamp="scheduled_departure",
        known_at=True,
        save_as=MODEL,
        split=Split.by_time({"train": 0.8, "test": 0.2}),
    ).dataset
    projections = store.get_feature_service(SERVICE).features
    features = [feature for part in projections for feature in part.features]
    rows = prepare(dataset.to_df())
    learned, unseen = (rows[rows["__split"] == part] for part in ("train", "test"))
    known = unseen.dropna(subset="late")
    with driftline.init(project=MODEL, config={"as_of": f"{as_of:%F}", **PARAMS}) as run:
        run.use_dataset(dataset)
        model = fit(learned.dropna(subset="late"), features)
        metrics = evaluate(model, known)
        run.log(metrics)
        run.log_artifact(model, name="model/late_departure.joblib")
        # For the gate, which finds it by this name: what the model makes of rows it never saw.
        run.log_artifact(
            predict(model, unseen), name=f"predictions/{dataset.ref.split('/')[1]}.parquet"
        )
    joblib.dump(model, results / "late_departure.joblib")
    found = {"run": run.id, "dataset": dataset.ref, "rows": len(learned), "metrics": metrics}
    (results / "run.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def register(store: driftline.FeatureStore, results: Path) -> None:
    """Registers the model of the run, and calls it the candidate."""
    run = json.loads((results / "run.json").read_text())
    version = store.register_model(MODEL, run["run"], "model/late_departure.joblib")
    alias = store.set_alias(MODEL, version, "candidate", reason=f"AUC {run['metrics']['auc']:.3f}")
    joblib.load(io.BytesIO(store.download_artifact(version)))  # it can be read again
    print(f"{version.ref}, {alias}")


def champion(store: driftline.FeatureStore, results: Path) -> None:
    """Writes what the champion makes of the candidate's held-out rows, if there is a champion."""
    written = results / "champion.parquet"
    written.unlink(missing_ok=True)
    try:
        version = store.model_version(MODEL, "champion")
    except driftline.NotFoundError:
        print("there is no champion yet: the candidate is held against floors")
        return
    name, number = (
        json.loads((results / "run.json").read_text())["dataset"].split("/")[1].split("@")
    )
    rows = prepare(store.dataset(name, int(number)).to_df())
    model = joblib.load(io.BytesIO(store.download_artifact(version)))
    pq.write_table(predict(model, rows[rows["__split"] == "test"]), written)
    print(f"{version.ref} answered {(rows['__split'] == 'test').sum():,} rows")


def traffic(staging: driftline.FeatureStore, address: str, results: Path) -> None:
    """Has production's models answer held-out flights, by its route, and logs what they say."""
    name, number = (
        json.loads((results / "run.json").read_text())["dataset"].split("/")[1].split("@")
    )
    rows = prepare(staging.dataset(name, int(number)).to_df())
    rows = rows[rows["__split"] == "test"]
    models: dict[int, HistGradientBoostingClassifier] = {}
    with driftline.connect(address) as production:
        for lap in itertools.count():
            for flight in range(len(rows)):
                key = f"{lap}-{flight}"  # whoever asks, in the place of a user
                route = production.route(MODEL, key)
                if route.version not in models:
                    version = production.model_version(MODEL, route.version)
                    models[route.version] = joblib.load(
                        io.BytesIO(production.download_artifact(version))
                    )
                began, model = perf_counter(), models[route.version]
                answer = predict(model, rows.iloc[[flight]])["score"][0].as_py()
                took = perf_counter() - began
                log(address, key, route, answer, took)


def log(address: str, key: str, route: RouteDecision, score: float, took: float) -> None:
    """Logs one prediction, with the route that it was dealt by."""
    record = {
        "id": f"{route.rollout or 'before'}/{key}",
        "model_version": route.version,
        "arm": route.arm,
        "route": route.seq,
        "rollout": route.rollout,
        "key": key,
        "status": 200,
        "latency": f"{took * 1000:.0f}ms",
        "score": score,
    }
    answer = requests.post(
        f"{address}/api/v1/models/{MODEL}/predictions?async=true",
        json={"predictions": [record]},
        timeout=30,
    )
    answer.raise_for_status()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("step", choices=["load", "train", "register", "champion", "traffic"])
    parser.add_argument("--as-of", type=datetime.fromisoformat, default=datetime(2013, 4, 1))
    parser.add_argument("--results", type=Path, default=Path("results"))
    args = parser.parse_args(arguments)
    as_of = args.as_of.replace(tzinfo=timezone.utc)
    with driftline.connect() as store:
        if args.step == "load":
            load(store, as_of)
        elif args.step == "train":
            train(store, as_of, args.results)
        elif args.step == "register":
            register(store, args.results)
        elif args.step == "champion":
            champion(store, args.results)
        else:
            traffic(store, os.environ["DRIFTLINE_PRODUCTION"], args.results)


if __name__ == "__main__":
    main(sys.argv[1:])
