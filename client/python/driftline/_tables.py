"""From any kind of table to Arrow, without knowing pandas or polars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from driftline.errors import InvalidError

# Half of what a gRPC peer with default limits takes in one message.
BATCH_BYTES = 2 << 20

_KINDS = (
    "give a pandas or polars DataFrame, a pyarrow Table, RecordBatch or RecordBatchReader, "
    "anything else with the Arrow PyCapsule interface, a dict of columns or a list of dicts"
)


@dataclass
class Source:
    """Rows on their way out: a schema, batches that can be read once, and their number if known.

    ``native`` says that they were Python objects, whose types are only guesses.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    rows: int | None
    native: bool = False


def open_source(data: Any) -> Source:
    """Returns the rows of any kind of table.

    Raises:
        TypeError: If it is no table.
    """
    if isinstance(data, pa.RecordBatch):
        return Source(data.schema, iter([data]), data.num_rows)
    if isinstance(data, pa.RecordBatchReader):
        return Source(data.schema, iter(data), None)
    if isinstance(data, pa.Table):
        return _from_table(data)
    if _is_pandas(data):
        return _from_table(_from_pandas(data))
    if isinstance(data, Mapping):
        return _from_table(_from_columns(data), native=True)
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _from_table(_from_rows(data), native=True)
    if hasattr(data, "collect") and type(data).__module__.startswith("polars"):
        data = data.collect()  # a LazyFrame
    if hasattr(data, "__arrow_c_stream__"):
        reader = pa.RecordBatchReader.from_stream(data)
        rows = len(data) if hasattr(data, "__len__") else None
        return _without_views(Source(reader.schema, iter(reader), rows))
    if hasattr(data, "__arrow_c_array__"):
        batch = pa.record_batch(data)
        return Source(batch.schema, iter([batch]), batch.num_rows)
    raise TypeError(f"{type(data).__name__} is not a table; {_KINDS}")


def to_table(data: Any) -> pa.Table:
    """Returns the rows of any kind of table as one Arrow table."""
    if isinstance(data, pa.Table):
        return data
    source = open_source(data)
    return pa.Table.from_batches(source.batches, schema=source.schema)


def fit(source: Source, wanted: pa.Schema) -> Source:
    """Casts columns to the wanted types where no value can change.

    Whole numbers are cast to narrower or wider ones and to floats, floats that are whole
    to integers (pandas makes floats of integers with nulls), and, for Python objects, ISO
    texts to times. All else is left for the server to judge, column names included.
    """
    fields = [_fit_field(f, wanted, source.native) for f in source.schema]
    schema = pa.schema(fields)
    if schema.equals(source.schema):
        return source
    batches = (_cast_batch(batch, schema) for batch in source.batches)
    return Source(schema, batches, source.rows, source.native)


def plain(table: pa.Table) -> pa.Table:
    """Returns the same values without dictionaries and with one layout of texts.

    Two tables from different libraries can then be put one below the other.
    """
    fields = []
    for field in table.schema:
        kind = field.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_string(kind) or pa.types.is_string_view(kind):
            kind = pa.large_string()
        fields.append(pa.field(field.name, kind))
    return table.cast(pa.schema(fields))


def split(batch: pa.RecordBatch, most: int = BATCH_BYTES) -> Iterator[pa.RecordBatch]:
    """Yields slices of about ``most`` bytes; a single larger row stays whole."""
    if batch.nbytes <= most or batch.num_rows <= 1:
        yield batch
        return
    half = batch.num_rows // 2
    yield from split(batch.slice(0, half), most)
    yield from split(batch.slice(half), most)


def _without_views(source: Source) -> Source:
    """Replaces string and binary views, which many readers of Arrow do not know yet."""
    layouts = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    schema = pa.schema([pa.field(f.name, layouts.get(f.type, f.type)) for f in source.schema])
    if schema.equals(source.schema):
        return source
    batches = (batch.cast(schema) for batch in source.batches)
    return Source(schema, batches, source.rows, source.native)


def _from_table(table: pa.Table, native: bool = False) -> Source:
    return Source(table.schema, iter(table.to_batches()), table.num_rows, native)


def _is_pandas(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "iloc")


def _from_pandas(frame: Any) -> pa.Table:
    if not hasattr(frame, "columns"):
        raise TypeError("a pandas Series is not a table; use series.to_frame()")
    named = any(name is not None for name in frame.index.names)
    table = pa.Table.from_pandas(frame, preserve_index=named)
    return table.replace_schema_metadata(None)


def _from_columns(columns: Mapping[str, Any]) -> pa.Table:
    arrays = {name: _array(name, values) for name, values in columns.items()}
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns have different lengths: {lengths}")
    return pa.table(arrays)


def _from_rows(rows: Sequence[Any]) -> pa.Table:
    if not rows:
        raise ValueError("the list of rows is empty, so it has no columns; give an empty table")
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise TypeError(f"row {i} is {type(row).__name__}, want a dict; {_KINDS}")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: _array(name, [row.get(name) for row in rows]) for name in names})


def _array(name: str, values: Any) -> Any:
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        raise TypeError(f"column {name!r} is {type(values).__name__}, want a list of values")
    try:
        return values if isinstance(values, pa.ChunkedArray) else pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidError(f"column {name!r} cannot be stored: {error}") from None


def _fit_field(field: pa.Field, wanted: pa.Schema, native: bool) -> pa.Field:
    i = wanted.get_field_index(field.name)
    if i < 0 or wanted.field(i).type == field.type:
        return field
    target = wanted.field(i).type
    if _can_cast(field.type, target, native):
        return pa.field(field.name, target)
    return field


def _can_cast(have: pa.DataType, want: pa.DataType, native: bool) -> bool:
    def is_number(t: pa.DataType) -> bool:
        return bool(pa.types.is_integer(t) or pa.types.is_floating(t))

    if pa.types.is_null(have):
        return True
    if is_number(have) and is_number(want):
        return not (pa.types.is_float64(have) and pa.types.is_float32(want))
    is_time_text = pa.types.is_string(have) and pa.types.is_timestamp(want)
    return native and bool(is_time_text)


def _cast_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for column, field in zip(batch.columns, schema, strict=True):
        if column.type != field.type:
            try:
                column = column.cast(field.type, safe=True)
            except pa.ArrowInvalid as error:
                raise InvalidError(
                    f"column {field.name!r} is {column.type} and does not fit {field.type}: {error}"
                ) from None
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema)
