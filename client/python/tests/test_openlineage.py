"""What Driftline says in OpenLineage is what the specification's own schema allows, what the
published client sends is taken, and both are one lineage."""

from __future__ import annotations

import copy
import json
import uuid
from pathlib import Path

import driftline
import pandas as pd
import pytest
import requests
from conftest import HOUR, NOON, World
from driftline import FeatureStore
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

SCHEMAS = [
    json.loads(p.read_text()) for p in (Path(__file__).parent / "openlineage").glob("*.json")
]
REGISTRY = Registry().with_resources([(s["$id"], Resource.from_contents(s)) for s in SCHEMAS])
CORE = Draft202012Validator(
    next(s for s in SCHEMAS if s["$id"].endswith("2-0-2/OpenLineage.json")),
    registry=REGISTRY,
    format_checker=FormatChecker(),
)
FACETS = {name: s["$id"] for s in SCHEMAS for name in s.get("properties", {})}

PRODUCER = "https://example.com/scheduler"


def check_facets(facets: dict) -> None:
    for name, facet in facets.items():
        assert facet["_schemaURL"].startswith(FACETS[name] + "#"), name
        schema = {"$ref": FACETS[name], "required": [name]}
        Draft202012Validator(schema, registry=REGISTRY).validate({name: facet})


def check(event: dict) -> None:
    CORE.validate(event)
    check_facets(event["job"].get("facets", {}))
    check_facets(event["run"].get("facets", {}))
    for dataset in event.get("inputs", []) + event.get("outputs", []):
        for kind in ("facets", "inputFacets", "outputFacets"):
            check_facets(dataset.get(kind, {}))


def test_what_we_say_is_valid(store: FeatureStore, server_url: str, world: World) -> None:
    rows = {"station": "a", "event_timestamp": [NOON, NOON + HOUR], "temp": [1.0, 2.0], "count": 1}
    store.ingest(world.name, pd.DataFrame(rows))
    spine = pd.DataFrame(
        {"station": "a", "event_timestamp": [NOON, NOON + HOUR], "late": [True, False]}
    )
    store.get_historical_features(spine, [world.ref("temp")], save_as=f"told_{world.name}").to_df()
    with pytest.raises(ZeroDivisionError), driftline.init(f"told {world.name}", store=store):
        _ = 1 / 0
    events, after = [], 0
    while True:
        page = requests.get(
            f"{server_url}/api/v1/lineage/events", params={"after": after}, timeout=30
        ).json()
        events += page["events"]
        if page["next"] == after:
            break
        after = page["next"]
    for event in events:
        check(event)
    jobs = [e for e in events if e["job"]["name"] == f"dataset.told_{world.name}"]
    assert [e["eventType"] for e in jobs] == ["START", "COMPLETE"]
    output = jobs[1]["outputs"][0]
    assert set(output["facets"]) == {"version", "schema", "dataQualityMetrics", "columnLineage"}
    fields = output["facets"]["columnLineage"]["fields"]["temp"]["inputFields"]
    assert [(f["name"], f["field"]) for f in fields] == [(f"features.{world.name}", "temp")]
    ended = [e["eventType"] for e in events if e["job"]["name"] == f"experiment.told {world.name}"]
    assert ended == ["START", "FAIL"]


VALID = {
    "eventType": "COMPLETE",
    "eventTime": "2026-01-02T03:04:05.000Z",
    "producer": PRODUCER,
    "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    "run": {"runId": "0190b5b2-33ee-7f2c-9f7f-000000000001"},
    "job": {"namespace": "airflow", "name": "hourly"},
    "inputs": [{"namespace": "s3://raw", "name": "stations.csv"}],
    "outputs": [{"namespace": "postgres://db", "name": "shop.orders"}],
}


def changed(path: str, value: object = None) -> dict:
    """VALID with one field changed, or without it."""
    event = copy.deepcopy(VALID)
    *parents, last = path.split(".")
    place = event
    for key in parents:
        place = place[int(key)] if key.isdigit() else place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return event


FACET = {"_producer": PRODUCER, "_schemaURL": PRODUCER}


@pytest.mark.parametrize(
    "event",
    [
        VALID,
        changed("eventType"),
        changed("eventType", "DONE"),
        changed("eventTime"),
        changed("eventTime", 7),
        changed("producer"),
        changed("schemaURL"),
        changed("run"),
        changed("run.runId"),
        changed("run.runId", 7),
        changed("run.facets", {"x": FACET}),
        changed("run.facets", {"x": {}}),
        changed("job"),
        changed("job.name"),
        changed("job.facets", {"x": FACET, "y": 1}),
        changed("inputs"),
        changed("inputs", {}),
        changed("inputs.0.name"),
        changed("outputs.0.namespace"),
        changed("outputs.0.outputFacets", {"x": {"_producer": PRODUCER}}),
        changed("outputs.0.more", [1]),
        changed("dataset", {"namespace": "a", "name": "b"}),
    ],
)
def test_what_is_taken_is_what_the_schema_allows(server_url: str, event: dict) -> None:
    answer = requests.post(f"{server_url}/api/v1/lineage", json=event, timeout=30)
    assert (answer.status_code == 200) == CORE.is_valid(event), answer.text
    assert answer.status_code in (200, 400)


def test_a_batch_says_which_events_it_refused(server_url: str) -> None:
    events = [VALID, changed("job"), VALID]
    answer = requests.post(f"{server_url}/api/v1/lineage/batch", json=events, timeout=30).json()
    assert answer["status"] == "partial_success"
    assert (answer["summary"]["successful"], answer["summary"]["failed"]) == (2, 1)
    assert [f["index"] for f in answer["failed_events"]] == [1]


def test_the_published_client_reports_here(
    store: FeatureStore, server_url: str, world: World
) -> None:
    pytest.importorskip("openlineage.client")
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import (
        InputDataset,
        Job,
        OutputDataset,
        Run,
        RunEvent,
        RunState,
    )
    from openlineage.client.facet_v2 import column_lineage_dataset as columns
    from openlineage.client.transport.http import HttpConfig, HttpTransport

    client = OpenLineageClient(transport=HttpTransport(HttpConfig(url=server_url)))
    run, job = Run(runId=str(uuid.uuid4())), Job(namespace="airflow", name=f"load.{world.name}")
    source = InputDataset(namespace="postgres://db:5432", name=f"shop.{world.name}")
    made_from = columns.Fields(
        [columns.InputField("postgres://db:5432", f"shop.{world.name}", "celsius")], "", ""
    )
    target = OutputDataset(
        namespace="driftline",
        name=f"features.{world.name}",
        facets={"columnLineage": columns.ColumnLineageDatasetFacet(fields={"temp": made_from})},
    )
    for state in (RunState.START, RunState.COMPLETE):
        event = RunEvent(
            eventType=state, eventTime=NOON.isoformat(), run=run, job=job, producer=PRODUCER
        )
        event.inputs, event.outputs = [source], [target]
        client.emit(event)
    told = {(e.source, e.target) for e in store.lineage(f"view/{world.name}").edges}
    assert (f"view/{world.name}", f"job/airflow/load.{world.name}") in told
    assert (f"job/airflow/load.{world.name}", f"table/postgres://db:5432/shop.{world.name}") in told
