"""Any kind of table becomes the same Arrow rows."""

import datetime as dt

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from driftline import InvalidError
from driftline._tables import fit, open_source, split, to_table

TABLE = pa.table({"k": ["a", "b", "c"], "n": pa.array([1, 2, 3], pa.int64())})


class Capsule:
    """Anything at all with the Arrow PyCapsule interface."""

    def __arrow_c_stream__(self, requested_schema=None):
        return TABLE.__arrow_c_stream__(requested_schema)


class ArrayCapsule:
    def __arrow_c_array__(self, requested_schema=None):
        return TABLE.to_batches()[0].__arrow_c_array__(requested_schema)


@pytest.mark.parametrize(
    "data",
    [
        TABLE,
        TABLE.to_batches()[0],
        TABLE.to_reader(),
        TABLE.to_pandas(),
        TABLE.to_pandas().set_index("k"),
        TABLE.to_pandas().iloc[[0, 1, 2]].set_axis([7, 8, 9]),
        pl.from_arrow(TABLE),
        pl.from_arrow(TABLE).lazy(),
        TABLE.to_pydict(),
        TABLE.to_pylist(),
        Capsule(),
        ArrayCapsule(),
    ],
    ids=lambda data: type(data).__name__,
)
def test_every_kind_gives_the_same_rows(data):
    table = to_table(data)
    assert sorted(table.column_names) == ["k", "n"]
    assert table.select(["k", "n"]).to_pydict() == TABLE.to_pydict()


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        ("SELECT 1", TypeError, "not a table"),
        (42, TypeError, "not a table"),
        (pd.Series([1]), TypeError, "to_frame"),
        ([], ValueError, "empty"),
        ([1, 2], TypeError, "row 0"),
        ({"a": [1], "b": [1, 2]}, ValueError, "lengths"),
        ({"a": 1}, TypeError, "list of values"),
        ({"a": ["x", 1]}, InvalidError, "column 'a'"),
    ],
)
def test_what_is_no_table_is_named(data, kind, words):
    with pytest.raises(kind, match=words):
        to_table(data)


def fitted(data, **types):
    source = fit(open_source(data), pa.schema(types))
    return pa.Table.from_batches(source.batches, schema=source.schema)


def test_numbers_are_cast_where_no_value_changes():
    with_null = pd.DataFrame({"n": [1.0, None]})  # how pandas holds integers with nulls
    assert fitted(with_null, n=pa.int32())["n"].to_pylist() == [1, None]
    assert fitted({"n": [1, 2]}, n=pa.float64())["n"].type == pa.float64()
    with pytest.raises(InvalidError, match="'n'"):
        fitted({"n": [1.5]}, n=pa.int64())
    with pytest.raises(InvalidError, match="'n'"):
        fitted({"n": [2**40]}, n=pa.int32())
    with pytest.raises(InvalidError, match="'n'"):
        fitted({"n": [2**53 + 1]}, n=pa.float64())


def test_texts_become_times_only_in_python_objects():
    utc = pa.timestamp("us", tz="UTC")
    noon = dt.datetime(2024, 5, 1, 12, tzinfo=dt.timezone.utc)
    assert fitted([{"t": "2024-05-01T12:00:00Z"}], t=utc)["t"].to_pylist() == [noon]
    assert fitted(pa.table({"t": ["2024-05-01"]}), t=utc)["t"].type == pa.string()


def test_what_cannot_be_cast_is_left_to_the_server():
    table = fitted({"n": ["1"], "other": [True]}, n=pa.float64())
    assert table.schema.types == [pa.string(), pa.bool_()]


def test_large_batches_are_split_and_nothing_is_lost():
    batch = pa.record_batch({"x": list(range(1000)), "s": ["y" * 100] * 1000})
    parts = list(split(batch, most=4096))
    assert max(p.nbytes for p in parts) <= 4096
    assert pa.Table.from_batches(parts).equals(pa.Table.from_batches([batch]))
    one_row = batch.slice(0, 1)
    assert list(split(one_row, most=10)) == [one_row]
