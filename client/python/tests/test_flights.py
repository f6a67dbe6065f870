"""The example's data and definitions are what they say they are."""

import hashlib
import re
import sys
from datetime import timedelta

import pyarrow.parquet as pq
import pytest
import yaml
from driftline import Entity, FeatureService, FeatureView
from driftline.definitions import definitions_json
from server_process import ROOT

FLIGHTS = ROOT / "examples" / "flights"
KINDS = {"entities": Entity, "feature_views": FeatureView, "feature_services": FeatureService}


@pytest.fixture(scope="module")
def in_python():
    sys.path.insert(0, str(FLIGHTS))
    try:
        import definitions
    finally:
        sys.path.remove(str(FLIGHTS))
    return definitions.everything


@pytest.fixture(scope="module")
def in_yaml():
    objects = []
    for path in sorted(FLIGHTS.glob("*.yaml")):
        for kind, bodies in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            objects += [KINDS[kind].from_json(body) for body in bodies]
    return objects


def by_name(objects):
    return sorted(objects, key=lambda o: (type(o).__name__, o.name))


def test_yaml_and_python_declare_the_same(in_python, in_yaml):
    assert by_name(in_yaml) == by_name(in_python)


def test_yaml_and_python_register_the_same(store, in_python, in_yaml):
    store.apply(in_yaml)
    registered = {kind: store._http.get(kind) for kind in ("feature-views", "feature-services")}
    assert store.plan(in_python).is_empty
    store.apply(in_python)
    again = {kind: store._http.get(kind) for kind in ("feature-views", "feature-services")}
    assert again == registered
    assert definitions_json(in_python)


@pytest.fixture(scope="module")
def tables():
    return {p.stem: pq.read_table(p) for p in (FLIGHTS / "data").glob("*.parquet")}


def test_files_are_those_that_data_md_names(tables):
    text = (ROOT / "examples" / "DATA.md").read_text(encoding="utf-8")
    stated = re.findall(r"\| `(\w+)\.parquet` \| ([\d,]+) \| ([\d,]+) \| `([0-9a-f]{64})` \|", text)
    assert sorted(name for name, *_ in stated) == sorted(tables)
    for name, rows, size, digest in stated:
        content = (FLIGHTS / "data" / f"{name}.parquet").read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest, name
        assert len(content) == int(size.replace(",", "")), name
        assert tables[name].num_rows == int(rows.replace(",", "")), name


def test_files_have_the_columns_of_their_views(tables, in_python):
    entities = {o.name: o for o in in_python if isinstance(o, Entity)}
    for view in (o for o in in_python if isinstance(o, FeatureView) and o.name in tables):
        keys = [k for name in view.entities for k in entities[name].join_keys]
        times = [view.timestamp_field, view.created_timestamp_column]
        want = {f.name: f.dtype.to_arrow() for f in [*keys, *view.schema]}
        schema = tables[view.name].schema
        have = {f.name: f.type for f in schema if f.name not in times}
        assert have == want, view.name
        assert set(filter(None, times)) <= set(schema.names), view.name


def test_arrivals_agree_with_the_delays_of_the_source(tables):
    flights = tables["flights"].to_pandas()
    landed = flights[flights["arr_delay"].notna()]
    minutes = (landed["arrival"] - landed["scheduled_arrival"]) / timedelta(minutes=1)
    assert len(landed) == 327_346
    assert (minutes == landed["arr_delay"]).all()
