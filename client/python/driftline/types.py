"""The types that join keys and features can have, under the names that Feast gives them.

Example:
    >>> from driftline.types import Float64, String
"""

from __future__ import annotations

from enum import Enum

import pyarrow as pa


class Type(str, Enum):
    """The type of a join key or feature.

    The value is the name that definitions in YAML use.
    """

    BOOL = "bool"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT = "float32"
    DOUBLE = "float64"
    STRING = "string"
    BYTES = "bytes"
    UNIX_TIMESTAMP = "timestamp"

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return _NAMES[self]

    def to_arrow(self) -> pa.DataType:
        """Returns the Arrow type that carries it."""
        return _ARROW[self]

    @classmethod
    def parse(cls, value: Type | str | pa.DataType) -> Type:
        """Returns the type that a name, an Arrow type or a type stands for.

        Example:
            >>> Type.parse("double")
            Float64

        Raises:
            TypeError: If it stands for none.
        """
        if isinstance(value, cls):
            return value
        name = str(value).strip().lower()
        if isinstance(value, pa.DataType) and pa.types.is_timestamp(value):
            return cls.UNIX_TIMESTAMP
        found = _WORDS.get(name)
        if found is None:
            raise TypeError(
                f"{value!r} is not a type; use one of {', '.join(t.value for t in cls)}"
            )
        return found


Bool = Type.BOOL
Int32 = Type.INT32
Int64 = Type.INT64
Float32 = Type.FLOAT
Float64 = Type.DOUBLE
String = Type.STRING
Bytes = Type.BYTES
UnixTimestamp = Type.UNIX_TIMESTAMP

#: Feast's older name for the same list: ``ValueType.STRING``.
ValueType = Type

TIME = pa.timestamp("us", tz="UTC")

_NAMES = {
    Bool: "Bool",
    Int32: "Int32",
    Int64: "Int64",
    Float32: "Float32",
    Float64: "Float64",
    String: "String",
    Bytes: "Bytes",
    UnixTimestamp: "UnixTimestamp",
}

_ARROW = {
    Bool: pa.bool_(),
    Int32: pa.int32(),
    Int64: pa.int64(),
    Float32: pa.float32(),
    Float64: pa.float64(),
    String: pa.string(),
    Bytes: pa.binary(),
    UnixTimestamp: TIME,
}

_WORDS = {t.value: t for t in Type} | {
    "boolean": Bool,
    "int": Int32,
    "long": Int64,
    "bigint": Int64,
    "float": Float32,
    "double": Float64,
    "str": String,
    "utf8": String,
    "large_string": String,
    "binary": Bytes,
    "large_binary": Bytes,
    "unixtimestamp": UnixTimestamp,
    "unix_timestamp": UnixTimestamp,
    "datetime": UnixTimestamp,
}
