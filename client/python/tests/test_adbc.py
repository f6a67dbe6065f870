"""The Flight SQL driver of ADBC, as any other program would use it."""

import math
from datetime import datetime, timezone
from decimal import Decimal

import pyarrow as pa
import pytest
from conftest import HOUR, NOON

dbapi = pytest.importorskip("adbc_driver_flightsql.dbapi")


@pytest.fixture
def connection(store):
    with dbapi.connect(store.flight_uri, autocommit=True) as connection:
        yield connection


def test_types(connection):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT true AS flag, 7::INTEGER AS small, 7000000000 AS large, 'NaN'::DOUBLE AS nan,"
            " 12.25::DECIMAL(18, 2) AS money, 'ä' AS word, NULL::BIGINT AS nothing,"
            " TIMESTAMPTZ '2013-06-01 12:00:00.000001+02' AS at,"
            " [1, NULL, 3] AS list, {'x': 1, 'y': 'a'} AS pair"
        )
        table = cursor.fetch_arrow_table()
    row = table.to_pylist()[0]
    assert math.isnan(row.pop("nan"))
    assert row == {
        "flag": True,
        "small": 7,
        "large": 7_000_000_000,
        "money": Decimal("12.25"),
        "word": "ä",
        "nothing": None,
        "at": datetime(2013, 6, 1, 10, 0, 0, 1, tzinfo=timezone.utc),
        "list": [1, None, 3],
        "pair": {"x": 1, "y": "a"},
    }
    assert table.schema.field("at").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("money").type == pa.decimal128(18, 2)


def test_rows_one_by_one(connection, filled):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT station, count FROM features.{filled.name} ORDER BY count")
        assert [d[0] for d in cursor.description] == ["station", "count"]
        assert cursor.fetchone() == ("a", 1)
        assert cursor.fetchall() == [("a", 2), ("a", 3), ("b", 4)]


def test_parameters(connection, filled):
    query = f"SELECT count FROM features.{filled.name} WHERE station = ? AND event_timestamp > ?"
    with connection.cursor() as cursor:
        cursor.execute(query, ("a", NOON))
        assert sorted(cursor.fetchall()) == [(2,), (3,)]
        cursor.execute(query, ("b", NOON + HOUR))
        assert cursor.fetchall() == []


def test_several_rows_of_parameters(connection, filled):
    query = f"SELECT count FROM features.{filled.name} WHERE station = ? ORDER BY count"
    with connection.cursor() as cursor:
        cursor.execute(query, pa.record_batch({"1": ["b", "nowhere", "a"]}))
        assert cursor.fetchall() == [(4,), (1,), (2,), (3,)]


def test_catalogue(connection, filled):
    objects = connection.adbc_get_objects(
        depth="all", db_schema_filter="feat%", table_name_filter=filled.name
    ).read_all()
    (catalogue,) = objects.to_pylist()
    (schema,) = catalogue["catalog_db_schemas"]
    (table,) = schema["db_schema_tables"]
    assert (schema["db_schema_name"], table["table_name"]) == ("features", filled.name)
    columns = [c["column_name"] for c in table["table_columns"]]
    assert columns == ["station", "event_timestamp", "temp", "count"]
    described = connection.adbc_get_table_schema(filled.name, db_schema_filter="features")
    assert described.field("temp").type == pa.float64()
    assert connection.adbc_get_table_types() == ["TABLE"]
    info = connection.adbc_get_info()
    assert info["vendor_name"] == "Driftline"


def test_mistakes_say_what_to_do(connection, filled):
    with connection.cursor() as cursor, pytest.raises(dbapi.Error, match="did you mean"):
        cursor.execute(f"SELECT cuont FROM features.{filled.name}")


def test_a_cancelled_query_ends(connection):
    with connection.cursor() as cursor:
        cursor.execute("SELECT a.i FROM range(1000000) a(i), range(100) b(j)")
        reader = cursor.fetch_record_batch()
        reader.read_next_batch()
        cursor.adbc_cancel()
        with pytest.raises((dbapi.Error, OSError, pa.ArrowException)):
            list(reader)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 AS one")
        assert cursor.fetchall() == [(1,)]
